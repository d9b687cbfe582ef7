"""Problems of factors: XORs, targets of probes, what is erased and what is planted must be known and have two values.

A target is for methods with labels; anything that reads states can have something erased.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.contracts import Probe
from harness.errors import Problem, did_you_mean
from harness.language.resolving import Resolved
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Table, items_of, problem_at, text_of


def target_problems(resolved: Resolved) -> Iterator[Problem]:
    """Problems of `xors`, and of every probe's `target` and `erase`."""
    seen: dict[frozenset[str], Node] = {}
    for node in resolved.root.items_of("xors"):
        names = [(item, text_of(item)) for item in items_of(node)]
        for item, name in names:
            if name is not None:
                yield from _factor_problems(resolved, item, name)
        pair = frozenset(name for _, name in names if name is not None)
        if len(names) != 2 or None in (names[0][1], names[1][1]):
            continue
        if len(pair) == 1:
            yield problem_at(node, "the XOR of a factor with itself is always the same; name two different ones")
        elif pair in seen:
            message = f"the XOR of {' and '.join(sorted(pair))} stands at {seen[pair].path} already; take one out"
            yield problem_at(node, message)
        elif "^".join(name or "" for _, name in names) in resolved.factors():
            yield problem_at(node, "the data have a column of this XOR's name; call the column something else")
        seen.setdefault(pair, node)
    for setting in resolved.settings.values():
        yield from _planting_problems(resolved, setting.get("plant"))
    for node, probe in resolved.probes:
        if probe is not None and isinstance(node, Table):
            yield from _fit_problems(resolved, node, probe.kind(), probe.target, supervised=probe.supervised)
            if probe.erase is not None:
                yield from _erasure_problems(resolved, node, probe)


def _factor_problems(resolved: Resolved, item: Node, name: str) -> Iterator[Problem]:
    known = resolved.factors()
    if name not in known:
        yield problem_at(item, f'no factor "{shorten(name)}"{did_you_mean(name, known)}')
    elif (values := resolved.values(name)) is not None and values != 2:
        what = "is no class" if not values else f"has {values} values"
        yield problem_at(item, f'the factor "{name}" {what}, and only factors of two values can be combined or fitted')


def _fit_problems(resolved: Resolved, node: Table, kind: str, target: str, *, supervised: bool) -> Iterator[Problem]:
    if target == "truth":
        return
    where = node.get("target") or node
    if not supervised:
        message = f"{kind} is never handed labels, so that it cannot be fitted on a target; leave `target` out: its answers are scored against every factor"
        yield problem_at(where, message)
    else:
        yield from target_name_problems(resolved, where, target, binary=False)


def _erasure_problems(resolved: Resolved, node: Table, probe: Probe) -> Iterator[Problem]:
    assert probe.erase is not None
    erase = node.table("erase") or node
    if probe.reads == "log_odds":
        message = f"{probe.kind()} reads the model's own answer, where nothing can be erased; take `erase` out"
        yield problem_at(erase, message)
    elif probe.erase.of != "truth":
        yield from target_name_problems(resolved, erase.get("of") or erase, probe.erase.of)


def _planting_problems(resolved: Resolved, plant: Node | None) -> Iterator[Problem]:
    of = plant.get("of") if isinstance(plant, Table) else None
    if (name := text_of(of)) is not None and of is not None:
        yield from target_name_problems(resolved, of, name)


def target_name_problems(resolved: Resolved, where: Node, target: str, *, binary: bool = True) -> Iterator[Problem]:
    """A factor or an XOR that the spec declares, and that has two values if it must be `binary`."""
    xors = ["^".join(pair) for pair in resolved.xors()]
    if target in resolved.factors():
        yield from _factor_problems(resolved, where, target) if binary else ()
    elif target not in xors:
        factors = target.split("^")
        if len(factors) == 2 and all(name in resolved.factors() for name in factors):
            turned = "^".join(reversed(factors))
            hint = f'; did you mean "{turned}"?' if turned in xors else f"; add [{', '.join(factors)}] to `xors`"
        else:
            hint = did_you_mean(target, [*resolved.factors(), *xors])
        yield problem_at(where, f'no target "{shorten(target)}"{hint}')
