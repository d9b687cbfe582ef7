"""The whole way from a spec to a report, on small things: a planted bed, and a tiny model with real text handling."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import language, pipeline
from harness.commands.costs import as_json, estimate
from harness.errors import UsageError
from harness.execution.run import Run
from harness.machine.progress import Reporter, StageProgress
from harness.scoring.score import training_sign
from harness.store import Store, sealed
from tests.report_tables import full_table

SAME_IN_EVERY_RUN = (
    "report.md",
    "results.csv",
    "results.parquet",
    "seeds.parquet",
    "rows.parquet",
    "headline.parquet",
    "checks.csv",
)

PLANTED = """
harness: 1
name: planted
model: {bed: planted, truth: 1.0, distractor: 4.0}
data: {limit: 400, split: {train: 0.5, validation: 0.1, test: 0.4}}
probes: [{kind: ccs, restarts: 2, epochs: 300}, crc_tpc, mean_difference]
seeds: 2
layer: validation
checks:
  - {kind: beats_random, probe: logistic_regression, condition: main, expect: pass}
  - {kind: tracks_truth, probe: logistic_regression, condition: main, over: word, expect: pass}
  - {kind: tracks_truth, probe: crc_tpc, condition: main, over: word, expect: EXPECTED}
  - {kind: chance_on_shuffled_labels, probe: logistic_regression, condition: main, shuffles: 5}
"""

TEXT = """
harness: 1
name: colours
model: {id: MODEL, dtype: float32}
data: {source: {file: colours.csv, text: colour}, limit: 60}
prompt:
  template: "The colour {{ colour }} is warm: {{ answer }}"
  answers: ["no", "yes"]
distractors:
  word: {kind: random_word, words: [Banana, Shed]}
conditions:
  plain: {}
  banana: {distractors: [word]}
