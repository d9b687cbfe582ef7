"""Control tokens in prompts: those that a template writes are structure, those that came with the data are text."""

from __future__ import annotations

from collections.abc import Sequence

from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.spans import MARKS, without_marks
from harness.untrusted.template import OWN, Rendered

Places = list[tuple[int, int]]
"""Stretches of characters, end exclusive."""


def span_places(member: Rendered, names: Sequence[str]) -> tuple[Rendered, dict[str, Places]]:
    """A prompt without the marks of spans, and the characters of each span: those that it has when the marks of `own_places` are out too."""
    if not MARKS.search(member.text):
        return member, {}
    text, places = without_marks(member.text, names)
    start, end = (place - len(MARKS.findall(member.text[:place])) for place in (member.start, member.end))

    def seen(place: int) -> int:
        return place - text.count(OWN, 0, place)

    return Rendered(text, start, end), {name: [(seen(a), seen(b)) for a, b in own] for name, own in places.items()}


def own_places(member: Rendered, control: ControlTokens) -> tuple[Rendered, Places]:
    """A prompt without the marks of its template, and the control tokens that they stood before."""
    if OWN not in member.text:
        return member, []
    pieces = member.text.split(OWN)
    text = "".join(pieces)
    places, at = [], 0
    for piece in pieces[:-1]:
        at += len(piece)
        # None where a filter has changed what the template writes.
        if found := control.at(text, at):
            places.append(found)
    start, end = (place - member.text.count(OWN, 0, place) for place in (member.start, member.end))
    return Rendered(text, start, end), places


def shifted(places: Sequence[tuple[int, int]], by: int, start: int, end: int) -> Places:
    """Those of the places that lie within start…end, moved."""
    return [(a + by, b + by) for a, b in places if start <= a and b <= end]


def within(places: Sequence[tuple[int, int]], start: int, end: int) -> Places:
    """What of the places lies within start…end."""
    return [(max(a, start), min(b, end)) for a, b in places if max(a, start) < min(b, end)]


def flat(places: Sequence[tuple[int, int]]) -> list[int]:
    """Places as a column of a frame keeps them."""
    return [end for place in places for end in place]


def paired(ends: Sequence[int]) -> Places:
    """What `flat` made flat."""
    return list(zip(ends[::2], ends[1::2], strict=True))
