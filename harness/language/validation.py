"""All faults of a tree at once: jsonschema finds them, here they get their place and a sentence with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.errors import Problem, did_you_mean
from harness.kind import canonical
from harness.language import words
from harness.language.document import shorten
from harness.language.nodes import Node, Scalar, Table, child_path, descend, plain
from harness.language.json_schema import schema

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


def faults(node: Node, part: str = "") -> Iterator[Problem]:
    """Problems of a tree against the schema, or against one of the schema's definitions (`probes`, `model` …)."""
    for error in _validator(part).iter_errors(plain(node)):
        for leaf in _leaves(error):
            yield from _problems(leaf, descend(node, list(leaf.absolute_path)))


def sound(node: Node, part: str) -> bool:
    """Whether a tree has no faults."""
    return _validator(part).is_valid(plain(node))


@cache
def _validator(part: str) -> Validator:
    from jsonschema import Draft202012Validator

    whole = schema()
    return Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": whole["$defs"]} if part else whole)


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """The error itself or, for a value that may be of several types, the errors of the type that was meant."""
    if error.validator != "anyOf" or not error.context:
        yield error
        return
    branches = {inner.schema_path[0] for inner in error.context}
    wrong_type = {
        inner.schema_path[0] for inner in error.context if inner.validator == "type" and _is_top(inner, error)
    }
    meant = branches - wrong_type
    if len(meant) != 1:
        yield error
        return
    for inner in error.context:
        if inner.schema_path[0] in meant:
            yield from _leaves(inner)


def _is_top(inner: ValidationError, outer: ValidationError) -> bool:
    return inner.absolute_path == outer.absolute_path


def _problems(error: ValidationError, node: Node) -> Iterator[Problem]:
    if error.validator == "additionalProperties" and isinstance(node, Table):
        yield from _unknown_keys(error, node)
    elif error.validator == "propertyNames" or (error.parent is not None and error.parent.validator == "propertyNames"):
        yield from _bad_names(error, node)
    elif error.validator == "required":
        # One error per missing key comes from jsonschema, each without its name: all are named each time, once kept.
        for key in error.validator_value:
            if key not in error.instance:
                yield node.place.problem(node.path, _missing(key, error, node))
    else:
        yield node.place.problem(node.path, _sentence(error, node))


def _unknown_keys(error: ValidationError, table: Table) -> Iterator[Problem]:
    known = list(error.schema["properties"])
    for key, entry in table.entries.items():
        if key in known:
            continue
        message = f'{_where(error.schema, table)} has no "{shorten(key)}"'
        hint = did_you_mean(key, known)
        elsewhere = _elsewhere(error.schema.get("title", ""), key)
        if elsewhere and "did you mean" not in hint:
            hint = f"; {elsewhere}{hint}"
        yield entry.place.problem(child_path(table.path, key), message + (hint or "; take it out"))


def _where(owner: dict[str, Any], table: Table) -> str:
    if "title" in owner and owner["title"] != "harness spec":
        return f"the {owner['title']}"
    return f"`{table.path}`" if table.path else "a spec"


def _elsewhere(title: str, key: str) -> str:
    """Says so if an unknown option belongs to another kind of the same folder."""
    noun, _, own = title.rpartition(" ")
    if not noun:
        return ""
    definitions = schema()["$defs"].values()
    others = [other["title"] for other in definitions if "properties" in other and key in other["properties"]]
    names = sorted({name.rpartition(" ")[2] for name in others if name.rpartition(" ")[0] == noun} - {own})
    return f"it is an option of {' and '.join(names)}" if 0 < len(names) < 4 else ""


def _bad_names(error: ValidationError, node: Node) -> Iterator[Problem]:
    """A key of a mapping with free names that is not a good name."""
    name = error.instance
    if not isinstance(node, Table) or name not in node.entries:
        yield node.place.problem(node.path, _sentence(error, node))
        return
    pattern = error.schema.get("pattern")
    if pattern is None:
        message = f'"{shorten(name)}" is no name here{did_you_mean(name, error.schema.get("enum", ()))}'
    else:
        message = f'"{shorten(name)}" is not a good name: {words.pattern(pattern)}'
    yield node.entries[name].place.problem(child_path(node.path, name), message)


def _missing(key: str, error: ValidationError, node: Node) -> str:
    title = error.schema.get("title", "")
    if key == "kind":
        return "no kind is named; write kind: NAME"
    if key == "harness":
        return "the key `harness` is missing; begin with `harness: 1`"
    owner = f"{title} needs " if title not in ("", "harness spec") else ""
    option = error.schema.get("properties", {}).get(key, {})
    about = f": {_first_sentence(option['description'])}" if option.get("description") else ""
    if isinstance(node, Table) and node.short:
        return f"{owner}`{key}`, so write it as a mapping{about}"
    return f"{owner}the key `{key}`{about}" if owner else f"the key `{key}` is missing{about}"


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".")


def _sentence(error: ValidationError, node: Node) -> str:
    rule, bound = error.validator, error.validator_value
    schema = error.schema
    assert isinstance(schema, dict)
    if rule in ("type", "anyOf"):
        return _wrong_type(error, node)
    if rule == "enum":
        return _not_among(bound, schema.get("title", ""), error, node)
    if rule in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        return f"must be {words.allowed(schema)}, and is {words.number(error.instance)}"
    if rule == "pattern":
        return f'"{shorten(error.instance)}" will not do: {words.pattern(bound)}'
    if rule in ("minItems", "maxItems"):
        side = "at least" if rule == "minItems" else "at most"
        return f"needs {side} {bound}, and has {len(error.instance)}"
    if rule in ("minLength", "maxLength"):
        return "must not be empty" if bound == 1 else f"must be {words.allowed(schema)} long"
    if rule == "multipleOf":
        return f"must be a multiple of {words.number(bound)}"
    return f"{error.message} ({rule})"


def _wrong_type(error: ValidationError, node: Node) -> str:
    schema = error.schema
    assert isinstance(schema, dict)
    branches = schema.get("anyOf", [schema])
    types: set[str] = set()
    for branch in branches:
        named = branch.get("type", ())
        types |= set([named] if isinstance(named, str) else named)
        types |= {"string" for value in branch.get("enum", ()) if isinstance(value, str)}
    if isinstance(node, Scalar) and isinstance(node.value, str) and "string" in types:
        texts = [value for branch in branches for value in branch.get("enum", ()) if isinstance(value, str)]
        if texts:
            return _not_among(texts, "", error, node)
    advice = words.remedy(types, node)
    return f"{words.got(node)} stands where {words.wanted(schema)} is wanted" + (f"; {advice}" if advice else "")


def _not_among(values: list[Any], title: str, error: ValidationError, node: Node) -> str:
    name = error.instance
    if not isinstance(name, str) and any(isinstance(value, str) for value in values):
        advice = f'; quote it: "{node.text}"' if isinstance(node, Scalar) and str(node.text) in values else ""
        known = ", ".join(_known(values))
        return f"{words.got(node)} stands where one of {known} is wanted{advice}"
    if not isinstance(name, str):
        return f"must be {words.wanted({'enum': values})}, and is {words.got(node).removeprefix('the number ')}"
    key = title or str(error.absolute_path[-1] if error.absolute_path else "value")
    if isinstance(error.absolute_path[-1] if error.absolute_path else "", int):
        key = title or "such value"
    return f'no {key} "{shorten(name)}"{did_you_mean(name, _known(values))}'


def _known(values: list[Any]) -> list[str]:
    """The values, each kind in one spelling only."""
    texts = [str(value) for value in values]
    return [text for text in texts if canonical(text) == text or canonical(text) not in texts]
