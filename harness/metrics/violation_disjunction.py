"""Violation of the law of disjunction."""

from __future__ import annotations

from typing import ClassVar

from harness.metrics._violation import Violated


class DisjunctionViolation(Violated, frozen=True, kw_only=True):
    """How far P(s ∨ t) is outside of max(P(s), P(t)) … min(P(s) + P(t), 1); mean over disjunctions.

    Answers of ½ keep every law. Only for probes that claim a probability.
    """

    laws: ClassVar[tuple[str, ...]] = ("disjunction",)
