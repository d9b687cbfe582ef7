"""What one answer of a method costs: the prompts and tokens that the network must read for it, counted in the test rows.

A method that reads states and one that reads the network's own answer cost the same: what both need comes out of the same pass
over the two members of a contrast pair (the states of the upper layers can be left out where a lower one is read). What
makes a difference is what is asked: solved examples before the question, or several wordings of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from harness.contracts import Probe, PromptTable
from harness.spec.plain import probe_name

if TYPE_CHECKING:
    from harness.execution import Execution


class AnswerCost(msgspec.Struct, frozen=True):
    """Means over the questions of one condition's test rows, for methods that cost the same there."""

    condition: str
    methods: tuple[str, ...]
    prompts: float
    """Prompts that are read for one answer: two for each wording that is asked."""
    tokens: float
    """Tokens of those prompts, each read whole."""
    shared: float
    """Tokens where what those prompts begin with in common is read once."""


def answer_costs(execution: Execution) -> list[AnswerCost]:
    """By condition that is tested on, in the order of the spec, and by what a method asks for one answer."""
    plan = execution.plan
    found: list[AnswerCost] = []
    for condition in plan.spec.conditions:
        tested = {name for _, tested_on, name in plan.scores if tested_on == condition.name}
        probes = [probe for probe in plan.spec.probes if probe_name(probe) in tested]
        if probes:
            found += _of_condition(condition.name, execution.table(condition.name), probes)
    return found


def _of_condition(condition: str, table: PromptTable, probes: Sequence[Probe]) -> Iterable[AnswerCost]:
    frame = table.frame.filter(split="test")
    # With one template an example is asked once, and is a pair.
    several = len(table.templates) > 1
    for unit in dict.fromkeys(probe.asks if several else "pair" for probe in probes):
        methods = tuple(probe_name(probe) for probe in probes if unit == (probe.asks if several else "pair"))
        units = frame.group_by(unit, maintain_order=True).agg("tokens")["tokens"].to_list()
        sizes = [(len(prompts), sum(map(len, prompts)), distinct_tokens(prompts)) for prompts in units]
        if sizes:
            prompts, tokens, shared = (sum(column) / len(sizes) for column in zip(*sizes, strict=True))
            yield AnswerCost(condition, methods, prompts, tokens, shared)


def distinct_tokens(prompts: Iterable[Sequence[int]]) -> int:
    """Tokens to be read where equal beginnings are read once: the nodes of the prompts' trie."""
    ordered = sorted(list(prompt) for prompt in prompts)
    # Of the prompts before it, the neighbour in order is the one that begins most like it.
    repeated = (_common(first, second) for first, second in pairwise(ordered))
    return sum(map(len, ordered)) - sum(repeated)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of what both begin with."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))
