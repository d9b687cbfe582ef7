"""Slopes foretell what patching does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.checks._judging import above, judged, missing, number
from harness.checks._patched import patched_of
from harness.contracts import Claim, Judgement
from harness.errors import CheckError
from harness.maths.correlation_of_means import correlation_over

if TYPE_CHECKING:
    from harness.contracts.patched import Patched
    from harness.scoring.evidence import Evidence


class AttributionAgrees(Claim, frozen=True, kw_only=True):
    """What attribution patching foretells of each place is what patching it does.

    Statistic: the correlation (Pearson's) over places of the mean change of the log-odds that slopes foretell with the one that patching makes, without what the noise of
    means takes from it. Test: its 95 % interval, by a jackknife over the groups of rows. Threshold: `least`. It may agree on the whole and be wrong about a place: the
    report names those where it is furthest off.
    """

    least: Annotated[float, Meta(ge=0, lt=1)] = 0.8
    """What the correlation must be above."""

    site: Literal["residual", "attention", "mlp", "head"] | None = None
    """Places of one site alone; all that were patched if empty."""

    direction: Literal["denoise", "resample"] | None = None
    """Which way states were put, where the patching did `both`; the first one if empty."""

    of_seeds: ClassVar[bool] = False
    asks_of: ClassVar[str] = "patching"
    source: ClassVar[str] = (
        "Nanda 2023, Attribution patching; Syed et al. 2023 (arXiv 2310.10348); Kramár et al. 2024 (arXiv 2403.00745)"
    )
    claim: ClassVar[str] = (
        "slopes foretell what putting states into prompts of {condition} does, with a correlation above {least}"
    )

    def decide(self, evidence: Evidence) -> Judgement:
        found: Patched = patched_of(evidence, self.condition, self.direction).of_site(self.site)
        if found.foretold is None:
            raise CheckError(
                "attribution_agrees: nothing was foretold; write `attribution: true` in the patching among `analyses`"
            )
        change = found.at["log_odds"] - found.base["log_odds"]
        statement = f"correlation over {len(change)} places of what attribution foretells with what patching does ({found.asked})"
        effects = found.effects("log_odds")
        if effects.why:
            return judged(missing(effects.why, change.shape[1]), above, self.least, statement)
        estimate = correlation_over(found.foretold, change, found.group)
        judgement = judged(estimate, above, self.least, statement)
        off = (found.foretold - change).mean(axis=1)
        worst = int(abs(off).argmax())
        said = f"Furthest off: {found.named(worst)}, foretold {number(float(found.foretold[worst].mean()))}, made {number(float(change[worst].mean()))}."
        return Judgement(judgement.finding, judgement.estimate, judgement.threshold, f"{judgement.why} {said}")
