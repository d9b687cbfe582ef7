"""Values whose fields have named axes, and how they are cut and joined along them.

States, answers, labels, fitted probes and normalisations have axes in common: layer, seed, row. A class says once, in
`shapes`, which of them each of its fields has; cutting and joining follow from that, for all classes alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar, Self, TypeVar

import msgspec
import numpy as np

Places = int | slice | Sequence[int] | np.ndarray
"""Where on an axis, as numpy's indices: a number, a slice, several numbers, or a mask."""

T = TypeVar("T", bound="WithAxes")


class WithAxes(msgspec.Struct, frozen=True):
    """A value that knows the axes of its fields, so that it can be cut and joined."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """For every field the names of its axes, in order; () where it has none.

    A field is an array (of numpy or torch; it may lack the first of the axes), a tuple along one axis (empty where there
    are no such names), another value, of which the axes are named that both share, or a mapping or a tuple of those. An
    axis of fixed length is named by its length; `…` at the end are any further ones, and no axis is then lacking.
    """
    numbered: ClassVar[Mapping[str, str]] = {}
    """Mappings to arrays of places on an axis, and which axis. Where it is cut, places get their new numbers, and a line
    with a place that is gone goes too; where it is joined, they are counted on."""

    def at(self, *, layer: Places | None = None, seed: Places | None = None, row: Places | None = None) -> Self:
        """The same at some places of its axes. One place is an axis of length one. A slice of an array is a view."""
        value = self
        for axis, places in (("layer", layer), ("seed", seed), ("row", row)):
            if places is not None:
                value = value._cut(axis, places)
        return value

    def size(self, axis: str) -> int:
        """The length of an axis, as an array has it that is a field of its own."""
        for name, axes in self.shapes.items():
            held = getattr(self, name)
            place = _place(axes, axis)
            if place is not None and hasattr(held, "ndim") and -held.ndim <= place < held.ndim:
                return int(held.shape[place])
        raise AssertionError(f"{type(self).__name__} has no {axis}")

    def _cut(self, axis: str, places: Places) -> Self:
        assert any(axis in axes for axes in self.shapes.values()), f"{type(self).__name__} has no {axis}"
        if isinstance(places, int):
            places = slice(places, places + 1 or None)
        own = {name: _at(getattr(self, name), axes, axis, places) for name, axes in self.shapes.items()}
        for name, of in self.numbered.items():
            if of == axis and getattr(self, name):
                kept = _numbers(self.size(axis), places)
                own[name] = {key: _followed(lines, kept, self.size(axis)) for key, lines in getattr(self, name).items()}
        return msgspec.structs.replace(self, **own)


def joined(parts: Sequence[T], axis: str) -> T:
    """One value of several that follow each other on an axis. What has no such axis is that of the first."""
    first = parts[0]
    if len(parts) == 1:
        return first
    assert any(axis in axes for axes in first.shapes.values()), f"{type(first).__name__} has no {axis}"
    own = {name: _joined([getattr(one, name) for one in parts], axes, axis) for name, axes in first.shapes.items()}
    for name, of in first.numbered.items():
        if of == axis:
            starts = accumulate((one.size(axis) for one in parts[:-1]), initial=0)
            moved = [
                {key: lines + start for key, lines in getattr(one, name).items()}
                for one, start in zip(parts, starts, strict=True)
            ]
            keys = dict.fromkeys(key for one in moved for key in one)
            own[name] = {key: _concatenated([one[key] for one in moved if key in one], 0) for key in keys}
    return msgspec.structs.replace(first, **own)


def _place(axes: tuple[str, ...], axis: str) -> int | None:
    """Where an axis is, counted from the last, or from the first where any may follow; None where it is not."""
    if axis not in axes:
        return None
    assert axes.count(axis) == 1, f"what has {axis} twice is neither cut nor joined along it"
    return axes.index(axis) - (0 if axes[-1] == "…" else len(axes))


def _at(held: Any, axes: tuple[str, ...], axis: str, places: Any) -> Any:
    place = _place(axes, axis)
    if place is None or held is None:
        return held
    if isinstance(held, WithAxes):
        return held.at(**{axis: places})
    if isinstance(held, Mapping):
        return {key: _at(own, axes, axis, places) for key, own in held.items()}
    if isinstance(held, tuple):
        if not held or isinstance(held[0], WithAxes):
            return tuple(_at(own, axes, axis, places) for own in held)
        return tuple(held[number] for number in _numbers(len(held), places))
    place += held.ndim if place < 0 else 0
    if place < 0:
        return held
    if isinstance(places, slice):
        return held[(slice(None),) * place + (places,)]
    return _taken(held, _numbers(held.shape[place], places), place)


def _joined(held: Sequence[Any], axes: tuple[str, ...], axis: str) -> Any:
    first, place = held[0], _place(axes, axis)
    if place is None:
        return first
    if any(one is None for one in held):
        return None
    if isinstance(first, WithAxes):
        return joined(held, axis)
    if isinstance(first, Mapping):
        return {key: _joined([one[key] for one in held], axes, axis) for key in first}
    if isinstance(first, tuple):
        if first and isinstance(first[0], WithAxes):
            return tuple(joined(own, axis) for own in zip(*held, strict=True))
        return tuple(name for one in held for name in one)
    place += first.ndim if place < 0 else 0
    return first if place < 0 else _concatenated(held, place)


def _numbers(size: int, places: Any) -> np.ndarray:
    return np.atleast_1d(np.arange(size)[places])


def _taken(held: Any, numbers: np.ndarray, place: int) -> Any:
    if isinstance(held, np.ndarray):
        return held.take(numbers, axis=place)
    import torch

    return held.index_select(place, torch.from_numpy(numbers).to(held.device))


def _concatenated(held: Sequence[Any], place: int) -> Any:
    if isinstance(held[0], np.ndarray):
        return np.concatenate(held, axis=place)
    import torch

    return torch.cat(list(held), dim=place)


def _followed(lines: Any, kept: np.ndarray, size: int) -> Any:
    """Places, (line, member), by their new numbers, without lines of which one is gone."""
    new = np.full(size, -1)
    new[kept] = np.arange(len(kept))
    if isinstance(lines, np.ndarray):
        found = new[lines]
        return found[(found >= 0).all(axis=1)]
    import torch

    moved = torch.from_numpy(new).to(lines.device)[lines]
    return moved[(moved >= 0).all(dim=1)]
