"""Problems of analyses: one that stands there twice, and two with a table of one name."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts.analysis import Analysis
from harness.errors import Problem
from harness.language.resolving import Resolved
from harness.language.syntax.nodes import Node, problem_at


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
