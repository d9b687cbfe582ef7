"""Some attention heads of a language model look for an earlier copy, or for the token before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.checks._judging import above, judged
from harness.contracts import Claim, Judgement
from harness.maths.estimate import CONFIDENCE, Estimate
from harness.maths.student import t_quantile

if TYPE_CHECKING:
    import polars as pl

    from harness.scoring.evidence import Evidence

_COLUMNS = {"prefix_matching": "matching", "previous_token": "previous"}


class HeadsAttend(Claim, frozen=True, kw_only=True):
    """At least so many attention heads of a condition's network have a score above a bound, on random tokens that are repeated once.

    Statistic: the score of the last of so many heads, the highest scores first; of `prefix_matching` what it is above the same between the same positions where nothing is repeated. Test: its 95 %
    interval over sequences, made wider for having been chosen among all heads (Bonferroni). Threshold: `least`. The spec asks for `analyses: [attention_heads]`.
    """

    score: Literal["prefix_matching", "previous_token"] = "prefix_matching"
    """Attention to what followed an earlier copy of the token, as induction heads have, or to the token before."""
    least: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    """What the scores must be above."""
    heads: Annotated[int, Meta(ge=1)] = 1
    """How many heads must have it."""

    of_seeds: ClassVar[bool] = False
    asks_of: ClassVar[str] = "attention_heads"
    source: ClassVar[str] = (
        'Olsson et al. 2022 (arXiv 2209.11895), "In-context learning and induction heads"; the test is our own'
    )
    claim: ClassVar[str] = "{heads} heads of {condition} or more have a {score} score above {least}"

    def decide(self, evidence: Evidence) -> Judgement:
        found: pl.DataFrame = evidence.told("attention_heads", self.condition)
        name = _COLUMNS[self.score]
        control = found["control"].to_numpy() if self.score == "prefix_matching" else 0.0
        values = found[name].to_numpy() - control
        order = (-values).argsort()
        last = int(order[min(self.heads, len(order)) - 1])
        # The interval of the score, and what the control may be off by, as distances.
        reach = float(found[f"{name}_high"][last] - found[name][last])
        off = float(found["control_high"][last] - found["control"][last]) if self.score == "prefix_matching" else 0.0
        sequences = int(found["sequences"][0])
        alpha = (1 - CONFIDENCE) / len(found)
        wider = t_quantile(sequences - 1, 1 - alpha) / t_quantile(sequences - 1, CONFIDENCE)
        half = wider * float((reach**2 + off**2) ** 0.5)
        if self.heads > len(order):
            why = f"{self.condition} has {len(order)} attention heads, and {self.heads} are asked for."
            return Judgement("fail", Estimate(0.0, 0.0, 0.0, sequences), self.least, why)
        value = float(values[last])
        estimate = Estimate(value, max(-1.0, value - half), min(1.0, value + half), sequences)
        place = f"head {found['head'][last]} of block {found['block'][last]}"
        which = "the highest" if self.heads == 1 else f"number {self.heads}"
        statement = (
            f"{self.score.replace('_', '-')} score of {place}, {which} of {len(found)} heads of {self.condition}"
        )
        return judged(estimate, above, self.least, statement)
