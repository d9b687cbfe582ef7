"""How much an induction head reads of what a previous-token head writes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.measurements._heads import OnRepeats

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class Composition(OnRepeats, frozen=True, kw_only=True):
    """Composition score of two heads: the one after the first block with the best prefix-matching score, and the one of an earlier block with the best
    previous-token score.

    The Frobenius norm of the product of what the earlier one writes and the later one reads, by the product of their norms, less that of random heads of the same
    sizes: 0 is what chance gives. Networks of one block have no such pair, and no number.
    """

    jumps: float | None = 0.2
    """The probability of a jump in the sequences by which the two heads are chosen."""
    reads: Literal["key", "query", "value"] = "key"
    """What the later head reads it as. An induction head finds the token after a copy by its keys."""

    source: ClassVar[str] = 'Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"'

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.networks.head_circuits import Head, best, composition

        heads = self.heads(watched)
        networks = len(watched.recipes)
        if heads.network.blocks == 1:
            return np.full(networks, math.nan)
        matching, previous = heads.stacked("matching"), heads.stacked("previous")
        found = []
        for network in range(networks):
            (late,) = best(matching[network : network + 1, 1:])
            reader = Head(late.block + 1, late.head)
            (writer,) = best(previous[network : network + 1, : late.block])
            found.append(composition(heads.weights(network), heads.network, writer, reader, self.reads))
        return np.array(found)
