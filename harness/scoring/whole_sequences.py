"""Labels of whole sequences, where each token of a stretch is a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from harness.scoring.score import Labels


def once(labels: Labels) -> tuple[Labels, np.ndarray]:
    """The labels of sequences of tokens, in the order of their first rows, and which of them each row is of, int64, (row,)."""
    if labels.sequence is None:
        return labels, np.arange(len(labels.group))
    _, first, of_row = np.unique(labels.sequence, return_index=True, return_inverse=True)
    order = np.argsort(first)
    each = labels.at(row=first[order])
    return msgspec.structs.replace(each, row=each.sequence, sequence=None), np.argsort(order)[of_row]
