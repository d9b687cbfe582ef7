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
    """For each beginning, how many of its first tokens are a stem: the longest that enough of the others have too."""
    ordered = trie.order(beginnings)
    enough = max(FEWEST, -(-len(beginnings) // TWENTIETH))
    found = [0] * len(beginnings)
    for first in range(len(ordered) - enough + 1):
        # What the outermost of neighbours in lexicographic order share, all between them share.
        window = ordered[first : first + enough]
        length = trie.shared(beginnings[window[0]], beginnings[window[-1]])
        for member in window:
            found[member] = max(found[member], length)
    return [length if length >= SHORTEST else 0 for length in found]
