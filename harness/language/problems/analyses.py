"""Problems of analyses: one that stands there twice, two with a table of one name, and names of what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_type_hints

import msgspec

from harness.contracts.analysis import Analysis
from harness.contracts.checks import named
from harness.errors import Problem, did_you_mean
from harness.language.problems.checks import known_names
from harness.language.problems.names import renamed
from harness.language.resolving import Resolved
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Array, Node, Table, problem_at


def analysis_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of every analysis that could be decoded."""
    seen: list[tuple[Node, Analysis]] = []
    known = known_names(resolved)
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
        yield from _name_problems(resolved, node, analysis, known)


def _name_problems(
    resolved: Resolved, node: Node, options: msgspec.Struct, known: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    """Of what options name, by themselves, in a list, or in options within them."""
    hints = get_type_hints(type(options), include_extras=True)
    for option in options.__struct_fields__:
        value, what = getattr(options, option), named(hints[option])
        where = (node.get(option) if isinstance(node, Table) else None) or node
        for number, one in enumerate(value if isinstance(value, tuple) else (value,)):
            at = where.items[number] if isinstance(where, Array) and isinstance(value, tuple) else where
            if isinstance(one, msgspec.Struct):
                yield from _name_problems(resolved, at, one, known)
            elif what in known and one is not None and one not in known[what]:
                hint = renamed(resolved, one) if what == "probe" else ""
                yield problem_at(at, f'no {what} "{shorten(one)}"{hint or did_you_mean(one, known[what])}')
