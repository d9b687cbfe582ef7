"""The loss does not tell one feature from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from harness.contracts import Check, Finding, Judgement
from harness.errors import CheckError
from harness.maths.estimate import Estimate

if TYPE_CHECKING:
    from harness.scoring.evidence import Evidence


class ManyFeaturesSatisfyIt(Check, frozen=True, kw_only=True):
    """Arbitrary labellings of the questions are answered by probes with the very loss of this one: theorem 2, executed.

    For the fitted probe p with the answers f and each of `labellings` random labellings g, the probe p ⊕ (f ⊕ g) is built on
    the test rows. Statistic: the larger of two numbers, over all seeds and labellings: the difference of the losses, and the
    share of rows on which the new probe does not answer g. Test: it is an identity, so the interval is the number itself, and
    a pass means that it holds in every case. Threshold: `tolerance`, 0.000001 unless you set it, what rounding leaves. It says
    that such probes exist, not that a linear one does or that a search finds it.
    """

    labellings: Annotated[int, Meta(ge=1, le=10_000)] = 20
    """Random labellings, balanced. One would do, if rounding is all that can go wrong."""
    confidence: Literal["symmetrised", "min"] = "symmetrised"
    """`symmetrised` is the loss of the theorem. `min` is that of Burns et al., for which it is not exact: the check then fails
    unless the probe is sure of everything, which measures how far its loss prefers one side."""
    tolerance: Annotated[float, Meta(gt=0, lt=1)] = 1e-6
    """Largest difference that counts as none."""

    of_seeds: ClassVar[bool] = False
    source: ClassVar[str] = "Farquhar et al. 2023 (arXiv 2312.10029), theorem 2"
    claim: ClassVar[str] = "arbitrary labellings of {condition} are answered by probes with the same loss as {probe}"

    def decide(self, evidence: Evidence) -> Judgement:
        import numpy as np

        from harness.maths import theorems

        own = self.own(evidence)
        found = own.answers(signed=False)
        if found.members is None:
            raise CheckError(
                f'many_features_satisfy_it: "{self.probe}" does not judge the two statements of a pair by themselves, so that '
                "its loss is not that of the theorem; name a probe such as ccs"
            )
        members = found.members[:, 0].astype(np.float64)
        seeds, rows, _ = members.shape
        before = theorems.loss(members, self.confidence)
        random = np.random.default_rng(0x7E02)
        apart = wrong = 0.0
        for _ in range(self.labellings):
            labelling = random.permutation(np.arange(rows) % 2)
            other = theorems.relabelled(members, labelling)
            apart = max(apart, float(np.abs(theorems.loss(other, self.confidence) - before).max()))
            wrong = max(wrong, float((theorems.answers(other) != labelling).mean(axis=-1).max()))
        largest = max(apart, wrong)
        finding: Finding = "pass" if largest <= self.tolerance else "fail"
        verdict = "the same loss" if finding == "pass" else "more than rounding"
        draws = f"{self.labellings} random labellings" + (f" of {seeds} seeds" if seeds > 1 else "")
        why = (
            f"{self.confidence} loss of {self.subject}, layer {own.layer}: {before.mean():.4f}; over {draws}, "
            f"the losses of p ⊕ (f ⊕ g) differ from it by at most {apart:.2g}, and their answers are not g on at most "
            f"{100 * wrong:.2g} % of the rows (n = {rows}): {verdict}; an "
            "identity has no sampling error, so that the interval is the number itself."
        )
        return Judgement(finding, Estimate(largest, largest, largest, rows, seeds), self.tolerance, why)
