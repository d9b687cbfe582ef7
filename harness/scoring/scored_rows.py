"""Every scored row, for people: its text, its labels, what each probe answers at the summary layer, whether that is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from harness.contracts import BINARY, Answers, Factor, PromptTable
from harness.maths.right import right
from harness.prompts.pair_text import line_of
from harness.scoring.evidence import ProbeEvidence

FACTOR = "factor_"
"""What the column of a factor begins with, so that one may be called like another column."""

ROWS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(("fit_on", "tested_on", "probe", "layer", "example", "template", "group", "text"), pl.String),
    "answer": pl.String,
    "own_answer": pl.String,
    **dict.fromkeys(("right", "score", "probability", "confidence"), pl.Float64),
}
"""Further columns are factors. `right` is the share of seeds whose answer is right, ½ counted for none; the answer is that of
most seeds, empty where they are divided; `score`, `probability` (of the second answer) and `confidence` (how far from ½ that is, times two)
are means over seeds. `own_answer` is the network's own, where it was asked. A sequence of tokens that was scored as one is one row, whose text has its
first token that is read between ⟦ and ⟧."""


def rows_of(
    place: tuple[str, str, str], layer: str, table: PromptTable, evidence: ProbeEvidence, own: Answers | None
) -> pl.DataFrame:
    """The test rows of one probe at its summary layer. `own` are the network's own answers to them, if it was asked."""
    views = [evidence.rows_in(table.frame.filter(answer=view, split="test")) for view in range(table.views)]
    first, truth = views[0], table.factors[0]
    answers = evidence.answers()
    score = answers.score[:, 0].astype(np.float64)
    asked = {one.name: [one.told(value) for value in first[one.name].to_list()]
             for one in table.factors if one.values or one is truth}  # fmt: skip
    own_words, right_share = _answered(answers, truth, evidence)
    probability = np.full(score.shape[1], np.nan) if answers.probability is None else answers.probability[:, 0].mean(axis=0, dtype=np.float64)  # fmt: skip
    fit_on, tested_on, probe = place
    count = len(first)
    columns = {
        "fit_on": [fit_on] * count,
        "tested_on": [tested_on] * count,
        "probe": [probe] * count,
        "layer": [layer] * count,
        "example": first["example"],
        "template": first["template"],
        "group": first["group"],
        "text": [line_of(texts) for texts in zip(*(view["text"] for view in views), strict=True)],
        "answer": own_words,
        "own_answer": [None] * count if own is None else _most(own.score[:, 0], truth.values),
        "right": right_share,
        "score": score.mean(axis=0),
        "probability": probability,
        "confidence": np.abs(2 * probability - 1),
    }
    frame = pl.DataFrame({name: pl.Series(name, columns[name], dtype=kind) for name, kind in ROWS.items()})
    return frame.with_columns(
        *(pl.Series(f"{FACTOR}{name}", words, dtype=pl.String) for name, words in asked.items())
    ).with_columns(pl.col(pl.Float64).fill_nan(None).round(4))


def _most(score: np.ndarray, names: Sequence[str]) -> list[str | None]:
    """The answer that most seeds give to each row; None where they are divided."""
    votes = np.sign(score).sum(axis=0)
    return [None if vote == 0 else names[int(vote > 0)] for vote in votes]


def _answered(answers: Answers, truth: Factor, evidence: ProbeEvidence) -> tuple[Sequence[str | None], np.ndarray]:
    """The answer to each row in words, and the share of seeds whose answer is right; NaN where there is no right and wrong. Answers in
    other terms than the truth's say nothing of it."""
    nothing = np.full(answers.score.shape[-1], np.nan)
    if not evidence.about_truth:
        return [None] * len(nothing), nothing
    if truth.target is BINARY:
        score = answers.score[:, 0].astype(np.float64)
        return _most(score, truth.values), right(score, evidence.labels()).mean(axis=0, dtype=np.float64)
    if answers.outputs is None:
        return [None] * len(nothing), nothing
    said = answers.outputs[:, 0]
    if not truth.target.in_classes:
        mean = said.mean(axis=0, dtype=np.float64)
        return [truth.told(row[0] if truth.kind == "number" else row) for row in mean], nothing
    likeliest = said.argmax(axis=-1)
    votes = np.apply_along_axis(np.bincount, 0, likeliest, minlength=said.shape[-1])
    return [truth.values[code] for code in votes.argmax(axis=0)], (likeliest == evidence.labels()).mean(axis=0)
