"""Networks of different seeds use different parts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._networks import OfNetworks, ending
from harness.contracts import MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class NetworksDiffer(OfNetworks, frozen=True, kw_only=True):
    """Networks that differ in their seed alone come to use different parts, such as representations of a group.

    A network uses the parts whose measurement at the last step is `least` or above. Statistic: the share of networks that do not use exactly what most
    use, of several that are as common the first. Test: the 95 % interval of that share. Threshold: `most`.
    """

    parts: Annotated[tuple[MeasurementName, ...], Meta(min_length=2)]
    """A measurement for each part."""
    least: float = 0.05
    """The least value of a part that is used."""
    most: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    """Share of networks, also of others with other seeds, that must differ for the claim to hold."""
    median_of: Annotated[int, Meta(ge=1)] = 1
    """Stored steps, up to the last one, of which the median is taken."""

    source: ClassVar[str] = "an open question of Chughtai et al. 2023 (arXiv 2302.03025), §6: which are learned varies"
    claim: ClassVar[str] = "which of {parts} networks of {condition} use varies with their seed"

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        import numpy as np

        watch = evidence.watch(self.condition)
        used = np.stack([ending(watch, title, self.median_of) >= self.least for title in self.parts], axis=1)
        each = [tuple(title for title, own in zip(self.parts, row, strict=True) if own) for row in used]
        counts = Counter(each)
        ((common, _),) = counts.most_common(1)
        listed = "; ".join(f"{' and '.join(own) or 'none'} in {count}" for own, count in counts.most_common())
        return np.array(
            [own != common for own in each]
        ), f"parts at {self.least:g} or above ({listed}) are others than the commonest"
