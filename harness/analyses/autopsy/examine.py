"""The autopsy of one probe at its judged layer: how many solutions its seeds found, and what each goes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from harness.analyses.autopsy.explained import explained
from harness.analyses.autopsy.features import Feature, meaning
from harness.analyses.autopsy.going_together import LEVEL, Association, associate
from harness.contracts import Answers
from harness.maths.solutions import Solution, solutions
from harness.spec import Autopsy

TIE = 0.02
"""Associations that differ by no more are as strong: of those, the feature that stands first in the library is named, where
known factors stand before what the text looks like, and presence before number."""
STRONGEST = 5
"""So many features of the surface are listed also where they could be luck."""


SHOWN = 5
"""Of so many solutions, the largest, rows are shown."""


class Body(msgspec.Struct, frozen=True):
    """What there is to look at: a probe's answers on test rows, and what is so of these rows."""

    answers: Answers
    """At the judged layer, signs resolved on training rows, (seed, 1, row)."""
    truth: np.ndarray
    """Index of the right answer, (row,)."""
    group: np.ndarray
    features: Sequence[Feature]
    answer_names: tuple[str, str]
    texts: Sequence[str]
    """A line for each row, for a reader to recognise it."""


class Found(msgspec.Struct, frozen=True):
    """The rows of the autopsy's three tables, as plain values."""

    solutions: list[dict[str, object]]
    features: list[dict[str, object]]
    rows: list[dict[str, object]]


def examine(body: Body, settings: Autopsy) -> Found:
    """Deterministic: permutations are drawn from a fixed seed."""
    found = solutions(body.answers.score[:, 0], settings.agreement)
    association = _associated(body, found, settings)
    tables = Found([], [], [])
    for number, solution in enumerate(found):
        value, p = association.value[number], association.p[number]
        order = _order(value, body.features)
        tables.solutions.append(
            {"solution": number, "seeds": len(solution.seeds), "which": " ".join(map(str, solution.seeds))}
            | _latched(body, solution, value, p, order)
            | _parts(body.answers, solution)
        )
        for rank in order:
            feature = body.features[rank]
            tables.features.append(
                {
                    "solution": number,
                    "feature": feature.name,
                    "family": feature.family,
                    "association": float(value[rank]),
                    "p": float(p[rank]),
                    "low": feature.low,
                    "high": feature.high,
                    "same_as": "; ".join(feature.same_as) or None,
                }
            )
        if number < SHOWN:
            tables.rows.extend({"solution": number} | row for row in _rows(body, solution, settings.rows))
    return msgspec.structs.replace(tables, features=list(_listed(tables.features)))


def _associated(body: Body, found: Sequence[Solution], settings: Autopsy) -> Association:
    answers = np.stack([solution.answer for solution in found])
    if not body.features:
        nothing = np.zeros((len(found), 0))
        return Association(nothing, nothing)
    features = np.stack([feature.values for feature in body.features])
    return associate(answers, features, body.group, settings.permutations)


def _order(value: np.ndarray, features: Sequence[Feature]) -> list[int]:
    """The strongest first; of equals, the one that stands first in the library, where known factors stand."""
    return sorted(range(len(features)), key=lambda k: (-round(abs(float(value[k])), 9), k))


def _latched(
    body: Body, solution: Solution, value: np.ndarray, p: np.ndarray, order: Sequence[int]
) -> dict[str, object]:
    """The strongest feature that is no luck, and how much of the score it and all of those explain."""
    sure = [k for k in order if p[k] <= LEVEL]
    # The first in the library of those that are as strong as the strongest.
    top = min((k for k in sure if abs(value[k]) >= abs(value[sure[0]]) - TIE), default=0)
    chosen = [[body.features[k].values for k in some] for some in ([top] if sure else [], sure)]
    shares = [explained(solution.score, np.array(some), body.group) if some else float("nan") for some in chosen]
    return {
        "latched_on": body.features[top].name if sure else None,
        "meaning": meaning(body.features[top], float(value[top]), body.answer_names) if sure else None,
        "association": float(value[top]) if sure else float("nan"),
        "p": float(p[top]) if sure else float(p.min(initial=1.0)),
        "explained_by_it": shares[0],
        "explained_by_all": shares[1],
        "yes": float((solution.score > 0).mean()),
        "named": len(sure),
        "tested": len(body.features),
    }


def _parts(answers: Answers, solution: Solution) -> dict[str, object]:
    """Of how p(x) varies over statements: what both of a pair share, what is the answer alone, and question ⊕ answer.

    With m = ½ (p⁺ + p⁻) and d = ½ (p⁺ − p⁻), the variance over all statements is Var(m) + mean(d)² + Var(d). A probe that
    follows a word as such has it all in the first part, one that always says yes to one answer in the second.
    """
    if answers.members is None:
        return dict.fromkeys(("share_question", "share_answer", "share_both"), float("nan"))
    members = answers.members[list(solution.seeds), 0].astype(np.float64)
    mean, half = members.mean(axis=-1), (members[..., 1] - members[..., 0]) / 2
    parts = np.array([mean.var(axis=1), half.mean(axis=1) ** 2, half.var(axis=1)])
    shares = (parts / np.maximum(parts.sum(axis=0), 1e-30)).mean(axis=1)
    return dict(zip(("share_question", "share_answer", "share_both"), map(float, shares), strict=True))


def _rows(body: Body, solution: Solution, most: int) -> Iterator[dict[str, object]]:
    """The rows that the solution is surest of, and those where it is surest and wrong."""
    score = solution.score
    wrong = np.sign(score) == np.where(body.truth > 0, -1, 1)
    for listed, allowed in (("surest", np.ones(len(score), dtype=bool)), ("most wrong", wrong)):
        order = [row for row in np.argsort(-np.abs(score), kind="stable") if allowed[row]]
        for place, row in enumerate(order[:most], 1):
            yield {
                "list": listed,
                "place": place,
                "score": float(score[row]),
                "answer": body.answer_names[int(score[row] > 0)],
                "truth": body.answer_names[int(body.truth[row])],
                "text": body.texts[row],
            }


def _listed(rows: Sequence[dict[str, object]]) -> Iterator[dict[str, object]]:
    """Without the features of the surface that could be luck, but for the strongest of each solution."""
    shown: dict[object, int] = {}
    for row in rows:
        if row["family"] == "surface" and not row["p"] <= LEVEL:  # type: ignore[operator]
            shown[row["solution"]] = shown.get(row["solution"], 0) + 1
            if shown[row["solution"]] > STRONGEST:
                continue
        yield row
