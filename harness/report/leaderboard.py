"""The leaderboard: one table that says which method survives which distractor, under all conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from harness.report.intervals import Score, apart
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
    asked = (probe for probe in scores.probes if probe not in detectors)
    found = [Line(probe, cells) for probe in asked if (cells := _cells(scores, probe))]
    return sorted(found, key=lambda line: (-line.survived, -round(line.truth, 6)))


def verdict(truth: Score, floor: Score, distractors: Sequence[Score]) -> Verdict:
    """Survives: the truth is above the floor and above every distractor, beyond the intervals. Falls: it is not above the
    floor's value at all, or below a distractor, beyond the intervals."""
    if all(truth.value > rival.value and apart(truth, rival) for rival in (floor, *distractors)):
        return "survives"
    if any(truth.value < rival.value and apart(truth, rival) for rival in distractors):
        return "falls"
    if truth.bounded and truth.high <= floor.value:
        return "falls"
    return "unclear"


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
        "intervals do not tell. The order is by conditions survived, then by the mean score on the truth."
    )
    head = ["method", "learns from", *(_heading(scores, transfer) for transfer in transfers), "survives"]
    rows = []
    for line in found:
        cells = [_cell(line.cells.get(transfer)) for transfer in transfers]
        count = "–" if line.probe == BASELINE else f"{line.survived} of {len(line.cells)}"
        rows.append([plain.code(line.probe), plain.markdown(scores.learns_from(line.probe)), *cells, count])
    yield table(head, rows, numbers=1)


def _cells(scores: Scores, probe: str) -> dict[Transfer, Cell]:
    cells = {}
    for transfer in scores.transfers:
        layer = scores.summary_layer(transfer, probe)
        truth = _at(scores, transfer, probe, "truth", layer)
        if truth is None:
            continue
        standing = scores.outline.standing.get(transfer.tested_on, ())
        against = {name: _at(scores, transfer, probe, name, layer) for name in standing}
        known = {name: score for name, score in against.items() if score is not None}
        floor = _baseline(scores, transfer, layer)
        judged = "baseline" if probe == BASELINE else verdict(truth, floor, list(known.values()))
        cells[transfer] = Cell(truth, known, judged)
    return cells


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
