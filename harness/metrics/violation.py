"""Violation of all laws of probability."""

from __future__ import annotations

from typing import ClassVar

from harness.laws import LAWS
from harness.metrics._violation import Violated


class Violation(Violated, frozen=True, kw_only=True):
    """How far probabilities break the laws that tie statements together, mean over all relations; by law beside it.

    Always saying ½ scores 0: compare it with the same probabilities dealt out at random (the check `obeys_laws`), and
    only among probes that are sure of something. Signs are those resolved for the truth: turned round, conjunctions
    would be disjunctions. Only for data with laws (`compounds`, or several templates) and probes that claim a probability.
    """

    beside: ClassVar[tuple[str, ...]] = tuple(f"violation_{law}" for law in LAWS)
