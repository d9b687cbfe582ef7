"""The merge of two trees: includes, `--set` and conditions all follow these rules.

Mappings merge key by key, at every depth; anything else replaces what it is laid over. Four exceptions keep a merge
from mixing what cannot go together: a mapping that names another kind replaces the old one with its options, another model leaves behind
what belongs to the old one, `template` and `templates` drive each other out, and the instructions and the label of replies are taken whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.language.syntax.nodes import Entry, Node, Table, text_of

Position = tuple[str, ...]
"""The keys that lead to a mapping, without `conditions` and the condition's name."""

_WHOLE: tuple[Position, ...] = (("data", "reply", "instructions"), ("data", "reply", "label"))
"""Mappings that replace what they are laid over."""

_OF_ONE_MODEL = ("revision", "adapter", "side", "trust_remote_code", "allow_pickle")
"""What is said of one model's files, its code included, and of no other's; how it computes holds for all."""


def overlay(base: Node | None, over: Node, position: Position = ()) -> Node:
    """`over` merged over `base`; neither is changed."""
    if not (isinstance(base, Table) and isinstance(over, Table)):
        return over
    if position[:1] == ("conditions",):
        position = position[2:] if len(position) > 1 else position
    if position in _WHOLE or (_names_a_kind(position) and _other_kind(base, over)):
        return over
    if position == ("prompt",):
        base = base.without(*_driven_out(over))
    if position == ("model",) and (wanted := text_of(over.get("id"))) is not None and wanted != text_of(base.get("id")):
        base = base.without(*_OF_ONE_MODEL)
    entries = {
        key: Entry(entry.place, overlay(base.get(key), entry.node, (*position, key)))
        for key, entry in over.entries.items()
    }
    merged = base.with_entries(entries)
    # What is missing from both is blamed on the mapping that was written last, unless that is no place in a file.
    last = over if over.place.line else base
    return Table(merged.entries, last.place, last.path, last.short)


def _names_a_kind(position: Sequence[str]) -> bool:
    return position in (("model",), ("data", "source")) or (len(position) == 2 and position[0] == "distractors")


def _other_kind(base: Table, over: Table) -> bool:
    named, wanted = _identity(base), _identity(over)
    return named is not None and wanted is not None and named != wanted


def _identity(table: Table) -> tuple[str, str | None] | None:
    if "id" in table.entries:
        return "id", None
    return next(((key, text_of(table.get(key))) for key in ("kind", "bed") if key in table.entries), None)


def _driven_out(over: Table) -> tuple[str, ...]:
    given = [key for key in ("template", "templates") if key in over.entries]
    return ("template", "templates") if len(given) == 1 else ()
