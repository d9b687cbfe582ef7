"""What an intervention did to the network's own answer, as numbers with intervals.

Log-odds are those of answers[1]; rows are pairs, clustered by group as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from harness.contracts import Answers
from harness.maths.estimate import Estimate, Measured, over_seeds, row_mean

NOTHING = "none"


class Outcome(msgspec.Struct, frozen=True):
    """Log-odds of the same rows without and with every alteration."""

    names: tuple[str, ...]
    """Of the directions, in order."""
    untouched: np.ndarray
    """(row,)."""
    altered: np.ndarray
    """(direction, strength, row). One strength where directions were erased."""
    strengths: tuple[float, ...]
    """In standard deviations, as many below zero as above; empty where directions were erased."""
    truth: np.ndarray
    """(row,)."""
    group: np.ndarray
    """(row,)."""


def slopes(outcome: Outcome) -> Measured:
    """Change of the log-odds per standard deviation, (direction, 1) and (direction, 1, row).

    Each row's least-squares line through what it says untouched. Strengths come in pairs s and −s, so what does not change
    with the sign (a network that merely becomes less sure of anything) cancels out.
    """
    s = np.asarray(outcome.strengths, dtype=np.float64)
    moved = outcome.altered.astype(np.float64) - outcome.untouched
    rows = np.einsum("s,dsr->dr", s, moved) / float(s @ s)
    return row_mean(rows[:, None], outcome.group)


def rows(outcome: Outcome) -> Iterator[dict[str, object]]:
    """Rows of the table: direction, strength, measure and its estimate."""
    return _steered(outcome) if outcome.strengths else _erased(outcome)


def _steered(outcome: Outcome) -> Iterator[dict[str, object]]:
    yield _row(NOTHING, 0.0, "log_odds", _mean(outcome.untouched, outcome.group))
    found = slopes(outcome)
    for number, name in enumerate(outcome.names):
        for strength, log_odds in zip(outcome.strengths, outcome.altered[number], strict=True):
            yield _row(name, strength, "log_odds", _mean(log_odds, outcome.group))
        yield _row(name, None, "slope", over_seeds(found.at(seed=number)).one(0))


def _erased(outcome: Outcome) -> Iterator[dict[str, object]]:
    yield from _answered(outcome, NOTHING, outcome.untouched)
    for name, log_odds in zip(outcome.names, outcome.altered[:, 0], strict=True):
        yield from _answered(outcome, name, log_odds)


def _answered(outcome: Outcome, name: str, log_odds: np.ndarray) -> Iterator[dict[str, object]]:
    """What the answers are worth: their mean, their score on the truth, and how many are as they were."""
    from harness.metrics.accuracy import Accuracy
    from harness.metrics.auroc import Auroc

    yield _row(name, None, "log_odds", _mean(log_odds, outcome.group))
    answers = Answers(log_odds[None, None])
    for metric in (Accuracy(), Auroc()):
        if (found := metric.measure(answers, outcome.truth, outcome.group)) is not None:
            yield _row(name, None, metric.title, over_seeds(found).one(0))
    same = (log_odds > 0) == (outcome.untouched > 0)
    yield _row(name, None, "same_answer", over_seeds(row_mean(same[None, None] * 1.0, outcome.group, 0, 1)).one(0))


def _mean(log_odds: np.ndarray, group: np.ndarray) -> Estimate:
    return over_seeds(row_mean(log_odds[None, None].astype(np.float64), group)).one(0)


def _row(direction: str, strength: float | None, measure: str, estimate: Estimate) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(estimate, name) for name in ("value", "low", "high", "n")}
    return {"direction": direction, "strength": strength, "measure": measure, **values}


def both_ways(strengths: Sequence[float]) -> tuple[float, ...]:
    """−2, −1, 1, 2 from 1 and 2."""
    kept = sorted({float(one) for one in strengths})
    return (*(-one for one in reversed(kept)), *kept)
