"""Batches: rows that are forwarded together, decided from the whole table of rows, never from who forwards them or what is stored.

families of rows ──▶ packs (trees) ──▶ batches (packs of similar size) ──▶ shards (what is stored at once)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.activations import trie
from harness.activations.layers import layers_at
from harness.activations.rows import RowTable
from harness.activations.stems import stems
from harness.models.card import ModelCard
from harness.models.precision import BYTES, cuda_capability

SHARD_ROWS, SHARD_TOKENS = 256, 4096
"""A shard ends with the batch that brings it so many rows or tokens: a run that is stopped has done the next one for nothing."""

CPU_TOKENS = 1024
"""Tokens of one forward pass on a processor, padding included: where speed stops growing with the batch."""

GPU_TOKENS = 16384
"""The same on a GPU. Where its memory is too small, batches are halved."""

_EVEN = 0.85
"""A batch that is large enough ends where a sequence would be padded by more than this leaves."""

_ENOUGH = 0.25
"""Share of the budget from which on a batch is large enough to be fast."""


def token_budget() -> int:
    """Most tokens of one forward pass on this machine."""
    return CPU_TOKENS if cuda_capability() is None else GPU_TOKENS


class Group(msgspec.Struct, frozen=True):
    """Rows (by index) that are laid out as one sequence."""

    rows: tuple[int, ...]
    size: int
    """Tokens of the sequence, the stem aside."""
    stem: int = 0
    """First tokens of every row that are forwarded apart, once for all groups that share them."""


class Batch(msgspec.Struct, frozen=True):
    """Groups that are forwarded together, padded to the longest. They have the same stem."""

    groups: tuple[Group, ...]

    @property
    def stem(self) -> int:
        return self.groups[0].stem

    @property
    def longest(self) -> int:
        return max(group.size for group in self.groups)

    @property
    def tokens(self) -> int:
        """Distinct tokens, without padding."""
        return sum(group.size for group in self.groups)

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(row for group in self.groups for row in group.rows)


class Layout(msgspec.Struct, frozen=True):
    """Which rows are forwarded together: shards, each of one or more batches."""

    shards: tuple[tuple[Batch, ...], ...]


class Cost(msgspec.Struct, frozen=True):
    """What a forward of some rows costs."""

    rows: int
    tokens: int
    """Distinct tokens: every shared beginning once."""
    tokens_unshared: int
    """Tokens if every prompt were forwarded whole."""
    passes: int
    flops: float | None
    """None where a size that it depends on is unknown."""
    weight_bytes: int
    peak_bytes: int | None
    """Weights, those widened at a time, the largest batch's intermediate values, and one shard of states; None where a size is unknown."""
    stored_bytes: int
    """Size of the states in the store."""
    unknown: tuple[str, ...] = ()
    """Sizes of the network that the cost depends on and nobody can say."""


