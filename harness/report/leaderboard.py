"""The leaderboard: one table that says which method survives which distractor, under all conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from harness.maths import discoveries
from harness.report.intervals import Score, reach
from harness.report.markup import table
from harness.report.scores import Scores, Transfer
from harness.report.wording import number
from harness.untrusted import text as plain

BASELINE = "random"

Verdict = Literal["survives", "falls", "unclear", "baseline"]

_MARK: dict[Verdict, str] = {"survives": "✅", "falls": "❌", "unclear": "❔", "baseline": ""}


class Cell(msgspec.Struct, frozen=True):
    """One method under one condition, at its summary layer."""

    truth: Score
    distractors: dict[str, Score]
    """What stands in the prompts of the condition, with the method's score on it."""
    verdict: Verdict


class Claim(msgspec.Struct, frozen=True):
    """What the values of a cell say, if it is sure enough beside all others."""

    truth: Score
    distractors: dict[str, Score]
    verdict: Verdict
    chance: float
    """The probability that they say so by chance."""


class Line(msgspec.Struct, frozen=True):
    """One method under all conditions."""

    probe: str
    cells: dict[Transfer, Cell]

    @property
    def survived(self) -> int:
        return sum(cell.verdict == "survives" for cell in self.cells.values())

    @property
    def truth(self) -> float:
        return sum(cell.truth.value for cell in self.cells.values()) / len(self.cells)


def lines(scores: Scores) -> list[Line]:
    """The methods, those that survive most conditions first, then by their mean score on the truth."""
    # A detector of anomalies does not say what is true.
    detectors = {probe.name for probe in scores.outline.probes if probe.detects}
    asked = [probe for probe in scores.probes if probe not in detectors]
    claims = {probe: _claims(scores, probe) for probe in asked}
    places = [(probe, transfer) for probe, of in claims.items() for transfer in of if probe != BASELINE]
    sure = discoveries.found([claims[probe][transfer].chance for probe, transfer in places])
    holds = dict(zip(places, sure, strict=True))
    found = [
        Line(probe, {transfer: _judged(probe, claim, holds.get((probe, transfer))) for transfer, claim in of.items()})
        for probe, of in claims.items()
        if of
    ]
    return sorted(found, key=lambda line: (-line.survived, -round(line.truth, 6)))


def claim(truth: Score, floor: Score, distractors: Sequence[Score]) -> tuple[Verdict, float]:
    """What the values say, and the probability that they say so by chance; NaN where an interval is missing.

    Survives: the truth is above the floor and above every distractor; all of it must be sure. Falls: it is not above the floor's
    value at all, or below a distractor; one of them is enough, and counts as one of as many looks.
    """
    rivals = (floor, *distractors)
    if all(truth.value > rival.value for rival in rivals):
        return "survives", max(_apart_by_chance(truth, rival) for rival in rivals)
    above = [_apart_by_chance(truth, rival) for rival in distractors if rival.value > truth.value]
    if floor.value > truth.value and truth.bounded:
        above.append(discoveries.chance(floor.value - truth.value, truth.high - truth.value))
    known = [chance for chance in above if not math.isnan(chance)]
    return "falls", min(1.0, min(known) * len(above)) if known else math.nan


def _apart_by_chance(a: Score, b: Score) -> float:
    return discoveries.chance(a.value - b.value, reach(a, b)) if a.bounded and b.bounded else math.nan


def _judged(probe: str, claim: Claim, holds: bool | None) -> Cell:
    judged: Verdict = "baseline" if probe == BASELINE else claim.verdict if holds else "unclear"
    return Cell(claim.truth, claim.distractors, judged)


def section(scores: Scores) -> Iterable[str]:
    """The table; nothing where there is none to be shown."""
    if not scores.outline.leaderboard or scores.chance is None or not scores.higher_is_better:
        return
    found = lines(scores)
    transfers = [transfer for transfer in scores.transfers if any(transfer in line.cells for line in found)]
    if not found:
        return
    yield "## Leaderboard"
    yield (
        f"The {plain.code(scores.headline)} on the truth and, behind the stroke, on the distractor that stands in the prompts "
        f"(the highest one of several), at the summary layer. ✅: beyond the intervals, the truth is above {_floor(scores)} and "
        "above every distractor. ❌: a distractor is above the truth, or the truth is not above that floor at all. ❔: the "
        "intervals do not tell. Of all ✅ and ❌ together, 5 % at most are expected to be there by chance. The order is by conditions survived, then by the mean score on the truth."
    )
    head = ["method", "learns from", *(_heading(scores, transfer) for transfer in transfers), "survives"]
    rows = []
    for line in found:
        cells = [_cell(line.cells.get(transfer)) for transfer in transfers]
        count = "–" if line.probe == BASELINE else f"{line.survived} of {len(line.cells)}"
        rows.append([plain.code(line.probe), plain.markdown(scores.learns_from(line.probe)), *cells, count])
    yield table(head, rows, numbers=1)


def _claims(scores: Scores, probe: str) -> dict[Transfer, Claim]:
    found = {}
    for transfer in scores.transfers:
        layer = scores.summary_layer(transfer, probe)
        truth = _at(scores, transfer, probe, "truth", layer)
        if truth is None:
            continue
        standing = scores.outline.standing.get(transfer.tested_on, ())
        against = {name: _at(scores, transfer, probe, name, layer) for name in standing}
        known = {name: score for name, score in against.items() if score is not None}
        found[transfer] = Claim(truth, known, *claim(truth, _baseline(scores, transfer, layer), list(known.values())))
    return found


def _baseline(scores: Scores, transfer: Transfer, layer: str | None) -> Score:
    """The random directions at the method's own layer, or at theirs where it has none; chance where there are none."""
    at = scores.by_layer(transfer, BASELINE, "truth")
    found = at.get(layer or "") or at.get(scores.summary_layer(transfer, BASELINE) or "")
    chance = scores.chance or 0.0
    return found or Score(chance, chance, chance)


def _at(scores: Scores, transfer: Transfer, probe: str, target: str, layer: str | None) -> Score | None:
    return scores.headline_score(transfer, probe, target, layer)


def _floor(scores: Scores) -> str:
    return "random directions" if BASELINE in scores.probes else "chance"


def _heading(scores: Scores, transfer: Transfer) -> str:
    standing = scores.outline.standing.get(transfer.tested_on, ())
    title = plain.markdown(transfer.title)
    return f"{title}: truth / {', '.join(map(plain.markdown, standing))}" if standing else f"{title}: truth"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    scored = number(cell.truth.value)
    if cell.distractors:
        scored += f" / {number(max(score.value for score in cell.distractors.values()))}"
    return f"{_MARK[cell.verdict]} {scored}".strip()
