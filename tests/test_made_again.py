"""What a change makes again: only what depends on it, counted in stages, figures and fits, not in seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness import language, pipeline
from harness.activations.trie import shared
from harness.code.closure import Closure
from harness.code.code_version import tree
from harness.code.entries import WITHOUT
from harness.contracts import Erasure
from harness.execution import controls
from harness.execution.controls import Refitted
from harness.language.schema import json_schema
from harness.report.figures import canvas
from harness.report.folder import place
from harness.scoring import evidence
from harness.stages.figure_stage import Pictured
from harness.store import Store, last_runs

SPEC = """
harness: 1
name: planted
about: What is made again?
model: {bed: planted, truth: 1.0, distractor: 4.0}
data: {limit: 200}
probes: [crc_tpc, mean_difference]
seeds: 2
layer: middle
geometry: true
autopsy: [mean_difference]
checks:
  - {kind: beats_random, probe: mean_difference, condition: main, expect: pass}
  - {kind: tracks_truth, probe: crc_tpc, condition: main, over: word}
  - {kind: chance_on_shuffled_labels, probe: logistic_regression, condition: main, shuffles: 5}
"""

FIGURES = ("overview", "layers", "said", "seeds", "geometry")


class Bench:
    """A spec that was run once, and what is made when it is run again."""

    def __init__(self, folder: Path):
        self.folder, self.store = folder, Store(folder / "store")
        self.made(SPEC)

    def made(self, text: str) -> list[str]:
        """Stages that a run of the spec makes: kinds, for figures with their name."""
        path = self.folder / "planted.yaml"
        path.write_text(text)
        outcome = pipeline.run(path, out=self.folder / "reports", page=False, store=self.store)
        # A run that computes nothing leaves the manifest of the one that did.
        runs = [] if outcome.cached else json.loads((outcome.folder / "manifest.json").read_text())["runs"]
        return [
            f"figures {stage.name}" if stage.kind == "figures" else stage.kind
            for stage in self.plan(text).stages
            if runs and self.store.provenance(stage.kind, stage.key)["by"]["id"] == runs[-1]["id"]
        ]

    def plan(self, text: str) -> Any:
        path = self.folder / "planted.yaml"
        path.write_text(text)
        return pipeline.planned(language.read(path), self.folder, self.store)

    @property
    def files(self) -> dict[str, bytes]:
        found = self.folder / "reports" / "planted"
        return {
            path.relative_to(found).as_posix(): path.read_bytes()
            for path in found.rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[int]]:
    """Counts the calls of a function by whoever looks it up in a module."""

    def count(module: Any, name: str) -> list[int]:
        calls, real = [0], getattr(module, name)

        def counting(*arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, counting)
        return calls

    return count


def test_another_question_makes_the_report_and_draws_nothing(
    bench: Bench, counted: Callable[[Any, str], list[int]]
) -> None:
    drawn, refits = counted(canvas, "to_svg"), counted(controls, "score_shuffled")
    assert bench.made(SPEC) == []
    assert bench.made(SPEC.replace("What is made again?", "And now?")) == ["report"]
    assert (drawn, refits) == ([0], [0])


def test_one_changed_check_is_decided_again_and_nothing_is_fitted(
    bench: Bench, counted: Callable[[Any, str], list[int]]
) -> None:
    drawn, refits = counted(canvas, "to_svg"), counted(controls, "score_shuffled")
    directions = counted(controls, "score")
    assert bench.made(SPEC.replace("expect: pass", "expect: fail")) == ["checks", "report"]
    assert (drawn, refits, directions) == ([0], [0], [0])
    # The controls: other shuffles are another refit, and at another layer lie other directions.
    assert bench.made(SPEC.replace("shuffles: 5", "shuffles: 6")) == ["checks", "report"]
    assert (drawn, refits, directions) == ([0], [1], [0])
    assert bench.made(SPEC.replace("expect: pass", "layer: last, expect: pass")) == ["checks", "report"]
    assert (drawn, refits, directions) == ([0], [1], [1])


def test_another_layer_makes_what_shows_it(
    bench: Bench, counted: Callable[[Any, str], list[int]], tmp_path: Path
) -> None:
    drawn = counted(canvas, "to_svg")
    changed = SPEC.replace("layer: middle", "layer: last")
    made = bench.made(changed)
    assert sorted(set(made)) == sorted(
        ["autopsy", "components", "layers", "headline", "draws", "said", "checks", "rows", "report"]
        + [f"figures {name}" for name in FIGURES if name != "layers"]
    )
    # Of geometry, both figures: the states at the judged layer, and the losses there if any probe has one.
    assert drawn[0] == sum(path.endswith(".svg") for path in bench.files) - 1
    assert bench.files == fresh(tmp_path / "fresh", changed), "nothing that should have changed was kept"


def fresh(folder: Path, text: str) -> dict[str, bytes]:
    """What the spec gives from an empty store."""
    folder.mkdir()
    other = Bench.__new__(Bench)
    other.folder, other.store = folder, Store(folder / "store")
    other.made(text)
    return other.files


def test_layers_are_chosen_once_for_all_checks(bench: Bench, counted: Callable[[Any, str], list[int]]) -> None:
    chosen = counted(evidence, "choose_layer")
    assert bench.made(SPEC.replace("expect: pass", "expect: fail")) == ["checks", "report"]
    # Three probes are checked, two of them against baselines at the same layer.
    assert 0 < chosen[0] <= len(bench.plan(SPEC).of("score"))


def test_a_figure_that_is_damaged_is_drawn_again(bench: Bench) -> None:
    before = bench.files
    (stage,) = (one for one in bench.plan(SPEC).of("figures") if one.name == "overview")
    (bench.store.place("figures", stage.key) / "overview.svg").write_bytes(b"<svg/>")
    assert bench.made(SPEC.replace("What is made again?", "And now?")) == ["figures overview", "report"]
    figures = {name: content for name, content in bench.files.items() if name.endswith(".svg")}
    assert figures == {name: content for name, content in before.items() if name.endswith(".svg")}


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("overview", ("report.figures.overview", "_panel")),
        ("layers", ("report.figures.by_layer", "_followed")),
        ("seeds", ("report.figures.seeds", "_bars")),
        ("geometry", ("analyses.geometry.clouds", "draw")),
    ],
)
def test_a_figure_is_drawn_again_when_what_draws_it_changes(
    bench: Bench, name: str, definition: tuple[str, str]
) -> None:
    """Its code is in the key of its own figure and of no other one; what all figures share is in all."""
    for stage in bench.plan(SPEC).of("figures"):
        reached = reached_by(stage)
        assert (definition in reached) == (stage.name == name), stage.name
        assert ("report.figures.canvas", "Surface") in reached


def reached_by(stage: Pictured) -> set[tuple[str, str]]:
    """Module below the package and name of each definition in a stage's code."""
    closure = Closure(tree(), WITHOUT)
    closure.enter(f"{entry.__module__}:{entry.__qualname__}".removeprefix("harness.") for entry in stage.runs)  # type: ignore[union-attr]
    return {(module.removeprefix("harness."), name) for module, name in closure.names()}


