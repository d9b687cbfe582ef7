"""The closure of definitions: all that can run when something is asked for, found by following the source without importing it.

A definition leads to what it names. Which class an attribute belongs to is not known; so a method counts when its class is
reached and its name is asked of anything that is reached (rapid type analysis, Bacon & Sweeney 1996, by name). A class that
only annotations name is handed over ready made, so that those of its fields count that are asked for; of one that an expression
names, all fields do. A class whose base is not ours is called from outside by whatever name, so that all its methods count.

A look-up by name (`kind.find`) leads nowhere: who asks for a closure names the kinds. Files of data count where a definition that is
reached names them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from harness.code.definitions import MARK, OWN, Definition, Outline, Source
from harness.code.index import Index

_PLAIN_BASES = frozenset(
    {
        "msgspec.Struct", "typing.NamedTuple", "typing.Protocol", "typing.Generic", "typing.TypedDict", "enum.Enum", "object",
        "Exception", "ValueError", "RuntimeError",
    }
)  # fmt: skip
"""Bases that call no method of ours but those with two underscores."""


SHORT = 4
"""Bytes of a short hash: enough to tell the definitions of a program apart."""


class Place(NamedTuple):
    """Where a definition stands."""

    module: str
    number: int


class Found(NamedTuple):
    """What a dotted name refers to."""

    module: str
    name: str
    """At the top of the module; empty for the module itself."""
    rest: tuple[str, ...]
    """Attributes asked of it."""


class Tree:
    """The source files of a package, and of others that build on it, read as they are needed."""

    def __init__(self, root: Path, package: str | None = None, cache: Path | None = None):
        """`root` is the package's folder, or a module of its own; `cache` the folder for what was read, if it is to be kept."""
        self.package = package or root.stem
        self.indexes = {self.package: Index(root, self.package, cache)}
        self._found: dict[tuple[str, str], Found | None] = {}
        self._texts: dict[Place, str] = {}

    def add(self, root: Path, package: str) -> None:
        """Follows references into another package, too."""
        self.indexes[package] = Index(root, package)

    @property
    def index(self) -> Index:
        """The index of the package itself."""
        return self.indexes[self.package]

    def index_of(self, module: str) -> Index:
        return self.indexes[module.partition(".")[0]]

    def source(self, module: str) -> Source:
        return self.index_of(module).source(module)

    def module(self, name: str) -> str | None:
        """The full name of a module that is named below the package, or by its full name in another one."""
        own = f"{self.package}.{name}" if name else self.package
        if self.index.has(own):
            return own
        index = self.indexes.get(name.partition(".")[0])
        return name if index is not None and index.has(name) else None

    def definition(self, place: Place) -> Definition:
        return self.source(place.module).definitions[place.number]

    def places(self, module: str, name: str) -> list[Place]:
        """The definitions of a name at the top of a module."""
        return [Place(module, number) for number in self.source(module).names.get(name, ())]

    def resolve(self, module: str, mark: str) -> Found | None:
        """What a mark in a module refers to; None where that is not ours."""
        key = (module, mark)
        if key not in self._found:
            # A circle of re-exports leads nowhere.
            self._found[key] = None
            self._found[key] = self._resolve(module, mark)
        return self._found[key]

    def _resolve(self, module: str, mark: str) -> Found | None:
        if mark.startswith(OWN):
            name, *rest = mark.removeprefix(OWN).split(".")
            return Found(module, name, tuple(rest))
        if mark.startswith("."):
            mark = self._absolute(module, mark)
        parts = mark.split(".")
        index = self.indexes.get(parts[0])
        if index is None:
            return None
        size = len(parts)
        while not index.has(".".join(parts[:size])):
            size -= 1
        owner, rest = ".".join(parts[:size]), parts[size:]
        if not rest:
            return Found(owner, "", ())
        source = self.source(owner)
        if rest[0] in source.names:
            return Found(owner, rest[0], tuple(rest[1:]))
        if rest[0] in source.imports:
            return self.resolve(owner, ".".join((source.imports[rest[0]], *rest[1:])))
        return Found(owner, "", tuple(rest))

    def _absolute(self, module: str, mark: str) -> str:
        name = mark.lstrip(".")
        up = len(mark) - len(name) - (1 if self.index_of(module).is_folder(module) else 0)
        parts = module.split(".")
        return ".".join((*parts[: len(parts) - up], name))

    def text(self, place: Place) -> str:
        """A definition in words that do not depend on where it or what it refers to stands."""
        if place not in self._texts:

            def named(mark: str) -> str:
                found = self.resolve(place.module, mark)
                return mark if found is None else ".".join(filter(None, (found.name, *found.rest)))

            self._texts[place] = MARK.sub(lambda match: named(match[1]), self.definition(place).text)
        return self._texts[place]

    def short_hash(self, place: Place) -> bytes:
        """The short hash of a definition itself, whatever it refers to."""
        owner = self.definition(place).name.rpartition(".")[0]
        return hashlib.blake2b(f"{owner}\0{self.text(place)}".encode(), digest_size=SHORT).digest()


