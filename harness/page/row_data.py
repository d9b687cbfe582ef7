"""The scored rows as the page has them: each text once, and what every method says of it beside it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.report.scores import Transfer
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

_FACTOR = "factor_"
_MOST_CHARACTERS = 700_000
"""Of all texts together; of more, each is cut in its middle."""
_LEAST_CHARACTERS = 120
_MOST_ANSWERS = 60_000
"""Rows times methods; of more, the page has the first rows of each condition."""


def row_data(rows: pl.DataFrame | None) -> dict[str, Any]:
    """`conditions`: the rows of each condition, what is known of them; `said`: for each condition and method, what it says of them in their
    order. `right` and `probability` are thousandths."""
    if rows is None or rows.is_empty():
        return {"conditions": [], "said": []}
    parts = rows.partition_by("tested_on", "fit_on", "probe", maintain_order=True, as_dict=True)
    most = (
        max(20, _MOST_ANSWERS * max(map(len, parts.values())) // max(1, rows.height))
        if rows.height > _MOST_ANSWERS
        else rows.height
    )
    firsts: dict[str, pl.DataFrame] = {}
    for (tested_on, fit_on, _), part in parts.items():
        # The network's own answer is best known where its threshold was set.
        if tested_on not in firsts or fit_on == tested_on != firsts[str(tested_on)]["fit_on"][0]:
            firsts[str(tested_on)] = part
    shown = sum(min(most, part.height) for part in firsts.values())
    width = max(_LEAST_CHARACTERS, _MOST_CHARACTERS // max(1, shown))
    names = list(firsts)
    conditions = [_known(name, part, most, width) for name, part in firsts.items()]
    said = []
    for (tested_on, fit_on, probe), part in parts.items():
        # Rows are told by their place, which is the same for all methods of a condition.
        if part["example"].equals(firsts[str(tested_on)]["example"]):
            said.append({"condition": names.index(str(tested_on)), **_said(str(fit_on), str(probe), part.head(most))})
    return {"conditions": conditions, "said": said}


def _known(name: str, part: pl.DataFrame, most: int, width: int) -> dict[str, Any]:
    kept = part.head(most)
    labels = [
        column for column in part.columns if column.startswith(_FACTOR) and part[column].null_count() < part.height
    ]
    templates = part["template"].n_unique() > 1
    return {
        "name": plain.line(name),
        "whole": part.height,
        "ids": [
            plain.line(f"{a}, {b}" if templates else a, 60)
            for a, b in zip(kept["example"], kept["template"], strict=True)
        ],
        "texts": [_cut(plain.line(text), width) for text in kept["text"]],
        "labels": [{"name": plain.line(column.removeprefix(_FACTOR)), **_classes(kept[column])} for column in labels],
        "own": _classes(kept["own_answer"]),
    }


def _said(fit_on: str, probe: str, part: pl.DataFrame) -> dict[str, Any]:
    return {
        "method": plain.line(probe),
        "from": plain.line(Transfer(fit_on, part["tested_on"][0]).title),
        "layer": plain.line(str(part["layer"][0])),
        "answer": _classes(part["answer"]),
        "right": _thousandths(part["right"]),
        "probability": _thousandths(part["probability"]),
    }


def _classes(column: pl.Series) -> dict[str, Any]:
    """The words once, and which each row has; −1 for none."""
    words = sorted({str(word) for word in column if word is not None})
    places = {word: k for k, word in enumerate(words)}
    return {
        "words": [plain.line(word, 60) for word in words],
        "of": [-1 if w is None else places[str(w)] for w in column],
    }


def _thousandths(column: pl.Series) -> list[int | None]:
    return [round(1000 * value) if value is not None and math.isfinite(value) else None for value in column]


def _cut(text: str, width: int) -> str:
    """Its beginning and its end: prompts often differ in both."""
    return text if len(text) <= width else f"{text[: width // 2]} … {text[-(width // 2) :]}"
