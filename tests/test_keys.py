"""Keys of stages change with the code that makes them, and with nothing else."""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import language, pipeline
from harness.code import code_version
from harness.code.closure import Closure, Tree
from harness.code.code_version import code_of
from harness.code.entries import PARTS, WITHOUT
from harness.contracts import Erasure
from harness.contracts.kind import FOLDERS, find, names
from harness.execution.controls import Refitted
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.store import Store
from harness.untrusted import worker

from .test_pipeline import PLANTED, write_text
from .tracing import Ran, traced
from .worker_here import worker_here

ROOT = Path(harness.__file__).parent
EXAMINED = """
autopsy: [{probe: ccs}]
geometry: true
leaderboard: true
sample_efficiency: {rows: [20, 40], draws: 2, probes: [mean_difference]}
analyses:
  - {kind: sparse_autoencoders, on: [{l1: [0.1], gated: [0.1], top_k: [2], dictionary: 4, seeds: 1, steps: 2}]}
  - {kind: polysemantic_neurons, probes: [k_sparse, k_sparse@word]}
  - {kind: thresholds, probes: [logistic_regression], fit_on: main, conditions: [main], controls: [main], rate: 0.1}
"""
STEERED = "interventions: [{probe: mean_difference, condition: plain, fit_on: plain}]\n"
INSIDE = "analyses: [{kind: attention_heads, conditions: [plain], period: 10, sequences: 4}, {kind: patching, clean: first, corrupted: second}, {kind: sparse_autoencoders, on: [{condition: plain, layer: 1, top_k: [2], dictionary: 4, seeds: 1, steps: 2, texts: 2}]}]\n"
TAUGHT = "conditions:\n  features: {features: {variant: top_k, sparsity: 2}}\n  taught: {elicit: {steps: 1, rank: 2, batch: 2}}\n"
ASKED = "".join(
    f'  {name}: {{prompt: {{template: "{{{{ colour }}}} {name[0]}{{{{ answer }}}}", answers: [x, y]}}}}\n'
    for name in ("first", "second")
)
"""Conditions whose prompts have as many tokens and answers of one."""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT, tmp_path / "harness", ignore=shutil.ignore_patterns("weights", "__pycache__"))


def planted_spec(folder: Path) -> Path:
    path = folder / "planted.yaml"
    several = "mean_difference, k_sparse, {kind: k_sparse, target: word}, {kind: lda, layers: {together: 2}}]"
    path.write_text(PLANTED.replace("EXPECTED", "fail").replace("mean_difference]", several) + EXAMINED)
    return path


def language_spec(folder: Path, model: Path) -> Path:
    """One network as it is and taught, steered, and looked into."""
    path = write_text(folder, model)
    path.write_text(
        path.read_text().replace("probes:", f"{INSIDE}{STEERED}probes:").replace("conditions:\n", TAUGHT + ASKED)
    )
    return path


Entries = Mapping[str, tuple[str, ...]]


