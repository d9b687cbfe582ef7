"""The labels of a condition's rows, of which the probes are fitted and by which they are scored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.contracts import BINARY, PromptTable
from harness.contracts.data import TOKEN
from harness.errors import DataError
from harness.prompts.relations import examples, relations
from harness.scoring.score import TRUTH, Labels, SplitName, group_ids, with_xors
from harness.spec import Condition, Spec


def labels(spec: Spec, condition: str, part: SplitName, table: PromptTable) -> Labels:
    """The labels of every factor and XOR for the rows in one part of the split, in the order of the rows.

    Raises DataError where the rows that are to resolve signs cannot be told.
    """
    frame = table.frame.filter(answer=0, split=part)
    factors = {factor.name: factor for factor in table.factors}
    targets = {name: factor.target.values(frame[name]) for name, factor in factors.items()}
    binary = {name: targets[name] for name, factor in factors.items() if factor.target is BINARY}
    # XORs stand behind the binary ones, and what is not binary behind all of them.
    targets = {**with_xors(binary, spec.xors), **targets}
    chosen = spec.condition(condition)
    parts = [name for name in ("example", "template", TOKEN) if name in frame.columns]
    names = ("\0".join(map(str, row)) for row in frame.select(parts).iter_rows())
    sequence = group_ids(("\0".join(row) for row in frame.select("example", "template").iter_rows()), table.data_set)
    return Labels(
        targets,
        group_ids(frame["group"], table.data_set),
        sign_rows=_sign_rows(chosen, binary),
        example=examples(frame),
        relations=relations(frame),
        row=group_ids(names, table.data_set),
        sequence=sequence if len(np.unique(sequence)) < len(sequence) else None,
        factors=factors,
    )


def _sign_rows(condition: Condition, targets: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """By the binary targets, which rows may resolve signs, as the condition's data say; None for all."""
    name = condition.data.sign_on
    if name is None:
        return None
    if name not in targets:
        raise DataError(f'data.sign_on: {condition.name} has no "{name}"; it has {", ".join(sorted(targets))}')
    if TRUTH not in targets:
        raise DataError(f"data.sign_on: the truth of {condition.name} has no two values, and so no sign; leave it out")
    agreeing = targets[name] == targets[TRUTH]
    if len(agreeing) and not agreeing.any():
        raise DataError(f"data.sign_on: in {condition.name}, {name} never agrees with the truth; leave it out")
    return agreeing
