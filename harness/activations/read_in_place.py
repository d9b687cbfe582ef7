"""Prompt tables whose states lie in a folder: they are read there by layer, and never copied into the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.activations.extract import Extracted
from harness.activations.rows import RowTable
from harness.contracts import PromptTable
from harness.store import content_key
from harness.subjects.imported import ImportedStates

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Imported(Extracted):
    """The states of some prompt tables, read from the folder that they lie in when they are asked for."""

    def __init__(self, subject: ImportedStates, tables: Sequence[PromptTable]):
        super().__init__(RowTable((), (), (), (), ()), tables, None)
        self._subject = subject
        self.notes = ("states made by somebody else",)

    def key(self, table: PromptTable) -> str:
        return content_key(self._subject.identity, [row[0] for row in table.frame["tokens"].to_list()])

    def noise(self, table: PromptTable) -> Mapping[int, float]:
        """Nothing: how they were computed is not known here."""
        return {}

    def _states(self, which: int, lines: np.ndarray, layers: Sequence[int]) -> Tensor:
        tokens = self._tables[which].frame["tokens"]
        rows = tokens.gather(lines[:, 0]).list.first().to_list()
        return self._subject.read(rows, layers)

    def _odds(self, which: int) -> Tensor | None:
        return None
