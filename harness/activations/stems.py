"""Stems: beginnings that many examples share, such as a preamble, worked examples, the first words of a template.

Such a stem is forwarded once; its keys and values are kept, and the trees of the examples grow from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.activations import trie

SHORTEST = 4
"""Tokens below which a stem saves less than it costs to look it up."""
FEWEST = 8
"""Examples that a stem must serve, or a twentieth of all, if that is more: every further stem is a seam between
batches."""
TWENTIETH = 20


def stems(beginnings: Sequence[Sequence[int]]) -> list[int]:
    """For each beginning, how many of its first tokens are a stem: the longest that enough of the others have too, and that is worth it."""
    ordered = trie.order(beginnings)
    enough = max(FEWEST, -(-len(beginnings) // TWENTIETH))
    found = [0] * len(beginnings)
    for first in range(len(ordered) - enough + 1):
        # What the outermost of neighbours in lexicographic order share, all between them share.
        window = ordered[first : first + enough]
        length = trie.shared(beginnings[window[0]], beginnings[window[-1]])
        for member in window:
            found[member] = max(found[member], length)
    return _worth_it(beginnings, [length if length >= SHORTEST else 0 for length in found])


def _worth_it(beginnings: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[int]:
    """The lengths without stems that only go on from a shorter one: each is forwarded whole, which costs more than its few tokens do in each example."""
    kept = list(lengths)
    members: dict[tuple[int, ...], list[int]] = {}
    for number, length in enumerate(lengths):
        if length:
            members.setdefault(tuple(beginnings[number][:length]), []).append(number)
    for stem in sorted(members, key=len, reverse=True):
        shorter = max(
            (other for other in members if other != stem and stem[: len(other)] == other), key=len, default=()
        )
        if shorter and len(members[stem]) * (len(stem) - len(shorter)) < len(stem):
            for number in members[stem]:
                kept[number] = len(shorter)
            members[shorter] += members.pop(stem)
    return kept
