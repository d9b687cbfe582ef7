"""The sentences of a report on fits that found nothing: they answer 0 for all, and score chance by ties."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.wording import listed
from harness.scoring.score import Scored

_WHY = (
    "because what could be gone by is no larger than rounding, or the fit no better than a constant, and score chance"
)


def sentences(scored: Iterable[Scored]) -> list[str]:
    """One for each set of layers, share of seeds and set of probes, with the conditions that share them."""
    probes: dict[tuple[str, str], list[str]] = {}
    for one in {(one.fit_on, one.probe): one for one in scored}.values():
        for where in _where(one):
            probes.setdefault((one.fit_on, where), []).append(one.probe)
    conditions: dict[tuple[str, str], list[str]] = {}
    for (fit_on, where), own in probes.items():
        conditions.setdefault((listed(own), where), []).append(fit_on)
    return [
        f"Fitted on {listed(fit_on)}, {names} found nothing {where}: there they answer 0 for all, {_WHY}."
        for (names, where), fit_on in conditions.items()
    ]


def _where(scored: Scored) -> list[str]:
    """Layers of each number of seeds that found nothing there, in words."""
    seeds = len(scored.nothing)
    counts = scored.nothing.sum(axis=0)
    said = []
    for count in sorted({int(count) for count in counts if count}, reverse=True):
        own = [str(number) for number, found in zip(scored.layers, counts, strict=False) if found == count]
        at = f"at layer{'s' if len(own) > 1 else ''} {listed(own)}" if own else ""
        share = "" if count == seeds else f"with {count} of {seeds} seeds"
        said.append(" ".join(filter(None, (at, share))))
    return said
