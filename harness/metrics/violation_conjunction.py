"""Violation of the law of conjunction."""

from __future__ import annotations

from typing import ClassVar

from harness.metrics._violation import Violated


class ConjunctionViolation(Violated, frozen=True, kw_only=True):
    """How far P(s ∧ t) is outside of max(P(s) + P(t) − 1, 0) … min(P(s), P(t)); mean over conjunctions.

    Answers of ½ keep every law. Only for probes that claim a probability.
    """

    laws: ClassVar[tuple[str, ...]] = ("conjunction",)