class Closure:
    """Definitions that are reached from some entries."""

    def __init__(self, tree: Tree, without: Iterable[str] = ()):
        """`without` names modules, folders and definitions (`module:name`) at which the walk stops, below the package."""
        self.tree = tree
        full = [f"{tree.package}.{name}" for name in without]
        self._modules = frozenset(name for name in full if ":" not in name)
        self._names = frozenset(name for name in full if ":" in name)
        self.reached: set[Place] = set()
        self._attributes: set[str] = set()
        self._classes: dict[tuple[str, str], bool] = {}
        """Reached classes, and whether an expression names them."""
        self._waiting: dict[str, list[Place]] = {}
        """Members of reached classes that nobody asked for yet, by name."""
        self._todo: list[Place] = []
        self._contents: dict[Place, bytes] = {}
        """Of definitions: see `_content`. It is one for all copies, which stop at the same."""

    def enter(self, entries: Iterable[str]) -> None:
        """Adds what `module:name` or `module:Class.method` reaches. Of a class alone, all methods count, inherited ones too.

        Raises LookupError for an entry that does not exist.
        """
        for entry in entries:
            below, _, qualified = entry.partition(":")
            module = self.tree.module(below)
            name, _, method = qualified.partition(".")
            if module is None or name not in self.tree.source(module).names:
                raise LookupError(f"{entry}: there is no such definition")
            # Who calls a method has an object that is made already.
            self._name(module, name, built=not method)
            if name in self.tree.source(module).classes:
                family = list(self._family(module, name))
                for owner, outline in family:
                    for member, numbers in outline.members.items():
                        if method in ("", member):
                            self._reach_all(owner, numbers)
                if method and not any(method in outline.members for _, outline in family):
                    raise LookupError(f"{entry}: there is no such method")
        self._walk()

    def copy(self) -> Closure:
        """One that can be extended without changing this one."""
        other = Closure(self.tree)
        other._modules, other._names = self._modules, self._names
        other.reached, other._attributes = set(self.reached), set(self._attributes)
        other._classes = dict(self._classes)
        other._waiting = {name: list(places) for name, places in self._waiting.items()}
        other._contents = self._contents
        return other

    def stops_at(self, module: str, name: str) -> bool:
        """Whether a definition is among those at which the walk stops."""
        parts = module.split(".")
        if any(".".join(parts[:size]) in self._modules for size in range(1, len(parts) + 1)):
            return True
        owner = name.partition(".")[0]
        return f"{module}:{name}" in self._names or f"{module}:{owner}" in self._names

    @cached_property
    def code(self) -> str:
        """Hash of what is reached."""
        parts = sorted({self._content(place) for place in self.reached} | self._data())
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    def definitions(self) -> Mapping[bytes, str]:
        """By the short hash of each definition that is reached, its name."""
        return {self.tree.short_hash(place): self.tree.definition(place).name for place in sorted(self.reached)}

    def names(self) -> set[tuple[str, str]]:
        """Module and qualified name of each definition that is reached."""
        return {(place.module, self.tree.definition(place).name) for place in self.reached}

    def _walk(self) -> None:
        while self._todo:
            place = self._todo.pop()
            definition = self.tree.definition(place)
            owner = definition.name.partition(".")[0]
            # A field of a class that an expression names is made with it, and so is what it holds.
            built = definition.sort == "field" and self._classes[place.module, owner]
            for mark in definition.uses:
                self._mark(place.module, mark, built=True)
            for mark in definition.hints:
                self._mark(place.module, mark, built=built)
            for name in definition.attributes:
                self._attribute(name)

    def _mark(self, module: str, mark: str, built: bool) -> None:
        found = self.tree.resolve(module, mark)
        if found is None:
            return
        for name in found.rest:
            self._attribute(name)
        if found.name:
            self._name(found.module, found.name, built)

    def _attribute(self, name: str) -> None:
        if name not in self._attributes:
            self._attributes.add(name)
            self._todo += self._new(self._waiting.pop(name, []))

    def _name(self, module: str, name: str, built: bool) -> None:
        if self.stops_at(module, name):
            return
        source = self.tree.source(module)
        if name in source.classes:
            self._class(module, name, built)
        self._reach_all(module, (*source.names.get(name, ()), *source.effects))

    def _class(self, module: str, name: str, built: bool) -> None:
        known = self._classes.get((module, name))
        if known is None or (built and not known):
            self._classes[module, name] = built
            outline = self.tree.source(module).classes[name]
            for base in outline.bases:
                for match in MARK.finditer(base):
                    self._mark(module, match[1], built)
            if known is None:
                self._members(module, outline)
            for field, numbers in outline.fields.items():
                places = [Place(module, number) for number in numbers]
                if built:
                    # Those that were asked for are read again, for what they hold is made now.
                    self.reached.difference_update(places)
                    self._todo += self._new(places)
                else:
                    self._await(field, places)

    def _members(self, module: str, outline: Outline) -> None:
        foreign = any(
            base not in _PLAIN_BASES and self.tree.resolve(module, base) is None
            for base in (MARK.sub(lambda match: match[1], each) for each in outline.bases)
        )
        for name, numbers in outline.members.items():
            if foreign or (name.startswith("__") and name.endswith("__")):
                self._reach_all(module, numbers)
            else:
                self._await(name, [Place(module, number) for number in numbers])

    def _await(self, name: str, places: list[Place]) -> None:
        if name in self._attributes:
            self._todo += self._new(places)
        else:
            self._waiting.setdefault(name, []).extend(places)

    def _reach_all(self, module: str, numbers: Iterable[int]) -> None:
        self._todo += self._new([Place(module, number) for number in numbers])

    def _new(self, places: Iterable[Place]) -> list[Place]:
        """Those of the places that were not reached yet, and now are."""
        found = [
            place
            for place in places
            if place not in self.reached and not self.stops_at(place.module, self.tree.definition(place).name)
        ]
        self.reached.update(found)
        return found

    def _family(self, module: str, name: str) -> Iterable[tuple[str, Outline]]:
        """A class and its bases, with their modules."""
        outline = self.tree.source(module).classes[name]
        yield module, outline
        for base in outline.bases:
            for match in MARK.finditer(base):
                found = self.tree.resolve(module, match[1])
                if found is not None and found.name in self.tree.source(found.module).classes:
                    yield from self._family(found.module, found.name)

    def _content(self, place: Place) -> bytes:
        """Hash of a definition with what it refers to: two of the same name that change places are seen."""
        if place not in self._contents:
            self._contents[place] = self._hashed(place)
        return self._contents[place]

    def _hashed(self, place: Place) -> bytes:

        def described(mark: str) -> str:
            found = self.tree.resolve(place.module, mark)
            if found is None:
                return mark
            named = ".".join(filter(None, (found.name, *found.rest)))
            if not found.name or self.stops_at(found.module, found.name):
                return named
            own = b"".join(self.tree.short_hash(each) for each in self.tree.places(found.module, found.name))
            return f"{named}#{own.hex()}"

        definition = self.tree.definition(place)
        text = MARK.sub(lambda match: described(match[1]), definition.text)
        return hashlib.blake2b(f"{definition.name}\0{text}".encode(), digest_size=16).digest()

    def _data(self) -> set[bytes]:
        named = ((place.module, file) for place in self.reached for file in self.tree.definition(place).files)
        return {found for each in set(named) if (found := self.tree.index_of(each[0]).data(*each)) is not None}
