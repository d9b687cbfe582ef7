"""How much the waves of a network's frequencies say of wrong answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from harness.contracts.measurements import Measurement

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class Interference(Measurement, frozen=True, kw_only=True):
    """The highest value of Σ α cos 2πkd/P over wrong answers, which are d off, by its value at the right one, over the key frequencies k: computed on
    paper from which frequencies a network uses. The nearer to 1, the less the right answer stands out for a given norm.
    """

    amplitudes: Literal["equal", "own"] = "equal"
    """`equal`: all α are 1, so that the set of frequencies decides alone. `own`: the root of what each holds of the logits' variance."""

    of_waves: ClassVar[bool] = True
    source: ClassVar[str] = "Nanda et al. 2023 (arXiv 2301.05217), §4.1: why several frequencies"

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        numbers = len(watched.group.numbers)
        off = np.arange(1, numbers)
        found = []
        for keys, shares in zip(watched.keys, watched.shares.numpy(), strict=True):
            strength = np.sqrt(shares[[k - 1 for k in keys]]) if self.amplitudes == "own" else np.ones(len(keys))
            waves = np.cos(2 * np.pi * np.outer(off, keys) / numbers)
            found.append(float((waves @ strength).max() / strength.sum()))
        return np.array(found)
