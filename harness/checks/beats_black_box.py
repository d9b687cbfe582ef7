"""More truth in the states than in answers that somebody gives who does not see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import UNFAVOURABLE_FIRST
from harness.checks._scores import OfScore, compared, different
from harness.contracts import ConditionName, Judgement, ProbeName

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class BeatsBlackBox(OfScore, frozen=True, kw_only=True):
    """The probe finds more truth than any way of asking for it without seeing its states.

    Asking is the network's answer in the same condition, or in others that ask about the same things differently: as another
    character, with examples before the question, in other words; of a second model, which judges what the first one wrote (`data.of`). It
    may also be a probe of what the words say: of the reply's bag of words, or of its embedding. Statistic: the probe's score minus that of each answer, paired
    by group. Test: the 95 % interval of every difference; the least favourable one is shown, so that choosing the best
    answer on the test rows counts against the probe. Threshold: `margin`, 0 unless you set it.
    """

    answers: Annotated[tuple[ProbeName, ...], Meta(min_length=1)] = ("zero_shot",)
    """Names of the probes that read the network's answer, such as plain and calibrated ones, or, in conditions under `asked_in`, any others."""
    asked_in: tuple[ConditionName, ...] = ()
    """Other conditions in which the network is asked. Each must be fitted and tested on itself in `transfer`."""
    here: bool = True
    """Whether the network is asked in the condition itself; false where its rows are statements, of which nobody asks anything, such as replies
    that it is asked about in another condition (`data.reply.follow_up`)."""
    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """How much better the probe must be. Larger is a stronger claim."""

    source: ClassVar[str] = "after Mallen & Belrose 2023 (arXiv 2312.01037), §5, and Burns et al. 2022, §3.2"
    claim: ClassVar[str] = (
        "{probe} finds more truth in {condition} than asking does ({answers}; other conditions asked: {asked_in})"
    )

    def __post_init__(self) -> None:
        if not self.here and not self.asked_in:
            raise ValueError("nobody asks: name a condition under `asked_in`, or take `here` out")

    def needs(self, fitted: str) -> tuple[tuple[str, str, str], ...]:
        here, *elsewhere = self.runs(fitted)
        asked = [(name, *run) for run in (*([here] if self.here else []), *elsewhere) for name in self.answers]
        return (self.probe, *here), *asked

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        score = own.measure(metric=self.metric)
        judgements = []
        for asked in dict.fromkeys((*([self.condition] if self.here else []), *self.asked_in)):
            for name in self.answers:
                if asked == self.condition:
                    different(self.kind(), self.probe, name)
                answer = evidence.of(name, asked, fit_on=self.fit_on if asked == self.condition else asked)
                judgements.append(
                    compared(
                        score,
                        answer.measure(metric=self.metric),
                        metric=self.metric,
                        this=self.subject,
                        that=name if asked == self.condition else f"{name} in {asked}",
                        where=f"layer {own.layer}",
                        margin=self.margin,
                    )
                )
        return min(judgements, key=lambda one: (UNFAVOURABLE_FIRST.index(one.finding), one.estimate.value))
