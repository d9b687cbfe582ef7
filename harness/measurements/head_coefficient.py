"""How much the loss minds the weights of one attention head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.measurements._coefficients import ByCoefficients

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class HeadCoefficient(ByCoefficients, frozen=True, kw_only=True):
    """Refined local learning coefficient of the head whose score is the best at the last step, or the mean of all other heads, on the sequences that the networks learn
    or, with `jumps`, on others."""

    of: Literal["best", "others"] = "best"
    """Of the best head, or the others' mean."""

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.networks.head_coefficients import head_coefficients

        networks = len(watched.recipes)
        if watched.step not in self.steps(watched):
            return np.full(networks, np.nan)
        found = head_coefficients(watched, self.refined(self.jumps)).flatten(1).numpy()
        best = self.scores(watched.final).flatten(1).argmax(1).numpy()
        own = found[np.arange(networks), best]
        if self.of == "best":
            return own
        others: np.ndarray = (found.sum(1) - own) / max(1, found.shape[1] - 1)
        return others
