"""Plain values as YAML that this language's reader reads as the same values.

PyYAML writes for YAML 1.1, in which other scalars are text than in 1.2: `1e-3` and `0o17` would be read as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from harness.language.syntax.document import resolve

WIDTH = 120


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, value: str) -> yaml.ScalarNode:
        style = None
        if resolve(value) != value or not value.replace("\n", "").isprintable():
            style = '"'
        elif "\n" in value and all(line == line.strip() for line in value.split("\n")):
            style = "|"
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _Dumper.text)


def as_yaml(keys: Mapping[str, Any]) -> str:
    """The YAML of a mapping, its keys in their order."""
    return yaml.dump(
        dict(keys), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH, default_flow_style=False
    )
