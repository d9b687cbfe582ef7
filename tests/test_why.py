"""Why two reports differ: a planted cause each is named, and nothing else; and what is shown of a difference, from short to long."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import language, pipeline
from harness.report.asked import LONGEST, asked
from harness.report.compare import Difference, ReportFolder, as_data, as_markdown, as_text, compare
from harness.report.compare.picture import as_svg
from harness.report.compare.show import MOST_CHARACTERS
from harness.report.compare.why import NOTHING_KNOWN, Made, causes, made_of
from harness.spec import Spec
from harness.spec.plain import spec_content
from harness.store import Store, content_key
from tests.test_diff import BASE, CCS, CHECK, FAILED, make
from tests.test_pipeline import write_text

SEEN: dict[str, Any] = {
    "asked": {"data.seed": "0", "model.id": "a"},
    "models": {"plain": {"id": "a", "revision": "main", "identity": "1", "dtype": "float32"}, "banana": {"id": "a", "revision": "main", "identity": "1", "dtype": "float32"}},
    "spec_hash": "1",
    "report": {"about": "old"},
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
        (lambda m: [one.update(dtype=dtype) for one, dtype in ((m["models"]["plain"], "bfloat16"), (m["models"]["banana"], "bfloat16"))], ["products in bfloat16, not float32,"]),
        (lambda m: m["models"]["banana"].update(dtype="float16"), ["products in float16, not float32, in banana"]),
        (lambda m: m["runs"][0]["versions"].update(python="3.13"), ["python (3.12 → 3.13)"]),
        (lambda m: m["runs"][0]["versions"].update(gguf="0.10"), ["gguf (nothing → 0.10)"]),
        (lambda m: m["runs"][0]["versions"].pop("torch"), ["torch (2.11 → nothing)"]),
        (lambda m: m["runs"][0]["hardware"].pop("torch_threads"), ["nothing that the manifests know of"]),
        (lambda m: m["report"].update(about="new"), ["about (old → new)"]),
        (lambda m: m.update(spec_hash="2"), ["the order of entries of the spec, or their type"]),
        (lambda m: m["models"].update(shed=m["models"].pop("banana")), ["conditions (plain, banana → plain, shed)"]),
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


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every entry of a spec, lists included; a part of it, which cannot be missing, by its own entries."""
    if path and not isinstance(value, msgspec.Struct):
        yield path
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from places(getattr(value, name), (*path, name))
    elif isinstance(value, dict | tuple):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, name))


