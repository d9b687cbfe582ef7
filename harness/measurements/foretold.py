"""Whether the embedding before training tells which frequencies a network uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class Foretold(Measurement, frozen=True, kw_only=True):
    """AUROC with which the norms of the embedding's waves before any training tell the key frequencies of the step from all others: one half where
    they tell nothing.
    """

    source: ClassVar[str] = "an open question of Nanda et al. 2023 (arXiv 2301.05217), §6"

    of_waves: ClassVar[bool] = True

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np
        import torch

        from harness.maths.modular_fourier import embedding_norms

        first, found = watched.recipes[0], []
        # As recipes draw it: before a first training, too.
        drawn = torch.stack([one.network.initial(one.sizes, one.seed, one.initial_scale) for one in watched.recipes])
        table = first.network.layout(first.sizes).views(drawn)[first.network.embedding]
        initial = table[:, watched.group.in_group_order()]
        for strength, keys in zip(embedding_norms(initial), watched.keys, strict=True):
            used = np.isin(np.arange(1, len(strength) + 1), keys)
            ranks = strength.numpy().argsort().argsort() + 1
            count = used.sum()
            above = ranks[used].sum() - count * (count + 1) / 2
            found.append(above / (count * (len(used) - count)) if 0 < count < len(used) else np.nan)
        return np.array(found)
