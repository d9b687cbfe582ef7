"""A difference as text for a terminal and as Markdown for a pull request, from the shortest to the longest: a sentence, why, the checks
that changed, the rows of the summary layers by method, other layers in a line each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.errors import EXIT_EXPECTED
from harness.report.compare.moves import CheckMoved, Difference, Moved, exit_code
from harness.report.compare.source import CheckRow
from harness.report.markup import folded, table
from harness.report.scores import Transfer
from harness.report.wording import evidence, listed, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    from rich.console import Group

SHOWN_ROWS = 40
"""Rows of results, and of checks, unless all are asked for."""
MOST_ROWS = 5_000
"""Where all are asked for: more are nobody's to read, and setting them out takes minutes."""
WIDE = 110
"""Columns of a terminal from which on intervals stand beside values."""
MOST_CHARACTERS = 60_000
"""Of Markdown: GitHub takes 65,536 in a comment."""

_RULE = (
    "Beyond its interval: found among the rows that moved at a false-discovery rate of 5 % (Benjamini and Hochberg). "
    "The interval of a change is squared and added from both intervals, {paired}."
)
_LAYERS = "Summary layers that moved"

Clean = Callable[[str], str]


def summary(difference: Difference) -> str:
    """One sentence: what moved, by number."""
    if difference.nothing:
        every = difference.compared + difference.compared_deeper
        what = "no number moved" if difference.made_otherwise else "no difference"
        return f"{what}: {_count(every, 'row')} the same, no check moved"
    parts = [
        f"{_count(len(difference.checks), 'check')} moved",
        f"{len(difference.moved):,} of {_count(difference.compared, 'row')} at summary layers moved, "
        f"{sum(row.beyond is True for row in difference.moved):,} beyond the interval",
    ]
    if difference.layers:
        parts.insert(0, _layers_moved(difference))
    if difference.values:
        parts.insert(
            1 + bool(difference.layers),
            f"the value of {_count(len(difference.values), 'check')} moved beyond its interval",
        )
    if difference.deeper:
        deeper = sum(row.beyond is True for row in difference.deeper)
        parts.append(f"{len(difference.deeper):,} of {difference.compared_deeper:,} at other layers, {deeper:,} beyond")
    if difference.unjudged:
        parts.append(f"{len(difference.unjudged):,} that cannot be judged")
    if difference.added:
        parts.append(f"{_count(len(difference.added), 'row')} added")
    if difference.removed:
        parts.append(f"{_count(len(difference.removed), 'row')} removed")
    return "; ".join(parts)


