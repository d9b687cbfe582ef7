"""Faults of a tree against the schema: jsonschema finds all of them at once, and here each gets its place and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.contracts.analysis import asked_by
from harness.contracts.kind import FOLDERS, canonical
from harness.errors import Problem, did_you_mean
from harness.language.schema import words
from harness.language.schema.grammar import OTHER_VERSION
from harness.language.schema.json_schema import Of, Schema, schema
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Scalar, Table, child_path, descend, plain

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


@dataclass(frozen=True)
class _Fault:
    """A rule of the schema that a node breaks."""

    node: Node
    value: Any
    rule: str
    bound: Any
    schema: Schema
    key: str | int
    """The last step to the node; empty at the root."""
    about_key: bool
    """Whether it is the name of a key that is wrong, and not a value."""


def faults(node: Node, part: str = "", of: Of = "spec") -> Iterator[Problem]:
    """Problems of a tree against the schema, or against one of the schema's definitions (`probes`, `model` …)."""
    for error in _validator(part, of).iter_errors(plain(node)):
        for leaf in _leaves(error):
            steps = list(leaf.absolute_path)
            assert isinstance(leaf.schema, dict)
            fault = _Fault(
                node=descend(node, steps),
                value=leaf.instance,
                rule=str(leaf.validator),
                bound=leaf.validator_value,
                schema=leaf.schema,
                key=steps[-1] if steps else "",
                about_key="propertyNames" in leaf.absolute_schema_path,
            )
            yield from _problems(fault)


def sound(node: Node, part: str) -> bool:
    """Whether a tree has no faults."""
    return _validator(part).is_valid(plain(node))


@cache
def _validator(part: str, of: Of = "spec") -> Validator:
    from jsonschema import Draft202012Validator

    whole = schema(of)
    return Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": whole["$defs"]} if part else whole)


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """The error itself or, for a value that may be of several types, the errors of the type that was meant."""
    inner = error.context or ()
    if error.validator != "anyOf" or not inner:
        yield error
        return
    meant = {e.schema_path[0] for e in inner} - {e.schema_path[0] for e in inner if _other_type(e, error)}
    if len(meant) != 1:
        yield error
        return
    for e in inner:
        if e.schema_path[0] in meant:
            yield from _leaves(e)


def _other_type(inner: ValidationError, outer: ValidationError) -> bool:
    """Whether a branch is for values of another type altogether."""
    if inner.absolute_path != outer.absolute_path:
        return False
    if inner.validator == "enum":
        return not any(isinstance(outer.instance, type(value)) for value in _listed(inner))
    return inner.validator == "type"


def _listed(error: ValidationError) -> list[Any]:
    values: Any = error.validator_value
    return list(values)


_HINTED = 100
"""Unknown keys of one table for which a near one is looked for: more are no slips of the pen, and would take long."""


def _problems(fault: _Fault) -> Iterator[Problem]:
    node = fault.node
    if fault.rule == "additionalProperties" and isinstance(node, Table):
        yield from _unknown_keys(fault.schema, node)
    elif fault.about_key and isinstance(node, Table):
        yield node.entries[fault.value].place.problem(child_path(node.path, fault.value), _bad_key(fault))
    elif fault.rule == "required":
        # One error per missing key comes from jsonschema, each without its name: all are named each time, once kept.
        slips = _meant(fault.schema, node)
        for key in fault.bound:
            # What is written otherwise is told as an unknown key.
            if key not in fault.value and key not in slips:
                yield node.place.problem(node.path, _missing(key, fault.schema, node))
    else:
        yield node.place.problem(node.path, _sentence(fault))


def _meant(owner: Schema, node: Node) -> set[str]:
    """The keys that are near to unknown ones of a table."""
    known = list(owner.get("properties", ()))
    unknown = [key for key in node.entries if key not in known][:_HINTED] if isinstance(node, Table) else []
    hints = [did_you_mean(key, known) for key in unknown if known]
    return {key for key in known if any(f'did you mean "{key}"?' in hint for hint in hints)}


def _unknown_keys(owner: Schema, table: Table) -> Iterator[Problem]:
    known = list(owner["properties"])
    unknown = [(key, entry) for key, entry in table.entries.items() if key not in known]
    for number, (key, entry) in enumerate(unknown):
        message = f'{_owner(owner, table)} has no "{shorten(key)}"'
        if number >= _HINTED:
            yield entry.place.problem(entry.node.path, message + "; take it out")
            continue
        hint = did_you_mean(key, known)
        elsewhere = _elsewhere(owner.get("title", ""), key)
        if elsewhere and "did you mean" not in hint:
            hint = f"; {elsewhere}{hint}"
        yield entry.place.problem(entry.node.path, message + (hint or "; take it out"))


def _owner(owner: Schema, table: Table) -> str:
    """What an unknown key was given to; the same words in every condition, so that it is reported once."""
    if owner.get("title", "harness spec") != "harness spec":
        return f"the {owner['title']}"
    path = re.sub(r"^conditions\.[^.]+\.", "", table.path)
    return f"`{path}`" if path else "a spec"


