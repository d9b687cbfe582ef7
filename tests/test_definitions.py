"""Definitions and their closures, on small packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.code import index
from harness.code.closure import Closure, Tree
from harness.code.definitions import read_source


def code(*sources: str) -> list[str]:
    """Text of the definitions of small modules."""
    return [definition.text for source in sources for definition in read_source(source).definitions]


def test_a_definition_is_its_meaning_only() -> None:
    before = 'def f(x):\n    """Doc."""\n    return x + 1\n'
    assert code(before) == code("# a comment\ndef f(x):\n\n    return (x + 1)\n")
    assert code(before) != code("def f(x):\n    return x + 2\n")
    fields = 'class A:\n    x: int = 1\n    """What it is."""\n'
    assert code(fields) == code("class A:\n\n    x: int = 1  # what it is\n")


def test_where_a_name_was_imported_makes_no_difference() -> None:
    at_the_top = "from harness.prompts.relations import relations as r\ndef f(): return r(1)\n"
    inside = "def f():\n    from harness.prompts.relations import relations\n    return relations(1)\n"
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness.maths.laws import Law\ndef f(x: Law): pass\n"
    assert code(at_the_top) == code(inside)
    assert read_source(for_types).definitions[0].hints == ["harness.maths.laws.Law"]


def test_variables_are_no_references() -> None:
    source = read_source(
        "from harness.plan import plain\n"
        "def f(plain): return plain\n"
        "def g(): return [plain for plain in range(3)]\n"
        "def h(): return [one for one in plain]\n"
    )
    assert [definition.uses for definition in source.definitions] == [[], [], ["harness.plan.plain"]]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    root = tmp_path / "small"
    root.mkdir()
    (root / "__init__.py").write_text("from small.shapes import Round\n")
    (root / "shapes.py").write_text(
        "class Shape:\n    sides: int = 4\n    def area(self): return side(2)\n    def name(self): return 'shape'\n"
        "class Round(Shape):\n    def area(self): return 3\n    def around(self): return TABLE\n"
        "def side(x): return x * x\n"
        "from pathlib import Path\nTABLE = Path(__file__).with_suffix('.csv')\n"
    )
    (root / "shapes.csv").write_text("1\n")
    (root / "work.py").write_text(
        "from __future__ import annotations\nimport small\n"
        "def measure(shape: small.shapes.Shape): return shape.area()\n"
        "def made(): return small.Round().around()\n"
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\n"
    )
    return root


def reached(root: Path, *entries: str) -> set[str]:
    closure = Closure(Tree(root))
    closure.enter(entries)
    return {name for _, name in closure.names()}


def test_a_closure_has_what_can_run(small: Path) -> None:
    assert reached(small, "work:measure") == {"measure", "Shape", "Shape.area", "side"}
    everything = {"made", "Round", "Round.around", "TABLE", "Shape", "Shape.sides"}
    assert reached(small, "work:made") == everything
    assert reached(small, "work:measure", "work:made") == everything | {"measure", "Shape.area", "Round.area", "side"}
    assert reached(small, "work:even") == {"even", "odd"}
    assert reached(small, "shapes:Round") >= {"Round.area", "Shape.area", "Shape.name"}


def test_a_file_of_data_counts_where_it_is_named(small: Path) -> None:
    def found(entry: str) -> str:
        closure = Closure(Tree(small))
        closure.enter([entry])
        return closure.code

    before = found("work:made"), found("work:measure")
    (small / "shapes.csv").write_text("2\n")
    assert found("work:made") != before[0]
    assert found("work:measure") == before[1]


# ---------------------------------------------------------------- the index


def test_a_damaged_index_is_made_anew(tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> str:
        closure = Closure(Tree(small, cache=tmp_path / "cache"))
        closure.enter(["work:made"])
        closure.tree.index.keep()
        return closure.code

    monkeypatch.setattr(index, "_read", {})
    before = found()
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    for damaged in (b"", b"\x00", whole[:-5], whole[:40] + b"x" + whole[41:], b"0" * len(whole)):
        file.write_bytes(damaged)
        index._read.clear()
        assert found() == before
        assert file.read_bytes() == whole


def test_a_cache_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path, small: Path) -> None:
    (tmp_path / "file").write_text("")
    closure = Closure(Tree(small, cache=tmp_path / "file" / "cache"))
    closure.enter(["work:made"])
    closure.tree.index.keep()
    assert closure.code
