"""Whether what a head writes makes the token more likely that it attends to."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._heads import OfHeads

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class Copying(OfHeads, frozen=True, kw_only=True):
    """Copying score of the head with the best prefix-matching score: the sum of the eigenvalues of its map from tokens that are attended to to logits, by the sum
    of their sizes.

    The map is embedding, value, output and unembedding matrix one after the other, without any norm between them. 1: each token makes itself
    likelier; -1: less likely; random matrices are near 0.
    """

    source: ClassVar[str] = (
        'Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", eigenvalues of the OV circuit'
    )

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np
        import torch

        from harness.networks.head_circuits import best, written

        heads = self.heads(watched)
        chosen = best(self.among(heads.stacked("matching")))
        found = []
        for network, (block, head) in enumerate(chosen):
            weights = heads.weights(network)
            value, output = written(weights, heads.network, block, head)
            # As many eigenvalues as the head is wide are not zero: those of the matrices in a ring, cut elsewhere.
            ring = output @ weights["unembed"].double() @ weights["embed"].double() @ value
            values = torch.linalg.eigvals(ring)
            found.append(float(values.real.sum() / values.abs().sum()))
        return np.array(found)