def _elsewhere(title: str, key: str) -> str:
    """Says so if an unknown option belongs to another kind of the same folder."""
    noun, _, own = title.rpartition(" ")
    titles = [
        part["title"] for part in schema()["$defs"].values() if key in part.get("properties", ()) and "title" in part
    ]
    names = sorted({other.rpartition(" ")[2] for other in titles if noun and other.rpartition(" ")[0] == noun} - {own})
    listed = " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part]) if names else ""
    return f"it is an option of {listed}" if 0 < len(names) < 6 else ""


def _bad_key(fault: _Fault) -> str:
    if fault.rule == "pattern":
        return _unlike_pattern(fault)
    return f'no key "{shorten(fault.value)}"{did_you_mean(fault.value, fault.schema.get("enum", ()))}'


def _missing(key: str, owner: Schema, node: Node) -> str:
    if key == "kind":
        return "no kind is named; write kind: NAME"
    if key == "harness":
        return "the key `harness` is missing; begin with `harness: 1`"
    described = owner.get("properties", {}).get(key, {}).get("description", "")
    about = f": {words.first_sentence(described).rstrip('.')}" if described else ""
    if isinstance(node, Table) and node.short:
        return f"{owner.get('title', 'this')} needs `{key}`, so write it as a mapping{about}"
    return f"the key `{key}` is missing{about}"


def _sentence(fault: _Fault) -> str:
    rule, bound = fault.rule, fault.bound
    if rule in ("type", "anyOf"):
        return _wrong_type(fault)
    if rule == "enum":
        return _not_among(bound, fault)
    if rule in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        return f"{words.number(fault.value)} is out of range: it must be {words.allowed(fault.schema)}"
    if rule == "pattern":
        return _unlike_pattern(fault)
    if rule in ("minItems", "maxItems"):
        side = "at least" if rule == "minItems" else "at most"
        return f"this needs {side} {bound}, and there {'is' if len(fault.value) == 1 else 'are'} {len(fault.value)}"
    if rule == "minLength" and bound == 1:
        return "this text must not be empty"
    if rule in ("minLength", "maxLength"):
        side = "at least" if rule == "minLength" else "at most"
        return f"this text must have {side} {bound} characters, and has {len(fault.value)}"
    # What no option of ours uses yet is said in the schema's own terms.
    return f"{words.got(fault.node)} does not fit: {rule} {bound}"


def _unlike_pattern(fault: _Fault) -> str:
    if fault.value.endswith("\n"):
        return f'"{shorten(fault.value)}" ends with a line break; write it on one line'
    message = f'"{shorten(fault.value)}" is not a good name: {words.pattern(fault.schema["pattern"])}'
    suggested = re.sub(r"[^a-z0-9_]+", "-", fault.value.lower()).strip("-_")[:64]
    if suggested and re.search(fault.schema["pattern"], suggested):
        message += f'; such as "{suggested}"'
    return message


def _wrong_type(fault: _Fault) -> str:
    branches = fault.schema.get("anyOf", [fault.schema])
    types: set[str] = set()
    for branch in branches:
        named = branch.get("type", ())
        types |= {named} if isinstance(named, str) else set(named)
    texts = [value for branch in branches for value in branch.get("enum", ()) if isinstance(value, str)]
    if texts and isinstance(fault.value, str):
        return _not_among(texts, fault)
    advice = words.remedy(types | ({"string"} if texts else set()), fault.node)
    return (
        f"{words.got(fault.node)} stands where {words.wanted(fault.schema)} is wanted{'; ' if advice else ''}{advice}"
    )


def _not_among(values: list[Any], fault: _Fault) -> str:
    """A value that is none of a few known ones."""
    texts = [value for value in values if isinstance(value, str)]
    if fault.key == "harness":
        return OTHER_VERSION
    if values and not texts:
        return f"{words.got(fault.node)} stands where {words.wanted({'enum': values})} is wanted"
    if not isinstance(fault.value, str):
        quoted = isinstance(fault.node, Scalar) and fault.node.text in texts
        advice = f'; quote it: "{fault.node.text}"' if quoted and isinstance(fault.node, Scalar) else ""
        wanted = f"one of {', '.join(_known(texts))}" if texts else words.wanted(fault.schema)
        return f"{words.got(fault.node)} stands where {wanted} is wanted{advice}"
    noun = fault.schema.get("title") or (fault.key if isinstance(fault.key, str) and fault.key else "such value")
    if noun == FOLDERS["analyses"] and (written := asked_by(fault.value)):
        return f'the analysis "{fault.value}" has a key of its own: write `{written}` at the top of the spec'
    return f'no {noun} "{shorten(fault.value)}"{did_you_mean(fault.value, _known(texts))}'


def _known(texts: list[str]) -> list[str]:
    """The values, each kind in one spelling only."""
    return [text for text in texts if canonical(text) == text or canonical(text) not in texts]