def as_text(difference: Difference, *, width: int = 80, every: bool = False, only_checks: bool = False) -> Group:
    """For rich's console of so many columns. Nothing from the reports is read as markup, and no word is cut."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def listing(rows: Iterable[Sequence[str]]) -> Table:
        made = Table.grid(padding=(0, 2, 0, 0))
        for cells in rows:
            made.add_row(*(Text(cell, overflow="fold") for cell in cells))
        return made

    style = "green" if exit_code(difference) == EXIT_EXPECTED else "bold red"
    parts: list[Text | Table] = [Text(summary(difference), style=style)]
    if difference.nothing and not difference.made_otherwise:
        return Group(*parts)
    parts.append(Text(f"{'made otherwise' if difference.nothing else 'why'}: {'; '.join(difference.why)}"))
    if difference.nothing:
        return Group(*parts)
    most = MOST_ROWS if every else SHOWN_ROWS
    for title, checks in _check_parts(difference):
        parts += [Text(), Text(title, style="bold")]
        for check in checks[:most]:
            parts.append(Text(f"  {_named(check, plain.line)}"))
            parts += [
                Text(f"    {word} {_side(side, plain.line)}") for word, side in (("was", check.old), ("is ", check.new))
            ]
        parts += [Text(line) for line in _left(len(checks), most, "check")]
    if only_checks:
        return Group(*parts)
    if difference.layers:
        parts += [Text(), Text(_LAYERS, style="bold")]
        parts += [Text(f"  {line}") for line in _at_both(difference, plain.line, most)]
    if difference.moved:
        parts += [Text(), Text("Rows at the summary layers", style="bold")]
        for probe, rows in _by_method(difference.moved, most):
            parts.append(Text(f"  {plain.line(probe)}", style="bold"))
            parts.append(listing(("   ", *_cells(row, plain.line, bounds=width >= WIDE)) for row in rows))
        parts += [Text(line) for line in _left(len(difference.moved), most, "row")]
    if difference.deeper:
        parts += [Text(), Text("Other layers", style="bold")]
        parts += [Text(f"  {line}") for line in _deeper(difference, plain.line, most)]
    parts += [Text(), *(Text(line, style="dim") for line in _rules(difference, plain.line))]
    parts += [Text(f"{what}: {names}") for what, names in _coming_and_going(difference, plain.line)]
    return Group(*parts)


def as_markdown(difference: Difference, *, every: bool = False, only_checks: bool = False) -> str:
    """For a comment on a pull request; what is long unfolds."""
    mark = "✅" if exit_code(difference) == EXIT_EXPECTED else "⚠️"
    parts = [f"{mark} **{plain.code(difference.old)} → {plain.code(difference.new)}**: {summary(difference)}."]
    if difference.nothing and not difference.made_otherwise:
        return f"{parts[0]}\n"
    word = "Made otherwise" if difference.nothing else "Why"
    parts.append(f"{word}: {'; '.join(map(plain.markdown, difference.why))}.")
    if difference.nothing:
        return _within(parts)
    most = MOST_ROWS if every else SHOWN_ROWS
    for title, checks in _check_parts(difference):
        rows = [
            (_named(check, plain.markdown), _side(check.old, plain.markdown), _side(check.new, plain.markdown))
            for check in checks[:most]
        ]
        parts += [f"**{title}**", table(("check", "was", "is"), rows), *_left(len(checks), most, "check")]
    if not only_checks:
        if difference.layers:
            lines = "\n".join(f"- {line}" for line in _at_both(difference, plain.markdown, most))
            parts.append(folded(_LAYERS, lines))
        if difference.moved:
            shown = [row for _, rows in _by_method(difference.moved, most) for row in rows]
            head = ("method", "conditions", "factor", "metric", "was", "is", "change", "beyond")
            cells = [(plain.code(row.key[2]), *_cells(row, plain.markdown, bounds=True)) for row in shown]
            beyond = sum(row.beyond is True for row in difference.moved)
            title = f"Rows at the summary layers: {len(difference.moved):,} moved, {beyond:,} beyond"
            parts += [folded(title, table(head, cells)), *_left(len(difference.moved), most, "row")]
        if difference.deeper:
            lines = "\n".join(f"- {line}" for line in _deeper(difference, plain.markdown, most))
            parts.append(folded(f"Other layers: {len(difference.deeper):,} rows moved", lines))
        parts += [*_rules(difference, plain.markdown)]
        parts += [f"{what}: {names}" for what, names in _coming_and_going(difference, plain.markdown)]
    return _within(parts)


def _layers_moved(difference: Difference) -> str:
    """How many methods have another summary layer, from where to where."""
    ways = list(dict.fromkeys((plain.line(one.old), plain.line(one.new)) for one in difference.layers))
    shown = ", ".join(f"{old} → {new}" for old, new in ways[:3]) + (", …" if len(ways) > 3 else "")
    methods = len({one.probe for one in difference.layers})
    beyond = sum(row.beyond is True for one in difference.layers for row in one.rows)
    far = f", and {_count(beyond, 'row')} with it beyond the interval" if beyond else ""
    return f"the summary layer of {_count(methods, 'method')} moved ({shown}){far}"


def _at_both(difference: Difference, clean: Clean, most: int) -> Iterator[str]:
    """A line for each row: its score at the old summary layer of the old report, and at the new one of the new report."""
    lines = [
        f"{clean(one.probe)} on {clean(Transfer(one.fit_on, one.tested_on).title)}, {clean(row.target)} {clean(row.metric)}: "
        f"{evidence(row.old)} at layer {clean(one.old)} → {evidence(row.new)} at layer {clean(one.new)}"
        f"{', beyond' if row.beyond else ''}"
        for one in difference.layers
        for row in one.rows
    ]
    yield from lines[:most]
    yield from _left(len(lines), most, "row")


def _within(parts: Sequence[str]) -> str:
    """The parts, one after the other, as far as a comment takes them."""
    text, note = "", "\n\nThe rest is too long for a comment; `harness diff --json` has all.\n"
    for part in parts:
        if len(text) + len(part) + len(note) + 2 > MOST_CHARACTERS:
            return text.rstrip("\n") + note
        text += f"{part}\n\n"
    return text.rstrip("\n") + "\n"


def _check_parts(difference: Difference) -> Iterator[tuple[str, Sequence[CheckMoved]]]:
    if difference.checks:
        yield "Checks that changed", difference.checks
    if difference.values:
        yield "Checks whose value moved beyond its interval, and that found the same", difference.values


def _named(check: CheckMoved, clean: Clean) -> str:
    name, probe, condition, ordinal = check.key
    name = name if ordinal == "1" else f"{name} ({ordinal})"
    return f"{clean(name)}: {clean(probe) or '–'} on {clean(condition) or '–'}"


def _side(row: CheckRow | None, clean: Clean) -> str:
    if row is None:
        return "not there"
    expected = f", expected {clean(row.expect)}" if row.expect else ""
    return f"{clean(row.finding)}{expected}: {clean(row.verdict).replace('_', ' ')}, {evidence(row.score)}"


def _by_method(moved: Sequence[Moved], most: int) -> list[tuple[str, list[Moved]]]:
    """The first rows, put together by method: those with what is most important first."""
    groups: dict[str, list[Moved]] = {}
    for row in moved[:most]:
        groups.setdefault(row.key[2], []).append(row)
    return list(groups.items())


def _cells(row: Moved, clean: Clean, *, bounds: bool) -> tuple[str, ...]:
    """Conditions, factor, metric, both values, the change, and whether it is beyond its interval."""
    sign = "+" if row.change > 0 else ""
    beyond = row.way if row.beyond is None else "yes" if row.beyond else "no"
    fit_on, tested_on, _, layer, target, metric = row.key
    place = clean(Transfer(fit_on, tested_on).title) + ("" if layer == "all" else f", layer {clean(layer)}")
    was, is_now = (evidence(row.old), evidence(row.new)) if bounds else (number(row.old.value), number(row.new.value))
    if bounds:
        return (place, clean(target), clean(metric), was, is_now, f"{sign}{number(row.change)}", beyond)
    return (place, f"{clean(target)} {clean(metric)}", f"{was} → {is_now}", f"{sign}{number(row.change)}", beyond)


def _deeper(difference: Difference, clean: Clean, most: int) -> Iterator[str]:
    """A line for each method on each factor: how many rows moved at other layers, and where most."""
    groups: dict[tuple[str, str], list[Moved]] = {}
    for row in difference.deeper:
        groups.setdefault((row.key[2], row.key[4]), []).append(row)
    for (probe, target), rows in list(groups.items())[:most]:
        worst = rows[0]
        sign = "+" if worst.change > 0 else ""
        beyond = sum(row.beyond is True for row in rows)
        place = f"layer {clean(worst.key[3])} of {clean(Transfer(*worst.key[:2]).title)}, {clean(worst.key[5])}"
        yield (
            f"{clean(probe)} on {clean(target)}: {_count(len(rows), 'row')} moved, {beyond:,} beyond; "
            f"most at {place}: {number(worst.old.value)} → {number(worst.new.value)} ({sign}{number(worst.change)})"
        )
    if len(groups) > most:
        yield f"and {len(groups) - most:,} more; {_elsewhere(most)}"


def _rules(difference: Difference, clean: Clean) -> Iterable[str]:
    """What *beyond* means here, and what it is not said of."""
    judged = [row for row in (*difference.moved, *difference.deeper) if row.beyond is not None]
    paired = sum(row.way == "paired" for row in judged)
    if judged:
        among = "paired by test row" if paired == len(judged) else "as if the two runs were independent"
        if 0 < paired < len(judged):
            among = f"{paired:,} of them paired by test row, the others as if the two runs were independent"
        yield _RULE.format(paired=among)
    if difference.resampled:
        yield (
            f"Fitted on other training rows in the two runs: {listed([clean(name) for name in difference.resampled])}. Only rows whose "
            "intervals cover the training sample are judged there, those at summary layers; where other rows chose another layer, the score must "
            "have moved at one of the two. Checks are shown and not judged, because their intervals leave the training sample out."
        )
    elif difference.unknown:
        yield "One of the two does not say which rows it was fitted on; they are taken for the same."


def _left(count: int, most: int, thing: str) -> list[str]:
    return [] if count <= most else [f"{_count(count - most, f'further {thing}')}; {_elsewhere(most)}."]


def _elsewhere(most: int) -> str:
    return "--json has them" if most == MOST_ROWS else "--all shows them"


def _coming_and_going(difference: Difference, clean: Clean) -> Iterable[tuple[str, str]]:
    """Rows added and removed, put together by fit_on, tested_on and probe: there may be thousands."""
    for what, keys in (("added", difference.added), ("removed", difference.removed)):
        groups: dict[str, int] = {}
        for key in keys:
            name = f"{clean(key[2])} on {clean(Transfer(key[0], key[1]).title)}"
            groups[name] = groups.get(name, 0) + 1
        lines = [f"{name}: {_count(count, 'row')}" for name, count in list(groups.items())[:SHOWN_ROWS]]
        if len(groups) > SHOWN_ROWS:
            lines.append(f"and {len(groups) - SHOWN_ROWS} more")
        if lines:
            yield what, "; ".join(lines)


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
