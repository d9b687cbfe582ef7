"""Schemas and values in plain words, for error messages and for `harness list`."""

from __future__ import annotations

import re
from typing import Any

from harness.language.syntax.document import resolve, shorten
from harness.language.syntax.nodes import Array, Node, Scalar

_ONE = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping",
}
_SEVERAL = {
    "integer": "whole numbers",
    "number": "numbers",
    "string": "texts",
    "boolean": "true or false",
    "array": "lists",
    "object": "mappings",
}
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "above"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "below"),
)


def wanted(schema: dict[str, Any]) -> str:
    """What a schema asks for: "a whole number", "a list of texts", "one of "a", "b"" …, without its range."""
    if "title" in schema:
        return _with_article(schema["title"])
    if "$ref" in schema:
        return _with_article(schema["$ref"].rsplit("/", 1)[-1].lower())
    if "enum" in schema:
        values = [f'"{value}"' if isinstance(value, str) else str(value) for value in schema["enum"]]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if "anyOf" in schema:
        return " or ".join(wanted(branch) for branch in schema["anyOf"])
    if isinstance(schema.get("type"), list):
        return " or ".join(_ONE[name] for name in schema["type"])
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return f"a list of {_several(schema['items'])}"
    return _ONE.get(schema.get("type", ""), "anything")


def allowed(schema: dict[str, Any]) -> str:
    """The range that a schema allows: "at least 1, below 10"; empty if there is none."""
    parts = [f"{word} {number(schema[key])}" for key, word in _BOUNDS if key in schema]
    if "minItems" in schema:
        parts.append(f"at least {schema['minItems']} of them")
    if "maxItems" in schema:
        parts.append(f"at most {schema['maxItems']} of them")
    if "minLength" in schema:
        parts.append("not empty" if schema["minLength"] == 1 else f"{schema['minLength']} characters or more")
    if "pattern" in schema:
        parts.append(pattern(schema["pattern"]))
    if "anyOf" in schema:
        parts += [found for branch in schema["anyOf"] if (found := allowed(branch))]
    if isinstance(schema.get("items"), dict) and (found := allowed(schema["items"])):
        parts.append(f"each {found}")
    return ", ".join(parts)


def pattern(expression: str) -> str:
    if expression.startswith("^[a-z0-9][a-z0-9_-]{0,63}$"):
        return "lower-case letters, digits, - and _, 64 at most"
    return f"matching {expression}"


def first_sentence(text: str) -> str:
    """The first sentence, on one line. "et al." and "e.g." do not end one."""
    line = " ".join(text.split())
    end = re.search(r"(?<!\bal)(?<!\be\.g)(?<!\bi\.e)[.!?](?= [A-Z`{])", line)
    return line[: end.end()] if end else line


def number(value: float) -> str:
    """A bound without a useless `.0`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def got(node: Node) -> str:
    """What stands there instead."""
    if not isinstance(node, Scalar):
        return "a list" if isinstance(node, Array) else "a mapping"
    if node.value is None:
        return "nothing" if node.text == "" else "null"
    if isinstance(node.value, bool):
        return node.text
    if isinstance(node.value, str):
        return f'the text "{shorten(node.value)}"'
    return f"the number {shorten(node.text)}"


def remedy(types: set[str], node: Node) -> str:
    """What to do about a value of a wrong type; empty if there is nothing better to say than what is wanted."""
    if not isinstance(node, Scalar):
        return ""
    if node.value is None:
        return "write {} for an empty mapping" if types == {"object"} else "give a value or leave the key out"
    if "string" in types and not isinstance(node.value, str):
        return f'quote it: "{node.text}"'
    if "boolean" in types and node.value in ("yes", "no", "on", "off", "Yes", "No", "On", "Off"):
        return "write true or false"
    if isinstance(node.value, str) and node.style in ("'", '"'):
        meant = resolve(node.value)
        if _is_a(meant, types):
            return "take the quotes away"
    if "array" in types:
        shown = f'"{shorten(node.value)}"' if isinstance(node.value, str) and node.style else shorten(node.text)
        return f"write a list: [{shown}]"
    return ""


def _is_a(value: Any, types: set[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in types
    return isinstance(value, (int, float)) and bool({"integer", "number"} & types)


def _several(schema: dict[str, Any]) -> str:
    if "title" in schema:
        return f"{schema['title']}s"
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        # Definitions of kinds are named by their folder, which is a plural; those of other structs by their class.
        return name if name.islower() else "mappings"
    if "enum" in schema or "anyOf" in schema:
        return wanted(schema)
    return _SEVERAL.get(schema.get("type", ""), "values")


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
