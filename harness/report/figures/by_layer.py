"""The figure of scores by layer: a panel per method and transfer, a line per factor with its interval as a band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.contracts import ALL_LAYERS
from harness.report.figures import canvas, finding, grid, noise_strip, selection
from harness.report.intervals import Score
from harness.report.scores import Scores, Transfer
from harness.report.wording import listed

_MOST_TRANSFERS, _MOST_METHODS = 4, 6
_MOST_LINES = 72
"""Of a figure; with more, there are fewer methods in it."""
_MOST_BANDS = 48

Lines = dict[str, dict[float, Score]]


def caption(scores: Scores) -> str:
    transfers, methods = _shown(scores)
    targets = dict.fromkeys(target for transfer in transfers for target in selection.factors(scores, transfer))
    return (
        f"Score by layer: {scores.headline} on {listed(list(targets))}, means over seeds with intervals that cover test rows and seeds. "
        f"Dashed: chance. Over each panel: at how many layers what is followed.{noise_strip.caption(scores, transfers)}"
        f"{selection.left_out(scores, transfers, methods, _layered(scores))}"
    )


def draw(scores: Scores) -> canvas.Surface | None:
    """Columns are transfers, rows are methods; None where no method has more than one layer."""
    transfers, methods = _shown(scores)
    panels = {
        (probe, transfer): lines
        for transfer in transfers
        for probe in methods
        if (lines := _lines(scores, transfer, probe, selection.factors(scores, transfer)))
    }
    if not panels:
        return None
    follows = {place: finding.counted(_followed(scores, place[1], lines)) for place, lines in panels.items()}
    leading = finding.counted(max(sorted(counts), key=lambda name: counts[name]) for counts in follows.values())
    return grid.draw(
        scores,
        grid.Grid(
            title=f"What is followed at most layers: {finding.told(leading, ' in ')} panels",
            across="layer",
            ticks=lambda places: {
                place: canvas.tick(place) for place in canvas.whole_ticks(int(places[-1])) if place >= places[0]
            },
            panels=panels,
            told={place: finding.told(counts, most=1) for place, counts in follows.items()},
            bands=sum(map(len, panels.values())) <= _MOST_BANDS,
            noise={transfer: noise_strip.of_layers(scores, transfer) for transfer in transfers},
        ),
    )


def _shown(scores: Scores) -> tuple[list[Transfer], list[str]]:
    transfers = selection.transfers(scores, _MOST_TRANSFERS)
    series = sum(len(selection.factors(scores, transfer)) for transfer in transfers)
    most = max(1, min(_MOST_METHODS, _MOST_LINES // max(1, series)))
    return transfers, selection.methods(scores, _layered(scores), most)


def _layered(scores: Scores) -> list[str]:
    """Methods that were measured at several layers."""
    return [p for p in scores.probes if any(_lines(scores, t, p, scores.targets) for t in scores.transfers)]


def _lines(scores: Scores, transfer: Transfer, probe: str, targets: Sequence[str]) -> Lines:
    """By factor and layer; nothing where there is one layer only."""
    found: Lines = {}
    for target in targets:
        line = scores.by_layer(transfer, probe, target)
        points = {
            float(layer): score for layer, score in line.items() if layer != ALL_LAYERS and score.value == score.value
        }
        if len(points) > 1:
            found[target] = points
    return found


def _followed(scores: Scores, transfer: Transfer, lines: Mapping[str, Mapping[float, Score]]) -> list[str]:
    layers = sorted({layer for line in lines.values() for layer in line})
    return [
        scores.follows({t: line[layer] for t, line in lines.items() if layer in line}, transfer.tested_on)
        for layer in layers
    ]