@pytest.fixture(scope="session")
def entries(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Entries:
    """Where the code begins of every kind of stage, of what is part of some, and of every kind that a spec can name."""
    folder = tmp_path_factory.mktemp("entries")
    found: dict[str, tuple[str, ...]] = {}
    for path in (planted_spec(folder), language_spec(folder, tiny_llama)):
        for stage in pipeline.planned(language.read(path), folder, Store(folder / "store")).stages:
            own = map(code_version._named, stage.runs)
            found[stage.kind] = tuple(dict.fromkeys((*found.get(stage.kind, ()), *own)))
    kinds = {
        f"{folder} {name}": (code_version._named(find(folder, name)),) for folder in FOLDERS for name in names(folder)
    }
    return {**found, **PARTS, **kinds}


def closures(entries: Entries, root: Path = ROOT) -> dict[str, Closure]:
    tree, found = Tree(root, "harness"), {}
    for title, own in entries.items():
        named = {entry.partition(":")[0] for entry in own}
        found[title] = Closure(tree, set(WITHOUT) - named)
        found[title].enter(own)
    return found


def codes(entries: Entries, root: Path = ROOT) -> dict[str, str]:
    return {title: closure.code for title, closure in closures(entries, root).items()}


def changed(entries: Entries, root: Path) -> set[str]:
    """What has another code than in the package itself."""
    before, after = codes(entries), codes(entries, root)
    return {title for title in before if before[title] != after[title]}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


# ---------------------------------------------------------------- the face


def test_an_entry_that_does_not_exist_is_refused() -> None:
    for entry in ("prompts.building:bild", "promts:build", "fitting.fit:Fitting.fit"):
        with pytest.raises(LookupError, match=entry):
            code_of(entry)


def test_classes_and_functions_are_entries_too() -> None:
    from harness.fitting.fit import Fitting, score
    from harness.probes.ccs import ContrastConsistentSearch as Ccs

    assert code_of(Fitting) == code_of("fitting.fit:Fitting")
    assert code_of(score) == code_of("fitting.fit:score")
    assert code_of(Ccs.fit) == code_of("probes.ccs:ContrastConsistentSearch.fit") != code_of(Ccs)


def test_a_class_of_another_package_leads_into_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "from harness.probes.crc_tpc import TopPrincipalComponent\nSIZE = 3\nclass Mine(TopPrincipalComponent):\n    def size(self): return SIZE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from elsewhere import Mine  # type: ignore[import-not-found]

    # Whatever another test has followed, it followed in a tree of its own.
    code_version._extended.cache_clear()
    found = {name for _, name in _names(code_of(Mine))}
    assert {"Mine.size", "SIZE", "Probe"} <= found
    monkeypatch.setattr(code_version.tree(), "indexes", {"harness": code_version.tree().index})


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


@pytest.mark.slow
def test_a_mutated_constant_changes_what_runs_it_and_nothing_else(copied: Path, entries: Entries) -> None:
    draw = random.Random(14)
    own = closures(entries)
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
        after = codes(entries, copied)
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
        ("prompts/where.py", "column.is_in(asked)", "~column.is_in(asked)", {"prompts"}),
        ("report/figures/seeds.py", "return", "print()\n    return", {"report"}),
        ("scoring/labels.py", "agreeing.any()", "agreeing.all()", {"score"}),
        ("report/facts.py", "layer 0 is", "layer 0 was", {"summary"}),
        ("stages/fits_by_layer.py", "one.probe.fit(train, one.seeds)", "one.probe.fit(train, one.seeds[:1])", {"fit"}),
        ("maths/right.py", "return", "print()\n    return", {"tables", "checks", "samples", "headline"}),
        ("maths/halves.py", "return Spread", "print()\n    return Spread", {"headline"}),
        ("scoring/over_draws.py", "count == 1", "count < 2", {"draws"}),
    ],
)
def test_what_was_in_no_key_is_in_one(
    copied: Path, entries: Entries, file: str, old: str, new: str, stages: set[str]
) -> None:
    edit(copied / file, old, new)
    assert stages <= changed(entries, copied)


def test_what_states_and_fits_do_not_depend_on_leaves_their_keys(copied: Path, entries: Entries) -> None:
    edit(
        copied / "contracts" / "checks.py",
        "class Check(Claim, frozen=True",
        "class Check(Claim, order=True, frozen=True",
    )
    edit(copied / "report" / "markdown.py", "return", "print()\n    return")
    for file in (copied / "language").rglob("*.py"):
        file.write_text(f"{file.read_text()}\nMORE = 1\n".replace("return None", "return (None)"))
    found = changed(entries, copied)
    assert {"checks", "report"} <= found
    kept = {"prompts", "elicit", "activations", "fit", "score", "states of a network", "probes ccs"}
    assert not found & kept
    edit(
        copied / "contracts" / "checks.py",
        "class Metric(Kind, frozen=True):",
        "class Metric(Kind, frozen=True, order=True):",
    )
    # Layers that are fitted together are chosen by one.
    assert changed(entries, copied) & kept == {"fit"}


