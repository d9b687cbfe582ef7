"""Keys of stages change with the code that makes them, and with nothing else."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness import code_version, index, language, pipeline
from harness.closure import Closure, Tree
from harness.code_version import code_of
from harness.compiling import compile_plan
from harness.definitions import read_source
from harness.entries import PARTS, STAGES, WITHOUT
from harness.kind import FOLDERS, names
from harness.plan import Plan
from harness.store import Store

from .test_pipeline import PLANTED, write_text
from .tracing import Ran, traced

ROOT = Path(harness.__file__).parent
UPSTREAM = ("prompts", "elicit", "activations", "fit", "score")
"""Stages whose keys are ingredients of those after them."""
EXAMINED = """
autopsy: [{probe: ccs}]
geometry: true
sample_efficiency: {rows: [20, 40], draws: 2, probes: [mean_difference]}
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT, tmp_path / "harness", ignore=shutil.ignore_patterns("weights", "__pycache__"))


def closures(root: Path = ROOT) -> dict[str, Closure]:
    """Of every kind of stage, and of every kind that a spec can name."""
    tree, found = Tree(root, "harness"), {}
    kinds = {f"{folder} {name}": (f"{folder}.{name}", None) for folder in FOLDERS for name in names(folder)}
    for title, entries in {**STAGES, **PARTS, **kinds}.items():
        if entries[-1] is None:
            module = tree.source(f"harness.{entries[0]}")
            entries = tuple(f"{entries[0]}:{name}" for name in module.classes)
        named = {entry.partition(":")[0] for entry in entries}
        found[title] = Closure(tree, set(WITHOUT) - named)
        found[title].enter(entries)
    return found


def codes(root: Path = ROOT) -> dict[str, str]:
    return {title: closure.code for title, closure in closures(root).items()}


def changed(root: Path) -> set[str]:
    """What has another code than in the package itself."""
    before, after = codes(), codes(root)
    return {title for title in before if before[title] != after[title]}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


# ---------------------------------------------------------------- what changes a code, and what does not


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
    at_the_top = "from harness.laws import relations as r\ndef f(): return r(1)\n"
    inside = "def f():\n    from harness.laws import relations\n    return relations(1)\n"
    for_types = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness.laws import Law\ndef f(x: Law): pass\n"
    )
    assert code(at_the_top) == code(inside)
    assert read_source(for_types).definitions[0].hints == ["harness.laws.Law"]


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


def test_an_entry_that_does_not_exist_is_refused() -> None:
    for entry in ("prompts:bild", "promts:build", "fitting:Fitting.fit"):
        with pytest.raises(LookupError, match=entry):
            code_of(entry)


def test_classes_and_functions_are_entries_too() -> None:
    from harness.fitting import Fitting, score
    from harness.probes.ccs import ContrastConsistentSearch as Ccs

    assert code_of(Fitting) == code_of("fitting:Fitting")
    assert code_of(score) == code_of("fitting:score")
    assert code_of(Ccs.fit) == code_of("probes.ccs:ContrastConsistentSearch.fit") != code_of(Ccs)


# ---------------------------------------------------------------- the package


def test_what_the_walk_leaves_out_exists() -> None:
    tree = Tree(ROOT, "harness")
    for name in WITHOUT:
        module, _, definition = f"harness.{name}".partition(":")
        assert tree.index.has(module), f"{name}: no such module"
        found = {one.name for one in tree.source(module).definitions}
        assert not definition or definition in found, f"{name}: no such definition"


