"""The line of a spec at which an error of its data or prompts is to be mended: errors begin with the key that they are about, or with a template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.errors import DataError, Problem
from harness.language.problems.templates import line_inside
from harness.language.resolving import Resolved
from harness.language.spec_reader import resolved_spec
from harness.language.syntax.nodes import Scalar, Table, nearest

_KEY = re.compile(r"([a-z_]+)((?:\.[\w-]+|\[\d+\])*): ")
_TEMPLATE = re.compile(r"template ([\w-]+)(?:, line (\d+))?[:,] ")
_OF_CONDITIONS = ("activations", "data", "distractors", "elicit", "model", "prompt")


class _About(NamedTuple):
    """What an error says."""

    condition: str
    """Empty where none is meant."""
    key: str
    """As in the condition, or at the top of the spec."""
    message: str
    line: int = 0
    """Within the text under the key, counted from 1; 0 where that is not told."""


def place_of(error: DataError, path: Path, sets: Sequence[str] = (), text: str | None = None) -> Problem | None:
    """An error as a problem of the spec at `path`; None where neither it nor the condition that it came up in is named there."""
    resolved = resolved_spec(path, sets, text)
    about = _about(error, resolved)
    if about is None:
        return None
    setting = resolved.settings.get(about.condition)
    # A condition lists distractors that stand above it.
    found = [nearest(table, about.key) for table in (setting, resolved.root) if table is not None]
    node = next((node for node in found if _is_at(node.path, about.key)), found[0])
    place = line_inside(node, about.line) if about.line and isinstance(node, Scalar) else node.place
    if _is_at(node.path, about.key):
        return place.problem(node.path, about.message)
    # It is not written, and stands where it would be.
    key = about.key if setting is None else f"conditions.{about.condition}.{about.key}"
    return place.problem(key, about.message)


def _about(error: DataError, resolved: Resolved) -> _About | None:
    said, within = str(error), error.within
    found = _KEY.match(said)
    if found is not None and (found[1] in _OF_CONDITIONS or resolved.root.get(found[1]) is not None):
        key, rest = found[1] + found[2], said[found.end() :]
        first, name, own = (*key.split(".", 2), "", "")[:3]
        return _About(name, own, rest) if first == "conditions" and own else _About(within, key, rest)
    setting = resolved.settings.get(within)
    if setting is None:
        return None
    found = _TEMPLATE.match(said)
    if found is not None:
        prompt = setting.get("prompt")
        several = isinstance(prompt, Table) and prompt.get("templates") is not None
        key = f"prompt.templates.{found[1]}" if several else "prompt.template"
        return _About(within, key, said[found.end() :], int(found[2] or 0))
    return _About(within, error.about or ("data.source" if setting.get("data") is not None else "model"), said)


def _is_at(path: str, key: str) -> bool:
    return f".{path}".endswith(f".{key}")
