"""What stands generated in README files: `python -m tests.readme_tables` makes it anew.

A table of reports stands below a comment with the command that prints it, `<!-- harness compare reports/a … -->`; those of the
language's keys and of the shipped specs below `<!-- keys -->` and `<!-- specs -->`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = tuple(ROOT / name for name in ("README.md", "reports/README.md", "specs/README.md"))
FINDINGS = ROOT / "reports" / "README.md"

_TABLE = re.compile(r"<!-- (?P<made>harness compare [^>]*?|keys|specs) -->\n(?P<table>(?:\|[^\n]*\n|\n(?=\|))*)")


def regenerated(text: str) -> str:
    """The text with every such table as it is now."""
    return _TABLE.sub(lambda found: f"<!-- {found['made']} -->\n{_table(found['made'])}", text)


def made(text: str) -> list[str]:
    """What the tables of a text are made by, in order."""
    return [found["made"] for found in _TABLE.finditer(text)]


def _table(made: str) -> str:
    tables: dict[str, Callable[[], str]] = {"keys": _keys, "specs": _specs}
    return tables.get(made, lambda: _printed(made))()


def _printed(command: str) -> str:
    from typer.testing import CliRunner

    from harness.cli import app

    _, *arguments = shlex.split(command)
    done = CliRunner().invoke(app, [str(ROOT / one) if one.startswith("reports/") else one for one in arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def _keys() -> str:
    """Keys of a spec, with what the schema says of each."""
    from harness import language

    rows = [
        f"| `{key}` | {' '.join(option['description'].split())} |"
        for key, option in language.json_schema()["properties"].items()
    ]
    return "\n".join(["| key | what it says |", "| --- | --- |", *rows, ""])


def _specs() -> str:
    """The shipped specs, with the sentences at the head of each and its report where there is one."""
    from harness import language

    rows = []
    for path in sorted((ROOT / "specs").glob("*.yaml")):
        head = re.match(r"(?:# [^\n]*\n)+", path.read_text("utf-8"))
        assert head, f"{path} begins with a comment that says what it is"
        about = " ".join(line.removeprefix("# ") for line in head[0].splitlines())
        name = language.read(path).name
        report = f"[{name}](../reports/{name}/report.md)" if (ROOT / "reports" / name).is_dir() else "–"
        rows.append(f"| [`{path.name}`]({path.name}) | {about} | {report} |")
    return "\n".join(["| spec | about | report |", "| --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(regenerated(page.read_text("utf-8")), "utf-8")
