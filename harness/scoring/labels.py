"""The labels of a condition's rows, of which the probes are fitted and by which they are scored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.contracts import PromptTable
from harness.errors import DataError
from harness.prompts.relations import examples, relations
from harness.scoring.score import TRUTH, Labels, SplitName, group_ids, with_xors
from harness.spec import Condition, Spec


def labels(spec: Spec, condition: str, part: SplitName, table: PromptTable) -> Labels:
    """The labels of every factor and XOR for the pairs in one part of the split, in the order of the pairs.

    Raises DataError where the rows that are to resolve signs cannot be told.
    """
    frame = table.frame.filter(answer=0, split=part)
    targets = {
        factor.name: frame[factor.name].to_numpy().astype(np.int64)
        for factor in table.factors
        if factor.kind == "class" and len(factor.values) == 2
    }
    targets = with_xors(targets, spec.xors)
    chosen = spec.condition(condition)
    names = (f"{example}\0{template}" for example, template in frame.select("example", "template").iter_rows())
    return Labels(
        targets,
        group_ids(frame["group"], table.data_set),
        sign_rows=_sign_rows(chosen, targets),
        example=examples(frame),
        relations=relations(frame),
        row=group_ids(names, table.data_set),
    )


def _sign_rows(condition: Condition, targets: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which rows may resolve signs, as the condition's data say; None for all."""
    name = condition.data.sign_on
    if name is None:
        return None
    if name not in targets:
        raise DataError(f'data.sign_on: {condition.name} has no "{name}"; it has {", ".join(sorted(targets))}')
    agreeing = targets[name] == targets[TRUTH]
    if len(agreeing) and not agreeing.any():
        raise DataError(f"data.sign_on: in {condition.name}, {name} never agrees with the truth; leave it out")
    return agreeing
