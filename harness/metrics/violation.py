"""Violation of the laws of probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Answers, LawMetric
from harness.maths.estimate import Measured, row_mean
from harness.maths.laws import LAWS, Law, violation

if TYPE_CHECKING:
    import numpy as np


class Violation(LawMetric, frozen=True, kw_only=True):
    """How far probabilities break the laws that tie statements together, mean over all relations; by law beside it.

    Always saying ½ scores 0: compare it with the same probabilities dealt out at random (the check `obeys_laws`), and
    only among probes that are sure of something. Signs are those resolved for the truth: turned round, conjunctions
    would be disjunctions. Only for data with laws (`compounds`, or several templates) and probes that claim a probability.
    """

    law: Law | None = None
    """One law only; all of them, and each beside them, if empty. `negation`: how far P(s) + P(¬s) is from 1. `conjunction`: how
    far P(s ∧ t) is outside of max(P(s) + P(t) − 1, 0) … min(P(s), P(t)). `disjunction`: P(s ∨ t) outside of max(P(s), P(t)) …
    min(P(s) + P(t), 1). `implication`: how far P(s) exceeds the probability of what follows from s. `paraphrase`: how far apart
    the probabilities of one statement in two wordings, or under two templates, are."""

    source: ClassVar[str] = "coherence: de Finetti 1937; consistency as an aim of probes: Burns et al. 2022, §2.2"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {f"violation_{law}": {"law": law} for law in LAWS}
    higher_is_better: ClassVar[bool] = False

    @property
    def title(self) -> str:
        return self.kind() if self.law is None else f"{self.kind()}_{self.law}"

    @property
    def beside(self) -> tuple[str, ...]:
        return tuple(self.aliases) if self.law is None else ()

    def measure(
        self, answers: Answers, labels: np.ndarray, group: np.ndarray, relations: Mapping[str, np.ndarray] | None = None
    ) -> Measured | None:
        import numpy as np

        if answers.probability is None:
            return None
        own = {law: members for law, members in (relations or {}).items() if self.law in (None, law)}
        if not own:
            return None
        rows = [violation(law, answers.probability[..., members]) for law, members in own.items()]
        groups = [group[members[:, -1]] for members in own.values()]
        return row_mean(np.concatenate(rows, axis=-1), np.concatenate(groups), 0.0, 1.0)
