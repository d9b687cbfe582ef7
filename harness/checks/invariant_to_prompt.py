"""The same answers however one asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.checks._judging import at_least, decided
from harness.contracts import Check, Judgement
from harness.errors import CheckError
from harness.maths.estimate import Measured, row_mean

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class InvariantToPrompt(Check, frozen=True, kw_only=True):
    """Asked by two templates about one example, the probe mostly gives the same answer.

    Statistic: share of agreement between two different templates on the same example, mean over pairs of templates,
    then over examples and seeds; a score of exactly 0 agrees half. Test: its 95 % interval, clustered by group.
    Threshold: `threshold`, 0.9 unless you set it: a convention of ours; answers that have nothing to do with the example
    agree on one half. It says nothing of truth: a probe that follows a word in the text, or always says yes, is
    invariant, too.
    """

    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.9
    """Least agreement that counts as invariant."""

    of_two: ClassVar[bool] = True
    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), §4.4 and the first principle of §6"
    claim: ClassVar[str] = "{probe} answers alike in all templates of {condition} (agreement above {threshold})"

    def decide(self, evidence: Evidence) -> Judgement:
        own = self.own(evidence)
        found = agreement_across_prompts(own.sides(), own.examples, own.groups)
        if found is None:
            raise CheckError(
                f"invariant_to_prompt: every example of {self.condition} is asked in one way only; give prompt.templates "
                "two templates or more"
            )
        statement = f"agreement of two templates by {self.subject}, layer {own.layer}"
        return decided(own.of_seeds(found), at_least, self.threshold, statement)


def agreement_across_prompts(score: np.ndarray, example: np.ndarray, group: np.ndarray) -> Measured | None:
    """Mean agreement of two rows of one example, from scores (seed, row), on a layer axis of length one.

    None where no example has two rows; one that has only one is left out.
    """
    import numpy as np

    _, first, members, count = np.unique(example, return_index=True, return_inverse=True, return_counts=True)
    several = count > 1
    if not several.any():
        return None
    # np.sign keeps NaN, and with it the answer that there is no number.
    answer = np.sign(score).astype(np.float64)
    total, square = (np.stack([np.bincount(members, weights=line) for line in part]) for part in (answer, answer**2))
    agreement = (1 + (total**2 - square)[:, several] / (count * (count - 1))[several]) / 2
    return row_mean(agreement[:, None], group[first[several]], 0.0, 1.0)
