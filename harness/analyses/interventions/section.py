"""The report's section on interventions: does the network's own answer follow the direction that was found?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report.intervals import Score
from harness.report.markup import table
from harness.report.scores import Transfer
from harness.report.wording import evidence, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

HOW_TO_READ = (
    "States were altered at one layer along a probe's direction, where the answer comes from (at the last token before it, or at all "
    "tokens before it), and the network was asked again. Steered: the change of the log-odds of the second answer per standard "
    "deviation of the training states, beside the lowest and the highest of random directions of the same length. Erased: what is left of "
    "the network's own answers. As a control, the same along the difference of the class means, by what the method was fitted on, of the "
    "very states that are altered: with labels of training rows, what is known at that place. A direction of contrast pairs is read at the answer's own "
    "token, where it is too late to change the answer; one that decodes there and does nothing here is not what the network answers from."
)

WHERE = ("fit_on", "tested_on", "probe", "layer", "by", "token")
ERASED = ("accuracy", "auroc", "same_answer")

Row = Mapping[str, Any]


def section(frame: pl.DataFrame | None) -> Iterable[str]:
    """A table of those that steer and one of those that erase; nothing where there are none."""
    if frame is None or frame.is_empty():
        return
    yield "## Does the answer follow?"
    yield plain.markdown(HOW_TO_READ)
    every = [(dict(zip(WHERE, key, strict=True)), own) for key, own in _each(frame)]
    place = ("transfer", "method", "layer", "tokens")
    if steered := [(where, own) for where, own in every if where["by"] == "steer"]:
        head = (*place, "change", "at random", "class means there", "n")
        yield table(head, [_steered(where, own) for where, own in steered], numbers=1)
    if erased := [(where, own) for where, own in every if where["by"] == "erase"]:
        rest = ("erased", "accuracy", "AUROC on the truth", "same answer", "log-odds")
        yield table((*place, *rest), [line for where, own in erased for line in _erased(where, own)])


def _each(frame: pl.DataFrame) -> Iterator[tuple[tuple[Any, ...], Sequence[Row]]]:
    for key, rows in frame.group_by(*WHERE, maintain_order=True):
        yield key, rows.to_dicts()


def _place(where: Mapping[str, str]) -> list[str]:
    transfer = Transfer(where["fit_on"], where["tested_on"]).title
    return [plain.markdown(transfer), plain.code(where["probe"]), where["layer"], plain.markdown(where["token"])]


def _steered(where: Mapping[str, str], rows: Sequence[Row]) -> list[str]:
    slopes = [row for row in rows if row["measure"] == "slope"]
    own = next(row for row in slopes if row["direction"] == "probe")
    at = next((row for row in slopes if row["direction"] == "there"), None)
    chance = [row["value"] for row in slopes if str(row["direction"]).startswith("random")]
    spread = f"{number(min(chance))} to {number(max(chance))}"
    return [*_place(where), _shown(own), spread, _shown(at), str(own["n"])]


def _erased(where: Mapping[str, str], rows: Sequence[Row]) -> Iterator[list[str]]:
    for direction, title in (("none", "nothing"), ("probe", "its direction"), ("there", "class means there")):
        found = {row["measure"]: row for row in rows if row["direction"] == direction}
        yield [*_place(where), title, *(_shown(found.get(name)) for name in (*ERASED, "log_odds"))]
    chance = [
        [row["value"] for row in rows if row["measure"] == name and str(row["direction"]).startswith("random")]
        for name in (*ERASED, "log_odds")
    ]
    spread = [f"{number(min(values))} to {number(max(values))}" if values else "–" for values in chance]
    yield [*_place(where), "a random one", *spread]


def _shown(row: Row | None) -> str:
    if row is None:
        return "–"
    return evidence(Score(*(math.nan if row[name] is None else row[name] for name in ("value", "low", "high"))))
