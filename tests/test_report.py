"""The report: what it says, that its bytes stand still, and that nothing a stranger wrote comes alive in it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyses.geometry import Geometry
from harness.analyses.geometry.measures import COORDINATES, FACTOR, FITS, MEASURES
from harness.checks.direction_is_causal import DirectionIsCausal
from harness.checks.tracks_truth import TracksTruth
from harness.contracts.analysis import OF_EVERY_REPORT, Drawn
from harness.contracts.kind import find
from harness.errors import HarnessError, UsageError
from harness.page import html
from harness.page.from_folder import from_folder
from harness.page.writing import write
from harness.report import figures, manifest, markdown, outline, summary_rows
from harness.report.content import Look, Report, SummaryLayer
from harness.report.figures import canvas
from harness.report.folder import COMMITTED, IGNORED, MOST_FIGURES, place, place_beside, tables
from harness.report.intervals import Score, apart
from harness.report.rendering import render
from harness.report.scores import Scores
from harness.report.verdicts import headline
from harness.report.wording import evidence, listed, number
from harness.spec import Activations, Condition, Data, Model, Prompt, Spec, Transfer
from harness.untrusted import text as plain

SNAPSHOTS = Path(__file__).parent / "snapshots"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>|`a`$x$ [l](http://e.x) \x1b[31mred\x1b]0;t\x07 \u202egnp {{ 7*7 }}"
WHERE = ("fit_on", "tested_on", "probe", "layer", "target", "metric")


def make_report(
    *,
    layers: int = 5,
    seeds: int = 8,
    word: str = "word",
    ccs: str = "ccs",
    about: str = "Truth or a word?",
    seed: int = 0,
) -> Report:
    """On `plain` every method finds the truth; on `banana` those without labels find the word."""
    names = {
        ccs: "ccs",
        "kmeans": "kmeans",
        "logistic_regression": "logistic_regression",
        "zero_shot": "zero_shot",
        "random": "random",
    }
    probes = tuple(find("probes", kind)(name=name if name != kind else "") for name, kind in names.items())
    data = Data(source=find("data", "cities")())
    conditions = tuple(
        Condition(
            name=name, model=Model(id="tiny"), data=data, prompt=Prompt(), distractors=(), activations=Activations()
        )
        for name in ("plain", "banana")
    )
    checks = (
        find("checks", "beats_random")(probe="logistic_regression", condition="plain", expect="pass"),
        find("checks", "tracks_truth")(probe=ccs, condition="banana", over=word, expect="pass"),
    )
    spec = Spec(
        name="banana-shed", about=about, conditions=conditions, distractors={word: find("distractors", "random_word")()},
        probes=probes, transfer=tuple(Transfer(fit_on=c.name, tested_on=(c.name,)) for c in conditions), seeds=seeds,
        metrics=(find("metrics", "accuracy")(), find("metrics", "brier")()), checks=checks, file="specs/banana.yaml",
    )  # fmt: skip
    results, each = [], []
    generator = np.random.default_rng(seed)
    for condition in ("plain", "banana"):
        for name, kind in names.items():
            for target in ("truth", word):
                for layer in ["all"] if kind == "zero_shot" else [str(i) for i in range(layers)]:
                    top = _level(kind, condition, target == "truth")
                    depth = 1.0 if layer == "all" else int(layer) / (layers - 1)
                    count = seeds if kind in ("ccs", "random") else 1
                    values = np.clip(0.5 + (top - 0.5) * depth + generator.normal(0, 0.01, count), 0, 1).round(4)
                    where = (condition, condition, name, layer, target, "accuracy")
                    mean = round(float(values.mean()), 4)
                    bounds = (round(mean - 0.05, 4), round(min(mean + 0.05, 1.0), 4))
                    results.append((*where, mean, *bounds, 100, count))
                    results.append((*where[:5], "brier", 0.25, None, None, 100, count))
                    each += [(*where, s, v, v - 0.06, min(v + 0.06, 1.0), 100) for s, v in enumerate(values.tolist())]
    judged = [
        ("beats_random", "logistic_regression", "plain", "pass", "pass", "as_expected", 0.4, 0.3, 0.5, 0.0, "0.4 [0.3, 0.5] is above 0."),
        ("tracks_truth", ccs, "banana", "fail", "pass", "unexpected", -0.4, -0.5, -0.3, 0.0, f"{ccs} on {word}: -0.4 [-0.5, -0.3] is below 0."),
    ]  # fmt: skip
    numbers = ("value", "low", "high")
    return Report(
        spec=spec,
        spec_text=f"name: banana-shed\nabout: {about}\n",
        results=pl.DataFrame(results, schema=[*WHERE, *numbers, "n", "seeds"], orient="row"),
        seeds=pl.DataFrame(each, schema=[*WHERE, "seed", *numbers, "n"], orient="row"),
        checks=pl.DataFrame(
            judged,
            schema=["check", "probe", "condition", "finding", "expect", "verdict", *numbers, "threshold", "why"],
            orient="row",
        ),
        restarts=_restarts(ccs, word),
        summary_layers={
            (condition, name): SummaryLayer("all" if kind == "zero_shot" else layers - 1, "the last layer")
            for condition in ("plain", "banana")
            for name, kind in names.items()
        },
        facts=(("model", "tiny, 4 layers, d 8, float32"), ("answers", about)),
        findings=(f"3 prompts hold {word} twice.",),
        manifest={"git": None, "note": about},
    )


def _level(kind: str, condition: str, truth: bool) -> float:
    if kind == "random":
        return 0.5
    if kind in ("logistic_regression", "zero_shot") or condition == "plain":
        return 0.9 if truth else 0.5
    return 0.5 if truth else 0.97


def _restarts(probe: str, word: str) -> pl.DataFrame:
    spread = ("picked", "min", "p10", "p50", "p90", "max", "loss_min", "loss_p50", "loss_max")
    rows = [
        {
            "fit_on": "banana", "tested_on": "banana", "probe": probe, "layer": str(layer), "target": target, "seeds": 8,
            "restarts": 10, **dict.fromkeys(spread, 0.25),
        }
        for layer in (0, 4) for target in ("truth", word)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def scores_of(report: Report) -> Scores:
    return Scores(outline.of(report), report.results, report.seeds)


@pytest.fixture(scope="module")
def report() -> Report:
    return make_report()


@pytest.fixture(scope="module")
def rendered(report: Report) -> dict[str, bytes]:
    return render(report)


# ---- what it says


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([{"token": "question"}, {"token": "all"}], [" (token: question)", " (token: all)"]),
        ([{"name": "first"}, {"name": "second"}], [" (first)", " (second)"]),
        ([{}, {}], ["", ""]),
        ([{}, {"direction": "there"}], ["", ""]),
    ],
)
def test_claims_that_read_alike_say_how_they_differ(
    report: Report, options: Sequence[dict[str, Any]], said: Sequence[str]
) -> None:
    made = [DirectionIsCausal(probe="ccs", condition="plain", **one) for one in options]
    row = report.checks.head(1).with_columns(probe=pl.lit("ccs"), condition=pl.lit("plain"))
    rows = pl.concat([row.with_columns(check=pl.lit(one.name or one.kind())) for one in made])
    spec = msgspec.structs.replace(report.spec, checks=tuple(made))
    found = outline.of(msgspec.structs.replace(report, checks=rows, spec=spec)).claims
    assert found == tuple(outline.claim(one) + more for one, more in zip(made, said, strict=True))


def test_report_md_is_as_reviewed(rendered: dict[str, bytes]) -> None:
    """The snapshot is what a reviewer read; run with HARNESS_SNAPSHOTS=write to accept a change."""
    text = rendered["report.md"].decode()
    path = SNAPSHOTS / "report.md"
    if os.environ.get("HARNESS_SNAPSHOTS") == "write":
        path.write_text(text)
    assert text == path.read_text()
    assert render(make_report(seed=1))["report.md"].decode() != text


def test_the_findings_are_made_from_the_numbers(report: Report) -> None:
    scores = scores_of(report)
    plain_, banana = ({s.probe: s for s in scores.summaries(t)} for t in scores.transfers)
    assert {name: s.follows for name, s in plain_.items() if name != "random"} == dict.fromkeys(
        ("ccs", "kmeans", "logistic_regression", "zero_shot"), "truth"
    )
    assert {name: s.follows for name, s in banana.items()} == {
        "ccs": "word", "kmeans": "word", "logistic_regression": "truth", "zero_shot": "truth", "random": "none",
    }  # fmt: skip
    assert banana["ccs"].seeds == {"word": 8}
    assert banana["kmeans"].seeds == {}
    sentence = markdown.found_sentence(list(banana.values()))
    assert "`ccs` and `kmeans` follow **word**" in sentence
    assert "`random` follows none of the factors" in sentence


@pytest.mark.parametrize(
    ("truth", "word", "follows"),
    [
        ((0.9, 0.85, 0.95), (0.5, 0.45, 0.55), "truth"),
        ((0.6, 0.55, 0.65), (0.9, 0.85, 0.95), "word"),
        ((0.8, 0.75, 0.85), (0.82, 0.77, 0.87), "truth and word"),
        ((0.5, 0.45, 0.55), (0.5, 0.45, 0.55), "none"),
        ((0.56, 0.51, 0.61), (0.54, 0.49, 0.59), "unclear"),
        ((0.2, 0.15, 0.25), (0.5, 0.45, 0.55), "none"),
        ((0.9, math.nan, math.nan), (0.5, 0.45, 0.55), ""),
    ],
)
def test_follows(report: Report, truth: tuple[float, ...], word: tuple[float, ...], follows: str) -> None:
    assert scores_of(report).follows({"truth": Score(*truth), "word": Score(*word)}) == follows


def test_follows_turns_round_where_lower_is_better(report: Report) -> None:
    whole = outline.of(report)
    brier = msgspec.structs.replace(whole.metrics[0], name="brier", chance=0.25, higher_is_better=False)
    scores = Scores(msgspec.structs.replace(whole, metrics=(brier,)), report.results, report.seeds)
    low, high = Score(0.1, 0.05, 0.15), Score(0.25, 0.2, 0.3)
    assert scores.follows({"truth": low, "word": high}) == "truth"
    assert scores.follows({"truth": high, "word": high}) == "none"


def test_apart_is_newcombe() -> None:
    # Newcombe 1998, table II, (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    a, b = Score(0.8, 0.6918, 0.8771), Score(0.6, 0.4906, 0.7003)
    assert apart(a, b)
    assert apart(b, a)
    reach = math.hypot(a.value - a.low, b.high - b.value)
    assert a.value - b.value - reach == pytest.approx(0.0524, abs=2e-3)
    assert not apart(a, Score(0.7, 0.59, 0.79))
    assert not apart(a, Score(0.1))
    assert not apart(a, Score(0.1, 0.5, 0.6)), "an interval that does not hold its value says nothing"


def test_the_headline_counts() -> None:
    def counted(*found: str) -> str:
        return headline(pl.DataFrame({"verdict": list(found)}, schema={"verdict": pl.String}))

    assert counted("as_expected", "unexpected") == "1 of 2 checks came out as expected."
    assert counted("as_expected", "not_judged") == "1 of 1 check came out as expected. 1 more had no expectation."
    assert counted() == "The spec has no checks."
    assert counted("not_judged") == "1 check made; the spec expects nothing of them."


def test_numbers() -> None:
    values = (0.854, -0.47, 0.004321, -1e-12, 0.0, math.nan, math.inf, 12345678.0)
    assert [number(v) for v in values] == ["0.85", "−0.47", "0.0043", "−1e−12", "0.00", "–", "∞", "1.23e+07"]
    assert evidence(Score(0.5)) == "0.50"
    assert evidence(Score(0.5, 0.25, 0.75)) == "0.50 [0.25, 0.75]"
    assert listed(["a", "b", "c"]) == "a, b and c"


# ---- bytes


def test_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    program = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_report as t\n"
        "print({n: hashlib.sha256(b).hexdigest() for n, b in sorted(t.render(t.make_report()).items())})"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    found = subprocess.run(command, capture_output=True, check=True, text=True, env=environment).stdout

    def digests(made: Report) -> dict[str, str]:
        return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(render(made).items())}

    assert found.strip() == str(digests(make_report()))
    other = digests(make_report(seed=1))
    alike = {"checks.csv", "restarts.parquet", "spec.yaml", ".gitignore"}
    assert all(digest not in found for name, digest in other.items() if name not in alike)


def test_figures_are_sound_and_small(rendered: dict[str, bytes]) -> None:
    svgs = {name: content for name, content in rendered.items() if name.endswith(".svg")}
    assert list(svgs) == ["figures/overview.svg", "figures/layers.svg", "figures/seeds.svg"]
    text = rendered["report.md"].decode()
    for name, content in svgs.items():
        assert len(content) < 60_000
        assert f"]({name})" in text


def test_the_report_does_not_say_where_it_was_run(
    report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def named(file: str) -> str:
        return outline.of(msgspec.structs.replace(report, spec=msgspec.structs.replace(report.spec, file=file))).file

    (tmp_path / "specs").mkdir()
    monkeypatch.chdir(tmp_path / "specs")
    files = ("specs/x.yaml", "/home/me/specs/x.yaml", "x.yaml", "/home/me/x.yaml")
    assert [named(file) for file in files] == ["specs/x.yaml"] * 3 + ["x.yaml"]


def test_without_results_there_is_still_a_report(report: Report) -> None:
    empty = msgspec.structs.replace(
        report, results=report.results.clear(), seeds=report.seeds.clear(), checks=report.checks.clear(), restarts=None
    )
    files = render(empty)
    assert "The spec has no checks." in files["report.md"].decode()
    assert not any(name.endswith(".svg") for name in files)


# ---- what is committed


def test_what_is_committed_is_short_whatever_is_asked() -> None:
    """Many conditions, methods, checks, facts and findings: the text stays within its lines, and the tables within theirs."""
    small = make_report()
    many = [f"c{number}" for number in range(30)]

    def spread(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
        one = frame.filter(fit_on="plain")
        return pl.concat(one.with_columns(fit_on=pl.lit(name), tested_on=pl.lit(name)) for name in names)

    conditions = tuple(msgspec.structs.replace(small.spec.conditions[0], name=name) for name in many)
    checks = (small.spec.checks[0],) * 90
    judged = pl.concat([small.checks.head(1)] * 89 + [small.checks.tail(1)])
    spec = msgspec.structs.replace(
        small.spec,
        conditions=conditions,
        checks=checks,
        transfer=tuple(Transfer(fit_on=name, tested_on=(name,)) for name in many),
    )
    large = msgspec.structs.replace(
        small, spec=spec, results=spread(small.results, many), seeds=spread(small.seeds, many), checks=judged,
        facts=[(f"data of {name}", "1000 rows") for name in many] * 4, findings=["There is something odd."] * 200,
        summary_layers={(name, probe): layer for name in many for (fit_on, probe), layer in small.summary_layers.items() if fit_on == "plain"},
    )  # fmt: skip
    files = render(large)
    text = files["report.md"].decode()
    assert text.count("\n") <= markdown.MOST_LINES
    assert "❌ **unexpected**" in text, "what a reviewer looks for is not cut away"
    assert "50 more came out as expected" in text and "and 194 more" in text
    assert len(pl.read_csv(files["results.csv"])) <= summary_rows.MOST
    assert len([name for name in files if name.startswith("figures/")]) <= MOST_FIGURES
    # The control: of a small one, everything is there.
    assert "more came out" not in render(small)["report.md"].decode()


def test_results_are_read_by_any_reader(rendered: dict[str, bytes], report: Report) -> None:
    """A layer is a number, and what has none has nothing there; only the summary layers are committed."""
    found = pl.read_csv(rendered["results.csv"])
    assert found.schema["layer"] == pl.Int64
    assert set(found["layer"].unique()) == {4, None}
    assert found.height == report.results.filter(pl.col("layer").is_in(["4", "all"])).height
    whole = pl.read_parquet(rendered["results.parquet"])
    assert whole.schema["layer"] == pl.Int64
    assert whole.height == report.results.height


@pytest.mark.parametrize(
    ("most", "metrics", "targets"),
    [(10**6, {"accuracy", "brier"}, {"truth", "word"}), (20, {"accuracy"}, {"truth", "word"}), (19, {"accuracy"}, {"truth", "word"}), (14, {"accuracy"}, {"truth"})],
)  # fmt: skip
def test_of_many_results_those_that_the_spec_asks_first_are_kept(
    report: Report, monkeypatch: pytest.MonkeyPatch, most: int, metrics: set[str], targets: set[str]
) -> None:
    monkeypatch.setattr(summary_rows, "MOST", most)
    conditions = [
        msgspec.structs.replace(one, distractors=("word",)) if one.name == "banana" else one
        for one in report.spec.conditions
    ]
    spec = msgspec.structs.replace(report.spec, conditions=tuple(conditions))
    scores = Scores(outline.of(msgspec.structs.replace(report, spec=spec)), report.results, report.seeds)
    kept = summary_rows.summary_rows(scores, report.results, summary_rows.asked_for(spec))
    assert (set(kept.frame["metric"]), set(kept.frame["target"])) == (metrics, targets)
    if most == 19:
        assert set(kept.frame.filter(target="word")["tested_on"]) == {"banana"}, (
            "where the word stands in no prompt, and no check asks of it, it is left out"
        )
        asks = msgspec.structs.replace(spec, checks=(TracksTruth(probe="ccs", condition="plain", over="word"),))
        assert ("plain", "word", "ccs") in summary_rows.asked_for(asks)
        more = summary_rows.summary_rows(scores, report.results, summary_rows.asked_for(asks)).frame.filter(
            target="word"
        )
        assert set(more.filter(tested_on="plain")["probe"]) == {"ccs"}


def test_layers_of_a_former_version_have_names(report: Report) -> None:
    now = msgspec.to_builtins(outline.of(report))
    former = {
        **now,
        "layers": [dict(zip(("fit_on", "probe", "layer", "rule"), one, strict=True)) for one in now["layers"]],
    }
    assert now["layers"]
    assert outline.from_manifest({"report": former}, "x") == outline.from_manifest({"report": now}, "x")
    with pytest.raises(UsageError, match="does not describe a report"):
        outline.from_manifest({"report": {**now, "layers": [{"fit_on": "plain"}]}}, "x")


def test_git_leaves_alone_what_lies_beside(rendered: dict[str, bytes], report: Report, tmp_path: Path) -> None:
    subprocess.run(("git", "init", "-q", tmp_path), check=True)
    write(report, tmp_path / "reports" / "x", rendered=rendered)
    listed = subprocess.run(
        ("git", "-C", tmp_path, "status", "--porcelain", "-uall"), check=True, capture_output=True, text=True
    ).stdout
    seen = {line[3:].removeprefix("reports/x/") for line in listed.splitlines()}
    assert {name for name in seen if not name.startswith("figures/")} == set(COMMITTED)
    assert IGNORED.encode() == rendered[".gitignore"]


def test_changes_in_no_commit_are_said(report: Report, tmp_path: Path) -> None:
    def text(dirty: bool) -> str:
        runs = [{"git": {"commit": "a" * 40, "dirty": dirty}}, {"git": None}]
        write(msgspec.structs.replace(report, manifest={"runs": runs}), tmp_path, page=False)
        return (tmp_path / "report.md").read_text()

    assert "changes that are in no commit, beside `aaaaaaaaaaaa`" in text(True)
    assert "in no commit" not in text(False)


def test_only_files_of_a_report_are_put_beside_one(tmp_path: Path) -> None:
    place_beside({"rows.parquet": b"1"}, tmp_path)
    assert (tmp_path / "rows.parquet").read_bytes() == b"1"
    with pytest.raises(ValueError, match="no file of a report"):
        place_beside({"other.parquet": b"1"}, tmp_path)
    assert "rows.parquet" in tables()


# ---- writing


def test_writes_whole_and_takes_the_old_away(report: Report, rendered: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / "banana-shed"
    (folder / "figures").mkdir(parents=True)
    former = ("seeds.csv", "geometry.csv")
    for name in ("figures/old.svg", "restarts.parquet", "report.html", "notes.txt", "figures/mine.png", *former):
        (folder / name).write_text("old")
    without = msgspec.structs.replace(report, restarts=None)
    paths = write(without, folder, page=False)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    written = {path.relative_to(folder).as_posix() for path in paths}
    assert there == written | {"notes.txt", "figures/mine.png"}
    assert written == (rendered.keys() - {"restarts.parquet"}) | {"manifest.json"}
    # The control: with restarts and the page, both are there, and what was rendered before is written as it is.
    write(report, folder, rendered=rendered)
    assert (folder / "restarts.parquet").is_file()
    assert (folder / "report.html").is_file()
    assert all((folder / name).read_bytes() == content for name, content in rendered.items())


def test_a_report_is_not_written_through_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "target.csv").write_text("precious")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "results.csv").symlink_to(outside / "target.csv")
    place({"results.csv": b"new"}, folder)
    assert (outside / "target.csv").read_text() == "precious"
    assert (folder / "results.csv").read_bytes() == b"new"
    (folder / "figures").rmdir()
    (folder / "figures").symlink_to(outside)
    with pytest.raises(UsageError, match="symbolic link"):
        place({"figures/a.svg": b"new"}, folder)
    assert list(outside.iterdir()) == [outside / "target.csv"]


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HarnessError, match="cannot be written"):
        place({"results.csv": b"new"}, tmp_path / "file" / "report")


def test_a_run_says_where_and_with_what_it_was_made(tmp_path: Path) -> None:
    made = manifest.maker(manifest.new_run(0.0, tmp_path / "x.yaml"))()
    assert made["git"] is None
    assert made["versions"]["polars"] == pl.__version__
    assert made["started"] == "1970-01-01T00:00:00.000000+00:00"
    assert made["spec_file"] == f"{tmp_path}/x.yaml"
    assert made["hardware"]["cores"] >= 1
    json.dumps(made)


def test_of_two_runs_within_a_second_the_later_is_the_newest(tmp_path: Path) -> None:
    """The names of runs are drawn: told apart by them, every second of these would be the wrong one."""
    for _ in range(20):
        earlier, later = (manifest.new_run(started, tmp_path / "x.yaml") for started in (100.2, 100.3))
        assert manifest._runs([later, earlier])[-1] == later


def test_manifest_names_commit_and_dirt(tmp_path: Path) -> None:
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run((*git, "init", "-q"), check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run((*git, "add", "."), check=True)
    subprocess.run((*git, "commit", "-qm", "one"), check=True)
    clean = manifest.git_state(tmp_path)
    (tmp_path / "file").write_text("2")
    dirty = manifest.git_state(tmp_path)
    assert clean is not None
    assert dirty is not None
    assert (clean["dirty"], dirty["dirty"]) == (False, True)
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"])


def test_a_report_beside_makes_a_program_no_other_one(tmp_path: Path) -> None:
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run((*git, "init", "-q"), check=True)
    specs, report = tmp_path / "specs", tmp_path / "reports" / "ä b"
    (report / "figures").mkdir(parents=True)
    specs.mkdir()
    names = ("report.md", "results.csv", "checks.csv", "manifest.json", "figures/layers.svg")
    for name in names:
        (report / name).write_text("1")
    for path in (specs / "a.yaml", specs / "results.csv", report / "notes.txt"):
        path.write_text("1")
    subprocess.run((*git, "add", "-A"), check=True)
    subprocess.run((*git, "commit", "-qm", "one"), check=True)
    for name in names:
        (report / name).write_text("2")
    (report / "report.md").unlink()
    found = manifest.git_state(specs)
    assert found is not None
    assert found["dirty"] is False
    # What is no report's, or lies in no report, is the program's or a spec's.
    for path in (specs / "results.csv", specs / "a.yaml", report / "notes.txt"):
        path.write_text("2")
        found = manifest.git_state(specs)
        assert found is not None
        assert found["dirty"] is True, path
        path.write_text("1")


# ---- strangers


class Elements(HTMLParser):
    """What an HTML parser finds alive in a page."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_hostile_comes_alive(tmp_path: Path) -> None:
    hostile = make_report(word=HOSTILE, ccs=HOSTILE + "2", about=HOSTILE)
    tame = make_report()
    write(hostile, tmp_path)
    text = (tmp_path / "report.md").read_text()
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$|`[^`\n]+`", "", text)
    assert "<script" not in outside
    assert "<img" not in outside
    assert not re.search(r"(?<!\\)\]\(http", outside)
    assert not re.search(r"(?<!\\)\$", outside)
    for name in ("report.md", "report.html", "figures/seeds.svg"):
        content = (tmp_path / name).read_text()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", content), name
    for line in text.splitlines():
        if line.startswith("| "):
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            assert cells in (2, 7, 8), line

    def alive(folder: Path) -> list[str]:
        found = Elements((folder / "report.html").read_text()).found
        assert all(not name.startswith("on") for _tag, attributes in found for name in attributes)
        return sorted(tag for tag, _ in found if tag not in ("tr", "td", "span", "li", "code"))

    write(tame, tmp_path / "tame")
    assert alive(tmp_path) == alive(tmp_path / "tame")
    assert "49" not in re.findall(r"gnp (\S+)", text)


def test_the_page_needs_no_network_and_runs_only_its_own_scripts(report: Report) -> None:
    first, second = (_page(report) for _ in range(2))
    found = Elements(first).found
    policy = next(a["content"] for tag, a in found if tag == "meta" and "content" in a and a.get("http-equiv"))
    assert policy is not None
    nonce = re.search("'nonce-([^']+)'", policy)
    assert nonce is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert [s.get("type") or s.get("nonce") for s in scripts] == ["application/json", nonce[1]]
    assert not any(a.get("src") for _tag, a in found)
    assert all((a.get("href") or "#").startswith("#") for _tag, a in found)
    assert nonce[1] not in second


def _page(report: Report) -> str:
    return html.render(outline.of(report), report.results, report.seeds, report.checks, report.manifest).decode()


def _chart_data(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_is_made_again_from_the_folder(report: Report, rendered: dict[str, bytes], tmp_path: Path) -> None:
    write(report, tmp_path, page=False, rendered=rendered)
    assert not (tmp_path / "report.html").exists()
    again = from_folder(tmp_path).read_text()
    data, before = _chart_data(again), _chart_data(_page(report))
    assert data == before
    assert "3 prompts hold word twice." in again
    # The control: without what lies beside the report, the page shows what is committed, as the folder says it now.
    (tmp_path / "results.parquet").unlink()
    csv = (tmp_path / "results.csv").read_text()
    (tmp_path / "results.csv").write_text(
        re.sub(r"(?m)^(banana,banana,kmeans,4,word,accuracy),[0-9.]+", r"\1,0.9321", csv)
    )
    changed = _chart_data(from_folder(tmp_path).read_text())
    assert changed != before
    assert "0.9321" in json.dumps(changed)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("manifest.json", b"{", "is not JSON"),
        ("manifest.json", b"[]", "not a JSON object"),
        ("manifest.json", b"{}", "does not describe a report"),
        ("manifest.json", b'{"report": {"name": 1}}', "does not describe a report"),
        ("checks.csv", b"", "column check is missing"),
        ("checks.csv", b"\xff\xfe", "not UTF-8"),
        ("results.parquet", b"PAR1", "no parquet table"),
        ("checks.csv", None, "different runs"),
        ("seeds.parquet", _parquet(pl.DataFrame({"fit_on": ["a"]})), "lacks the column high"),
        ("restarts.parquet", _parquet(pl.DataFrame({"fit_on": ["a"]})), "not of one run"),
    ],
)
def test_a_folder_that_is_no_report(
    report: Report, rendered: dict[str, bytes], tmp_path: Path, name: str, content: bytes | None, fault: str
) -> None:
    write(report, tmp_path, page=False, rendered=rendered)
    if content is None:
        content = (tmp_path / name).read_bytes().splitlines(keepends=True)[0]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=fault):
        from_folder(tmp_path)


@given(st.text())
def test_markdown_text_is_one_harmless_line(text: str) -> None:
    shown = plain.markdown(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f<>]", shown)
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*$\[\]]", shown)


@given(st.text())
def test_file_names_and_fences(text: str) -> None:
    assert re.fullmatch("[a-z0-9-]{1,60}", plain.file_name(text))
    fenced = plain.fenced(text).split("\n")
    assert fenced[0] == fenced[-1]
    assert all(fenced[0] not in line for line in fenced[1:-1])


def test_escapes_go_as_a_whole() -> None:
    assert (
        plain.line("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07 a\u202eb\r\nc\x00\x9b2Jd")
        == "red link ab cd"
    )
    assert plain.line("mean_difference") == "mean_difference"
    starts = ("# a", "- a", "12. a", "1) a", "---", "0.4 a", "-0.4", "#tag", "a - b")
    assert [plain.markdown(text) for text in starts] == [
        r"\# a", r"\- a", r"12\. a", r"1\) a", r"\---", "0.4 a", "-0.4", "#tag", "a - b",
    ]  # fmt: skip
    assert plain.markdown("mean_difference _x_") == r"mean_difference \_x\_"
    assert plain.line("abcdef", 4) == "abc…"


def test_figures_take_any_name() -> None:
    pictures = figures.render(scores_of(make_report(word="$\\frac{1}$", ccs="a_very_long_name_" * 20)))
    assert all(ET.fromstring(picture.svg) is not None for picture in pictures.values())


def test_figures_of_analyses_have_plain_names_of_their_own() -> None:
    scores = scores_of(make_report())

    def drawn(name: str) -> Callable[[Scores], list[Drawn]]:
        return lambda _: [Drawn(name, canvas.Surface(1), "Empty: nothing.")]

    own = figures.pictured(scores, drawn("own-one"))
    assert next(iter(figures.gathered((own, figures.render(scores))))) == "own-one.svg"
    for name in ("../own", "Own", ""):
        with pytest.raises(UsageError, match="is no name for a figure"):
            figures.pictured(scores, drawn(name))
    with pytest.raises(UsageError, match=r"two figures of the report are called layers\.svg"):
        figures.gathered((figures.pictured(scores, drawn("layers")), figures.render(scores)))


def test_the_tables_of_every_report_are_known() -> None:
    """No analysis may give a table of its own one of their names."""
    assert {name for name in render(make_report()) if name.endswith(".parquet")} <= set(OF_EVERY_REPORT)


def test_states_are_drawn_where_there_are_some(report: Report) -> None:
    coordinates = np.random.default_rng(0).normal(size=(900, 3))
    sides = ["true" if x > 0 else "false" for x in coordinates[:, 0]]
    words = ["Shed" if x > 0 else "Banana" for x in coordinates[:, 1]]

    def drawn(truth: list[str], word: list[str]) -> dict[str, bytes]:
        rows = dict(zip(COORDINATES, coordinates.T, strict=True))
        factors = {f"{FACTOR}truth": truth, f"{FACTOR}word": word}
        states = pl.concat(
            pl.DataFrame({**rows, **factors}).select(
                pl.lit(name).alias("condition"), pl.lit("3").alias("layer"), pl.all()
            )
            for name in ("plain", "banana")
        )
        condition = {"condition": pl.String}
        tables = {
            "geometry.parquet": pl.DataFrame(schema=condition | dict(MEASURES)),
            "states.parquet": states,
            "fits.parquet": pl.DataFrame(schema=condition | dict(FITS)),
        }
        return render(msgspec.structs.replace(report, looks=[Look(Geometry(), tables)]))

    with_states = drawn(sides, words)
    assert "(figures/states.svg)" in with_states["report.md"].decode()
    assert "(figures/states.svg)" not in render(report)["report.md"].decode()
    assert len(with_states["figures/states.svg"]) < 150_000
    assert drawn(words, sides)["figures/states.svg"] != with_states["figures/states.svg"]