def lay_out(
    table: RowTable,
    budget: int,
    sharing: ModelCard | None = None,
    grafted: bool = False,
    kinds: Sequence[tuple[int, ...]] = (),
) -> Layout:
    """Plan all rows. `budget` bounds a batch's tokens, padding included; a longer pack stands alone.

    With `sharing`, the network whose work is saved, an example's rows are laid out as a tree; `grafted` also forwards what many
    examples begin with once. Without it each row stands by itself. `kinds`, one for each row, keeps rows of different ones
    out of one batch.
    """
    kinds = kinds or [()] * len(table.rows)
    groups = _groups(
        table, sharing, budget, _stem_of_each_row(table) if sharing is not None and grafted else None, kinds
    )
    if grafted:
        groups = _graft(groups, table)

    def joins(group: Group) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the groups of a batch have in common."""
        return kinds[group.rows[0]], stem_tokens(group, table)

    # Ties are broken by content, so that the order in which conditions or examples come does not matter.
    groups.sort(key=lambda group: (joins(group), -group.size, table.keys[group.rows[0]]))
    batches: list[Batch] = []
    current: list[Group] = []
    for group in groups:
        # Longest first: the first of a batch is what the others are padded to, and a lack of memory shows early.
        if current and (
            joins(group) != joins(current[0])
            or (len(current) + 1) * current[0].size > budget
            or (group.size < _EVEN * current[0].size and len(current) * current[0].size >= budget * _ENOUGH)
        ):
            batches.append(Batch(tuple(current)))
            current = []
        current.append(group)
    if current:
        batches.append(Batch(tuple(current)))
    return Layout(tuple(_shards(batches)))


def without(batch: Batch, stored: set[int], table: RowTable) -> Batch | None:
    """A batch less the rows that are stored already; None if nothing is left."""
    groups = []
    for group in batch.groups:
        rows = tuple(row for row in group.rows if row not in stored)
        if rows:
            size = group.size
            if rows != group.rows:
                size = trie.nodes([table.rows[row].tokens for row in rows]) - group.stem
            groups.append(Group(rows, size, group.stem))
    return Batch(tuple(groups)) if groups else None


def stem_tokens(group: Group, table: RowTable) -> tuple[int, ...]:
    """The stem of a group; empty if it has none."""
    return table.rows[group.rows[0]].tokens[: group.stem]


def tokens_of(batches: Sequence[Batch], table: RowTable) -> int:
    """Distinct tokens of some batches, every stem once."""
    stems = {stem_tokens(batch.groups[0], table) for batch in batches}
    return sum(batch.tokens for batch in batches) + sum(map(len, stems))


def cost(batches: Sequence[Batch], table: RowTable, card: ModelCard, layers: Sequence[int]) -> Cost:
    """What forwarding these batches costs, without touching a network."""
    widths = {site: card.shape.width(site) * len(layers_at(site, layers)) for site in table.sites}
    rows = [table.rows[index] for batch in batches for index in batch.rows]
    sequences = {row.sequence for row in rows}
    tokens = tokens_of(batches, table)
    square = sum(batch.longest * (batch.longest + batch.stem) * len(batch.groups) for batch in batches)
    width = card.shape.attention_width
    flops = None if width is None else 2.0 * card.body_parameters * tokens + 4.0 * card.blocks * width * square
    if flops is not None and card.has_head:
        flops += 2.0 * card.shape.vocab * card.d_model * sum(end - start for _, start, end in sequences)
    element = BYTES["float32"]
    stored = sum(widths[row.site] for row in rows) * element
    working = [_working_bytes(batch, card, element) for batch in batches]
    return Cost(
        rows=len(rows),
        tokens=tokens,
        tokens_unshared=sum(len(tokens) for tokens, _, _ in sequences),
        passes=len(batches),
        flops=flops,
        weight_bytes=card.weight_bytes,
        peak_bytes=None
        if None in working
        else card.weight_bytes + card.widened_bytes + max(filter(None, working), default=0),
        stored_bytes=stored,
        unknown=card.shape.unknown,
    )


def _working_bytes(batch: Batch, card: ModelCard, element: int) -> int | None:
    """Intermediate values of one block, the mask, and the head's logits at the answers; None where a size is unknown."""
    padded = batch.longest * len(batch.groups)
    shape = card.shape
    if shape.d_mlp is None or shape.attention_width is None:
        return None
    block = padded * (6 * shape.d_model + 3 * shape.d_mlp + 4 * shape.attention_width) * element
    mask = padded * batch.longest
    logits = 3 * len(batch.groups) * shape.vocab * 4 if card.has_head else 0
    return block + mask + logits


def _shards(batches: Sequence[Batch]) -> list[tuple[Batch, ...]]:
    shards: list[tuple[Batch, ...]] = []
    current: list[Batch] = []
    for batch in batches:
        current.append(batch)
        rows, tokens = sum(len(one.rows) for one in current), sum(one.tokens for one in current)
        if rows >= SHARD_ROWS or tokens >= SHARD_TOKENS:
            shards.append(tuple(current))
            current = []
    if current:
        shards.append(tuple(current))
    return shards


def _groups(
    table: RowTable,
    sharing: ModelCard | None,
    budget: int,
    stem_of: Sequence[int] | None,
    kinds: Sequence[tuple[int, ...]],
) -> list[Group]:
    if sharing is None:
        # Whatever is wanted of a prompt, it is forwarded once.
        same: dict[tuple[object, ...], list[int]] = {}
        for index, row in enumerate(table.rows):
            same.setdefault(row.sequence, []).append(index)
        return [Group(tuple(rows), len(table.rows[rows[0]].tokens)) for rows in same.values()]
    groups: list[Group] = []
    for family in table.families:
        for kind in sorted({kinds[row] for row in family}):
            groups += _split([row for row in family if kinds[row] == kind], table, sharing, budget, stem_of)
    return groups


