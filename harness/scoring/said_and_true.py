"""Outcomes: what a probe of classes, numbers or vectors says beside what is true, at its summary layer: a small table, and what to draw."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from harness.contracts import Factor
from harness.scoring.score import Scored

PARTS = 5
"""Parts of the test rows by their true number, each with what is said of it."""
_MOST_CLASSES = 12
_MOST_POINTS = 250
"""Rows that are drawn of each component, evenly spaced by what is true of them."""


class Points(msgspec.Struct, frozen=True):
    """Rows by one number that is true of them and what is said of it."""

    name: str
    """Of the component; empty for a number."""
    true: tuple[float, ...]
    said: tuple[float, ...]
    """Mean over seeds."""


class Outcome(msgspec.Struct, frozen=True):
    """One table, and the numbers of its figure."""

    place: tuple[str, str, str]
    """fit_on, tested_on, probe."""
    layer: str
    target: str
    what: str
    """What the table shows, in words."""
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...] = ()
    """Names of the classes, of classes only."""
    counts: tuple[tuple[float, ...], ...] = ()
    """Test rows by their class and by the class that is said, mean over seeds; of classes only."""
    points: tuple[Points, ...] = ()
    """Of a number, or of each component of a vector."""


def outcome_of(
    place: tuple[str, str, str], scored: Scored, layer: int | str, true: np.ndarray, factor: Factor
) -> Outcome | None:
    """The table of a probe that was fitted on `factor`, at a layer's number; `true` are the labels of its test rows. None for one that
    answers by a score, and for more classes than a table shows."""
    outputs = scored.test.outputs
    if outputs is None or layer not in scored.layers:
        return None
    said = outputs[:, scored.layers.index(layer)].astype(np.float64)
    if factor.target.in_classes:
        if len(factor.values) > _MOST_CLASSES:
            return None
        counts = _counts(said, true, len(factor.values))
        lines = tuple(tuple(map(_short, line)) for line in counts)
        return Outcome(place, str(layer), factor.name, *_confusion(counts, factor), factor.values, lines)
    shown = _parts(said[..., 0], true[:, 0], factor) if factor.kind == "number" else _components(said, true, factor)
    return Outcome(place, str(layer), factor.name, *shown, points=tuple(_points(said, true, factor)))


_Table = tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]


def _counts(said: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """`said` is (seed, row, class)."""
    likeliest = said.argmax(axis=-1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (np.broadcast_to(true, likeliest.shape), likeliest), 1 / len(said))
    return counts


def _points(said: np.ndarray, true: np.ndarray, factor: Factor) -> Iterator[Points]:
    """`said` is (seed, row, component)."""
    for component in range(true.shape[1]):
        own = true[:, component]
        order = np.argsort(own, kind="stable")
        chosen = order[np.linspace(0, len(order) - 1, min(len(order), _MOST_POINTS)).round().astype(int)]
        mean = said[:, chosen, component].mean(axis=0)
        name = "" if factor.kind == "number" else _name(factor, component)
        yield Points(name, tuple(map(_short, own[chosen])), tuple(map(_short, mean)))


def _name(factor: Factor, component: int) -> str:
    return factor.values[component] if component < len(factor.values) else str(component + 1)


def _short(number: float) -> float:
    """To five digits, more than a figure shows."""
    return float(f"{number:.5g}")


def _confusion(counts: np.ndarray, factor: Factor) -> _Table:
    rows = [(name, *(f"{count:.4g}" for count in line)) for name, line in zip(factor.values, counts, strict=True)]
    return "test rows by their class (down) and the class that is said (across)", ("", *factor.values), tuple(rows)


def _parts(said: np.ndarray, true: np.ndarray, factor: Factor) -> _Table:
    """`said` is (seed, row)."""
    order, rows = np.argsort(true, kind="stable"), []
    for part in np.array_split(order, min(PARTS, len(order))):
        low, middle, high = np.quantile(said[:, part], (0.1, 0.5, 0.9))
        numbers = (true[part].min(), true[part].max(), middle, low, high)
        rows.append((str(len(part)), *(factor.told(number) for number in numbers)))
    head = ("rows", "true from", "to", "said, median", "10 %", "90 %")
    return "what is said of test rows, by their true number", head, tuple(rows)


def _components(said: np.ndarray, true: np.ndarray, factor: Factor) -> _Table:
    """`said` is (seed, row, component)."""
    rows = []
    for component in range(true.shape[1]):
        own, guess = true[:, component].astype(np.float64), said[..., component]
        spread = np.square(own - own.mean()).sum()
        told = float(np.mean(1 - np.square(own - guess).sum(axis=-1) / spread)) if spread > 0 else float("nan")
        slope = (
            float(np.mean((guess - guess.mean(axis=-1, keepdims=True)) @ (own - own.mean()) / spread))
            if spread > 0
            else float("nan")
        )
        rows.append((_name(factor, component), f"{told:.3f}", f"{slope:.3f}"))
    return (
        "by component: R², and the slope of what is said over what is true",
        ("component", "R²", "slope"),
        tuple(rows),
    )