probes: [crc_tpc, mean_difference]
transfer: [{fit_on: plain, tested_on: [plain, banana]}]
checks: [{kind: beats_random, probe: mean_difference, condition: plain}]
"""


def write_planted(folder: Path, expected: str = "fail") -> Path:
    path = folder / "planted.yaml"
    path.write_text(PLANTED.replace("EXPECTED", expected))
    return path


def write_text(folder: Path, model: Path) -> Path:
    (folder / "colours.csv").write_text(
        "colour,label\n" + "".join(f"shade number {n} of {'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(80))
    )
    path = folder / "colours.yaml"
    path.write_text(TEXT.replace("MODEL", str(model)))
    return path


def files(folder: Path) -> dict[str, bytes]:
    found = [folder / name for name in SAME_IN_EVERY_RUN] + sorted((folder / "figures").glob("*.svg"))
    return {path.name: path.read_bytes() for path in found}


def test_a_run_gives_the_report_and_its_findings(tmp_path: Path) -> None:
    outcome = pipeline.run(write_planted(tmp_path), out=tmp_path / "reports")
    assert outcome.folder == tmp_path / "reports" / "planted"
    by_check = {(row["check"], row["probe"]): row for row in outcome.checks.iter_rows(named=True)}
    assert by_check["beats_random", "logistic_regression"]["finding"] == "pass"
    assert by_check["tracks_truth", "crc_tpc"]["finding"] == "fail"
    assert not outcome.unexpected
    results = full_table(outcome.folder, "results")
    assert results.columns == "fit_on,tested_on,probe,layer,target,metric,value,low,high,n,seeds".split(",")
    assert set(results["target"]) == {"truth", "word"}
    assert {"random", "logistic_regression"} <= set(results["probe"]), "baselines stand in every table"
    stages = json.loads((outcome.folder / "manifest.json").read_text())["stages"]
    assert [stage["kind"] for stage in stages[:2]] == ["prompts", "activations"]
    assert not any(stage["cached"] for stage in stages)


def test_a_report_of_another_spec_is_replaced_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(path: Path, *sets: str) -> bool:
        pipeline.run(path, sets=sets, out=tmp_path / "reports", page=False, reporter=Reporter(live=False))
        return "planted holds the report of" in capsys.readouterr().err

    first = write_planted(tmp_path)
    assert not said(first) and not said(first, "seeds=2"), "its own"
    second = tmp_path / "second.yaml"
    second.write_text(first.read_text())
    assert not said(second, "seeds=2"), "the same report"
    assert said(second, "data.seed=7")
    assert not said(second, "data.seed=7")


def test_provenance_survives_a_run_that_computes_nothing(tmp_path: Path) -> None:
    path = write_planted(tmp_path)
    first = pipeline.run(path, out=tmp_path / "reports")
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in first.folder.rglob("*") if file.is_file()}
    again = pipeline.run(path, out=tmp_path / "reports")
    assert again.cached
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in before} == before, "not a byte is written"
    elsewhere = pipeline.run(path, out=tmp_path / "elsewhere", page=False)
    assert (elsewhere.folder / "manifest.json").read_bytes() == (first.folder / "manifest.json").read_bytes()


def test_the_manifest_says_which_run_made_what(tmp_path: Path) -> None:
    path = write_planted(tmp_path)
    folder = pipeline.run(path, out=tmp_path / "reports", page=False).folder
    before = json.loads((folder / "manifest.json").read_text())
    assert [run["spec_file"] for run in before["runs"]] == [str(path)]
    assert all(stage["run"] == before["runs"][0]["id"] and not stage["cached"] for stage in before["stages"])
    assert {stage["kind"] for stage in before["stages"] if stage["rows"]} >= {"prompts", "activations", "fit", "score"}
    assert len({stage["kind"] for stage in before["stages"]}) == len(before["stages"]), (
        "a line for what one run made of a kind"
    )
    assert sum(stage["stages"] for stage in before["stages"]) == before["counts"]["stages"] > len(before["stages"])
    pipeline.run(path, out=tmp_path / "reports", page=False, sets=["about=Another question"])
    after = json.loads((folder / "manifest.json").read_text())
    assert [run["id"] for run in after["runs"]][:1] == [before["runs"][0]["id"]] and len(after["runs"]) == 2
    made = {stage["kind"] for stage in after["stages"] if stage["run"] == after["runs"][1]["id"]}
    assert made == {stage["kind"] for stage in after["stages"] if not stage["cached"]} == {"report"}
    kept = [stage for stage in after["stages"] if stage["cached"]]
    assert [stage | {"cached": False} for stage in kept] == before["stages"][:-1], "what they took is what it was"


@pytest.mark.parametrize(
    "spoiled",
    [{"by": 7}, {"by": {"id": "x"}}, {"by": None, "took": None}, {"took": {"seconds": "long"}}, {"took": [1]}],
)
def test_provenance_that_a_stranger_wrote_is_left_out(spoiled: dict[str, Any], tmp_path: Path) -> None:
    path, store = write_planted(tmp_path), Store(tmp_path / "store")
    folder = pipeline.run(path, out=tmp_path / "reports", page=False, store=store).folder
    for file in store.root.glob("fit/*/meta.json"):
        meta = json.loads(file.read_bytes()) | spoiled
        del meta["seal"]
        file.write_bytes(sealed(meta))
    pipeline.run(path, out=tmp_path / "reports", page=False, store=store, sets=["about=Another question"])
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    for stage in (one for one in stages if one["kind"] == "fit"):
        assert stage["run"] is None if "by" in spoiled else stage["seconds"] == 0


class Shown(Reporter):
    """Remembers which stages were shown; none may be begun within another, for its seconds would be in both. Checks ask for refits
    while they decide."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.kinds: list[str] = []
        self._within = ""

    @contextmanager
    def stage(self, kind: str, label: str, total: int | None = None, unit: str = "") -> Iterator[StageProgress]:
        assert not self._within or kind == "refit", f"{kind} is begun within {self._within}"
        around, self._within = self._within, kind
        self.kinds.append(kind)
        yield StageProgress()
        self._within = around


def test_stages_are_shown_one_after_another_and_noted_in_the_order_of_the_plan(tmp_path: Path) -> None:
    path, shown = write_planted(tmp_path), Shown()
    path.write_text(path.read_text() + "autopsy: [{probe: ccs}]\ngeometry: true\n")
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False, reporter=shown)
    before, looks = ["prompts", "activations", "fit"], ["autopsy", "geometry", "components"]
    after = ["tables", "layers", "headline", "draws", "summary", "said", "noise", "checks"]
    assert list(dict.fromkeys(shown.kinds)) == [*before, *after, "refit", "rows", *looks, "figures", "report"]
    noted = [stage["kind"] for stage in json.loads((outcome.folder / "manifest.json").read_text())["stages"]]
    assert list(dict.fromkeys(noted)) == [*before, "score", *looks, *after, "rows", "figures", "report"]


def test_an_unexpected_finding_is_said(tmp_path: Path) -> None:
    outcome = pipeline.run(write_planted(tmp_path, expected="pass"), out=tmp_path / "reports", page=False)
    assert outcome.unexpected


def test_the_same_bytes_again_from_the_store_and_from_nothing(tmp_path: Path) -> None:
    spec = write_planted(tmp_path)
    first = files(pipeline.run(spec, out=tmp_path / "a", page=False, store=Store(tmp_path / "s1")).folder)
    again = pipeline.run(spec, out=tmp_path / "b", page=False, store=Store(tmp_path / "s1"))
    assert again.cached
    assert files(again.folder) == first
    anew = pipeline.run(spec, out=tmp_path / "c", page=False, store=Store(tmp_path / "s2"))
    assert not anew.cached
    assert files(anew.folder) == first