def _stem_of_each_row(table: RowTable) -> list[int]:
    """The length of the stem that each row could have, if it were not laid out beside rows of its example that begin otherwise.

    Questions with worked examples before them share a long stem with those of other examples, and perhaps a word or two with
    the same question asked plainly: in one tree with that, they would have no stem longer than those words.
    """
    apart: list[Group] = []
    for family in table.families:
        rows_of = _by_text(family, table)
        tokens = list(rows_of)
        members: list[int] = []
        for number in trie.order(tokens):
            if members and 2 * trie.shared(tokens[members[-1]], tokens[number]) < len(tokens[number]):
                apart.append(Group(_rows(rows_of, tokens, members), 0))
                members = []
            members.append(number)
        apart.append(Group(_rows(rows_of, tokens, members), 0))
    found = [0] * len(table.rows)
    for group in _graft(apart, table):
        for row in group.rows:
            found[row] = group.stem
    return found


def _graft(groups: Sequence[Group], table: RowTable) -> list[Group]:
    """The groups with their stems. Tokens whose own states are wanted stay out of them; a mean over all tokens is one of parts."""
    members = [[table.rows[row] for row in group.rows] for group in groups]
    # What predicts the answer's first token stays in the tree.
    reach = [
        max(min(row.start - 1 if row.pools_all else min(row.start - 1, row.places[0]) for row in rows), 0)
        for rows in members
    ]
    beginnings = []
    for rows, end in zip(members, reach, strict=True):
        texts = dict.fromkeys(row.tokens for row in rows)
        shared = min(trie.shared(rows[0].tokens, text) for text in texts)
        beginnings.append(rows[0].tokens[: min(shared, end)])
    return [Group(group.rows, group.size - stem, stem) for group, stem in zip(groups, stems(beginnings), strict=True)]


def _split(
    family: Sequence[int], table: RowTable, card: ModelCard, budget: int, stem_of: Sequence[int] | None
) -> list[Group]:
    """An example's rows as one pack, or as several where sharing would not pay.

    Rows that share little still look at each other's places in the attention product, for nothing. A row joins its
    predecessors if what its shared tokens save is more than that, and if the stem of its own is no other than theirs.
    """
    rows_of = _by_text(family, table)
    tokens = list(rows_of)
    per_token = 2.0 * card.body_parameters / max(card.blocks, 1)
    # Where there are no heads there is no square of places to be saved.
    per_place = 4.0 * (card.shape.attention_width or 0)
    groups: list[Group] = []
    members: list[int] = []
    size = 0
    for number in trie.order(tokens):
        row = tokens[number]
        common = trie.shared(tokens[members[-1]], row) if members else 0
        fresh = len(row) - common
        # The grown square of places, against this row's own square and the tokens that it shares.
        wasted = ((size + fresh) ** 2 - size**2 - len(row) ** 2) * per_place
        another = False
        if stem_of is not None and members:
            last, own = (rows_of[tokens[one]][0] for one in (members[-1], number))
            another = stem_of[last] != stem_of[own]
        if members and (another or common * per_token <= wasted or size + fresh > max(budget, len(row))):
            groups.append(Group(_rows(rows_of, tokens, members), size))
            members, size, fresh = [], 0, len(row)
        members.append(number)
        size += fresh
    groups.append(Group(_rows(rows_of, tokens, members), size))
    return groups


def _by_text(family: Sequence[int], table: RowTable) -> dict[tuple[int, ...], list[int]]:
    """The rows of each text: several states may be wanted of one, and it is laid out once."""
    rows_of: dict[tuple[int, ...], list[int]] = {}
    for row in family:
        rows_of.setdefault(table.rows[row].tokens, []).append(row)
    return rows_of


def _rows(
    rows_of: dict[tuple[int, ...], list[int]], texts: Sequence[tuple[int, ...]], members: Sequence[int]
) -> tuple[int, ...]:
    return tuple(row for member in members for row in rows_of[texts[member]])
