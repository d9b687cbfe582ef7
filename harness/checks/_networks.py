"""Claims about what happens inside of networks while they are trained, decided by how many of them it happens in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import above, judged, missing
from harness.contracts import Claim, Judgement, Watch
from harness.maths.estimate import share_of_seeds
from harness.maths.over_networks import few_networks

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class OfNetworks(Claim, frozen=True, kw_only=True):
    """A claim about each network of a condition; it holds if the interval of the share of networks for which it does is above `most`."""

    most: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """Share of networks, also of others with other seeds, that must do it for the claim to hold. With eight that all do, 0.67 is shown."""

    of_seeds: ClassVar[bool] = False

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        """Whether it does for each network, bool, (network,), and the statement in words, with the numbers."""
        raise NotImplementedError

    def decide(self, evidence: Evidence) -> Judgement:
        each, statement = self.holds(evidence)
        count, networks = int(each.sum()), len(each)
        too_few = few_networks(networks)
        share = missing(too_few, networks) if too_few else share_of_seeds(count, networks, exact=True)
        said = f"{statement}, in {count} of {networks} networks; their share"
        return judged(share, above, self.most, said)


def median(values: np.ndarray) -> str:
    """The median of steps in words, `never` for what is not a number."""
    import numpy as np

    found = np.median(np.where(np.isnan(values), np.inf, values))
    return "never" if np.isinf(found) else f"step {found:,.0f}"


def ending(watch: Watch, title: str, over: int) -> np.ndarray:
    """The median of a measurement at the last stored steps, (network,)."""
    import numpy as np

    return np.median(watch.values[title][:, -over:], axis=1)


def last(watch: Watch, title: str) -> np.ndarray:
    """A measurement at the last step, (network,)."""
    return watch.values[title][:, -1]


def first(watch: Watch, title: str) -> np.ndarray:
    """A measurement at the first stored step, (network,)."""
    return watch.values[title][:, 0]
