"""What a run was asked, entry by entry, for the manifest: so that a difference between two reports can say what was changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.spec import Spec
from harness.spec.plain import spec_content
from harness.store import content_key

LONGEST = 60
"""Characters of a value that stands there as it is; of a longer one its hash."""
_SHORT, _FORMER_HASH = 8, re.compile(r"[0-9a-f]{24}")
_WHOLE_HASH = re.compile(r"[0-9a-f]{40,64}")
EVERYWHERE = "conditions.*"
NOTHING = ("None", "[]", "{}")
"""What is not asked has no entry."""


def asked(spec: Spec) -> dict[str, str]:
    """Place in the spec → its value in short. What all conditions have in common stands there once."""
    content = spec_content(spec)
    conditions = {one["name"]: dict(_leaves("", one)) for one in content.pop("conditions")}
    shared = dict.fromkeys(path for own in conditions.values() for path in own)
    common = {
        path: values[0]
        for path in shared
        if len(set(values := [own.get(path) for own in conditions.values()])) == 1 and values[0] is not None
    }
    found = {path: value for name, value in content.items() if name != "about" for path, value in _leaves(name, value)}
    found |= {f"{EVERYWHERE}{path}": value for path, value in common.items() if path != ".name"}
    for name, own in conditions.items():
        found |= {
            f"conditions.{name}{path}": value for path, value in own.items() if path not in common and path != ".name"
        }
    return {path: _short(value) for path, value in found.items() if value not in NOTHING}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value of a mapping by its path; a list of named things by their names, any other as a whole."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) and one.get("name") for one in value):
        for one in value:
            yield f"{path}.{one['name']}", str(_given(one))
    else:
        yield path, str(value)


def _given(one: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a named thing in the order of their names, without those that ask for nothing: an option that is new, or stands
    elsewhere among the others, makes no difference where nobody gives it."""
    return {name: one[name] for name in sorted(one) if name != "name" and str(one[name]) not in (*NOTHING, "False")}


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else content_key(value)[:_SHORT]


def model_as_now(model: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a model, with the hash of its revision as git shows one; a former version wrote all of it."""
    return {
        name: value[:12] if name == "revision" and isinstance(value, str) and _WHOLE_HASH.fullmatch(value) else value
        for name, value in model.items()
    }


def as_now(asked: Mapping[str, str]) -> dict[str, str]:
    """What a former version wrote, as this one writes it: it had longer hashes, and entries for what is not asked."""
    return {
        path: value[:_SHORT] if _FORMER_HASH.fullmatch(value) else value
        for path, value in asked.items()
        if value not in NOTHING
    }
