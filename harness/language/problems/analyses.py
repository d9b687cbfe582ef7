"""Problems of analyses: one that stands there twice, two with a table of one name, and a condition that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts.analysis import Analysis
from harness.contracts.checks import named_by
from harness.errors import Problem, did_you_mean
from harness.language.resolving import Resolved
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Table, problem_at


def analysis_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of every analysis that could be decoded."""
    seen: list[tuple[Node, Analysis]] = []
    for node, analysis in resolved.analyses:
        if analysis is None:
            continue
        for other, before in seen:
            if type(before) is type(analysis):
                yield problem_at(node, f"{analysis.kind()} stands at {other.path} already; take one of them out")
                break
            if shared := sorted({*before.files} & {*analysis.files}):
                message = f"{before.kind()} and {analysis.kind()} both have a table {shared[0]}; take one of them out"
                yield problem_at(node, message)
                break
        seen.append((node, analysis))
        yield from _name_problems(resolved, node, analysis)


def _name_problems(resolved: Resolved, node: Node, analysis: Analysis) -> Iterator[Problem]:
    known = list(resolved.conditions)
    for option, what in named_by(type(analysis)).items():
        name = getattr(analysis, option)
        if what == "condition" and name is not None and name not in known:
            where = (node.get(option) if isinstance(node, Table) else None) or node
            yield problem_at(where, f'no condition "{shorten(name)}"{did_you_mean(name, known)}')
