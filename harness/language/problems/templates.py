"""Problems of a template that show before there are data: that it cannot be used, or does not ask for the answer."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import DataError, Problem
from harness.language.syntax.nodes import Place, Scalar


def template_problems(node: Scalar) -> Iterator[Problem]:
    """The problem of a template, at the line inside the YAML block where that can be told."""
    # Jinja is slow to import, and a spec may have no template.
    from jinja2 import TemplateSyntaxError

    from harness.untrusted.template import Template

    if not isinstance(node.value, str):
        return
    try:
        Template("here", node.value)
    except DataError as error:
        cause = error.__cause__
        place = line_inside(node, cause.lineno) if isinstance(cause, TemplateSyntaxError) else node.place
        # The template's name and line, which the message begins with, are what the place says.
        _, _, reason = str(error).partition(": ")
        yield place.problem(node.path, f"the template cannot be used: {reason}")


def line_inside(node: Scalar, line: int) -> Place:
    """The place of a template's line. Only `|` keeps lines as they are; other styles fold or escape them."""
    place = node.place
    if node.style != "|" or not place.line:
        return place
    return Place(place.file, place.line + line, 1)
