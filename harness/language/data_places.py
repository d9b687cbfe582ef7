"""The line of a spec at which an error of its data or prompts is to be mended: errors begin with the key that they are about, or with a template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import DataError, Problem
from harness.language.problems.templates import line_inside
from harness.language.spec_reader import resolved_spec
from harness.language.syntax.nodes import Scalar, Table, nearest

_KEY = re.compile(r"((?:activations|data|distractors|elicit|model|prompt)(?:\.[\w-]+|\[\d+\])*): ")
_TEMPLATE = re.compile(r"template ([\w-]+)(?:, line (\d+))?[:,] ")


def place_of(error: DataError, path: Path, sets: Sequence[str] = (), text: str | None = None) -> Problem | None:
    """An error as a problem of the spec at `path`; None where neither it nor the condition that it came up in is named there."""
    resolved, message = resolved_spec(path, sets, text), str(error)
    setting = resolved.settings.get(error.within)
    keyed, template = _KEY.match(message), _TEMPLATE.match(message)
    if keyed is None and setting is None:
        return None
    tables = [resolved.root] if setting is None else [setting, resolved.root]
    line = 0
    if keyed is not None:
        key, message = keyed[1], message[keyed.end() :]
    elif template is not None:
        own = tables[0].get("prompt")
        named = isinstance(own, Table) and own.get("templates") is not None
        key, message = f"prompt.templates.{template[1]}" if named else "prompt.template", message[template.end() :]
        line = int(template[2] or 0)
    else:
        key = error.about or ("data.source" if tables[0].get("data") is not None else "model")
    # A condition lists distractors that stand above it.
    found = [nearest(table, key) for table in tables]
    node = next((node for node in found if f".{node.path}".endswith(f".{key}")), found[0])
    if not f".{node.path}".endswith(f".{key}"):
        message = f"{key}: {message}"
    place = line_inside(node, line) if line and isinstance(node, Scalar) else node.place
    return place.problem(node.path, message)
