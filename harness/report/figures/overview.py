"""The overview figure: every method's score on every factor at its summary layer, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.figures import canvas, finding, selection
from harness.report.scores import Scores, Summary, Transfer
from harness.report.wording import listed

_COLUMNS, _MOST_PANELS, _MOST_METHODS = 4, 8, 12
_MOST_MARKS = 320
"""Of a figure; with more, each panel has the truth and what stands in its prompts."""
_ROW, _MARK = 8.0, 7.0
"""Height of a method's row, and what every factor's mark adds to it, pixels."""
_GAP = 74.0


def caption(scores: Scores) -> str:
    shown, named = _shown(scores)
    targets = dict.fromkeys(target for of in _factors(scores, shown, named).values() for target in of)
    return (
        f"Which method finds what: {scores.headline} on {listed(list(targets))} at the summary layer, with intervals. Dashed: chance. "
        f"Under each title: how many methods follow what.{selection.left_out(scores, shown, named, scores.probes)}"
    )


def draw(scores: Scores) -> canvas.Surface:
    """Panels are transfers, rows are methods, marks are factors."""
    transfers, methods = _shown(scores)
    factors = _factors(scores, transfers, methods)
    found = {transfer: {s.probe: s for s in scores.summaries(transfer)} for transfer in transfers}
    columns = min(_COLUMNS, len(transfers))
    left = 14 + canvas.LETTER * max(len(canvas.label(probe)) for probe in methods)
    body = (_ROW + _MARK * max(map(len, factors.values()))) * len(methods)
    top, lines = 68.0, -(-len(transfers) // columns)
    surface = canvas.Surface(top + lines * (body + _GAP) - _GAP + 34, _title(scores, found))
    x = left
    for target in dict.fromkeys(target for of in factors.values() for target in of):
        x = canvas.key(surface, x, 31, canvas.label(target), canvas.factor_of(scores, target))
    limits = canvas.value_range(
        scores,
        (
            value
            for transfer, summaries in found.items()
            for probe, summary in summaries.items()
            for target, score in summary.scores.items()
            if probe in methods and target in factors[transfer]
            for value in (score.low, score.value, score.high)
        ),
    )
    wide = (canvas.WIDTH - left) / columns
    for i, transfer in enumerate(transfers):
        line, column = divmod(i, columns)
        place = (left + column * wide, top + line * (body + _GAP), wide - 18, body)
        panel = canvas.Panel(surface, *place, limits, (len(methods), 0))
        _panel(panel, scores, transfer, found[transfer], methods, factors[transfer])
        surface.text(panel.left, panel.top - 18, canvas.heading(transfer, panel.width), "b s")
        told = finding.told(
            finding.counted(s.follows for s in found[transfer].values() if scores.role(s.probe) != "baseline"), most=2
        )
        surface.text(panel.left, panel.top - 5, canvas.label(told, int(panel.width / canvas.LETTER) + 3), "s q")
        last = i + columns >= len(transfers)
        panel.scale_below(canvas.ticks(*limits), canvas.axis_label(scores.headline) if last else "")
        if column == 0:
            for y, probe in enumerate(methods):
                surface.text(left - 8, panel.y(y + 0.5) + 4, canvas.label(probe), "s", "end")
    return surface


def _shown(scores: Scores) -> tuple[list[Transfer], list[str]]:
    transfers = selection.transfers(scores, _MOST_PANELS)
    return transfers, selection.methods(scores, scores.probes, _MOST_METHODS)


def _factors(scores: Scores, transfers: Sequence[Transfer], methods: Sequence[str]) -> dict[Transfer, list[str]]:
    found = {transfer: selection.factors(scores, transfer) for transfer in transfers}
    if len(methods) * sum(map(len, found.values())) <= _MOST_MARKS:
        return found
    return {transfer: selection.factors(scores, transfer, few=1) for transfer in transfers}


def _title(scores: Scores, found: dict[Transfer, dict[str, Summary]]) -> str:
    fits = [s for of in found.values() for s in of.values() if scores.role(s.probe) != "baseline"]
    counts = finding.counted(s.follows for s in fits)
    if not fits or set(counts) == {"unclear"}:
        return f"{canvas.axis_label(scores.headline).capitalize()} of each method at its summary layer"
    return f"Methods follow {finding.told(counts, ' in ')} cases, baselines aside"


def _panel(
    panel: canvas.Panel,
    scores: Scores,
    transfer: Transfer,
    found: dict[str, Summary],
    methods: Sequence[str],
    factors: Sequence[str],
) -> None:
    for chance in scores.chances(transfer.tested_on, factors):
        panel.upright(chance)
    steps = "".join(
        f"M{round(panel.left * 2)} {round(panel.y(y) * 2)}h{round(panel.width * 2)}" for y in range(len(methods))
    )
    panel.surface.path(steps, "g")
    for j, target in enumerate(factors):
        factor = canvas.factor_of(scores, target)
        middle = (j + 1) / (len(factors) + 1)
        points, intervals = [], []
        for y, probe in enumerate(methods):
            score = found[probe].scores.get(target) if probe in found else None
            if score is None or score.value != score.value:
                continue
            points.append((score.value, y + middle))
            if score.bounded:
                intervals.append(canvas.through(panel.at([(score.low, y + middle), (score.high, y + middle)])))
        panel.surface.path("".join(intervals), f"i {canvas.look_of(factor)}")
        panel.marks(points, factor)
