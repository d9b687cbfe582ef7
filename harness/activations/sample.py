"""The sample of a self-check: parts of the very batches that a run is about to forward, with the extremes of its lengths.

Of each length that a network may look at (of the prompt, or of what encoder and decoder read) the sample has the longest row,
the shortest, and the rows next to every number at which the network may change. The batch of the most rows is taken whole, and
the longest, a middling and the shortest row that may meet are put into one batch.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence

import msgspec

from harness.activations.batches import Batch, Group, Layout, stem_tokens
from harness.activations.rows import RowTable

Extent = tuple[int, ...]
"""Tokens of a row; where two stacks read it, of what the encoder reads and of what the decoder reads."""


_FEW = 3
"""Rows of the fullest batch that are forwarded alone."""


class Trial(msgspec.Struct, frozen=True):
    """A batch that is forwarded on trial."""

    batch: Batch
    compared: tuple[int, ...]
    """Rows that are also forwarded alone."""


def extents(table: RowTable, two_stacks: bool) -> list[Extent]:
    """The lengths of each row."""
    if two_stacks:
        return [(row.start, len(row.tokens) - row.start) for row in table.rows]
    return [(len(row.tokens),) for row in table.rows]


def cuts(extents: Sequence[Extent], numbers: Sequence[int]) -> tuple[int, ...]:
    """Those of the numbers that have rows on both sides: of so many tokens or fewer, and of more."""
    found = set()
    for lengths in zip(*extents, strict=True):
        found |= {number for number in numbers if min(lengths) <= number < max(lengths)}
    return tuple(sorted(found))


def sides(extents: Sequence[Extent], cuts: Sequence[int]) -> list[Extent]:
    """For each row, between which of the numbers its lengths lie."""
    return [tuple(bisect_left(cuts, length) for length in extent) for extent in extents]


def sample(
    layout: Layout,
    table: RowTable,
    extents: Sequence[Extent],
    kinds: Sequence[Extent],
    cuts: Sequence[int],
    budget: int,
) -> list[Trial]:
    """Trials of a layout: parts of its batches, and batches more mixed than any of its own.

    `kinds` are those of the layout, and `budget` the tokens of its batches; rows are drawn beside the `cuts`.
    """
    batches = [batch for shard in layout.shards for batch in shard]
    mixed = list(_mixed(batches, table, kinds, budget))
    seen = {row for trial in mixed for row in trial.compared}
    return [*mixed, *_drawn(batches, [row for row in _extremes(batches, extents, cuts) if row not in seen])]


def _drawn(batches: Sequence[Batch], rows: Sequence[int]) -> Iterator[Trial]:
    """The fullest batch, and the parts of others in which the rows stand, each with the longest of its batch."""
    fullest = max(batches, key=lambda batch: (len(batch.rows), batch.tokens))
    for batch in batches:
        chosen = {*rows} & {*batch.rows}
        if batch is fullest:
            # What a full batch does to some of its rows, as experts of limited capacity do, it need not do to the first.
            count = len(batch.rows)
            chosen |= {batch.rows[(count - 1) * step // (_FEW - 1)] for step in range(_FEW)}
            yield Trial(batch, tuple(row for row in batch.rows if row in chosen))
        elif chosen:
            others = [group for group in batch.groups[1:] if chosen & {*group.rows}]
            yield _trial([batch.groups[0], *others], chosen)


def _mixed(batches: Sequence[Batch], table: RowTable, kinds: Sequence[Extent], budget: int) -> Iterator[Trial]:
    """For each kind the longest, a middling and the shortest sequence in one batch, of those that are short enough to share one.

    The layout pads little, so that few of its batches show what company does to a row; and those may not be in the sample.
    """
    alike: dict[Extent, dict[tuple[int, ...], list[Group]]] = {}
    for batch in batches:
        by_stem = alike.setdefault(kinds[batch.groups[0].rows[0]], {})
        by_stem.setdefault(stem_tokens(batch.groups[0], table), []).extend(batch.groups)
    for _, by_stem in sorted(alike.items()):
        most = max(by_stem.values(), key=len)
        fit = sorted((group for group in most if 2 * group.size <= budget), key=lambda group: group.size)
        if fit and fit[0].size < fit[-1].size:
            middle = [fit[len(fit) // 2]] if 3 * fit[-1].size <= budget and len(fit) > 2 else []
            yield _trial([fit[-1], *middle, fit[0]])


def _trial(groups: Sequence[Group], rows: Collection[int] = ()) -> Trial:
    """Some groups as a batch. Compared are the rows, and two of each group: what a branch of a tree sees of another shows in both."""
    batch = Batch(tuple(groups))
    ends = {row for group in groups for row in (group.rows[0], group.rows[-1])}
    return Trial(batch, tuple(row for row in batch.rows if row in ends or row in rows))


def _extremes(batches: Sequence[Batch], extents: Sequence[Extent], cuts: Sequence[int]) -> Iterator[int]:
    """Rows to be looked at, some of them several times."""
    largest = max((group for batch in batches for group in batch.groups), key=_places)
    yield largest.rows[0]
    for part in range(len(extents[0])):

        def length(row: int, part: int = part) -> int:
            return extents[row][part]

        rows = [row for batch in batches for row in batch.rows]
        yield max(rows, key=length)
        yield min(rows, key=length)
        for cut in cuts:
            below, above = ([row for row in rows if (length(row) > cut) == over] for over in (False, True))
            if below and above:
                yield max(below, key=length)
                yield min(above, key=length)
            yield from _beside(batches, below, cut)


def _beside(batches: Sequence[Batch], below: Sequence[int], cut: int) -> Iterator[int]:
    """Rows below a number that stand in trees, and in batches, which reach beyond it."""
    short = {*below}
    groups = [group for batch in batches for group in batch.groups if _places(group) > cut and short & {*group.rows}]
    if groups:
        yield min(short & {*max(groups, key=_places).rows})
    reaching = [batch for batch in batches if batch.longest + batch.stem > cut and short & {*batch.rows}]
    if reaching:
        yield min(short & {*max(reaching, key=lambda batch: batch.longest - batch.groups[-1].size).rows})


def _places(group: Group) -> int:
    return group.stem + group.size
