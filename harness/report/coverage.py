"""What the intervals of a report cover, in one phrase at its head."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.scores import Scores
from harness.report.wording import listed
from harness.untrusted import text as plain

_TRAINING = "training sample"
_PARTS = ("test rows", "seeds", _TRAINING)


def sentences(scores: Scores) -> Iterable[str]:
    """Nothing where nothing was measured."""
    if not scores.covers:
        return
    said = {part for covers in scores.covers.values() for part in covers.split(", ")}
    there = [part for part in _PARTS if part in said]
    there += [f"{part} of sample and split" for part in sorted(said - {*_PARTS})]
    without = sorted({probe for (_, probe), covers in scores.covers.items() if _TRAINING not in covers})
    left_out = f"; without the {_TRAINING}: {listed([plain.code(probe) for probe in without])}" if without else ""
    elsewhere = ", at other layers and in checks test rows and seeds"
    # Where no interval has it, it need not be said of each method.
    yield f"*Intervals at the summary layers cover {listed(there)}{left_out if _TRAINING in there else ''}{elsewhere}.*"