def test_moved_files_and_better_words_change_nothing(copied: Path, entries: Entries) -> None:
    shutil.move(copied / "scoring" / "score.py", copied / "report" / "marks.py")
    shutil.move(copied / "activations" / "layers.py", copied / "which_layers.py")
    for file in copied.rglob("*.py"):
        text = file.read_text()
        text = text.replace("from harness.scoring import score\n", "from harness.report import marks as score\n")
        text = text.replace("harness.scoring.score ", "harness.report.marks ").replace(
            "harness.activations.layers", "harness.which_layers"
        )
        file.write_text(
            f"# A comment.\n{text}" if "from __future__" not in text else text.replace('"""', '"""Better: ', 1)
        )
    assert changed(entries, copied) == set()


def test_every_module_is_in_a_key_or_only_in_commands(entries: Entries) -> None:
    found = {module for closure in closures(entries).values() for module, _ in closure.names()}
    tree = Tree(ROOT, "harness")
    # What a command reaches without any stop, is what only commands use.
    whole = Closure(tree)
    commands = [
        module
        for module in tree.index.modules
        if module.startswith(("harness.commands", "harness.cli", "harness.__main__", "harness.api"))
    ]
    commands.append("harness.models.gguf_worker")
    for module in commands:
        whole.enter(f"{module.removeprefix('harness.')}:{name}" for name in tree.source(module).names)
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
    plan = pipeline.planned(language.read(path), path.parent, store)
    with traced(Closure(code_version.tree(), WITHOUT)) as ran:
        pipeline.run(path, out=folder / "reports", store=store)
    return plan, ran


def missed(plan: Plan, ran: Ran) -> set[tuple[str, str, str]]:
    """What ran while stages of a kind were made, kept and read, and is neither in their code nor in that of what they are made from."""
    allowed: dict[str, set[tuple[str, str]]] = {}
    # Checks ask for refits, which no plan lists.
    ways: tuple[dict[str, Any], ...] = ({"shuffles": 1}, {"seeds": 1}, {"erase": Erasure()})
    refits = [Refitted(spec=plan.spec, score=one, layers=(0,), **way) for one in plan.of("score") for way in ways]
    stages = (*plan.stages, *refits)
    for stage in stages:
        allowed.setdefault(stage.kind, set()).update(_names(stage.ingredients["code"]))
    kinds = {stage.kind: {kind.kind for kind in _before(stage)} for stage in stages}
    whole = {kind: set().union(allowed[kind], *(allowed[one] for one in before)) for kind, before in kinds.items()}
    return {(stage, module, name) for stage, module, name in ran if (module, name) not in whole[stage]}


def _before(stage: Stage[Any]) -> Iterator[Stage[Any]]:
    """All that a stage is made from: what it reads may be worked out when it is first asked for."""
    for one in stage.inputs:
        yield one
        yield from _before(one)


def _names(code: str) -> set[tuple[str, str]]:
    return code_version._closure(code_version._asked[code]).names()


def test_what_runs_on_a_planted_bed_is_in_the_keys(tmp_path: Path) -> None:
    plan, ran = ran_in(planted_spec(tmp_path), tmp_path)
    assert {stage for stage, _, _ in ran} == {*(stage.kind for stage in plan.stages), "refit"}
    assert missed(plan, ran) == set()


def test_what_runs_on_a_language_model_is_in_the_keys(tmp_path: Path, tiny_llama: Path) -> None:
    plan, ran = ran_in(language_spec(tmp_path, tiny_llama), tmp_path)
    kinds = {stage.kind for stage in plan.stages}
    assert {stage for stage, _, _ in ran} == {*kinds, "refit"} and kinds >= {"elicit", "intervention"}
    assert missed(plan, ran) == set()


