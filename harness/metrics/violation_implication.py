"""Violation of the law of implication."""

from __future__ import annotations

from typing import ClassVar

from harness.metrics._violation import Violated


class ImplicationViolation(Violated, frozen=True, kw_only=True):
    """How far P(s) exceeds the probability of what follows from s, 0 where it does not; mean over such couples.

    Answers of ½ keep every law. Only for probes that claim a probability.
    """

    laws: ClassVar[tuple[str, ...]] = ("implication",)
