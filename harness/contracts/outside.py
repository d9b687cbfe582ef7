"""Kinds from outside: what installed packages add to the harness by entry points of the group `harness.kinds`.

An entry's name says where the kind belongs and what it is called there, its value where it is defined:

    [project.entry-points."harness.kinds"]
    "probes.median_difference" = "my_package.median_difference"

Entry points are read from the metadata of installed distributions, and a package is imported when its kind is asked for. A package
that lies in the folder that the program is started in is not installed: whoever opens a stranger's folder runs none of its code.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from harness.contracts.kind import Kind

GROUP = "harness.kinds"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Unusable(Exception):
    """The reason why a package's kind cannot be used."""


class Entry(NamedTuple):
    """A kind that a package says it has."""

    folder: str
    name: str
    value: str
    """`package.module`, which defines one kind, or `package.module:Class`."""
    package: str
    """Name and version of the distribution."""

    @property
    def well_named(self) -> bool:
        """Whether a spec can say its name."""
        return _NAME.fullmatch(self.name) is not None

    def load(self, base: type[Kind]) -> type[Kind]:
        """The kind's class, a subclass of `base`. Raises Unusable with the reason if there is none."""
        module, _, attribute = self.value.partition(":")
        try:
            found = vars(import_module(module))
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Unusable(f"importing {module} failed with {said}") from error
        if attribute:
            kinds = [found[attribute]] if attribute in found else []
        else:
            kinds = [each for each in found.values() if isinstance(each, type) and each.__module__ == module]
            kinds = [each for each in kinds if issubclass(each, base)]
        if len(kinds) != 1:
            wanted = f"{module} has no {attribute}" if attribute else f"{module} defines {len(kinds)} kinds and not one"
            raise Unusable(f"{wanted}; write `package.module:Class`")
        (made,) = kinds
        if not (isinstance(made, type) and issubclass(made, base)):
            raise Unusable(f"{self.value} is no kind")
        if made.folder != self.folder:
            raise Unusable(f"{self.value} belongs to {made.folder or 'no folder'}, not to {self.folder}")
        return made

    def means(self, cls: type) -> bool:
        """Whether a class is the one that the entry stands for."""
        module, _, attribute = self.value.partition(":")
        return module == cls.__module__ and attribute in ("", cls.__name__)

    def files(self) -> list[Path]:
        """The source files of its package, all of which it may run."""
        spec = find_spec(self.value.partition(":")[0].partition(".")[0])
        if spec is None:
            return []
        folders = list(spec.submodule_search_locations or ())
        if not folders:
            return [Path(spec.origin or "")]
        return sorted(file for folder in folders for file in Path(folder).rglob("*.py"))


@cache
def entries() -> tuple[Entry, ...]:
    """All kinds that installed packages say they have, sorted."""
    from importlib.metadata import distributions

    path = _installed_path()
    # Of most packages nothing but this file is looked at: reading all names and versions takes ten times as long.
    announcing = [each for each in distributions(path=path) if GROUP in (each.read_text("entry_points.txt") or "")]
    return tuple(sorted({entry for each in announcing if not _hidden(each, path) for entry in _of(each)}))


def _of(distribution: Distribution) -> Iterator[Entry]:
    package = f"{distribution.metadata['Name']} {distribution.version}"
    for entry in distribution.entry_points.select(group=GROUP):
        folder, _, name = entry.name.partition(".")
        yield Entry(folder, name.replace("-", "_"), entry.value, package)


def _hidden(distribution: Distribution, path: list[str]) -> bool:
    """Whether another version of it stands earlier on the path, so that this one is never imported."""
    from importlib.metadata import distributions

    first = next(iter(distributions(name=distribution.metadata["Name"], path=path)), distribution)
    return first.version != distribution.version


def _installed_path() -> list[str]:
    """The folders where Python looks for modules, without the folder that the program was started in."""
    first, *rest = sys.path or [""]
    started_in = not sys.flags.safe_path and os.path.realpath(first) == os.path.realpath(os.curdir)
    return rest if started_in else [first, *rest]
