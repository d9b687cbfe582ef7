"""The local learning coefficient falls once a network no longer memorises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec
from msgspec import Meta

from harness.checks._networks import OfNetworks
from harness.contracts import Judgement, MeasurementName

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class LlcTracksMemorisation(OfNetworks, frozen=True, kw_only=True):
    """The local learning coefficient of networks is higher while they memorise than in the end, when they generalise.

    It is an estimate by a dynamics that must have spread: it is measured at two step sizes, and where these differ by more than a factor of `agree` in the
    median over networks, at either time, nothing is decided. Statistic: the share of networks in which it is higher by both at the first step where
    it is measured after `train` is halfway to knowing all than at the last one. Test: the 95 % interval of that share. Threshold: `most`.
    """

    coefficients: Annotated[tuple[MeasurementName, ...], Meta(min_length=2, max_length=2)]
    """Two measurements of it, with different step sizes."""
    train: MeasurementName = "train_loss"
    """What shows that training questions are known."""
    agree: Annotated[float, Meta(gt=1)] = 1.5
    """The largest factor between the two."""

    source: ClassVar[str] = "an open question; Lau et al. 2023 (arXiv 2308.12108), Wang et al. 2024 (arXiv 2410.02984)"
    claim: ClassVar[str] = (
        "the local learning coefficient of {condition} is higher while networks memorise than in the end"
    )

    def holds(self, evidence: Evidence) -> tuple[np.ndarray, str]:
        found = self._found(evidence)
        medians = "; ".join(
            f"{title}: {early:.3g}, then {end:.3g}"
            for title, (early, end) in zip(self.coefficients, _medians(found).tolist(), strict=True)
        )
        (one_early, other_early), (one_end, other_end) = found.transpose(1, 0, 2)
        higher = (one_early > one_end) & (other_early > other_end)
        return higher, f"the coefficient once {self.train} is halfway is higher than in the end (medians, {medians})"

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        judged = super().decide(evidence)
        one, other = _medians(self._found(evidence))
        apart = np.maximum(one / other, other / one)
        if (one > 0).all() and (other > 0).all() and (apart <= self.agree).all():
            return judged
        why = f"{judged.why} The two step sizes differ by more than a factor of {self.agree:g}: the dynamics has not spread, and nothing is decided."
        return msgspec.structs.replace(judged, finding="inconclusive", why=why)

    def _found(self, evidence: Evidence) -> np.ndarray:
        """The coefficient at the first step where it is measured once `train` is halfway, and at the last step, (measurement, time, network)."""
        import numpy as np

        watch = evidence.watch(self.condition)
        known, steps, found = watch.moved(self.train), np.array(watch.steps), []
        for title in self.coefficients:
            own = watch.values[title]
            measured = np.flatnonzero(np.isfinite(own).any(axis=0))
            # Of a network that never knows its questions there is none.
            early = [
                next((row[at] for at in measured if steps[at] >= since), np.nan)
                for row, since in zip(own, known, strict=True)
            ]
            found.append([np.array(early), own[:, measured[-1]]])
        return np.array(found)


def _medians(found: np.ndarray) -> np.ndarray:
    """Over networks that have a coefficient, (measurement, time); NaN where none has."""
    import numpy as np

    known = np.isfinite(found)
    each = [
        [np.median(row[at]) if at.any() else np.nan for row, at in zip(*two, strict=True)]
        for two in zip(found, known, strict=True)
    ]
    return np.array(each)
