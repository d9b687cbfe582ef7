"""What is found, and acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.checks._judging import above, judged, number
from harness.contracts import Check, ConditionName, Finding, Judgement, Steered
from harness.errors import CheckError
from harness.maths.estimate import Estimate, Measured, over_seeds

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence, ProbeEvidence


class DirectionIsCausal(Check, frozen=True, kw_only=True):
    """The network's own answer follows when its states are moved along the probe's direction.

    The states are moved, along the direction of the probe's first seed, where the answer is produced (see `interventions`, whose own entry for this probe and place is used if
    there is one), towards what the probe says is the second answer. Statistic: the change of the log-odds of that answer per
    standard deviation of the states. Test: its 95 % interval, clustered by group. Threshold: what 19 of 20 random directions of
    the same length do not reach, from the spread of those that were tried; they have no sign, so that it counts both ways. A
    direction that moves the answer less, or the wrong way, may decode well: the network then does not use it to answer, not
    from there. As a control the same is done along the difference of the class means of the states that are moved, by labels:
    where that acts and the probe's direction does not, what is known acts, but not as the probe reads it.
    """

    direction: Literal["probe", "there"] = "probe"
    """`probe` is the direction that was found, at the answer's own token. `there` is the difference of the class means, by labels of
    training rows for what the probe was fitted on, of the very states that are moved: it asks whether the answer comes from that."""
    token: Literal["question", "all"] = "question"
    """Where states are moved: at the last token before the answer, or at all tokens before it."""
    asked_in: ConditionName | None = None
    """Condition of contrast pairs whose answers are asked for while states are moved, as a direction of statements needs one; `condition`
    if empty. Its second answer must be the one for what the probe finds."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = (
        "Nanda et al. 2023 (arXiv 2309.00941), §3, and Li et al. 2023 (arXiv 2306.03341), §3; Marks & Tegmark 2023 (arXiv "
        "2310.06824), §6, that directions which decode alike act differently; the threshold is our own"
    )
    claim: ClassVar[str] = (
        "moving states along the direction of {probe} (direction: {direction}) moves the network's answer in {condition}"
    )

    def intervention(self) -> Mapping[str, Any]:
        return {
            "probe": self.probe,
            "condition": self.condition,
            "asked_in": self.asked_in,
            "by": "steer",
            "token": self.token,
            "layer": self.layer,
        }

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        # Of the condition that is asked in nothing is fitted.
        return ((fitted, self.condition),)

    def decide(self, evidence: Evidence) -> Judgement:
        steered = evidence.steered(self)
        own = self.own(evidence)
        along = over_seeds(self._along(steered)).one(0)
        threshold = reached_by_chance(steered.at_random)
        statement = f"log-odds of the second answer per standard deviation along {self._named(own)}, {steered.where} ({self._beside(steered)})"
        judgement = judged(along, above_chance, threshold, statement)
        if self.direction == "there":
            turned = along.high < -threshold
            said = " It acts the other way: towards the first answer where the class is the second." if turned else ""
            return Judgement(judgement.finding, along, threshold, judgement.why + said)
        decoded = _decoded(own)
        if judgement.finding == "inconclusive" or decoded is None:
            return judgement
        said = _in_words(along, threshold, decoded, judgement.finding)
        return Judgement(judgement.finding, along, threshold, f"{judgement.why} {said}")

    def _along(self, steered: Steered) -> Measured:
        if self.direction == "probe":
            return steered.along
        if steered.there is None:
            raise CheckError(
                f"direction_is_causal: {self.asked_in or self.condition} has no training rows of both classes, so that there is no difference of "
                "their means; write direction: probe, or choose rows (data.where) of which some are in the training part"
            )
        return steered.there

    def _named(self, own: ProbeEvidence) -> str:
        if self.direction == "probe":
            return f"the direction of {self.subject}"
        return f"the difference of the class means by {own.target} of the states that are moved, on {self.asked_in or self.condition}"

    def _beside(self, steered: Steered) -> str:
        """What the other directions do."""
        low, high = float(steered.at_random.min()), float(steered.at_random.max())
        chance = f"along {len(steered.at_random)} random directions {number(low)} to {number(high)}"
        other = steered.along if self.direction == "there" else steered.there
        if other is None:
            return chance
        named = (
            "the direction of the probe"
            if self.direction == "there"
            else "the difference of the class means of the states that are moved"
        )
        return f"{chance}, along {named} {number(over_seeds(other).one(0).value)}"


def _decoded(own: ProbeEvidence) -> Estimate | None:
    """How well the probe itself does there, on what it was fitted on."""
    estimate = over_seeds(own.measure(metric="auroc", target=own.target)).one(0)
    return None if estimate.why else estimate


def above_chance(estimate: Estimate, threshold: float) -> tuple[Finding, str]:
    """As `above`, for a threshold that random directions set."""
    finding, _ = above(estimate, threshold)
    bar = f"{number(threshold)}, which 19 of 20 random directions stay below"
    return finding, {
        "pass": f"the whole interval is above {bar}",
        "fail": f"no part of the interval is above {bar}",
        "inconclusive": f"{bar}, lies within the interval",
    }[finding]


def reached_by_chance(at_random: np.ndarray) -> float:
    """The size that the effect of one more random direction exceeds one time in twenty. As likely up as down, their effects
    have a mean of zero, so their spread is known with as many degrees of freedom as there are directions."""
    import numpy as np
    from scipy.special import stdtrit

    return float(stdtrit(len(at_random), 0.975) * np.sqrt(np.mean(np.square(at_random, dtype=np.float64))))


def _in_words(along: Estimate, threshold: float, decoded: Estimate, finding: str) -> str:
    auroc = f"AUROC {number(decoded.value)}"
    tells = decoded.low > 0.5
    if finding == "pass":
        return (
            f"The direction decodes ({auroc}) and acts."
            if tells
            else f"The direction acts, though it does not decode ({auroc})."
        )
    against = (
        "; it acts the other way: towards the first answer where the probe says the second"
        if along.high < -threshold
        else ""
    )
    if tells:
        return f"The direction decodes ({auroc}) but does not act on the answer from there{against}."
    return f"The direction neither decodes ({auroc}) nor acts on the answer from there{against}."
