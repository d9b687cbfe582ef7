"""What can be known of a template before there are data: whether it parses, and whether it asks for the answer."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import Problem
from harness.language.nodes import Place, Scalar


def template_problems(node: Scalar) -> Iterator[Problem]:
    """Problems of one template, at the line inside the YAML block where that can be told."""
    from jinja2 import TemplateSyntaxError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    text = node.value
    if not isinstance(text, str):
        return
    try:
        parsed = ImmutableSandboxedEnvironment().parse(text)
    except TemplateSyntaxError as error:
        place = _line_inside(node, error.lineno)
        yield place.problem(node.path, f"the template cannot be read: {error.message}")
        return
    if any(True for _ in meta.find_referenced_templates(parsed)):
        yield node.place.problem(node.path, "a template cannot load other templates; write the text here")
    if "answer" not in meta.find_undeclared_variables(parsed):
        message = "the template never uses {{ answer }}, so a pair's two prompts would be identical; put it where the answer goes"
        yield node.place.problem(node.path, message)


def _line_inside(node: Scalar, line: int) -> Place:
    """The place of a template's line. Only `|` keeps lines as they are; other styles fold or escape them."""
    place = node.place
    if node.style != "|" or not place.line:
        return place
    return Place(place.file, place.line + line, 1)
