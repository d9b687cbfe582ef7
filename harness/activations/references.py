"""The noise floor: how far arithmetic moves what methods read, measured on a few pairs of a run.

Methods live on x⁺ − x⁻, a small difference of large and nearly equal states, and on how it differs from pair to pair, for its mean is taken
out: an error that is nothing to a state can be as large as all of that. So what is compared is the difference around its mean: of the very
states that are stored, and of the same prompts forwarded one at a time in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.activations.banks import Banks
from harness.activations.rows import RowTable
from harness.store import content_key

if TYPE_CHECKING:
    from torch import Tensor

PAIRS = 8
"""Pairs of each table that are forwarded alone. On SmolLM2's reviews eight say within a tenth what all say; six may all have one word."""

REFERENCES = "references"
"""Folder of the store."""

Pair = tuple[int, int]
"""The rows of a pair's two answers."""


def reference(banks: Banks) -> Banks:
    """The states of some rows of the banks, forwarded one at a time in float32."""
    return Banks(banks.store, reference_key(banks.key), banks.layers, False, banks.table, kind=REFERENCES)


def reference_key(bank: str) -> str:
    """The key of the reference of a bank's states."""
    return content_key(bank, "one prompt at a time, in float32")


def sampled(table: RowTable, which: int) -> tuple[Pair, ...]:
    """Some pairs of a prompt table, chosen by their content: the same ones whatever others there are and in whatever order they come.

    Of statements, each two neighbours stand for a pair.
    """
    lines = table.tables[which]
    pairs = {pair for pair in zip(lines[::2], lines[1::2], strict=False) if pair[0] != pair[1]}
    return tuple(sorted(pairs, key=lambda pair: tuple(table.keys[row] for row in pair))[:PAIRS])


def to_compare(table: RowTable) -> tuple[int, ...]:
    """The rows of all sampled pairs, each once."""
    pairs = (pair for which in range(len(table.tables)) for pair in sampled(table, which))
    return tuple(dict.fromkeys(row for pair in pairs for row in pair))


def relative_error(found: Tensor, exact: Tensor) -> Tensor:
    """The error of x⁺ − x⁻ around its mean over the pairs, relative to its length: (layer,). Both are (layer, pair, 2, d_model).

    It is 0 where nothing differs and nothing was found to, as at layer 0 where all prompts end with one word.
    """
    wanted, had = (_around_mean(states.double().diff(dim=2)) for states in (exact, found))
    return _length(had - wanted) / _length(wanted).clamp_min(1e-30)


def _around_mean(difference: Tensor) -> Tensor:
    return difference - difference.mean(dim=1, keepdim=True)


def _length(difference: Tensor) -> Tensor:
    return difference.square().sum((1, 2, 3)).sqrt()


def noise_of(table: RowTable, which: int, stored: Banks, alone: Banks) -> Sequence[float]:
    """The noise floor of one prompt table's states, by layer of its bank; empty for a table with fewer than two pairs that differ."""
    pairs = sampled(table, which)
    if len(pairs) < 2:
        return ()
    keys = [table.keys[row] for pair in pairs for row in pair]
    layers = stored.of(which).layers
    found, exact = (banks.of(which).read(keys, layers).unflatten(1, (len(pairs), 2)) for banks in (stored, alone))
    noise: list[float] = relative_error(found, exact).tolist()
    return noise
