"""Brackets of several kinds that are nested: which one is to be closed next is told by the partner, the last one that is still open, however much was opened and
closed since."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.worlds.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 4096
"""Sequences that stand for all, of which there are too many to count."""
SEED = 0xB4AC


class NestedBrackets(Sequences, frozen=True, kw_only=True):
    """Sequences of brackets, each of which is closed by one of its own kind once all that was opened since is closed; cut off at their length.

    Tokens: 0 stands at the beginning, 1 to `kinds` open, and `kinds` more, in the same order, close. Where a bracket can be opened and one be closed,
    either is as likely, and so is each kind that can be opened. These are the Dyck languages of bounded depth (Hewitt et al. 2020, arXiv 2010.07515).
    """

    kinds: int = 4
    """Kinds of brackets."""
    depth: int = 4
    """Brackets that can be open at the same time, at most."""
    length: int = 32
    """Tokens of a sequence, the beginning included."""

    def __post_init__(self) -> None:
        wrong = {
            "kinds": (self.kinds >= 2, "at least 2, for a bracket to have a kind"),
            "depth": (self.depth >= 2, "at least 2, for brackets to be nested"),
            "length": (
                self.length > 2 * self.depth,
                f"more than {2 * self.depth}, in which {self.depth} are opened and closed",
            ),
        }
        for option, (right, remedy) in wrong.items():
            if not right:
                raise UsageError(f"{option}: {getattr(self, option)} is out of range; give {remedy}")

    @property
    def vocabulary(self) -> int:
        return 1 + 2 * self.kinds

    @property
    def context(self) -> int:
        return self.length

    @property
    def classes(self) -> int:
        return self.vocabulary

    @property
    def rows(self) -> int:
        return ROWS

    def questions(self) -> Tensor:
        """Sequences that are drawn once and for all, each one once."""
        return _drawn_once(self)[:, :-1].clone()

    def answers(self) -> Tensor:
        """The brackets that come next in these."""
        return _drawn_once(self)[:, -1].clone()

    def drawn(self, count: int, seed: int) -> Tensor:
        """Sequences of one token more than `length`, int64, (row, position)."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        coin = torch.rand(count, self.length, generator=generator) < 0.5
        kind = torch.randint(1, self.kinds + 1, (count, self.length), generator=generator)
        # The kinds that are open, from the outermost on, behind one place that is none.
        stack = torch.zeros(count, self.depth + 1, dtype=torch.int64)
        depth, rows, found = (
            torch.zeros(count, dtype=torch.int64),
            torch.arange(count),
            [torch.zeros(count, dtype=torch.int64)],
        )
        for at in range(self.length):
            opens = (depth == 0) | (coin[:, at] & (depth < self.depth))
            found.append(torch.where(opens, kind[:, at], stack[rows, depth] + self.kinds))
            depth = depth + torch.where(opens, 1, -1)
            stack[rows[opens], depth[opens]] = kind[opens, at]
        return torch.stack(found, dim=1)

    def open_after(self, sequences: Tensor) -> tuple[Tensor, Tensor]:
        """How many brackets are open after each token of sequences (row, position), and the position of the last one that is, −1 where none is; int64,
        (row, position) each."""
        import torch

        steps = torch.where(sequences == 0, 0, torch.where(sequences <= self.kinds, 1, -1))
        depth = steps.cumsum(1)
        positions = torch.arange(sequences.shape[1])
        # The last position whose bracket was opened to be at this depth: where one lies between it was closed again.
        opened = (steps[:, None] == 1) & (depth[:, None] == depth[:, :, None]) & (positions <= positions[:, None])
        last = torch.where(opened, positions, -1).amax(2)
        return depth, torch.where(depth > 0, last, -1)


@cache
def _drawn_once(world: NestedBrackets) -> Tensor:
    """Sequences of which no two are the same without the last token."""
    import torch

    found = world.drawn(2 * ROWS, SEED)
    first = {tuple(row): place for place, row in reversed(list(enumerate(found[:, :-1].tolist())))}
    found = found[torch.tensor(sorted(first.values()))]
    assert len(found) >= ROWS
    return found[:ROWS]
