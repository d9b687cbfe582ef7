"""A preview for the terminal: no word is cut, and what is marked is marked without colour, too."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.commands.shown_prompts import ShownCondition, ShownExample, ShownPrompt
from harness.untrusted.template import shared_start
from harness.untrusted.text import line, printable

if TYPE_CHECKING:
    from rich.text import Text

REPEATED = 300
"""Characters of a common beginning from which on the second member of a pair is shown without it."""

_INDENT = "    "
_FURTHER = "  "


class Signs(msgspec.Struct, frozen=True):
    """The characters that frame prompts."""

    opening: str
    closing: str
    bar: str
    """Before each line of a prompt."""
    further: str
    """Before a line that goes on for want of room."""
    dot: str
    dots: str


DRAWN = Signs("⟦", "⟧", "│ ", "┆ ", " · ", "…")
TYPED = Signs("[[", "]]", "| ", ": ", ", ", "...")
"""For an output that has ASCII only."""


def signs_for(encoding: str | None) -> Signs:
    """The drawn ones where the encoding has them."""
    try:
        "".join(msgspec.structs.astuple(DRAWN)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return TYPED
    return DRAWN


def as_text(conditions: Sequence[ShownCondition], signs: Signs, width: int | None) -> Iterator[Text]:
    """The lines of a preview; with a `width`, none is longer unless a single word is."""
    for number, one in enumerate(conditions):
        if number:
            yield _plain("")
        of_pairs = all(len(example.prompts) == 2 for example in one.examples)
        head = signs.dot.join([f"condition {one.condition}", line(one.model), _count(one.pairs, of_pairs=of_pairs)])
        yield from _wrapped(head, width, style="bold")
        for fact in (_where(one, signs), *one.facts):
            yield from _wrapped(line(fact), width, "  ")
        for place, example in enumerate(one.examples, 1):
            yield _plain("")
            yield from _wrapped(_about(place, example, one, signs), width, "  ", style="bold")
            yield from _pair(example, signs, width)
        if one.findings:
            yield _plain("")
        for finding in one.findings:
            yield from _wrapped(f"Note: {line(finding)}", width, "  ")


def _count(pairs: int, *, of_pairs: bool) -> str:
    if not of_pairs:
        return f"{pairs:,} statement{'s' * (pairs != 1)}"
    return f"{pairs:,} pair{'s' * (pairs != 1)} of prompts"


def _where(one: ShownCondition, signs: Signs) -> str:
    if one.token in ("mean", "max"):
        return f"The state of a prompt is the {one.token} over all of its tokens."
    named = {"answer": "the last token of the answer", "last": "the last token"}
    what = named.get(one.token, one.token)
    return f"The state of a prompt is read at {what}, between {signs.opening} and {signs.closing}."


def _about(place: int, example: ShownExample, one: ShownCondition, signs: Signs) -> str:
    parts = [f"example {place}", example.split]
    if len(one.templates) > 1:
        parts.append(f"template {example.template}")
    parts.append(f"{'right' if len(example.prompts) == 2 else 'label'}: {line(example.label)}")
    for name, value in example.factors.items():
        parts.append(f"{name}: {line(value)}{' (not said)' if name in one.unsaid else ''}")
    return signs.dot.join(parts)


def _pair(example: ShownExample, signs: Signs, width: int | None) -> Iterator[Text]:
    first = example.prompts[0]
    shared = shared_start(first.text, example.prompts[-1].text)
    for number, prompt in enumerate(example.prompts):
        right = " (right)" if number == example.right else ""
        named = f"answer {line(prompt.answer)}{right}, " if prompt.answer else ""
        yield from _wrapped(f"{named}{len(prompt.tokens):,} tokens", width, _INDENT)
        # Up to the beginning of the word in which they differ.
        skipped = max(first.text.rfind(blank, 0, shared) for blank in " \n") + 1 if number and shared >= REPEATED else 0
        yield from _prompt(prompt, skipped, signs, width)


def _prompt(prompt: ShownPrompt, skipped: int, signs: Signs, width: int | None) -> Iterator[Text]:
    from rich.text import Text

    pieces = [(f"{signs.dots} the same {skipped:,} characters {signs.dots} ", "dim")] if skipped else []
    at = skipped
    for span in prompt.spans:
        if span.end <= skipped:
            continue
        start, read = max(span.start, at), span.mark == "read"
        pieces.append((prompt.text[at:start], ""))
        inside = prompt.text[start : span.end]
        pieces.append((f"{signs.opening}{inside}{signs.closing}", "bold green") if read else (inside, "cyan"))
        at = max(span.end, at)
    pieces.append((prompt.text[at:], ""))
    whole = Text.assemble(*((printable(text), style) for text, style in pieces))
    for row in whole.split("\n", allow_blank=True):
        room = None if width is None else width - len(_INDENT) - len(signs.bar)
        start = 0
        for part in _parts(row.plain, room):
            yield _plain(_INDENT + (signs.further if start else signs.bar)) + row[start : start + len(part)]
            start += len(part)


def _parts(text: str, room: int | None) -> list[str]:
    """The text cut between words into parts that have room, blanks kept."""
    if room is None:
        return [text]
    cut = textwrap.TextWrapper(
        max(room, 20),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=False,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return cut.wrap(text) or [""]


def _wrapped(text: str, width: int | None, indent: str = "", style: str = "") -> Iterator[Text]:
    """A sentence of ours; what goes on in a further line is indented."""
    room = None if width is None else width - len(indent) - len(_FURTHER)
    for number, part in enumerate(_parts(printable(text), room)):
        yield _plain(f"{indent}{_FURTHER * bool(number)}{part.strip()}", style)


def _plain(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style)
