"""The part of report.md on the noise floor: how far arithmetic moves what the methods read."""

from __future__ import annotations

from collections.abc import Iterable

from harness.contracts import ALL_LAYERS
from harness.report.markup import table
from harness.report.scores import Scores
from harness.scoring.noise_floor import BOUND, percent
from harness.untrusted import text as plain


def section(scores: Scores, *, pairs: bool = True) -> Iterable[str]:
    """One sentence; and a table of the layers shown above, where there is noise to be seen. Without `pairs`, rows are statements."""
    floor = scores.noise
    if not floor.by_place:
        return
    (condition, layer), worst = max(floor.by_place.items(), key=lambda item: item[1])
    where = f" at most, at layer {layer} of {plain.markdown(condition)}" if floor.shows else " at every layer"
    yield "## Noise floor"
    what, rows_read = ("x⁺ − x⁻", "pairs") if pairs else ("one statement less another", "statements")
    yield (
        f"Arithmetic moves {what} by {percent(worst)}{where}: a few {rows_read} as they are stored, against the same prompts forwarded one at "
        f"a time in float32. A check at a layer where it is more than {percent(BOUND)} is inconclusive."
    )
    if floor.shows:
        layers = _shown(scores)
        names = dict.fromkeys(name for name, _ in floor.by_place)
        rows = [
            (plain.markdown(name), *(percent(by_layer[one]) if one in by_layer else "–" for one in layers))
            for name in names
            for by_layer in [floor.of([name])]
        ]
        yield table(("noise at layer", *map(str, layers)), rows, numbers=len(layers))


def _shown(scores: Scores) -> list[int]:
    """The layers that the summaries show."""
    found = {summary.layer for transfer in scores.transfers for summary in scores.summaries(transfer)}
    return sorted(int(layer) for layer in found if layer != ALL_LAYERS)
