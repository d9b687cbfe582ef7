"""Summary layers that are others in two reports: from which to which, with the scores at both."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from harness.contracts import ALL_LAYERS
from harness.report.compare.paired_rows import Key
from harness.report.intervals import Score

Place = tuple[Key, Key]
"""Where a row stands in the old results.csv and in the new one."""


class Both(msgspec.Struct, frozen=True):
    """A score at the old summary layer of the old report, and at the new one of the new report."""

    target: str
    metric: str
    old: Score
    new: Score
    beyond: bool | None = None
    """Whether the change is beyond its interval; None where that cannot be judged, or the score did not change."""


class LayerMoved(msgspec.Struct, frozen=True):
    """A method on a pair of conditions whose summary layer is another."""

    fit_on: str
    tested_on: str
    probe: str
    old: str
    """The layer."""
    new: str
    rows: tuple[Both, ...]

    def places(self, row: Both) -> Place:
        method = self.fit_on, self.tested_on, self.probe
        return (*method, self.old, row.target, row.metric), (*method, self.new, row.target, row.metric)

    def judged(self, beyond: Mapping[Place, bool | None]) -> LayerMoved:
        """The same with what was found of its rows."""
        rows = (msgspec.structs.replace(row, beyond=beyond.get(self.places(row))) for row in self.rows)
        return msgspec.structs.replace(self, rows=tuple(rows))

    @property
    def keys(self) -> list[Key]:
        """The rows of results.csv that it is about, of both reports."""
        return [place for row in self.rows for place in self.places(row)]


def layers_moved(old: Mapping[Key, Score], new: Mapping[Key, Score]) -> tuple[LayerMoved, ...]:
    """Of two tables of summary layers. A method that has several layers in one of them, as in a former version's, has none."""
    was, is_now = _only_layers(old), _only_layers(new)
    found = []
    for method in was:
        before, after = was[method], is_now.get(method)
        if before is None or after is None or before == after or ALL_LAYERS in (before, after):
            continue
        rows = [
            Both(key[4], key[5], score, new[there])
            for key, score in old.items()
            if key[:3] == method and (there := (*key[:3], after, *key[4:])) in new
        ]
        if rows:
            found.append(LayerMoved(*method, old=before, new=after, rows=tuple(rows)))
    return tuple(found)


def _only_layers(results: Mapping[Key, Score]) -> dict[tuple[str, str, str], str | None]:
    """The one layer of each method on each pair of conditions; None where it has several."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for fit_on, tested_on, probe, layer, *_ in results:
        found.setdefault((fit_on, tested_on, probe), set()).add(layer)
    return {method: next(iter(layers)) if len(layers) == 1 else None for method, layers in found.items()}
