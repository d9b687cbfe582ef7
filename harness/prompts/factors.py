"""Factors of a condition's rows: the truth, what the data know, and the distractors that are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.contracts import BINARY, Distractor, Factor
from harness.contracts.data import TAKEN
from harness.errors import DataError
from harness.maths.draws import draw

if TYPE_CHECKING:
    import polars as pl


def known_factors(declared: Sequence[Factor], examples: pl.DataFrame) -> tuple[tuple[Factor, ...], list[str]]:
    """The source's own factors that probes can be scored on: those that are not the same everywhere."""
    import polars as pl

    kept, findings = [], []
    for factor in declared:
        column = examples[factor.name]
        if factor.kind == "class" and not factor.values:
            named = tuple(column.dtype.categories) if isinstance(column.dtype, pl.Enum) else ("0", "1")
            factor = msgspec.structs.replace(factor, values=named)
        if column.n_unique() > 1:
            kept.append(factor)
        elif factor.target is BINARY:
            findings.append(f"The factor {factor.name} is the same in all {len(column)} examples and not scored.")
    return tuple(kept), findings


def drawn_from(examples: pl.DataFrame, truth: Factor, label: pl.Series, names: Sequence[str]) -> pl.DataFrame:
    """What distractors are drawn from: the examples with which of two is right (`truth`, of a binary one) and the right answer in words;
    `names` are those of the labels. Of numbers, rows of one tenth have one label."""
    import polars as pl

    kind = truth.target
    if not kind.in_classes:
        return examples.with_columns(pl.Series("label", kind.strata(kind.values(label)), dtype=pl.Int64))
    right = pl.Series("right", [names[code] for code in examples["label"]], dtype=pl.String)
    return examples.with_columns(*([label.alias("truth")] if kind is BINARY else []), right)


def possible(
    distractors: Mapping[str, Distractor], standing: Sequence[str], examples: pl.DataFrame, seed: int
) -> tuple[dict[str, Distractor], list[str]]:
    """The distractors that can be drawn for these examples, and what is said of the others.

    One that stands in the prompts must be. One that is only drawn as a control may make no sense for this data set.
    """
    possible, findings = {}, []
    for name, distractor in distractors.items():
        try:
            _try(distractor, examples, seed)
        except DataError as error:
            if name in standing:
                raise DataError(f"distractors.{name}: {error}") from error
            findings.append(f"{name} is not scored here: {error}.")
        else:
            possible[name] = distractor
    return possible, findings


def values_of(
    drawn_from: pl.DataFrame,
    examples: pl.DataFrame,
    known: Sequence[Factor],
    distractors: Mapping[str, Distractor],
    seed: int,
) -> dict[str, pl.Series]:
    """For every factor but the truth: its value in each example. Raises DataError for a distractor whose name is taken."""
    import polars as pl

    values = {factor.name: examples[factor.name].to_physical() for factor in known}
    values = {name: column.cast(pl.Int64) if column.dtype.is_integer() else column for name, column in values.items()}
    for name, distractor in distractors.items():
        if name in values or name in TAKEN:
            raise DataError(f"distractors.{name}: this name is taken; call the distractor something else")
        # A seed of its own, or two distractors of one kind would be drawn alike.
        values[name] = pl.Series(distractor.draw(drawn_from, draw(seed, "distractor", name)).tolist(), dtype=pl.Int64)
    return values


def all_factors(truth: Factor, known: Sequence[Factor], distractors: Mapping[str, Distractor]) -> tuple[Factor, ...]:
    return (truth, *known, *(distractor.factor(name) for name, distractor in distractors.items()))


def _try(distractor: Distractor, examples: pl.DataFrame, seed: int) -> None:
    """Raises DataError where it cannot be drawn."""
    from polars.exceptions import ColumnNotFoundError

    try:
        distractor.draw(examples, seed)
    except ColumnNotFoundError as error:
        raise DataError("it goes by which of two answers is right, and these rows have none") from error
