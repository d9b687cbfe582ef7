"""Whether the first layer of a network tells the bits that count from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts.measurements import Measurement
from harness.worlds.sparse_parity import SparseParity

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class BitsFound(Measurement, frozen=True, kw_only=True):
    """AUROC with which what a bit changes in a perceptron's first layer, as a norm, tells the bits that count from all others: one half where the
    network minds none more than others, 1 where it minds each of those that count more than any other.
    """

    bits: Literal["relevant", "random"] = "relevant"
    """`random`: as many of those that do not count, drawn for each network, against the others that do not count: a control."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of random ones."""

    source: ClassVar[str] = (
        "Merrill et al. 2023 (arXiv 2303.11873), §4: norms of the sparse subnetwork; Barak et al. 2022 (arXiv 2207.08799), §5"
    )
    scale: ClassVar[str] = "share"

    def problem(self, bed: TrainedBed) -> str:
        if not isinstance(world := bed.world, SparseParity):
            return f"{self.title} is of bits that count among others; measure it of model: {{bed: sparse_parity}}"
        if bed.network != "perceptron":
            return f"{self.title} is read off the first layer of a perceptron, which has its own weights for each bit; measure it of network: perceptron"
        left = world.bits - world.relevant * (2 if self.bits == "random" else 1)
        if left < 1:
            return f"bits: of {world.bits} bits of which {world.relevant} count none is left to compare with; give the bed more"
        return ""

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        world = watched.recipes[0].world
        assert isinstance(world, SparseParity), "the world of a bed of parity"
        first = watched.parameters[watched.recipes[0].network.embedding].unflatten(1, (world.bits, world.vocabulary))
        # (network, bit)
        norms = (first[:, :, 1] - first[:, :, 0]).double().norm(dim=-1).numpy()
        found = []
        for own, recipe in zip(norms, watched.recipes, strict=True):
            counted, others = np.split(own, [world.relevant])
            if self.bits == "random":
                drawn = np.random.default_rng([0xB175, self.seed, recipe.seed]).permutation(others)
                counted, others = np.split(drawn, [world.relevant])
            found.append((counted[:, None] > others).mean() + (counted[:, None] == others).mean() / 2)
        return np.array(found)
