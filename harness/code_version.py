"""The code version of a stage: a hash of the modules that it runs, blind to comments, docstrings and layout.

A stored artifact answers only for the code that made it. Nobody has to remember to raise a number, and a better
comment recomputes nothing.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent


@cache
def code_version(*names: str) -> str:
    """Hash of modules, given as paths below the package without ending: `probes/ccs`, or `activations` for a folder."""
    digest = hashlib.sha256()
    for name in sorted(names):
        place = _ROOT / name
        files = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        for file in files:
            digest.update(f"{file.relative_to(_ROOT).as_posix()}\n".encode())
            digest.update(_of_file(file))
    return digest.hexdigest()[:16]


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
