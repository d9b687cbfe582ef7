"""Problems of analyses: one that stands there twice, two with a table of one name, and a condition that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_type_hints

import msgspec

from harness.contracts.analysis import Analysis
from harness.contracts.checks import named
from harness.errors import Problem, did_you_mean
from harness.language.resolving import Resolved
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Array, Node, Table, problem_at


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


def _name_problems(resolved: Resolved, node: Node, options: msgspec.Struct) -> Iterator[Problem]:
    """Of the conditions that options name, by themselves, in a list, or in options within them."""
    known = list(resolved.conditions)
    hints = get_type_hints(type(options), include_extras=True)
    for option in options.__struct_fields__:
        value, is_name = getattr(options, option), named(hints[option]) == "condition"
        where = (node.get(option) if isinstance(node, Table) else None) or node
        for number, one in enumerate(value if isinstance(value, tuple) else (value,)):
            at = where.items[number] if isinstance(where, Array) and isinstance(value, tuple) else where
            if isinstance(one, msgspec.Struct):
                yield from _name_problems(resolved, at, one)
            elif is_name and one is not None and one not in known:
                yield problem_at(at, f'no condition "{shorten(one)}"{did_you_mean(one, known)}')
