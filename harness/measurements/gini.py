"""How few frequencies the embedding has."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class Gini(Measurement, frozen=True, kw_only=True):
    """Gini coefficient of the norms of the embedding's waves: 0 where all frequencies are equally strong, near 1 where one has all."""

    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §5.1"

    of_waves: ClassVar[bool] = True

    def measure(self, watched: Watched) -> np.ndarray:
        from harness.maths.modular_fourier import embedding_norms, gini

        return gini(embedding_norms(watched.embedding)).numpy()
