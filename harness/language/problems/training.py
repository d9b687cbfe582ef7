"""Problems of `elicit`: whose rows a network is taught before it is asked, and whether it can be trained at all."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import Bed
from harness.errors import Problem, did_you_mean
from harness.language.problems.targets import target_name_problems
from harness.language.resolving import Resolved
from harness.language.row_forms import views_told
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Table, problem_at
from harness.spec import Condition, Elicit, StatesFolder


def elicit_problems(resolved: Resolved) -> Iterator[Problem]:
    """Everything that can be wrong with `elicit` and shows before any model is looked at."""
    for name, condition in resolved.conditions.items():
        node = resolved.elicit_node(name)
        if condition is None or condition.elicit is None or not isinstance(node, Table):
            continue
        yield from _network_problems(condition, node)
        yield from _row_problems(resolved, condition, condition.elicit, node)
        if condition.elicit.target != "truth":
            yield from target_name_problems(resolved, node.get("target") or node, condition.elicit.target)


def _network_problems(condition: Condition, node: Node) -> Iterator[Problem]:
    if isinstance(condition.model, StatesFolder):
        yield problem_at(
            node,
            "states that somebody made have no network that could be trained; take `elicit` out, or name the network",
        )
    elif isinstance(condition.model, Bed):
        message = (
            f"the states of the test bed {condition.model.kind()} are given by a formula, so that nothing can be trained; "
            "take `elicit` out, or use a bed that is a network"
        )
        yield problem_at(node, message)
    elif condition.model.side == "encoder":
        yield problem_at(node, "an encoder gives no answer that could be trained; take `elicit` or model.side out")


def _row_problems(resolved: Resolved, condition: Condition, elicit: Elicit, node: Table) -> Iterator[Problem]:
    on = elicit.on
    where = node.get("on") or node
    if on is None or on == condition.name:
        return
    if on not in resolved.conditions:
        yield problem_at(where, f'no condition "{shorten(on)}"{did_you_mean(on, list(resolved.conditions))}')
        return
    other = resolved.conditions[on]
    if other is None:
        return
    if other.elicit is not None:
        own = other.elicit.on or on
        hint = (
            f"name {own}, whose rows that one is taught"
            if own != on
            else f"add a condition with the rows of {on} and no `elicit`"
        )
        message = f"{on} is elicited itself, and one training is not built upon another; {hint}"
        yield problem_at(where, message)
    if other.has_rows:
        whose = (
            f"token ids of the test bed {other.model.kind()}"
            if isinstance(other.model, Bed)
            else "states that somebody made"
        )
        yield problem_at(where, f"the rows of {on} are {whose}; name rows of text")
    elif views_told(other, resolved.folder) == 1:
        yield problem_at(
            where,
            f"a network is trained to answer, and the rows of {on} are statements; name a condition whose template shows {{{{ answer }}}}",
        )
