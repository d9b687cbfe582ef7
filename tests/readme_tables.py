"""The tables in README.md that come from committed reports: `python -m tests.readme_tables` makes them anew.

Each stands below a comment with the command that prints it: `<!-- harness compare reports/a … -->`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

_TABLE = re.compile(r"<!-- (?P<command>harness compare [^>]*?) -->\n(?P<table>(?:\|[^\n]*\n|\n(?=\|))*)")


def regenerated(text: str) -> str:
    """The text with every such table as its command prints it."""
    return _TABLE.sub(lambda found: f"<!-- {found['command']} -->\n{_printed(found['command'])}", text)


def commands(text: str) -> list[str]:
    return [found["command"] for found in _TABLE.finditer(text)]


def _printed(command: str) -> str:
    from typer.testing import CliRunner

    from harness.cli import app

    _, *arguments = shlex.split(command)
    done = CliRunner().invoke(app, [str(ROOT / one) if one.startswith("reports/") else one for one in arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


if __name__ == "__main__":
    README.write_text(regenerated(README.read_text("utf-8")), "utf-8")
