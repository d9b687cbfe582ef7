"""The noise floor: how far arithmetic moves what methods read, measured on a few pairs of a run.

Methods live on x⁺ − x⁻, a small difference of large and nearly equal states: an error that is nothing to a state can be as large as all of
it. So what is compared is the difference: of the very states that are stored, and of the same prompts forwarded one at a time in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.activations.bank import Bank
from harness.activations.rows import RowTable
from harness.store import content_key

if TYPE_CHECKING:
    from torch import Tensor

PAIRS = 4
"""Pairs of each table that are forwarded alone. An error has as many parts as a state is wide, so that few say how large it is."""

REFERENCES = "references"
"""Folder of the store."""

Pair = tuple[int, int]
"""The rows of a pair's two answers."""


def reference(bank: Bank) -> Bank:
    """The states of some rows of a bank, forwarded one at a time in float32."""
    return Bank(bank.store, reference_key(bank.key), bank.layers, False, kind=REFERENCES)


def reference_key(bank: str) -> str:
    """The key of the reference of a bank's states."""
    return content_key(bank, "one prompt at a time, in float32")


def sampled(table: RowTable, which: int) -> tuple[Pair, ...]:
    """Some pairs of a prompt table, chosen by their content: the same ones whatever others there are and in whatever order they come."""
    lines = table.tables[which]
    pairs = {pair for pair in zip(lines[::2], lines[1::2], strict=True) if pair[0] != pair[1]}
    return tuple(sorted(pairs, key=lambda pair: tuple(table.keys[row] for row in pair))[:PAIRS])


def to_compare(table: RowTable) -> tuple[int, ...]:
    """The rows of all sampled pairs, each once."""
    pairs = (pair for which in range(len(table.tables)) for pair in sampled(table, which))
    return tuple(dict.fromkeys(row for pair in pairs for row in pair))


def relative_error(found: Tensor, exact: Tensor) -> Tensor:
    """The error of x⁺ − x⁻, relative to its length, over all pairs: (layer,). Both are (layer, pair, 2, d_model).

    It is 0 where there is no difference and none was found, as at layer 0 where both prompts end with one word.
    """
    wanted = exact.double().diff(dim=2)
    wrong = (found.double().diff(dim=2) - wanted).square().sum((1, 2, 3)).sqrt()
    return wrong / wanted.square().sum((1, 2, 3)).sqrt().clamp_min(1e-30)


def noise_of(table: RowTable, which: int, stored: Bank, alone: Bank) -> Sequence[float]:
    """The noise floor of one prompt table's states, by layer of the bank; empty for a table without pairs."""
    pairs = sampled(table, which)
    if not pairs:
        return ()
    keys = [table.keys[row] for pair in pairs for row in pair]
    found, exact = (bank.read(keys, stored.layers).unflatten(1, (len(pairs), 2)) for bank in (stored, alone))
    noise: list[float] = relative_error(found, exact).tolist()
    return noise
