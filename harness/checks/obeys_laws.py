"""The laws of probability kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import below, decided, judged, missing, number
from harness.contracts import Check, Judgement
from harness.errors import CheckError
from harness.maths.estimate import Measured
from harness.maths.laws import LAWS, Law, violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from harness.scoring.evidence import Evidence

DEALS = 50
"""Random deals whose mean violation is the baseline."""
LEAST = 0.02
"""Mean violation of dealt-out probabilities below which a probe is too unsure for laws to say anything."""


class ObeysLaws(Check, frozen=True, kw_only=True):
    """The probe's probabilities break the laws of probability much less than the same probabilities dealt out at random.

    Statistic: mean violation over the relations among the test rows, divided by the mean violation when each member's
    probabilities are dealt out anew among the relations of its law (50 deals); 0 keeps every law, 1 is what a probe does
    that knows the form of a statement and nothing of its content, or that follows something drawn for each row by
    itself. Test: the 95 % interval of that ratio, clustered by group. Threshold: `threshold`, 0.5 unless you set it, a
    convention of ours: half of what chance breaks. A probe that always says nearly ½ cannot break a law and is
    inconclusive. Signs are those resolved for the truth.
    """

    laws: tuple[Law, ...] = ()
    """Laws to judge; all that the data have if empty. Paraphrase alone is kept by every feature of the content."""
    threshold: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Share of the violation by chance below which laws count as kept."""

    source: ClassVar[str] = "coherence of probabilities: de Finetti 1937; as an aim of probes: Burns et al. 2022, §2.2"
    claim: ClassVar[str] = (
        "{probe} keeps the laws of probability in {condition} (breaks them less than {threshold} times as much as chance)"
    )

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        relations = self._relations(own.relations)
        answers = own.answers()
        if answers.probability is None:
            raise CheckError(
                f"obeys_laws: {self.probe} gives no probabilities, so that it can break no law of theirs; name a probe that "
                "does, such as ccs, consistency or logistic_regression"
            )
        broken, dealt, group = against_chance(answers.probability[:, 0], relations, own.groups)
        statement = f"violation by {self.subject}, layer {own.layer}"
        if not dealt.mean() > LEAST:
            why = f"it is so unsure that chance would break the laws by {number(float(dealt.mean()))} only"
            return judged(missing(why, len(group), len(broken)), below, self.threshold, statement)
        ratio = own.of_seeds(ratio_of_means(broken, dealt, group))
        means = f"({number(float(broken.mean()))} over that of the same probabilities dealt out at random, {number(float(dealt.mean()))})"
        return decided(ratio, below, self.threshold, f"{', '.join(relations)}: {statement} {means}")

    def _relations(self, there: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Those of the laws that are judged, in the order of the laws."""
        missing = [law for law in self.laws if law not in there]
        if missing or not there:
            raise CheckError(
                f"obeys_laws: no test rows of {self.condition} are tied by the law of {missing[0] if missing else 'anything'} "
                f"(there: {', '.join(there) or 'none'}); use the data source compounds, or several templates for paraphrase"
            )
        return {law: there[law] for law in LAWS if law in there and (not self.laws or law in self.laws)}


def against_chance(
    probability: np.ndarray, relations: Mapping[str, np.ndarray], group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Violations of probabilities (seed, row) and what chance makes of them, both (seed, relation), and the groups.

    What a relation has by chance is the mean violation of deals in which its own last member stays and the others are
    those of other relations.
    """
    import numpy as np

    random = np.random.default_rng(0xDEA1)
    own, dealt, groups = [], [], []
    for law, members in relations.items():
        own.append(violation(law, probability[:, members]))
        total = np.zeros(own[-1].shape)
        for _ in range(DEALS):
            others = [members[random.permutation(len(members)), column] for column in range(members.shape[1] - 1)]
            total += violation(law, probability[:, np.stack([*others, members[:, -1]], axis=1)])
        dealt.append(total / DEALS)
        groups.append(group[members[:, -1]])
    return np.concatenate(own, axis=1), np.concatenate(dealt, axis=1), np.concatenate(groups)


def ratio_of_means(above: np.ndarray, below: np.ndarray, group: np.ndarray) -> Measured:
    """Ratio of the means of (seed, row), `above` in [0, 1], on a layer axis of length one; influence by the delta method.

    The value of a seed is its share in the ratio of all, so that a seed with nothing below does no harm.
    """
    base = float(below.mean())
    ratio = float(above.mean()) / base
    rows = (above - ratio * below) / base
    own = rows.mean(axis=1, keepdims=True)
    return Measured(ratio + own, (rows - own)[:, None], group, 0.0, 1 / base)
