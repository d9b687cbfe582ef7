"""States that somebody else made as a subject: they are read from a folder where they are needed, and nothing is forwarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.contracts.subject import Subject
from harness.imported.arrays import Array, open_array
from harness.imported.states_card import Opened
from harness.models.fingerprint import file_sha256
from harness.store import content_key

if TYPE_CHECKING:
    from torch import Tensor


class ImportedStates(Subject, frozen=True, dict=True):
    """A folder of states. Its identity is the content of its files."""

    opened: Opened

    @cached_property
    def array(self) -> Array:
        return open_array(self.opened)

    @property
    def name(self) -> str:
        return self.opened.name

    @property
    def about(self) -> str:
        said = f": {self.opened.card.about}" if self.opened.card.about else ""
        rows, layers = self.array.size("row"), len(self.array.layers)
        return f"states of {self.name}, {rows:,} rows, {layers} layers of width {self.d_model}{said}"

    @cached_property
    def identity(self) -> str:
        array = self.opened.array
        files = sorted(array.rglob("*")) if array.is_dir() else [array]
        of_array = [[file.relative_to(array).as_posix(), file_sha256(file)] for file in files if file.is_file()]
        return content_key("imported states", self.opened.card, of_array, file_sha256(self.opened.table))

    @property
    def layers(self) -> int:
        return self.array.layers[-1] + 1

    @property
    def only_layers(self) -> tuple[int, ...]:  # type: ignore[override]
        return self.array.layers

    @property
    def views(self) -> int:  # type: ignore[override]
        return self.opened.card.views

    @property
    def d_model(self) -> int:
        return self.array.size("d_model")

    @property
    def code(self) -> tuple[type, ...]:
        return (ImportedStates, Array)

    @property
    def untrainable(self) -> str:
        return "its states were made by somebody else, and no network is at hand that could be trained"

    def ingredients(self) -> dict[str, str]:
        return {"states": self.identity}

    def provenance(self) -> Mapping[str, Any]:
        return {"states": self.name, "identity": self.identity, "about": self.opened.card.about}

    def read(self, rows: Sequence[int], layers: Sequence[int]) -> Tensor:
        """States of rows, float32, (layer, row, view, d_model). Raises DataError where one is not finite."""
        import torch

        states = [self.array.read(layer, rows) for layer in layers]
        return states[0][None] if len(states) == 1 else torch.stack(states)
