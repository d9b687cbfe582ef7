"""A kind: one thing that a spec can name (a probe, a data set, a check …), described by its own struct.

A folder is its own registry: `kind: mean_difference` among the probes is `harness/probes/mean_difference.py`,
and the one `Kind` subclass defined there is what the YAML decodes into. Installed packages add kinds of their own by entry points
(`harness.contracts.outside`). Options, types, ranges, defaults and
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

from harness.contracts import outside
from harness.errors import UsageError

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[1]
"""The folder of the package, in which the folders of kinds lie."""

FOLDERS = {
    "data": "data set",
    "distractors": "distractor",
    "beds": "test bed",
    "normalisations": "normalisation",
    "probes": "probe",
    "metrics": "metric",
    "measurements": "measurement",
    "checks": "check",
    "analyses": "analysis",
}
"""The folders of kinds, and what one of each is called. The base class of a folder's kinds has the folder's name as `folder`."""


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything that a spec names by `kind`. Fields are options; a docstring under a field explains it."""

    folder: ClassVar[str] = ""
    """The folder that it belongs to: `probes`, `checks` …"""
    source: ClassVar[str] = ""
    """The paper, section or equation that it comes from; empty if it is our own."""
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Other names that a spec may use for it, each with the options that it stands for."""

    @classmethod
    def kind(cls) -> str:
        """The name used in a spec: the name of the module, or the one that its package's entry point gives it."""
        return _name_of(cls)

    @classmethod
    def objection(cls) -> str:
        """Why no spec may name a package's kind although it can be imported; empty if one may."""
        return ""

    @property
    def title(self) -> str:
        """What results and messages call it: the kind, unless an option makes it another."""
        return self.kind()


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
def built_in(folder: str) -> tuple[str, ...]:
    """The harness's own kinds in a folder, each a module or a folder of modules, sorted, without importing them."""
    modules = [path for path in (ROOT / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return tuple(sorted(path.stem for path in modules if not path.stem.startswith("_")))


@cache
def names(folder: str) -> tuple[str, ...]:
    """All kinds in a folder, those of installed packages included, sorted, without importing them."""
    return tuple(sorted({*built_in(folder), *(entry.name for entry in _announced(folder))}))


@cache
def find(folder: str, name: str) -> type[Kind]:
    """The kind called `name` in `folder`. Raises KeyError if there is none, UsageError for a package's that cannot be used.

    A name that is built in is always the harness's own kind here; see `refusal` for what a spec may say.
    """
    name = canonical(name)
    if name not in names(folder):
        raise KeyError(name)
    if (entry := entry_of(folder, name)) is not None:
        if reason := refusal(folder, name):
            raise UsageError(reason)
        return entry.load(Kind)
    module = import_module(f"{PACKAGE}.{folder}.{name}")
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
        other: (name, stands_for)
        for name in built_in(folder)
        for other, stands_for in find(folder, name).aliases.items()
    }


def named(folder: str, name: str) -> Kind:
    """What a spec means by a bare name, which may be an alias; other options have their defaults. Raises KeyError."""
    name = canonical(name)
    own, stands_for = (name, {}) if name in names(folder) else aliases(folder)[name]
    return msgspec.convert(stands_for, find(folder, own))


@cache
def refusal(folder: str, name: str) -> str:
    """Why a spec may not name this kind, because of a package that has one of the name; empty if it may."""
    claims = [entry for entry in _announced(folder) if entry.name == canonical(name)]
    if not claims:
        return ""
    if claims[0].name in built_in(folder):
        return _unusable(
            claims[0], "the harness has one of that name itself; rename the package's, or uninstall the package"
        )
    if len(claims) > 1:
        others = " and ".join(entry.package for entry in claims[1:])
        return _unusable(claims[0], f"{others} has one of that name too; uninstall one of them")
    try:
        reason = claims[0].load(Kind).objection()
    except outside.Unusable as unusable:
        reason = str(unusable)
    return _unusable(claims[0], reason) if reason else ""


def loadable(folder: str) -> tuple[str, ...]:
    """The kinds in a folder without those of packages that cannot be used; packages are imported to find out."""
    own = built_in(folder)
    return tuple(name for name in names(folder) if name in own or not refusal(folder, name))


def refusals() -> list[str]:
    """Why a kind of an installed package cannot be used, for each that cannot."""
    advice = f"name an entry FOLDER.NAME, with a folder out of {', '.join(FOLDERS)}, and a name of a-z, 0-9 and _"
    misplaced = [_unusable(entry, advice) for entry in outside.entries() if entry not in _announced(entry.folder)]
    claimed = [refusal(folder, entry.name) for folder in FOLDERS for entry in _announced(folder)]
    return [*misplaced, *dict.fromkeys(reason for reason in claimed if reason)]


def entry_of(folder: str, name: str) -> outside.Entry | None:
    """The entry of an installed package for a kind that is not built in."""
    if canonical(name) in built_in(folder):
        return None
    return next((entry for entry in _announced(folder) if entry.name == canonical(name)), None)


def _unusable(entry: outside.Entry, reason: str) -> str:
    noun = FOLDERS.get(entry.folder)
    called = f'{noun} "{entry.name}"' if noun else f'entry "{".".join(filter(None, (entry.folder, entry.name)))}"'
    return f"the {called} of the package {entry.package} cannot be used: {' '.join(reason.split())}"


@cache
def _announced(folder: str) -> tuple[outside.Entry, ...]:
    """What installed packages add to a folder."""
    known = folder in FOLDERS
    return tuple(entry for entry in outside.entries() if known and entry.folder == folder and entry.well_named)


@cache
def _name_of(cls: type[Kind]) -> str:
    module = cls.__module__.rsplit(".", 1)[-1]
    if cls.__module__.startswith(f"{PACKAGE}."):
        return module
    return next((entry.name for entry in outside.entries() if entry.means(cls)), module)


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
