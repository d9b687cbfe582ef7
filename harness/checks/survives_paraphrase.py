"""What is said otherwise is found as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import at_least
from harness.checks._scores import OfTarget, compared
from harness.contracts import ConditionName, Judgement
from harness.errors import CheckError

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class SurvivesParaphrase(OfTarget, frozen=True, kw_only=True):
    """The probe scores hardly less where the same is said in other words.

    Statistic: the score of a fit in `paraphrased` minus that of the same fit in `condition`, paired by the groups that both share, which they must: a paraphrase is of the same
    group as what it says again. Test: non-inferiority, by the 95 % interval of the difference: wholly at −`margin` or above passes, wholly below fails. Threshold: −`margin`. It says
    nothing of how high both scores are: a probe that finds nothing survives every paraphrase, so that it stands well beside `beats_random`. Whether single rows are answered alike
    is another question; where both conditions have the same rows, `insensitive_to_persona` asks it.
    """

    paraphrased: ConditionName
    """The condition that says the same in other words. The fit must be tested there, too."""
    margin: Annotated[float, Meta(gt=0, lt=0.5)] = 0.05
    """How much may be lost. Smaller is a stronger claim, and needs more rows."""

    source: ClassVar[str] = (
        "Our own; after Marks & Tegmark 2023 (arXiv 2310.06824) and Goldowsky-Dill et al. 2025 (arXiv 2502.03407), who hold probes against other wordings"
    )
    claim: ClassVar[str] = "{probe} finds as much {target} in {paraphrased} as in {condition}, within {margin}"

    def __post_init__(self) -> None:
        if self.paraphrased == self.condition:
            raise ValueError(f"paraphrased: {self.condition} would be compared with itself; name another condition")

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        return (fitted, self.condition), (fitted, self.paraphrased)

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        own = self.own(evidence)
        layer = self.layer if own.layer.layer is None else own.layer.layer
        other = evidence.of(self.probe, self.paraphrased, fit_on=self.fit_on or self.condition, layer=layer)
        if not np.isin(other.groups, own.groups).any():
            raise CheckError(
                f"survives_paraphrase: {self.condition} and {self.paraphrased} have no group of test rows in common, so that neither says again what the other "
                "says; give both the same groups and split"
            )
        return compared(
            other.measure(metric=self.metric, target=self.target),
            own.measure(metric=self.metric, target=self.target),
            metric=self.metric,
            this=f"{self.probe} on {self.paraphrased}",
            that=f"the same fit, {self.subject}",
            where=f"layer {own.layer}",
            margin=-self.margin,
            rule=at_least,
        )
