"""A kind: one thing that a spec can name (a probe, a data set, a check …), described by its own struct.

A folder is its own registry: `kind: mean_difference` among the probes is `harness/probes/mean_difference.py`,
and the one `Kind` subclass defined there is what the YAML decodes into. Options, types, ranges, defaults and
their documentation are the struct's fields and field docstrings, and stand nowhere else: the schema, the
error messages and `harness list` read them from here.

Modules of kinds import nothing heavy (torch, scipy, transformers) at the top, so that a spec is validated
in a fraction of a second.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import msgspec

FOLDERS = ("data", "distractors", "beds", "normalisations", "probes", "metrics", "checks", "analyses")


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything that a spec names by `kind`. Fields are options; a docstring under a field explains it."""

    source: ClassVar[str] = ""
    """The paper, section or equation that it comes from; empty if it is our own."""
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Other names that a spec may use for it, each with the options that it stands for."""

    @classmethod
    def kind(cls) -> str:
        """The name used in a spec: the name of the module."""
        return cls.__module__.rsplit(".", 1)[-1]


class Option(msgspec.Struct, frozen=True):
    """One option of a kind, for `harness list`, the schema and the documentation."""

    name: str
    type: Any
    required: bool
    default: Any
    doc: str


def canonical(name: str) -> str:
    """`movie-reviews` and `movie_reviews` are one name."""
    return name.replace("-", "_")


@cache
def names(folder: str) -> tuple[str, ...]:
    """All kinds in a folder, sorted, without importing them."""
    package = Path(__file__).parent / folder
    modules = [*package.glob("*.py"), *(path.parent for path in package.glob("*/__init__.py"))]
    return tuple(sorted(path.stem for path in modules if not path.stem.startswith("_")))


@cache
def find(folder: str, name: str) -> type[Kind]:
    """The kind called `name` in `folder`. Raises KeyError if there is none."""
    name = canonical(name)
    if name not in names(folder):
        raise KeyError(name)
    module = import_module(f"harness.{folder}.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Kind) and value.__module__ == module.__name__
    ]
    assert len(found) == 1, f"{module.__name__} must define exactly one kind, has {len(found)}"
    return found[0]


@cache
def aliases(folder: str) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Other names for the kinds in a folder: each with the kind that it means and the options that it stands for."""
    return {
        other: (name, stands_for) for name in names(folder) for other, stands_for in find(folder, name).aliases.items()
    }


def named(folder: str, name: str) -> Kind:
    """What a spec means by a bare name, which may be an alias; other options have their defaults. Raises KeyError."""
    name = canonical(name)
    own, stands_for = (name, {}) if name in names(folder) else aliases(folder)[name]
    return msgspec.convert(stands_for, find(folder, own))


@cache
def field_docs(cls: type[Any]) -> dict[str, str]:
    """The docstring under each field of a class and of its bases, nearest definition first."""
    docs: dict[str, str] = {}
    for owner in cls.__mro__:
        docs = {**_own_docs(owner), **docs}
    return docs


@cache
def _own_docs(owner: type) -> dict[str, str]:
    """The docstrings that stand in one class itself."""
    docs: dict[str, str] = {}
    body = _classes(owner.__module__).get(owner.__name__, [])
    for field, doc in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(doc, ast.Expr)
            and isinstance(doc.value, ast.Constant)
            and isinstance(doc.value.value, str)
        ):
            docs.setdefault(field.target.id, inspect.cleandoc(doc.value.value))
    return docs


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """The bodies of the classes at the top of a module, whose source is parsed once for all of them."""
    loaded = sys.modules.get(module)
    if module in ("builtins", "msgspec") or loaded is None:
        return {}
    try:
        tree = ast.parse(inspect.getsource(loaded))
    except (OSError, TypeError):
        return {}
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}


def options(cls: type[msgspec.Struct]) -> tuple[Option, ...]:
    """The options of a kind (or of any struct of the spec) in the order in which they are declared."""
    docs = field_docs(cls)
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        Option(
            name=field.encode_name,
            type=hints[field.name],
            required=field.required,
            default=None if field.required else _default(field),
            doc=docs.get(field.name, ""),
        )
        for field in msgspec.structs.fields(cls)
    )


def _default(field: Any) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def summary(cls: type) -> str:
    """First paragraph of a class's docstring, on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())
