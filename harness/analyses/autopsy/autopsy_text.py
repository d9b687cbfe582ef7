"""The autopsies in words, made from their tables; the same for report.md and the page.

Every text here is plain; whoever shows it makes it harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from harness.analyses.autopsy.going_together import LEVEL
from harness.report.wording import listed, number

SHOWN = 5
"""Solutions told one by one; of a probe that finds more, the others are counted."""
OTHERS = 4
"""Further named features in a sentence."""
FEATURES = 12
"""Features in a table."""

CERTAIN, CLEAR = 0.8, 0.4
"""Associations from which on a solution is said to be a feature, or mostly to follow it. With both answers equally
frequent, they are accuracies of 0.9 and 0.7."""

HOW_TO_READ = (
    "Each solution is what seeds with the same answers (up to sign) say on the test rows. Its answers are held against the "
    "truth, every other factor, XORs of two, the model's own answer, and what can be seen in the text. The association is "
    "2 · AUROC − 1: 1 where the feature decides the answer, 0 where it says nothing. P-values come from permutations of whole "
    f"groups and are corrected for all features and solutions of a probe: up to {LEVEL:g}, a feature counts as more than luck, and "
    "the strongest is named (of equals within 0.02, a known factor before what the text looks like). “A/B ⊕ answer” is how a "
    "probe of statements follows a feature A/B of questions: it says yes to one answer where there is A and to the other "
    "where there is B. Shares of variance are cross-validated, over groups, for features that were chosen on the same rows."
)

CELLS = 5
"""Of each row that is shown: list, score, answer, truth, text."""

Row = Mapping[str, Any]
Where = tuple[str, str, str]


class SolutionText(msgspec.Struct, frozen=True):
    """What one solution latched on to."""

    name: str
    seeds: str
    sentences: Sequence[str]
    features: Sequence[tuple[str, ...]]
    """feature, association, p, the same on these rows as."""
    rows: Sequence[tuple[str, ...]]
    """list, score, answer, truth, text."""


class ProbeText(msgspec.Struct, frozen=True):
    """What one probe latched on to where it is fitted and tested."""

    title: str
    lead: str
    solutions: Sequence[SolutionText]
    rest: str = ""
    """What the solutions that are not told one by one latched on to."""


def texts_of(solutions: Sequence[Row], features: Sequence[Row], rows: Sequence[Row]) -> list[ProbeText]:
    """The texts of every probe, from the rows of the three tables."""
    of = {name: _by_place(table) for name, table in (("features", features), ("rows", rows))}
    return [
        _probe(where, found, of["features"].get(where, []), of["rows"].get(where, []))
        for where, found in _by_place(solutions).items()
    ]


def _by_place(rows: Sequence[Row]) -> dict[Where, list[Row]]:
    found: dict[Where, list[Row]] = {}
    for row in rows:
        found.setdefault((row["fit_on"], row["tested_on"], row["probe"]), []).append(row)
    return found


def _probe(where: Where, found: Sequence[Row], features: Sequence[Row], rows: Sequence[Row]) -> ProbeText:
    fit_on, tested, probe = where
    layer = "" if found[0]["layer"] == "all" else f", layer {found[0]['layer']}"
    fitted = "" if fit_on == tested else f", fitted on {fit_on}"
    seeds = sum(int(row["seeds"]) for row in found)
    return ProbeText(
        title=f"{probe} on {tested}{fitted}{layer}",
        lead=_lead(found, seeds),
        solutions=[
            _solution(
                row,
                seeds,
                [f for f in features if f["solution"] == row["solution"]],
                [r for r in rows if r["solution"] == row["solution"]],
            )
            for row in found[:SHOWN]
        ],
        rest=_rest(found[SHOWN:]),
    )


def _lead(found: Sequence[Row], seeds: int) -> str:
    if seeds == 1:
        return "It is fitted once."
    if len(found) == 1:
        return f"All {seeds} seeds find one solution."
    return f"{seeds} seeds find {len(found)} different solutions."


def _rest(found: Sequence[Row]) -> str:
    if not found:
        return ""
    latched = Counter(_name(row) for row in found)
    what = listed(
        [f"{count} × {name}" for name, count in sorted(latched.items(), key=lambda item: (-item[1], item[0]))]
    )
    plural = "solution is" if len(found) == 1 else "solutions are"
    return f"{len(found)} further {plural} in autopsy_solutions.parquet: {what}."


def _name(row: Row) -> str:
    return str(row["latched_on"] or "nothing that was looked for")


def _solution(row: Row, seeds: int, features: Sequence[Row], rows: Sequence[Row]) -> SolutionText:
    return SolutionText(
        name=_name(row),
        seeds="" if seeds == 1 else f"{row['seeds']:.0f} of {seeds} seeds",
        sentences=list(_sentences(row, features)),
        features=[
            (f["feature"], _signed(f["association"]), f"{f['p']:.3f}", f["same_as"] or "")
            for f in features[:FEATURES]
            if row["yes"] not in (0, 1)
        ],
        rows=[(r["list"], _signed(r["score"]), r["answer"], r["truth"], r["text"]) for r in rows],
    )


def _sentences(row: Row, features: Sequence[Row]) -> Iterator[str]:
    if row["yes"] in (0, 1):
        yield "It gives the same answer to every row."
    elif not row["latched_on"]:
        nearest = (
            f"; the nearest is {features[0]['feature']} ({_signed(features[0]['association'])})" if features else ""
        )
        yield f"None of {row['tested']:.0f} features goes with it more than luck would (least p = {row['p']:.3f}){nearest}."
    else:
        yield (
            f"{_strength(abs(row['association']))} {row['latched_on']} (association {_signed(abs(row['association']))}, "
            f"p = {row['p']:.3f} among {row['tested']:.0f} features): {row['meaning']}."
        )
        same = next((f["same_as"] for f in features if f["feature"] == row["latched_on"]), "")
        if same:
            yield f"On these rows it cannot be told from: {same}."
        others = [f for f in features if f["p"] <= LEVEL and f["feature"] != row["latched_on"]][:OTHERS]
        if others:
            names = [f["feature"] + f" ({_signed(f['association'])})" for f in others]
            yield f"It also goes with {listed(names)}."
        yield from _explained(row)
    yield from _shares(row)


def _strength(association: float) -> str:
    if association >= CERTAIN:
        return "It is"
    return "It mostly follows" if association >= CLEAR else "It leans towards"


def _explained(row: Row) -> Iterator[str]:
    first, every, named = row["explained_by_it"], row["explained_by_all"], int(row["named"])
    if not _is_number(first):
        return
    if named == 1 or not _is_number(every):
        yield f"That explains {_percent(first)} of the score's variance on held-out rows."
    else:
        yield (
            f"That explains {_percent(first)} of the score's variance on held-out rows, and all {named} named features "
            f"together {_percent(every)}."
        )


def _shares(row: Row) -> Iterator[str]:
    shares = [row[name] for name in ("share_question", "share_answer", "share_both")]
    if all(map(_is_number, shares)):
        question, answer, both = map(_percent, shares)
        yield (
            f"Of the variance of p(x) over statements, {both} is of the form question ⊕ answer; {question} is the same for "
            f"both answers to a question, {answer} is the answer alone."
        )


def _is_number(value: Any) -> bool:
    return value is not None and value == value


def _percent(share: float) -> str:
    # A map that is worse than the mean explains nothing.
    return f"{100 * max(share, 0.0):.0f} %"


def _signed(value: float | None) -> str:
    return "–" if value is None or value != value else number(value)
