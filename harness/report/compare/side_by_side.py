"""Methods × reports: the scores of several reports side by side, each with its interval, as a Markdown table.

A row is a method on a pair of conditions, at the layer that the report's own rule chose; a column is a report. Conditions that
play the same part are called differently in different specs: `honest=alice:bob` and `honest=trusted:tampered` are one row.
Nothing is computed anew: every number stands in a results.csv or checks.csv.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from harness.errors import UsageError, did_you_mean
from harness.report.compare.source import CheckRow, check_rows, reader
from harness.report.markup import table
from harness.report.outline import from_manifest
from harness.report.read import HEADLINE, MOST_COMPARED, columns_of, decoded_manifest, table_of
from harness.report.scores import Scores, Transfer
from harness.report.wording import evidence
from harness.untrusted import text as plain


class Named(msgspec.Struct, frozen=True):
    """A name that a user asks for, and the label under which it stands in the table."""

    label: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Named:
        """`NAME`, or `LABEL=NAME`. Raises UsageError."""
        label, equals, name = text.rpartition("=")
        if not name or (equals and not label.strip()):
            raise UsageError(f'"{plain.line(text)}" names nothing; write NAME, or LABEL=NAME')
        return cls(label.strip() or name, name)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows the table is to have."""

    metric: str = "auroc"
    targets: tuple[Named, ...] = (Named("truth", "truth"),)
    places: tuple[Named, ...] = ()
    """Pairs of conditions, `FIT_ON:TESTED_ON`, or one condition for both; all pairs if empty."""
    probes: tuple[str, ...] = ()
    """Names or patterns, in the order of the rows; all methods if empty."""
    checks: tuple[str, ...] = ()
    """Names or patterns of checks: their values and findings, in the place of methods' scores."""


class Compared(msgspec.Struct, frozen=True):
    """One report's numbers."""

    name: str
    scores: Scores
    checks: Mapping[str, CheckRow]
    """By name; the second of a name has its number behind it."""

    @classmethod
    def open(cls, text: str) -> Compared:
        """A folder, or REVISION:FOLDER in git. Raises UsageError for anything that is no report."""
        import polars as pl

        from harness.scoring.tables import SEEDS

        read = reader(text)
        where = plain.line(text)
        outline = from_manifest(decoded_manifest(read("manifest.json"), f"{where}/manifest.json"), where)
        content = read("results.csv")
        columns = columns_of(content, f"{where}/results.csv")
        results = table_of(content, columns, f"{where}/results.csv", MOST_COMPARED)
        checks = {
            name if ordinal == "1" else f"{name} ({ordinal})": row
            for (name, _, _, ordinal), row in check_rows(read("checks.csv"), f"{where}/checks.csv").items()
        }
        headline = results if columns == HEADLINE else None
        # Seeds one by one are not shown.
        return cls(outline.name, Scores(outline, results, pl.DataFrame(schema=SEEDS), headline), checks)


def compared(reports: Sequence[Compared], asked: Asked) -> str:
    """The table, ready for a README. Raises UsageError where nothing is as asked."""
    _must_be_there(reports, asked)
    return (_checks(reports, asked.checks) if asked.checks else _methods(reports, asked)) + "\n"


def _methods(reports: Sequence[Compared], asked: Asked) -> str:
    rows = []
    places = asked.places or tuple(dict.fromkeys(Named(t.title, _name(t)) for r in reports for t in r.scores.transfers))
    # That a table is about the truth need not be said.
    several = [target.label for target in asked.targets] != ["truth"]
    for place in dict.fromkeys(one.label for one in places):
        names = [one.name for one in places if one.label == place]
        for probe in _probes(reports, asked.probes):
            for target in dict.fromkeys(one.label for one in asked.targets):
                targets = [one.name for one in asked.targets if one.label == target]
                cells = [_cell(report, names, probe, targets, asked.metric) for report in reports]
                if any(cells):
                    head = (plain.markdown(place), plain.code(probe), *((plain.markdown(target),) if several else ()))
                    rows.append((*head, *(cell or "–" for cell in cells)))
    if not rows:
        raise UsageError("none of the reports has a score there; see the conditions and methods in their results.csv")
    head = ("fitted → tested", f"method ({plain.markdown(asked.metric)})", *(("target",) if several else ()))
    return table((*head, *(plain.markdown(report.name) for report in reports)), rows)


def _cell(report: Compared, places: Sequence[str], probe: str, targets: Sequence[str], metric: str) -> str:
    """The one score that is meant; empty where the report has none. Raises UsageError where it has several."""
    found = []
    for transfer in (transfer for transfer in report.scores.transfers if any(_is(transfer, name) for name in places)):
        layer = report.scores.summary_layer(transfer, probe)
        scores = (report.scores.headline_score(transfer, probe, target, layer, metric) for target in targets)
        found += [score for score in scores if score is not None]
    if len(found) > 1:
        raise UsageError(
            f"{plain.line(report.name)} has {len(found)} scores of {plain.line(probe)} for one row of the table "
            f"({plain.line(', '.join(places))}; {plain.line(', '.join(targets))}); give them labels of their own"
        )
    return evidence(found[0]) if found else ""


def _checks(reports: Sequence[Compared], patterns: Sequence[str]) -> str:
    names = _matching(patterns, [name for report in reports for name in report.checks])
    rows = [(plain.code(name), *(_finding(report.checks.get(name)) for report in reports)) for name in names]
    return table(("check", *(plain.markdown(report.name) for report in reports)), rows)


def _finding(row: CheckRow | None) -> str:
    return "–" if row is None else f"{evidence(row.score)} {plain.markdown(row.finding)}"


def _probes(reports: Sequence[Compared], patterns: Sequence[str]) -> list[str]:
    return _matching(patterns or ("*",), [probe for report in reports for probe in report.scores.probes])


def _matching(patterns: Sequence[str], names: Iterable[str]) -> list[str]:
    """The names, each once: those of the first pattern first."""
    there = list(dict.fromkeys(names))
    return list(dict.fromkeys(name for pattern in patterns for name in there if _fits(name, pattern)))


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _must_be_there(reports: Sequence[Compared], asked: Asked) -> None:
    """Raises UsageError for a name that no report knows."""
    places = [transfer for report in reports for transfer in report.scores.transfers]
    known: Mapping[str, tuple[Iterable[str], list[str]]] = {
        "method": (asked.probes, [probe for report in reports for probe in report.scores.probes]),
        "target": ((one.name for one in asked.targets), [t for report in reports for t in report.scores.targets]),
        "metric": ((asked.metric,), [m for report in reports for m in report.scores.metrics]),
        "check": (asked.checks, [name for report in reports for name in report.checks]),
    }
    for what, (wanted, there) in known.items():
        for name in wanted:
            if not any(_fits(one, name) for one in there):
                hint = did_you_mean(name, list(dict.fromkeys(map(plain.line, there))))
                raise UsageError(f'no {what} "{plain.line(name)}" in these reports{hint}')
    for place in asked.places:
        if not any(_is(transfer, place.name) for transfer in places):
            hint = did_you_mean(place.name, list(dict.fromkeys(plain.line(_name(one)) for one in places)))
            raise UsageError(f'no report has "{plain.line(place.name)}"; write FIT_ON:TESTED_ON{hint}')


def _name(transfer: Transfer) -> str:
    return f"{transfer.fit_on}:{transfer.tested_on}"


def _is(transfer: Transfer, name: str) -> bool:
    """Whether a transfer is the one that a user names."""
    return name == _name(transfer) or (name == transfer.fit_on == transfer.tested_on)
