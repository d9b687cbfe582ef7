"""Mean violation of laws of probability over the relations among rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, LawMetric
from harness.estimate import Measured, row_mean
from harness.laws import LAWS, violation

if TYPE_CHECKING:
    import numpy as np


class Violated(LawMetric, frozen=True, kw_only=True):
    """How far the probabilities of the rows that a law ties together break it, mean over its relations."""

    laws: ClassVar[tuple[str, ...]] = tuple(LAWS)
    source: ClassVar[str] = "coherence: de Finetti 1937; consistency as an aim of probes: Burns et al. 2022, §2.2"
    higher_is_better: ClassVar[bool] = False

    def measure(
        self, answers: Answers, labels: np.ndarray, group: np.ndarray, relations: Mapping[str, np.ndarray] | None = None
    ) -> Measured | None:
        import numpy as np

        if answers.probability is None:
            return None
        own = {law: members for law, members in (relations or {}).items() if law in self.laws}
        if not own:
            return None
        rows = [violation(law, answers.probability[..., members]) for law, members in own.items()]
        groups = [group[members[:, -1]] for members in own.values()]
        return row_mean(np.concatenate(rows, axis=-1), np.concatenate(groups), 0.0, 1.0)
