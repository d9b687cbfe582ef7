"""From nodes to structs: a mapping becomes the kind or the part of a spec that it describes."""

from __future__ import annotations

from typing import TypeVar, cast

import msgspec

from harness.assets.bed_folder import is_own
from harness.contracts import Bed, Source, kind
from harness.contracts.network_bed import NetworkBed
from harness.errors import Problem
from harness.language.schema.card_grammar import OwnBed
from harness.language.schema.validation import sound
from harness.language.syntax.nodes import Node, Table, plain, problem_at, text_of
from harness.spec import Data, Model, StatesFolder

T = TypeVar("T", bound=msgspec.Struct)


class Decoder:
    """Makes structs of nodes. What cannot be made is None, and has left a problem here or is a fault against the schema."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def part(self, definition: str, struct: type[T], node: Node | None, whole: Node | None = None) -> T | None:
        """The struct of a mapping; the default one where there is no node.

        `definition` is its name in the schema, and `whole` the mapping that the schema knows, where `node` is part of it.
        """
        if node is None:
            return struct()
        try:
            return msgspec.convert(plain(node), struct)
        except msgspec.ValidationError as error:
            # What the schema cannot say (two options that contradict each other) is said by the struct itself.
            if sound(whole or node, definition):
                message, _, inside = str(error).partition(" - at `$")
                place, message = _placed(_inside(whole or node, inside), message)
                self.problems.append(problem_at(place, message[:1].lower() + message[1:]))
            return None

    def kind(self, folder: str, node: Node, key: str = "kind") -> kind.Kind | None:
        """The kind that a mapping names under `key`, with its options."""
        name = text_of(node.get(key)) if isinstance(node, Table) else None
        if name is None or kind.canonical(name) not in kind.names(folder):
            return None
        assert isinstance(node, Table)
        if reason := kind.refusal(folder, name):
            self.problems.append(problem_at(node.entries[key].node, reason))
            return None
        return self.part(folder, kind.find(folder, name), node.without(key), node)

    def model(self, node: Node) -> Model | Bed | NetworkBed | OwnBed | StatesFolder | None:
        """A language model, one of the three things that `bed` can name, or states that somebody made."""
        if isinstance(node, Table) and "bed" in node.entries:
            if is_own(text_of(node.get("bed")) or ""):
                return self.part("own_bed", OwnBed, node)
            return cast("Bed | NetworkBed | None", self.kind("beds", node, "bed"))
        if isinstance(node, Table) and "states" in node.entries:
            return self.part("StatesFolder", StatesFolder, node)
        return self.part("Model", Model, node)

    def data(self, node: Node | None) -> Data | None:
        """The data with their source, which is a kind of its own."""
        if not isinstance(node, Table):
            return Data()
        source_node = node.get("source")
        source = None if source_node is None else self.kind("data", source_node)
        if source_node is not None and source is None:
            return None
        data = self.part("Data", Data, node.without("source"))
        return None if data is None else msgspec.structs.replace(data, source=cast("Source | None", source))


def _inside(node: Node, path: str) -> Node:
    """The part that msgspec names, as in `.reply.label`; of a path with places in lists, or with parts that are not written, what stands
    around it."""
    for key in path.rstrip("`").split(".")[1:]:
        found = node.get(key) if isinstance(node, Table) else None
        if found is None:
            break
        node = found
    return node


def _placed(node: Node, message: str) -> tuple[Node, str]:
    """The option that a message begins with, as in `train.fraction: …`, and the rest; the node itself where it stands elsewhere."""
    named, colon, rest = message.partition(": ")
    place: Node | None = node
    for key in named.split("."):
        place = place.get(key) if isinstance(place, Table) else None
    return (place, rest) if colon and place is not None else (node, message)