def test_refits_are_kept_as_long_as_the_plan_that_asked_for_them(bench: Bench) -> None:
    refits = bench.store.keys("refit")
    # On shuffled labels, and random directions of which there are more than the spec has seeds.
    assert len(refits) == 2
    uses = bench.plan(SPEC).uses
    assert all(last_runs.refers(uses, f"refit/{key}") for key in refits)
    assert not last_runs.refers(uses, "refit/of-another-plan")


def test_the_key_of_a_refit_has_all_that_it_is_made_from(bench: Bench) -> None:
    plan = bench.plan(SPEC)
    score = plan.find("score", "main", "main", "logistic_regression")

    def key(layer: int = 1, spec: Any = plan.spec, **how: Any) -> str:
        return Refitted(spec=spec, score=score, layers=(layer,), **(how or {"shuffles": 5})).key

    other = bench.plan(SPEC.replace("limit: 200", "limit: 200, seed: 1"))
    keys = {key(), key(layer=2), key(spec=other.spec)} | {key(shuffles=6), key(seeds=5), key(seeds=6)}
    keys |= {key(erase=Erasure()), key(erase=Erasure(of="word")), key(erase=Erasure(by="lda", times=2))}
    assert len(keys) == 9
    assert all(one.startswith(f"{score.key}-") for one in keys)


def test_the_schema_that_is_kept_is_the_one_that_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    for of in ("spec", "bed"):
        built = json_schema.built(of)  # type: ignore[arg-type]
        assert json.dumps(json_schema.schema.__wrapped__(of)) == json.dumps(built)
        with monkeypatch.context() as patched:
            patched.setattr(json_schema, "built", None)
            assert json_schema.schema.__wrapped__(of) == built, "it was kept"
    # What other packages add is not in the hash under which it is kept.
    monkeypatch.setattr(json_schema.outside, "entries", lambda: ("one",))
    monkeypatch.setattr(json_schema, "built", lambda of: {"made": of})
    assert json_schema.schema.__wrapped__("spec") == {"made": "spec"}


def test_a_file_that_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "report", tmp_path / "elsewhere"
    place({"results.csv": b"1", "seeds.parquet": b"1", "checks.csv": b"1"}, folder)
    elsewhere.write_bytes(b"1")
    (folder / "checks.csv").unlink()
    (folder / "checks.csv").symlink_to(elsewhere)
    before = {name: os.lstat(folder / name).st_ino for name in ("results.csv", "seeds.parquet", "checks.csv")}
    place({"results.csv": b"1", "seeds.parquet": b"2", "checks.csv": b"1"}, folder)
    after = {name: os.lstat(folder / name).st_ino for name in before}
    assert [name for name in before if before[name] != after[name]] == ["seeds.parquet", "checks.csv"]
    assert not (folder / "checks.csv").is_symlink()
    assert [(folder / name).read_bytes() for name in before] == [b"1", b"2", b"1"]


def test_what_two_rows_share_is_found_by_halving() -> None:
    random = Random(0)
    for _ in range(2000):
        left, right = (tuple(random.choices((0, 1), k=random.randrange(12))) for _ in range(2))
        right = left[: random.randrange(len(left) + 1)] + right
        naive = next(
            (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
        )
        assert shared(left, right) == naive