def test_a_comment_recomputes_nothing_and_a_template_what_depends_on_it(tmp_path: Path, tiny_llama: Path) -> None:
    store = Store(tmp_path / "store")
    path = write_text(tmp_path, tiny_llama)
    pipeline.run(path, out=tmp_path / "reports", page=False, store=store)
    path.write_text("# a comment\n" + path.read_text().replace("seeds: 1", "seeds:    1"))
    assert pipeline.run(path, out=tmp_path / "reports", page=False, store=store).cached

    path.write_text(path.read_text().replace("is warm:", "is a warm one:"))
    plan = pipeline.planned(language.read(path), tmp_path, store)
    found = plan.stored(store)
    assert found[plan.find("prompts", "plain").key].reason == "changed: template"
    assert not found[plan.last.key].cached
    assert "changed" in found[plan.find("activations", "plain", "banana").key].reason
    # A probe's option touches neither prompts nor states.
    path.write_text(
        write_text(tmp_path, tiny_llama).read_text().replace("crc_tpc,", "{kind: crc_tpc, normalise: burns},")
    )
    plan = pipeline.planned(language.read(path), tmp_path, store)
    found = plan.stored(store)
    assert all(found[stage.key].cached for stage in (*plan.of("prompts"), *plan.of("activations")))
    assert found[plan.find("fit", "plain", "crc_tpc").key].reason.startswith("changed: probe, code (Burns")
    assert found[plan.find("fit", "plain", "mean_difference").key].cached


def test_distractors_share_the_forward_pass(tmp_path: Path, tiny_llama: Path) -> None:
    """Plain prompts are beginnings of those with a word: nothing but the words and answers is forwarded twice."""
    path = write_text(tmp_path, tiny_llama)
    store = Store(tmp_path / "store")
    plan = pipeline.planned(language.read(path), tmp_path, store)
    costs = estimate(Run(plan, store))
    cost = costs[plan.find("activations", "plain", "banana").key]
    assert cost.tokens is not None and cost.tokens_unshared is not None
    assert cost.tokens < 0.5 * cost.tokens_unshared
    described = as_json(plan, plan.stored(store), costs)
    assert [s["kind"] for s in described["stages"]].count("activations") == 1


def test_a_damaged_artifact_is_noticed_and_made_again(tmp_path: Path) -> None:
    spec = write_planted(tmp_path)
    store = Store(tmp_path / "store")
    first = files(pipeline.run(spec, out=tmp_path / "a", page=False, store=store).folder)
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and path.name != "meta.json" and path.parent.name != "plans":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    store = Store(tmp_path / "store")
    again = pipeline.run(spec, out=tmp_path / "b", page=False, store=store)
    assert store.damaged
    assert files(again.folder) == first


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"colour,wrong\nred,1\n", "label"),
        (b"colour,label\nred,1\nblue,perhaps\n", "perhaps"),
        (b"", "empty"),
        (b"colour,label\nr\xff\xfed,1\nblue,0\n", "UTF-8"),
        (b"colour,label\n" + b"x" * 10_000_000 + b",1\nblue,0\n", "characters"),
    ],
)
def test_bad_data_is_refused_and_nothing_half_written(
    tmp_path: Path, tiny_llama: Path, content: bytes, says: str
) -> None:
    path = write_text(tmp_path, tiny_llama)
    (tmp_path / "colours.csv").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        pipeline.run(path, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_signs_on_rows_where_a_factor_agrees_are_a_matter_of_scores_only(tmp_path: Path) -> None:
    path, store = write_planted(tmp_path), Store(tmp_path / "store")
    pipeline.run(path, out=tmp_path / "all", store=store, page=False)
    plan = pipeline.planned(language.read(path, ["data.sign_on=word"]), tmp_path, store)
    found = plan.stored(store)
    missing = {stage.kind for stage in plan.stages if not found[stage.key].cached}
    assert missing == {
        "score",
        "tables",
        "layers",
        "headline",
        "draws",
        "summary",
        "said",
        "checks",
        "rows",
        "figures",
        "report",
    }
    assert found[plan.find("score", "main", "main", "crc_tpc").key].reason == "changed: sign"
    conditions = Run(plan, store).conditions
    train = conditions.labels("main", "train")
    assert train.sign_rows is not None
    assert train.sign_rows.tolist() == (train.targets["truth"] == train.targets["word"]).tolist()
    assert 0.4 < train.sign_rows.mean() < 0.6
    # A probe then has one sign for both, so that it cannot be turned round to look truthful; else each has its own.
    scored = conditions.scored("main", "main", "random")
    signs = [training_sign(scored, train, name).tolist() for name in ("truth", "word")]
    assert signs[0] == signs[1]
    everywhere = msgspec.structs.replace(train, sign_rows=None)
    signs = [training_sign(scored, everywhere, name).tolist() for name in ("truth", "word")]
    assert signs[0] != signs[1]
