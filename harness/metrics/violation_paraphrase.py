"""Violation of the law of paraphrase."""

from __future__ import annotations

from typing import ClassVar

from harness.metrics._violation import Violated


class ParaphraseViolation(Violated, frozen=True, kw_only=True):
    """How far apart the probabilities of one statement in two wordings, or under two templates, are; mean over such
    couples.

    Answers of ½ keep every law. Only for probes that claim a probability.
    """

    laws: ClassVar[tuple[str, ...]] = ("paraphrase",)
