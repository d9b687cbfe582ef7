"""Short forms written out: `model: NAME`, `data: NAME`, `- ccs`, `{hub: …}`, `movie-reviews`.

Everything behind this (merging, validation, decoding) sees one form only. The nodes that are added stand where the
short form stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.contracts import kind
from harness.language.syntax.nodes import Array, Entry, Node, Scalar, Table, child_path, text_of


def written_out(root: Table) -> Table:
    """The document with every short form replaced by its long one. Doing it twice changes nothing."""
    root = _setting(root)
    for folder in ("probes", "metrics", "measurements", "checks", "analyses"):
        root = _changed(root, folder, _each(folder))
    for key in ("autopsy", "interventions"):
        root = _changed(root, key, _items(lambda node: node if text_of(node) is None else _short("probe", node)))
    root = _changed(root, "distractors", _values(lambda node: choice("distractors", node)))
    return _changed(root, "conditions", _values(lambda node: _setting(node) if isinstance(node, Table) else node))


def choice(folder: str, node: Node, key: str = "kind") -> Node:
    """What names a kind, as a mapping with `kind` under its canonical name and the options that an alias stands for."""
    if text_of(node) is not None:
        node = _short(key, node)
    if not isinstance(node, Table):
        return node
    if key == "kind" and key not in node.entries and (name := _named_by_option(folder, node)):
        place = node.entries[name].place
        return node.with_entries({key: Entry(place, Scalar(name, place, node.path))})
    if (written := text_of(node.get(key))) is None:
        return node
    name, stands_for = _meant(folder, kind.canonical(written))
    # An option that the alias stands for already is left to the schema, which refuses it.
    if name is None or any(option in node.entries for option in stands_for):
        return node
    entry = node.entries[key]
    assert isinstance(entry.node, Scalar)
    place = entry.node.place
    options = {
        option: Entry(place, Scalar(value, place, child_path(node.path, option)))
        for option, value in stands_for.items()
    }
    canonical = Scalar(name, place, entry.node.path, entry.node.text)
    return node.with_entries({key: Entry(entry.place, canonical), **options})


def _meant(folder: str, name: str) -> tuple[str | None, Mapping[str, Any]]:
    """The kind of a name, and the options that this stands for; no kind if there is none of the name."""
    return (name, {}) if name in kind.names(folder) else kind.aliases(folder).get(name, (None, {}))


def own_option(folder: str, name: str) -> bool:
    """Whether a kind has an option of its own name, so that `{hub: …}` says both."""
    return name in kind.loadable(folder) and name in {each.name for each in kind.options(kind.find(folder, name))}


def _named_by_option(folder: str, table: Table) -> str | None:
    return next((key for key in table.entries if key in kind.names(folder) and own_option(folder, key)), None)


def _setting(table: Table) -> Table:
    table = _changed(table, "model", _model)
    return _changed(table, "data", _data)


def _model(node: Node) -> Node:
    if text_of(node) is not None:
        return _short("id", node)
    if isinstance(node, Table) and "bed" in node.entries:
        return choice("beds", node, "bed")
    return node


def _data(node: Node) -> Node:
    if text_of(node) is not None:
        node = _short("source", node)
    if not isinstance(node, Table):
        return node
    return _changed(node, "source", lambda source: choice("data", source))


def _short(key: str, node: Node) -> Table:
    return Table({key: Entry(node.place, node)}, node.place, node.path, short=True)


def _changed(table: Table, key: str, change: Callable[[Node], Node]) -> Table:
    entry = table.entries.get(key)
    return table if entry is None else table.with_entries({key: Entry(entry.place, change(entry.node))})


def _each(folder: str) -> Callable[[Node], Node]:
    return _items(lambda item: choice(folder, item))


def _items(change: Callable[[Node], Node]) -> Callable[[Node], Node]:
    def changed(node: Node) -> Node:
        if not isinstance(node, Array):
            return node
        return Array(tuple(change(item) for item in node.items), node.place, node.path)

    return changed


def _values(change: Callable[[Node], Node]) -> Callable[[Node], Node]:
    def changed(node: Node) -> Node:
        if not isinstance(node, Table):
            return node
        entries = {key: Entry(entry.place, change(entry.node)) for key, entry in node.entries.items()}
        return Table(entries, node.place, node.path, node.short)

    return changed