def otherwise(value: Any) -> Any:
    """Another value of the same kind; nothing for what was something."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case None:
            return {"folder": "x", "kind": "y"}
        case dict():
            return {} if value else {"x": "y"}
        case tuple():
            return value[:-1] if value else ({"x": "y"},)
    return None


def altered(value: Any, path: Sequence[str | int]) -> Any:
    """The spec with another value at a place."""
    if not path:
        return otherwise(value)
    first, *rest = path
    if isinstance(value, msgspec.Struct):
        made = copy.copy(value)
        msgspec.structs.force_setattr(made, str(first), altered(getattr(value, str(first)), rest))
        return made
    if isinstance(value, dict):
        return {name: altered(inner, rest) if name == first else inner for name, inner in value.items()}
    return tuple(altered(inner, rest) if place == first else inner for place, inner in enumerate(value))


def made_for(spec: Spec) -> Made:
    """What the manifest of a run of the spec says of it."""
    models = {condition.name: {"id": "a"} for condition in spec.conditions}
    asked_for = {"spec_hash": content_key(spec_content(spec)), "asked": asked(spec), "report": {"about": spec.about}}
    return made_of({**asked_for, "models": models, "code": {"fit": "1"}})


def test_an_option_that_is_new_and_not_given_changes_nothing_that_was_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_llama: Path
) -> None:
    """Nor one that stands elsewhere among the others."""
    spec = language.read(write_text(tmp_path, tiny_llama))
    before, content = asked(spec), spec_content(spec)
    for folder in ("probes", "checks"):
        assert content[folder]
        content[folder] = [dict([*reversed(one.items()), ("new", None), ("more", False)]) for one in content[folder]]
    monkeypatch.setattr("harness.report.asked.spec_content", lambda spec: copy.deepcopy(content))
    assert asked(spec) == before
    # The control: one that is given.
    content["checks"][0]["new"] = 1
    assert asked(spec) != before


def test_whatever_is_asked_otherwise_is_named(tmp_path: Path, tiny_llama: Path) -> None:
    """Over every key of the language, those that change no number included."""
    spec = language.read(write_text(tmp_path, tiny_llama))
    before = made_for(spec)
    assert causes(before, made_for(copy.copy(spec))) == [NOTHING_KNOWN]
    told = 0
    for path in places(spec):
        if path == ("file",):
            continue
        said = causes(before, made_for(altered(spec, path)))
        keys = [part for part in path if isinstance(part, str) and part != "name"]
        assert any(key in cause for key in keys[-1:] or keys for cause in said) or any(
            str(path[0]) in cause for cause in said
        ), (path, said)
        told += 1
    assert told > 100


def test_an_order_is_named(tmp_path: Path, tiny_llama: Path) -> None:
    spec = language.read(write_text(tmp_path, tiny_llama))
    turned = msgspec.structs.replace(spec, probes=spec.probes[::-1])
    assert causes(made_for(spec), made_for(turned)) == ["the order of entries of the spec, or their type"]


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("about=in other words", "about ("),
        ("rows=false", "rows (nothing → False)"),
        ("metrics=[accuracy]", "metrics ("),
        ("layer=1", "layer ("),
    ],
)
def test_what_moves_no_number_is_named_first(reports: Callable[..., ReportFolder], change: str, said: str) -> None:
    found = compare(reports(), reports(change))
    assert found.why[0].startswith(said), found.why
    assert said in "\n".join(lines(found)[:4])


def test_a_moved_summary_layer_is_told_with_both_scores(reports: Callable[..., ReportFolder]) -> None:
    old, new = reports("layer=1"), reports("layer=2")
    found = compare(old, new)
    assert {(one.old, one.new) for one in found.layers} == {("1", "2")}
    (one,) = (one for one in found.layers if (one.tested_on, one.probe) == ("banana", "mean_difference"))
    row = next(row for row in one.rows if (row.target, row.metric) == ("truth", "auroc"))
    assert row.old == old.results["plain", "banana", "mean_difference", "1", "truth", "auroc"]
    assert row.new == new.results["plain", "banana", "mean_difference", "2", "truth", "auroc"]
    shown = lines(found)
    assert shown[0].startswith("the summary layer of") and "moved (1 → 2)" in shown[0]
    assert shown[1].startswith("why: layer (1 → 2)")
    assert any("mean_difference" in line and "at layer 1 →" in line for line in shown)
    assert "Summary layers that moved" in as_markdown(found) and as_data(found)["summary_layers"]
    # Of a revision, whose other layers are not at hand, the same.
    bare = [msgspec.structs.replace(one, deeper={}) for one in (old, new)]
    assert compare(*bare).layers == found.layers and not (compare(*bare).added or compare(*bare).removed)
    assert not compare(old, old).layers


def lines(found: Difference) -> list[str]:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=300)
    console.print(as_text(found, width=300))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_what_is_asked_stands_there_once(tmp_path: Path, tiny_llama: Path) -> None:
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


def test_what_is_said_of_several_conditions_is_said_of_each() -> None:
    apart = {**SEEN, "conditions": ["plain", "banana"]}
    model, data = apart["models"]["plain"], apart["data"]["plain"]
    together = {**apart, "models": {"plain, banana": model}, "data": {"plain, banana": data}}
    assert made_of(together) == made_of(apart)
    swapped = {**together, "conditions": ["banana", "plain"]}
    assert "conditions (plain, banana → banana, plain)" in causes(made_of(together), made_of(swapped))


def test_a_manifest_of_a_former_version_differs_in_nothing_that_is_only_written_otherwise() -> None:
    long = "a value of more letters than stand in a manifest as they are, so that it is a hash"
    now = {
        **SEEN,
        "asked": {"data.seed": "0", "checks.a": content_key(long)[:8]},
        "models": {"plain": {"id": "a", "revision": "0" * 12}},
    }
    revision = {"plain": {"id": "a", "revision": "0" * 40}}
    then = {"data.seed": "0", "data.half": "None", "checks.a": content_key(long)}
    assert made_of({**now, "asked": then, "models": revision}) == made_of(now)
