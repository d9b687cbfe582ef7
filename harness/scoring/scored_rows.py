"""Every scored row, for people: its text, its labels, what each probe answers at the summary layer, whether that is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from harness.contracts import Answers, PromptTable
from harness.maths.right import right
from harness.prompts.pair_text import line_of
from harness.scoring.evidence import ProbeEvidence
from harness.scoring.score import TRUTH

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
are means over seeds. `own_answer` is the network's own, where it was asked."""


def rows_of(
    place: tuple[str, str, str], layer: str, table: PromptTable, evidence: ProbeEvidence, own: Answers | None
) -> pl.DataFrame:
    """The test rows of one probe at its summary layer. `own` are the network's own answers to them, if it was asked."""
    first, second = (table.frame.filter(answer=answer, split="test") for answer in (0, 1))
    factors = {factor.name: factor for factor in table.factors}
    names = factors[TRUTH].values
    answers = evidence.answers()
    score = answers.score[:, 0].astype(np.float64)
    asked = {name: _words(np.asarray(first[name]), factor.values) for name, factor in factors.items() if factor.values}
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
        "text": [line_of(*pair) for pair in zip(first["text"], second["text"], strict=True)],
        "answer": _most(score, names),
        "own_answer": [None] * count if own is None else _most(own.score[:, 0], names),
        "right": right(score, evidence.labels()).mean(axis=0, dtype=np.float64),
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


def _words(values: np.ndarray, names: Sequence[str]) -> list[str]:
    return [names[int(value)] for value in values]
