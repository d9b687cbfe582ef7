"""Rows of a condition as text: templates rendered, distractors written into them, the answer's place known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.contracts import Distractor
from harness.errors import DataError
from harness.prompts.control import flat, own_places, span_places
from harness.prompts.shots import Shots
from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.spans import MARKS
from harness.untrusted.template import OWN, Rendered, Template, Wanted, shared_start

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 64
"""Examples that are rendered at a time."""
NOT_FIELDS = ("example", "group", "label", "split")
"""Columns of an example that no template sees."""

Edit = tuple[str, Distractor, Sequence[int]]
"""A distractor that stands in the prompts: its name, itself, and its value in each example."""


def rendered_rows(
    examples: pl.DataFrame,
    templates: Sequence[Template],
    answers: Sequence[str],
    choices: Sequence[tuple[int, ...]],
    edits: Sequence[Edit],
    shots: Shots | None,
    *,
    control: ControlTokens,
    span: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Every prompt as text, with the characters of its answer; `number` is the example's place in `examples`, `own` are the
    places of the template's own control tokens. With `span`, `stretch` are the characters of that one."""
    numbered = enumerate(examples.iter_rows(named=True))
    while chunk := list(islice(numbered, _AT_ONCE)):
        numbers = [number for number, _ in chunk]
        wanted = [_wanted(row, [answers[label] for label in choices[number]]) for number, row in chunk]
        if numbers[0] == 0:
            for template in templates:
                _check_edits(template, wanted[0], answers, edits)
        made = [_edited(template, wanted, answers, edits, numbers) for template in templates]
        for place, (number, row) in enumerate(chunk):
            for index, template in enumerate(templates):
                members = made[index][place]
                if shots is not None:
                    members = [shots.before(member, index, row["group"]) for member in members]
                found = [span_places(member, template.spans) for member in members]
                for answer, (marked, places) in enumerate(found):
                    member, own = own_places(marked, control)
                    asked = {} if span is None else {"stretch": flat(places.get(span, []))}
                    yield asked | {
                        "number": number,
                        "pair": number * len(templates) + index,
                        "example": row["example"],
                        "group": row["group"],
                        "split": row["split"],
                        "template": template.name,
                        "answer": answer,
                        "choice": wanted[place].choices[answer] if wanted[place].choices else "",
                        "text": member.text,
                        "start": member.start,
                        "end": member.end,
                        "own": flat(own),
                    }


def _wanted(row: Mapping[str, Any], pair: Sequence[str]) -> Wanted:
    """What an example's pairs are rendered from."""
    fields = {name: value for name, value in row.items() if name not in NOT_FIELDS}
    return Wanted({**fields, "choices": tuple(pair)}, pair, row["example"])


def _edited(
    template: Template, wanted: Sequence[Wanted], answers: Sequence[str], edits: Sequence[Edit], numbers: Sequence[int]
) -> list[list[Rendered]]:
    """The pairs of the examples of those numbers from one template, with the distractors in them, in their order."""
    edited = []
    for one, number in zip(wanted, numbers, strict=True):
        fields = one.fields
        for _, distractor, values in edits:
            fields = distractor.edit_fields(fields, values[number])
        edited.append(one._replace(fields=fields))
    pairs = [list(pair) for pair in template.pairs(edited, answers)]
    for name, distractor, values in edits:
        pairs = [
            [
                _moved(member, distractor.edit_text(member.text, values[number]), name, template.views)
                for member in members
            ]
            for members, number in zip(pairs, numbers, strict=True)
        ]
    return pairs


def _moved(member: Rendered, text: str, name: str, views: int) -> Rendered:
    """The edited text with the answer's new place; a statement is all of it."""
    for mark in OWN, *dict.fromkeys(MARKS.findall(text)):
        if text.count(mark) > member.text.count(mark):
            raise DataError(
                f"distractors.{name}: it adds the private-use character U+{ord(mark):04X}; take it out of the words"
            )
    if MARKS.findall(text) != MARKS.findall(member.text):
        raise DataError(
            f"distractors.{name}: it changes where spans begin and end; only what stands around them may be edited"
        )
    if views == 1:
        return Rendered(text, 0, len(text))
    if text.startswith(member.text) or shared_start(member.text, text) >= member.end:
        return Rendered(text, member.start, member.end)
    shift = len(text) - len(member.text)
    if shared_start(member.text[::-1], text[::-1]) < len(member.text) - member.start:
        raise DataError(f"distractors.{name}: it changes the answer itself; only what stands around it may be edited")
    return Rendered(text, member.start + shift, member.end + shift)


def _check_edits(template: Template, wanted: Wanted, answers: Sequence[str], edits: Sequence[Edit]) -> None:
    """A distractor whose field the template never shows would be measured, and found nowhere."""
    for place, (name, distractor, _) in enumerate(edits):
        if distractor.leaves_prompts_alone:
            continue
        before, after = edits[:place], edits[place + 1 :]
        without = _edited(template, [wanted], answers, [*before, *after], [0])
        # One of its values may be to add nothing.
        values = range(max(len(distractor.factor(name).values), 1))
        each = [[*before, (name, distractor, [value]), *after] for value in values]
        if all(_edited(template, [wanted], answers, edit, [0]) == without for edit in each):
            raise DataError(
                f"distractors.{name}: it changes nothing in template {template.name}; does the template show the field "
                "that it edits?"
            )