def test_a_warm_store_answers_for_no_other_code(copied: Path, tiny_llama: Path) -> None:
    folder = copied.parent
    path = write_text(folder, tiny_llama)
    rows = "".join(
        f"shade {n} of {'red' if n % 2 else 'blue'},{n % 2},{'a' if n % 4 < 2 else 'b'}\n" for n in range(100)
    )
    (folder / "colours.csv").write_text(f"colour,label,who\n{rows}")
    edit(path, "limit: 60", "limit: 60, where: {who: a}")
    edit(path, "transfer:", "layer: earliest_informative\nactivations: {layers: [1]}\ntransfer:")

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
    edit(copied / "prompts" / "where.py", "column.is_in(asked)", "~column.is_in(asked)")
    assert "nothing had to be computed" not in run()
    assert (folder / "reports" / "colours" / "results.csv").read_bytes() != before


def test_what_the_worker_does_is_in_the_keys(tmp_path: Path, tiny_llama: Path, copied: Path, entries: Entries) -> None:
    """Functions that are handed to the worker are followed like any others, and so is what they call."""
    path = write_text(tmp_path, tiny_llama)
    (tmp_path / "colours.csv").write_text("colour,label\n" + "".join(f"<s> {n},{n % 2}\n" for n in range(100)))
    spec, store = language.read(path), Store(tmp_path / "store")
    plan = pipeline.planned(spec, tmp_path, store)
    (prompts, *_) = plan.of("prompts")
    with worker_here() as called:
        pipeline.run(path, out=tmp_path / "reports", store=store)
    handed = {(function.__module__, function.__qualname__) for function in called}
    assert {name for _, name in handed} >= {"of_file", "rendered", "encoded"}
    assert handed <= _names(prompts.ingredients["code"])
    worker._current().end()
    assert pipeline.run(path, out=tmp_path / "reports", store=store).cached
    assert worker._current()._process is None, "where everything is stored, the worker is never started"
    for file, old, new in (
        ("untrusted/template.py", "text.rfind(closing)", "text.rfind(closing, 1)"),
        ("untrusted/chat_template.py", "datetime(2024", "datetime(2025"),
        ("models/backend.py", "add_special_tokens=True", "add_special_tokens=False"),
        ("data/_table.py", "MAX_CHARACTERS = 100_000", "MAX_CHARACTERS = 100_001"),
    ):
        edit(copied / file, old, new)
        assert "prompts" in changed(entries, copied), file
        shutil.copy(ROOT / file, copied / file)


@pytest.fixture
def edited(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package, whose code the plan takes for its own from now on."""

    def forget() -> None:
        code_version._code.cache_clear()
        code_version._extended.cache_clear()

    monkeypatch.setattr(code_version, "tree", cache(lambda: Tree(copied, "harness")))
    forget()
    yield copied
    forget()


def test_a_plan_says_which_definitions_changed(tmp_path: Path, edited: Path) -> None:
    path, store = tmp_path / "planted.yaml", Store(tmp_path / "store")
    path.write_text(PLANTED.replace("EXPECTED", "fail"))

    def plan() -> Plan:
        return pipeline.planned(language.read(path), tmp_path, store)

    plan().remember(store)
    edit(edited / "report" / "facts.py", "layer 0 is", "layer 0 was")
    edit(edited / "fitting" / "fit.py", "return pairs if", "return pairs  if 1 and")
    code_version.tree.cache_clear()
    code_version._code.cache_clear()
    code_version._extended.cache_clear()
    after = plan()
    found = after.stored(store)
    reasons = {kind: {found[stage.key].reason for stage in after.of(kind)} for kind in ("summary", "score", "fit")}
    (summary,) = reasons["summary"]
    # It says which fits found nothing, and so is made again with the scores.
    assert summary.startswith("changed: code (LAYERS), score main → main · ccs")
    assert reasons["score"] == {"changed: code (Fitting.apply)"}
    assert reasons["fit"] == {"was made, but is no longer in the store"}
