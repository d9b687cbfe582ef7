"""Which frequencies a measurement takes for those of the circuit, and random ones for a control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.watched import Watched


class OfFrequencies(Measurement, frozen=True, kw_only=True):
    """A number that depends on which frequencies count as key frequencies."""

    frequencies: Literal["last_step", "each_step", "random"] = "last_step"
    """`last_step`: the key frequencies of the network as it is in the end, which is hindsight. `each_step`: as many, those that are strongest at the
    step itself. `random`: as many, drawn for each network from those that are none of its key frequencies: a control."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of random ones."""

    of_waves: ClassVar[bool] = True

    def kept(self, watched: Watched) -> list[tuple[int, ...]]:
        """The frequencies of each network."""
        from harness.maths.modular_fourier import strongest

        keys = watched.final.keys
        if self.frequencies == "last_step":
            return keys
        if self.frequencies == "each_step":
            shares = self.shares(watched)
            return [strongest(own, len(end)) for own, end in zip(shares, keys, strict=True)]
        each = zip(keys, watched.recipes, strict=True)
        return [self._others(own, watched.shares.shape[1], one.seed) for own, one in each]

    def shares(self, watched: Watched) -> Tensor:
        """What tells the strongest frequencies of a step, (network, frequency)."""
        return watched.shares_of_others

    def _others(self, keys: Sequence[int], most: int, network: int) -> tuple[int, ...]:
        """As many frequencies as there are keys, or as are left, none of them a key."""
        import numpy as np

        others = [k for k in range(1, most + 1) if k not in keys]
        random = np.random.default_rng([0x5EED, self.seed, network])
        return tuple(sorted(random.choice(others, min(len(keys), len(others)), replace=False).tolist()))
