"""A world: all questions of a task as rows of tokens, each with its answer, and which of them a network is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


class World(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The questions of a task and their answers."""

    @property
    def vocabulary(self) -> int:
        """Tokens that occur in questions: 0 to this, less one."""
        raise NotImplementedError

    @property
    def context(self) -> int:
        """Tokens of a question."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Answers are 0 to this, less one."""
        raise NotImplementedError

    def questions(self) -> Tensor:
        """All questions, int64, (row, position)."""
        raise NotImplementedError

    def answers(self) -> Tensor:
        """Their answers, int64, (row,)."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Questions that there are."""
        return len(self.answers())

    def training_rows(self, fraction: float, order: int) -> Tensor:
        """The rows of this share of all questions, in rising order, int64, (row,). The others are for testing.

        The rows of a smaller fraction are among those of a larger one of the same `order`, so that a network can be trained on,
        from more rows to fewer. Raises UsageError for a fraction that leaves none to train on or none to test on.
        """
        import torch

        count = round(fraction * self.rows)
        if not 0 < count < self.rows:
            raise UsageError(
                f"fraction: {fraction:g} of {self.rows} questions leaves none to {'test on' if count else 'train on'}; "
                "give a share between 0 and 1"
            )
        shuffled = torch.randperm(self.rows, generator=torch.Generator().manual_seed(order))
        return shuffled[:count].sort().values

    def testing_rows(self, fraction: float, order: int) -> Tensor:
        """All other rows, in rising order, int64, (row,)."""
        import torch

        tested = torch.ones(self.rows, dtype=torch.bool)
        tested[self.training_rows(fraction, order)] = False
        return tested.nonzero().flatten()

    def shuffled_answers(self, seed: int) -> Tensor:
        """The same answers in a random order, int64, (row,): what can only be learned by heart (Varma et al. 2023, §4)."""
        import torch

        return self.answers()[torch.randperm(self.rows, generator=torch.Generator().manual_seed(seed))]
