"""What came of patching: what a network says with states of another prompt at some place, for many places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.errors import CheckError
from harness.maths.estimate import Measured
from harness.maths.ratio import ratio_of_means

if TYPE_CHECKING:
    import numpy as np

Said = Literal["log_odds", "probability", "rank", "accuracy"]
"""What is measured of an answer: the log of its odds against the other one, its probability, its rank in the vocabulary (1 is the first), or
whether it is likelier than the other one."""


class Patched(msgspec.Struct, frozen=True):
    """Numbers of what is said, by metric."""

    sites: tuple[str, ...]
    """Of each place."""
    layers: tuple[int, ...]
    heads: tuple[int | None, ...]
    backs: tuple[int | None, ...]
    """Tokens between the place and the last one before the answer; None for all tokens that matter."""
    base: Mapping[Said, np.ndarray]
    """As the patched prompts are, (row,)."""
    source: Mapping[Said, np.ndarray]
    """As those are whose states are put there, (row,)."""
    at: Mapping[Said, np.ndarray]
    """With their states at each place, (place, row)."""
    foretold: np.ndarray | None
    """What attribution says of the change of the log-odds, (place, row); None where nobody asks."""
    group: np.ndarray
    """Cluster ids, (row,)."""
    asked: str
    """What is done, in words: `states of told put into swapped`."""

    def of_site(self, site: str | None) -> Patched:
        """Places of one site, or all. Raises CheckError where there are none."""
        chosen = [number for number, own in enumerate(self.sites) if site in (None, own)]
        if not chosen:
            raise CheckError(f"no {site} was patched; add it to `sites` of the patching in `analyses`")
        names: dict[str, Any] = {
            name: tuple(getattr(self, name)[number] for number in chosen)
            for name in ("sites", "layers", "heads", "backs")
        }
        foretold = None if self.foretold is None else self.foretold[chosen]
        at = {metric: of[chosen] for metric, of in self.at.items()}
        return msgspec.structs.replace(self, **names, at=at, foretold=foretold)

    def effects(self, metric: Said) -> Measured:
        """Which share of the difference between both prompts each place makes by itself, (1, place): 0 nothing, 1 all."""
        return ratio_of_means(self.at[metric] - self.base[metric], self.source[metric] - self.base[metric], self.group)

    def foretold_effects(self) -> Measured | None:
        """The same as attribution foretells it of the log-odds."""
        if self.foretold is None:
            return None
        return ratio_of_means(self.foretold, self.source["log_odds"] - self.base["log_odds"], self.group)

    def named(self, place: int) -> str:
        """A place in words."""
        site, layer, head, back = self.sites[place], self.layers[place], self.heads[place], self.backs[place]
        what = f"head {head} of block {layer}" if head is not None else f"{site} of layer {layer}"
        return what if back is None else f"{what}, {_before(back)}"


def _before(back: int) -> str:
    return "last token" if back == 0 else f"{back} token{'s' if back > 1 else ''} before the last"
