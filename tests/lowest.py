"""The lowest versions that pyproject.toml claims to work with, as lines that pip reads: `python tests/lowest.py > lowest.txt`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

# At its floor there is no build of torch for a processor alone (the index has one that brings gigabytes for graphics cards), so
# that it is pinned to the version that runs this.
AS_HERE = ("torch",)


def pins() -> Iterator[str]:
    """One for each requirement, those of the tests included; none for one that claims no lowest version."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in dict.fromkeys((*project["dependencies"], *project["optional-dependencies"]["test"])):
        found = re.fullmatch(r"([\w-]+)>=([\w.]+),<[\w.]+", line)
        if found:
            name, floor = found.groups()
            yield f"{name}=={version(name) if name in AS_HERE else floor}"


if __name__ == "__main__":
    print("\n".join(pins()))
