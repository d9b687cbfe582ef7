"""The code version of a stage: a hash of the modules that it runs, blind to comments, docstrings and layout.

A stored artifact answers only for the code that made it. Nobody has to remember to raise a number, and a better
comment recomputes nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from harness import kind

_ROOT = Path(__file__).parent


@cache
def code_version(*names: str) -> str:
    """Hash of modules, given as paths below the package without ending: `probes/ccs`, or `activations` for a folder.

    Of a kind from outside, all modules of its package count.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        place = _ROOT / name
        files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        root = _ROOT
        if (entry := kind.entry_of(*name.split("/", 1)) if "/" in name else None) is not None:
            files = entry.files()
            root = files[0].parent
        for file in files:
            digest.update(f"{file.relative_to(root).as_posix()}\n".encode())
            digest.update(_of_file(file))
    return digest.hexdigest()[:16]


def outside_code(kinds: Iterable[object]) -> str:
    """Hash of the code of those kinds that come from outside; empty if none does."""
    found = {f"{each.folder}/{each.kind()}" for each in kinds if isinstance(each, kind.Kind)}
    return (
        code_version(*sorted(outside))
        if (outside := {name for name in found if kind.entry_of(*name.split("/"))})
        else ""
    )


@cache
def _of_file(file: Path) -> bytes:
    """What many stages run is read once."""
    return _meaning(file.read_text(encoding="utf-8")).encode()


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    """A string that stands alone: a docstring of a module, class, function or field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
