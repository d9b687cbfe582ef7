"""Contrast-consistent search with further laws of probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from harness.contracts import Pairs, Readout
from harness.probes._lawful import Lawful, Together
from harness.probes.ccs import ContrastConsistentSearch

if TYPE_CHECKING:
    from torch import Tensor

    from harness.probes._descent import Objective

Weight = Annotated[float, Meta(ge=0)]


class LawfulConsistentSearch(ContrastConsistentSearch, frozen=True, kw_only=True):
    """CCS whose probabilities must keep further laws: of negation, conjunction, disjunction, implication and paraphrase.

    The loss is that of `ccs` plus, for each law, its weight times the mean squared violation of P = ½ [p(x⁺) + 1 − p(x⁻)]
    over the statements that the law ties together. They come from a source with laws (`compounds`), and from several
    templates, which are paraphrases of each other. A law that the data do not have adds nothing; without any, and with all
    weights 0, it is `ccs`. Truth keeps all laws, but so does every other assignment that some world would make true: all
    that is affirmed false and all that is denied true, or all about cities true and all about numbers false.
    """

    negation: Weight = 1.0
    """Weight of [P(s) + P(¬s) − 1]², between a statement and another one that denies it. The pair's own two members are
    bound by the same law already; 1 weighs it as much."""
    conjunction: Weight = 1.0
    """Weight of how far P(s ∧ t) is outside of max(P + Q − 1, 0) … min(P, Q). With `disjunction` it tells truth from
    falsehood, which CCS alone cannot: turned round, a conjunction would be a disjunction."""
    disjunction: Weight = 1.0
    """Weight of how far P(s ∨ t) is outside of max(P, Q) … min(P + Q, 1)."""
    implication: Weight = 1.0
    """Weight of how far P(s) exceeds the probability of what follows from s."""
    paraphrase: Weight = 1.0
    """Weight of [P(s) − P(s in other words)]². The weakest law: every feature of the content keeps it."""

    source: ClassVar[str] = "Burns et al. 2022 (arXiv 2212.03827), §2.2, with the laws of de Finetti's coherence"

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        relations = {law: members for law, members in pairs.relations.items() if getattr(self, law) > 0}
        if not relations:
            return super().fit(pairs, seeds)
        weights = {law: getattr(self, law) for law in relations}

        def objective(states: Tensor) -> Objective:
            return Together([self._contrast(states), Lawful(states, relations, weights, self.bias)])

        return self._search(pairs, seeds, objective)
