"""Violation of the law of negation."""

from __future__ import annotations

from typing import ClassVar

from harness.metrics._violation import Violated


class NegationViolation(Violated, frozen=True, kw_only=True):
    """How far P(s) + P(¬s) is from 1, between a statement and another one that denies it; mean over such couples.

    Answers of ½ keep every law. Only for probes that claim a probability.
    """

    laws: ClassVar[tuple[str, ...]] = ("negation",)
