"""Characters of finite groups, and how much of a network's logits each representation explains.

A network that composes may compute tr ρ(a b c⁻¹) for a few irreducible representations ρ (Chughtai et al. 2023, arXiv 2302.03025,
§3): all that is seen of a representation is its character at each element. Representations are real ones: two complex ones that
mirror each other are one, whose character is the sum of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Partition = tuple[int, ...]
"""Parts of a number in falling order: lengths of a permutation's cycles, or of the rows of a Young diagram."""


def cyclic(order: int) -> dict[str, list[float]]:
    """Characters at the rotations by 0, 1, … corners."""
    turns = range(order)
    found = {"trivial": [1.0] * order}
    if order % 2 == 0:
        found["sign"] = [(-1.0) ** turn for turn in turns]
    for frequency in range(1, (order + 1) // 2):
        found[f"rotation {frequency}"] = [2 * math.cos(2 * math.pi * frequency * turn / order) for turn in turns]
    return found


def dihedral(corners: int) -> dict[str, list[float]]:
    """Characters at the rotations by 0, 1, … corners, then at the reflections that take corner 0 to 0, 1, …"""
    turns = range(corners)
    rotations, reflections = [1.0] * corners, [0.0] * corners
    found = {"trivial": rotations * 2, "sign": rotations + [-1.0] * corners}
    if corners % 2 == 0:
        alternating = [(-1.0) ** turn for turn in turns]
        found |= {"alternating": alternating * 2, "alternating sign": alternating + [-one for one in alternating]}
    for frequency in range(1, (corners + 1) // 2):
        cosines = [2 * math.cos(2 * math.pi * frequency * turn / corners) for turn in turns]
        found[f"rotation {frequency}"] = cosines + reflections
    return found


def symmetric(elements: Sequence[Sequence[int]]) -> dict[str, list[float]]:
    """Characters at permutations, each a sequence of where 0, 1, … go. A representation is called by its partition, such as (4, 1)."""
    types = [cycles(element) for element in elements]
    degree = len(elements[0])
    return {str(rows): [float(character(rows, kind)) for kind in types] for rows in partitions(degree)}


def partitions(number: int, largest: int | None = None) -> Iterator[Partition]:
    """All partitions of a number, from the one with one part on."""
    if number == 0:
        yield ()
    for part in range(min(number, largest or number), 0, -1):
        yield from ((part, *rest) for rest in partitions(number - part, part))


def cycles(permutation: Sequence[int]) -> Partition:
    """Lengths of the cycles of a permutation."""
    left, lengths = set(range(len(permutation))), []
    while left:
        at, length = next(iter(left)), 0
        while at in left:
            left.remove(at)
            at, length = permutation[at], length + 1
        lengths.append(length)
    return tuple(sorted(lengths, reverse=True))


@cache
def character(rows: Partition, kind: Partition) -> int:
    """Character of the symmetric group's representation `rows` at permutations with cycles `kind` (Murnaghan and Nakayama).

    Removing a rim hook is subtracting its length from one of the diagram's beta numbers; its sign is that of the numbers passed over.
    """
    if not kind:
        return 1
    length, rest = kind[0], kind[1:]
    beta = [part + place for place, part in enumerate(reversed(rows))]
    total = 0
    for number in beta:
        lower = number - length
        if lower < 0 or lower in beta:
            continue
        passed = sum(lower < other < number for other in beta)
        smaller = sorted(lower if other == number else other for other in beta)
        left = tuple(sorted((value - place for place, value in enumerate(smaller)), reverse=True))
        total += (-1) ** passed * character(left, rest)
    return total


def similarity_shares(
    logits: Tensor,
    products: Tensor,
    inverses: Tensor,
    characters: Mapping[str, Sequence[float]],
    asked: Tensor | None = None,
) -> dict[str, Tensor]:
    """Share of the logits' variance that is a multiple of tr ρ(a b c⁻¹), float64, (…,) for each representation but the trivial one.

    `logits` is (…, a, b, c), `products` the numbers of the elements a b, (a, b), and `inverses` those of the inverses. Logits are taken
    without each question's mean over classes, of the questions `asked` alone, bool, (…, a, b), where they are given. Characters are
    orthogonal over the classes of each question, so that the shares together are at most 1.
    """
    import torch

    centred = logits.double() - logits.double().mean(-1, keepdim=True)
    if asked is not None:
        centred = centred * asked[..., None]
    questions = logits[..., 0].new_ones(logits.shape[:-1]) if asked is None else asked
    away = products[products][:, :, inverses]
    variance = centred.square().sum((-3, -2, -1))
    rows = questions.double().sum((-2, -1)) * logits.shape[-1]
    found = {}
    for name, values in characters.items():
        wave = torch.tensor(values, dtype=torch.float64)
        if bool((wave == 1).all()):
            continue
        wave = wave[away] / wave.square().mean().sqrt()
        found[name] = (centred * wave).sum((-3, -2, -1)).square() / (rows * variance)
    return found