def constants(tree: ast.Module) -> Iterator[ast.Constant]:
    """Numbers in expressions, of which another one has another meaning."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node


def test_a_mutated_constant_changes_what_runs_it_and_nothing_else(copied: Path) -> None:
    draw = random.Random(14)
    own = closures()
    before = {title: closure.code for title, closure in own.items()}
    files = sorted(path for path in copied.rglob("*.py") if list(constants(ast.parse(path.read_text()))))
    seen = 0
    for file in draw.sample(files, 16):
        text = file.read_text()
        tree = ast.parse(text)
        node = draw.choice(list(constants(tree)))
        definition = _around(tree, node)
        module = ".".join(("harness", *file.relative_to(copied).with_suffix("").parts)).removesuffix(".__init__")
        node.value += 1
        file.write_text(ast.unparse(tree))
        expected = {title for title, closure in own.items() if (module, definition) in closure.names()}
        after = codes(copied)
        assert {title for title in before if before[title] != after[title]} == expected, (module, definition)
        seen += bool(expected)
        file.write_text(text)
    assert seen > 6


def _around(tree: ast.Module, node: ast.Constant) -> str:
    """The name of the definition in which a node stands, from its place in the file."""

    def holds(one: ast.AST) -> bool:
        return any(each is node for each in ast.walk(one))

    top = next(one for one in tree.body if holds(one))
    if isinstance(top, ast.ClassDef):
        part = next((one for one in top.body if holds(one)), None)
        return top.name if part is None else f"{top.name}.{_bound(part)}"
    return _bound(top)


def _bound(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign):
        return ", ".join(
            one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        )
    return node.target.id if isinstance(node, ast.AnnAssign) else node.name  # type: ignore[union-attr, attr-defined]


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        ("where.py", "texts.is_in(asked)", "~texts.is_in(asked)", {"prompts"}),
        ("report/figures/seeds.py", "return", "print()\n    return", {"report"}),
        ("labelling.py", "agreeing.any()", "agreeing.all()", {"score"}),
        ("facts.py", "layer 0 is", "layer 0 was", {"report"}),
        ("by_layer.py", "one.probe.fit(train, one.seeds)", "one.probe.fit(train, one.seeds[:1])", {"fit"}),
        ("metrics/_right.py", "return", "print()\n    return", {"checks", "report"}),
    ],
)
def test_what_was_in_no_key_is_in_one(copied: Path, file: str, old: str, new: str, stages: set[str]) -> None:
    edit(copied / file, old, new)
    assert stages <= changed(copied)


def test_what_states_and_fits_do_not_depend_on_leaves_their_keys(copied: Path) -> None:
    edit(copied / "contracts.py", "class Check(Kind, frozen=True):", "class Check(Kind, frozen=True, order=True):")
    edit(copied / "contracts.py", "class Metric(Kind, frozen=True):", "class Metric(Kind, frozen=True, order=True):")
    edit(copied / "report" / "markdown.py", "return", "print()\n    return")
    for file in (copied / "language").glob("*.py"):
        file.write_text(f"{file.read_text()}\nMORE = 1\n".replace("return None", "return (None)"))
    found = changed(copied)
    assert {"checks", "report"} <= found
    assert not found & {"prompts", "elicit", "activations", "fit", "score", "states of a network", "probes ccs"}


def test_moved_files_and_better_words_change_nothing(copied: Path) -> None:
    shutil.move(copied / "scoring.py", copied / "report" / "marks.py")
    shutil.move(copied / "activations" / "layers.py", copied / "which_layers.py")
    for file in copied.rglob("*.py"):
        text = file.read_text()
        text = text.replace("harness.scoring", "harness.report.marks").replace(
            "harness.activations.layers", "harness.which_layers"
        )
        text = text.replace("from harness import scoring", "from harness.report import marks as scoring")
        file.write_text(
            f"# A comment.\n{text}" if "from __future__" not in text else text.replace('"""', '"""Better: ', 1)
        )
    assert changed(copied) == set()


def test_every_module_is_in_a_key_or_only_in_commands() -> None:
    found = {module for closure in closures().values() for module, _ in closure.names()}
    tree = Tree(ROOT, "harness")
    # What a command reaches without any stop, is what only commands use.
    whole = Closure(tree)
    commands = ("cli", "bed_commands", "store_commands", "__main__", "models.gguf_worker", "listing", "costs")
    whole.enter(f"{module}:{name}" for module in commands for name in tree.source(f"harness.{module}").names)
    found |= {module for module, _ in whole.names()}
    stops = Closure(tree, WITHOUT)
    told = {
        module
        for module in tree.index.modules
        if set(tree.source(module).names) - {"__all__"} and not stops.stops_at(module, "")
    }
    assert told - found == set()


# ---------------------------------------------------------------- what really runs


def ran_in(path: Path, folder: Path) -> tuple[Plan, Ran]:
    store = Store(folder / "store")
    plan = compile_plan(language.read(path), path.parent, store)
    with traced() as ran:
        pipeline.run(path, out=folder / "reports", store=store)
    return plan, ran


def missed(plan: Plan, ran: Ran) -> set[tuple[str, str, str]]:
    """What ran while a stage was made and is not in its code, nor in that of the stages that it is made of."""
    stops = Closure(code_version.tree_of("harness"), WITHOUT)
    data = {type(condition.data.source) for condition in plan.spec.conditions if condition.data.source is not None}
    also = {name for kind in data for name in _names(code_of(kind))}
    allowed: dict[str, set[tuple[str, str]]] = {}
    for stage in plan.stages:
        allowed.setdefault(stage.kind, set()).update(_names(stage.ingredients["code"]))
    for number, stage in enumerate(UPSTREAM):
        for later in (set(allowed) - set(UPSTREAM)) | (set(UPSTREAM[number:]) & set(allowed)):
            allowed[later] |= allowed.get(stage, set())
    allowed["report"] = set().union(*allowed.values())
    return {
        (stage, module, name)
        for stage, module, name in ran
        if (module, name) not in allowed[stage] | also and not stops.stops_at(module, name)
    }


def _names(code: str) -> set[tuple[str, str]]:
    return code_version._closure(code_version._asked[code]).names()


def test_what_runs_on_a_planted_bed_is_in_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "planted.yaml"
    path.write_text(PLANTED.replace("EXPECTED", "fail") + EXAMINED)
    plan, ran = ran_in(path, tmp_path)
    assert {stage for stage, _, _ in ran} >= {
        "prompts",
        "fit",
        "score",
        "autopsy",
        "geometry",
        "samples",
        "checks",
        "report",
    }
    assert missed(plan, ran) == set()


def test_what_runs_on_a_language_model_is_in_the_keys(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_text(tmp_path, tiny_llama)
    steered = "interventions: [{probe: mean_difference, condition: plain, fit_on: plain}]\n"
    path.write_text(path.read_text().replace("probes:", f"{steered}probes:"))
    plan, ran = ran_in(path, tmp_path)
    assert {stage for stage, _, _ in ran} >= {"prompts", "activations", "fit", "score", "intervention", "report"}
    assert missed(plan, ran) == set()


def test_a_warm_store_answers_for_no_other_code(copied: Path, tiny_llama: Path) -> None:
    folder = copied.parent
    path = write_text(folder, tiny_llama)
    rows = "".join(
        f"shade {n} of {'red' if n % 2 else 'blue'},{n % 2},{'a' if n % 4 < 2 else 'b'}\n" for n in range(100)
    )
    (folder / "colours.csv").write_text(f"colour,label,who\n{rows}")
    edit(path, "limit: 60", "limit: 60, where: {who: a}")
    edit(path, "transfer:", "layer: earliest\nactivations: {layers: [1]}\ntransfer:")

    def run() -> str:
        here = {"PYTHONPATH": folder, "HARNESS_STORE": folder / "store", "XDG_CACHE_HOME": folder / "cache"}
        call = [sys.executable, "-m", "harness", "run", path.name, "--no-page", "--quiet"]
        environment = os.environ | {name: str(value) for name, value in here.items()}
        done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "nothing had to be computed" not in run()
    before = (folder / "reports" / "colours" / "results.csv").read_bytes()
    assert "nothing had to be computed" in run()
    edit(copied / "where.py", "texts.is_in(asked)", "~texts.is_in(asked)")
    assert "nothing had to be computed" not in run()
    assert (folder / "reports" / "colours" / "results.csv").read_bytes() != before


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
