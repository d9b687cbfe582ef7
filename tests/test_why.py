"""Why two reports differ: a planted cause each is named, and nothing else; and what is shown of a difference, from short to long."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import pipeline
from harness.report.asked import LONGEST, asked
from harness.report.compare import ReportFolder, as_data, as_markdown, as_text, compare
from harness.report.compare.picture import as_svg
from harness.report.compare.show import MOST_CHARACTERS
from harness.report.compare.why import Made, causes, made_of
from harness.store import Store
from tests.test_diff import BASE, CCS, CHECK, FAILED, make
from tests.test_pipeline import write_text

SEEN: dict[str, Any] = {
    "asked": {"data.seed": "0", "model.id": "a"},
    "models": {"plain": {"id": "a", "revision": "main", "identity": "1"}, "banana": {"id": "a", "revision": "main", "identity": "1"}},
    "data": {"plain": "x", "banana": "x"},
    "code": {"fit": "1", "score": "1"},
    "runs": [{"versions": {"python": "3.12", "torch": "2.11"}, "hardware": {"processor": "A", "torch_threads": 2}}],
}  # fmt: skip


def changed(change: Callable[[dict[str, Any]], object]) -> list[str]:
    other = copy.deepcopy(SEEN)
    change(other)
    return causes(made_of(SEEN), made_of(other))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: None, ["nothing that the manifests know of"]),
        (lambda m: m["models"]["plain"].update(revision="v2") or m["models"]["banana"].update(revision="v2"), ["the model's revision (main → v2)"]),
        (lambda m: m["models"]["banana"].update(identity="2"), ["the model's weights (1 → 2) in banana"]),
        (lambda m: m["data"].update(plain="y", banana="y"), ["the data themselves"]),
        (lambda m: m["data"].update(plain="y"), ["the data themselves of plain"]),
        (lambda m: m["asked"].update({"data.seed": "1"}), ["data.seed (0 → 1)"]),
        (lambda m: m["asked"].update(template="new"), ["template (nothing → new)"]),
        (lambda m: m["code"].update(fit="2"), ["nothing but the code of fit"]),
        (lambda m: m["code"].update(fit="2") or m["asked"].update(seeds="9"), ["seeds (nothing → 9)", "the code of fit"]),
        (lambda m: m["runs"][0]["versions"].update(torch="2.13"), ["torch (2.11 → 2.13)"]),
        (lambda m: m["runs"][0]["hardware"].update(processor="B"), ["processor (A → B)"]),
        (lambda m: m.pop("code"), ["one of the two does not say how it was made"]),
        (lambda m: m.update(asked=[1]), ["one of the two does not say how it was made"]),
        (lambda m: m.update(runs=[{}]), ["nothing that the manifests know of"]),
        (lambda m: m["asked"].update({"x\x1b[31m": "\u202ey"}), ["x (nothing → y)"]),
        (lambda m: m["asked"].update({f"k{n}": "1" for n in range(9)}), [*(f"k{n} (nothing → 1)" for n in range(6)), "3 more entries of the spec"]),
    ],
)  # fmt: skip
def test_a_planted_cause_is_named_and_nothing_else(change: Callable[[dict[str, Any]], object], said: list[str]) -> None:
    assert changed(change) == said


def test_a_former_version_says_nothing() -> None:
    assert made_of({"stages": []}) == Made()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Callable[..., ReportFolder]:
    folder = tmp_path_factory.mktemp("why")
    path, store = write_text(folder, tiny_llama), Store(folder / "store")

    def made(*sets: str) -> ReportFolder:
        out = folder / f"out{len(list(folder.iterdir()))}"
        return ReportFolder.open(str(pipeline.run(path, sets=sets, out=out, store=store, page=False).folder), store)

    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.seed=5", "data.seed (0 → 5)"),
        ("prompt.template=Is {{ colour }} warm? {{ answer }}", "prompt.template ("),
        ("seeds=3", "seeds ("),
        ("data.limit=50", "data.limit ("),
    ],
)
def test_what_was_asked_otherwise_is_named_first(reports: Callable[..., ReportFolder], change: str, said: str) -> None:
    base = reports()
    found = compare(base, reports(change))
    assert found.why[0].startswith(said), found.why
    assert compare(base, base).nothing


def test_what_is_asked_stands_there_once(tmp_path: Path, tiny_llama: Path) -> None:
    from harness import language

    spec = language.read(write_text(tmp_path, tiny_llama))
    found = asked(spec)
    assert found["conditions.*.model.dtype"] == "float32"
    assert all(len(value) <= LONGEST for value in found.values())
    assert not any(path.endswith(".name") for path in found)


# ---- what is shown


def test_from_the_shortest_to_the_longest(tmp_path: Path) -> None:
    from rich.console import Console

    rows = [f"a,a,p{layer},{layer},truth,accuracy,0.5000,0.4500,0.5500,100,1" for layer in range(60)]
    moved = [row.replace("0.5000,0.4500,0.5500", "0.9000,0.8500,0.9500") for row in rows]
    value = FAILED[0].replace("-0.4500,-0.5000,-0.4000", "-0.1000,-0.1500,-0.0500")
    old = ReportFolder.open(
        str(make(tmp_path / "old", [*BASE, *rows], [*FAILED, CHECK.format("pass", "pass", "as_expected")]))
    )
    new = ReportFolder.open(
        str(make(tmp_path / "new", [*BASE, *moved], [value, CHECK.format("fail", "pass", "unexpected")]))
    )
    found = compare(old, new)

    def text(width: int, **more: bool) -> str:
        console = Console(file=io.StringIO(), width=width)
        console.print(as_text(found, width=width, **more))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    shown = text(80)
    order = [
        "60 of 63 rows",
        "why:",
        "Checks that changed",
        "Checks whose value moved",
        "Rows at the summary layers",
        "Beyond its interval",
    ]
    assert [shown.index(part) for part in order] == sorted(shown.index(part) for part in order)
    assert "20 further rows; --all shows them." in shown and "further rows" not in text(80, every=True)
    assert "p59" in text(80, every=True)
    assert "Rows at the summary layers" not in text(80, only_checks=True)
    assert "…" not in text(60) and max(map(len, text(60).splitlines())) <= 60
    assert "[0.45, 0.55]" not in shown and "[0.45, 0.55]" in text(140)
    assert as_data(found)["values_of_checks"][0]["new"]["value"] == -0.1
    assert b"60 rows at summary layers moved" in as_svg(found) or as_svg(found).startswith(b"<?xml")


def test_a_comment_takes_it_whatever_moved(tmp_path: Path) -> None:
    rows = [f"a,a,{'p' * 60}{n},{n},truth,accuracy,0.5000,0.4500,0.5500,100,1" for n in range(900)]
    moved = [row.replace("0.5000,0.4500,0.5500", "0.9000,0.8500,0.9500") for row in rows]
    old, new = (ReportFolder.open(str(make(tmp_path / name, found))) for name, found in (("old", rows), ("new", moved)))
    text = as_markdown(compare(old, new), every=True)
    assert len(text) <= MOST_CHARACTERS
    assert "too long for a comment" in text and "900 of 900 rows" in text


def test_a_change_up_to_the_tolerance_is_none(tmp_path: Path) -> None:
    old = ReportFolder.open(str(make(tmp_path / "old")))
    new = ReportFolder.open(str(make(tmp_path / "new", (CCS.format("0.9300", "0.9200", "0.9600"), *BASE[1:]))))
    assert len(compare(old, new).moved) == 1
    assert compare(old, new, 0.02).nothing
    assert len(compare(old, new, 0.0199).moved) == 1


def test_other_layers_are_told_in_a_line_each(reports: Callable[..., ReportFolder]) -> None:
    found = compare(reports(), reports("data.seed=6"))
    assert found.deeper and found.compared_deeper > found.compared
    text = as_markdown(found)
    assert "Other layers:" in text and "; most at layer " in text
    assert json.dumps(as_data(found))
