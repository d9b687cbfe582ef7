"""Every kind in every folder keeps the house's rules."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from harness.contracts import Check, Claim, kind, named_by

ROOT = Path(kind.__file__).parents[1]
KINDS = [(folder, name) for folder in kind.FOLDERS for name in kind.names(folder)]

HEAVY = ("torch", "scipy", "sklearn", "transformers", "polars", "pandas", "datasets")


@pytest.mark.parametrize(("folder", "name"), KINDS)
def test_a_kind_says_what_it_is_and_explains_every_option(folder: str, name: str) -> None:
    cls = kind.find(folder, name)
    assert cls.kind() == name
    summary = kind.summary(cls)
    assert summary.endswith("."), f"{name}: the docstring's first paragraph must be sentences, is {summary!r}"
    for option in kind.options(cls):
        assert option.doc.endswith("."), f"{name}.{option.name}: explain it, in sentences, below the field"


def test_the_walk_finds_kinds_in_every_folder() -> None:
    assert {folder for folder, _ in KINDS} == set(kind.FOLDERS)
    # The control: a kind without words would be noticed.
    assert not kind.summary(
        type("Silent", (kind.Kind,), {"__module__": "builtins", "__doc__": ""}, frozen=True)
    ).endswith(".")


@pytest.mark.parametrize("folder", kind.FOLDERS)
def test_an_alias_is_no_kind_and_its_options_make_one(folder: str) -> None:
    for name, (own, stands_for) in kind.aliases(folder).items():
        assert name not in kind.names(folder)
        made = kind.named(folder, name)
        assert (made.kind(), {option: getattr(made, option) for option in stands_for}) == (own, stands_for)


def test_what_every_check_has_stands_on_the_contract() -> None:
    """Nobody has to ask whether a check has a probe, and no option that names something is left out of `refers`."""
    names = {option.name for option in kind.options(Check)}
    for path in ROOT.rglob("*.py"):
        asked = {
            node.args[1].value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr"
            if isinstance(node.args[1], ast.Constant)
        }
        assert not asked & names, path.name
    assert named_by(Check) == {"probe": "probe", "condition": "condition", "fit_on": "condition"}
    for name in kind.names("checks"):
        check = kind.find("checks", name)
        assert issubclass(check, Claim)
        like_a_name = {"against", "target", "over", "of", "floor", "ceiling", "answers", "asked_in", "erased_on"}
        assert {option.name for option in kind.options(check)} & like_a_name <= set(named_by(check)), name


def test_evidence_is_declared_once() -> None:
    declared = [
        path.name
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Evidence")
    ]
    assert declared == ["evidence.py", "evidence.py"], "of a run, and of one probe in it"


def test_a_kind_is_a_module_or_a_folder_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "things/small.py",
        "things/large/__init__.py",
        "things/_shared.py",
        "things/weights/a.txt",
        "things/__init__.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(kind, "ROOT", tmp_path)
    assert kind.built_in.__wrapped__("things") == ("large", "small")


@pytest.mark.parametrize(("folder", "name"), KINDS)
def test_a_kind_is_made_of_plain_values(folder: str, name: str) -> None:
    """The options of a kind can stand in YAML: what cannot be written as JSON Schema cannot be documented either."""
    from harness.language.schema.json_schema import option_schema

    for option in kind.options(kind.find(folder, name)):
        assert option_schema(option.type)


def test_importing_all_kinds_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom harness.contracts import kind; "
        "[kind.find(folder, name) for folder in kind.FOLDERS for name in kind.names(folder)]; "
        f"print([module for module in {HEAVY!r} if module in sys.modules], 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # numpy is allowed, and shows that the walk did import something.
    assert done.stdout.strip() == "[] True"


def test_no_class_of_the_language_does_everything() -> None:
    for path in (ROOT / "language").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = [each.name for each in node.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_"]
                assert len(methods) <= 15, f"{node.name} has {len(methods)} public methods"


def test_there_are_no_drawers_for_odds_and_ends() -> None:
    banned = {"utils", "helpers", "common", "manager", "misc"}
    assert not [path for path in ROOT.rglob("*.py") if path.stem.strip("_") in banned]
