"""The page of families: a table that each trial of a family writes its own line of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import transformers

from tests.families.sweep import BOUND, Result

PAGE = Path(__file__).parents[2] / "specs" / "FAMILIES.md"

_WAYS = {
    "grafted": "beginnings that examples share, and those within an example, are forwarded once",
    "packed": "beginnings within an example are forwarded once",
    "whole": "whole prompts, padded on the right, several at a time",
    "single": "one prompt at a time",
    "refused": "not read, and the run says so in one sentence",
}

_HEAD = """# Families of networks

Written by `python -m tests.families`, with transformers {version}. Every family that transformers can build from a shrunken
default configuration was built tiny with random weights and read by this program: prompts of lengths on both sides of each window,
chunk and context of its configuration, forwarded together. States of all layers and log-odds are those of single plain passes of
the family's own class to {bound:g}, or the family is refused. A network of its real size may be forwarded in another way: each
run finds out by a self-check on its own prompts, and holds what it reads against the hidden states that transformers gives.

{counts}

"""

_TABLE = "| family | network | read as |\n| --- | --- | --- |\n"


def line(found: Result) -> str:
    """A family's line of the table."""
    read = f"refused: {found.refused}" if found.refused else found.way
    return f"| {found.family} | {found.kind} | {_cell(read)} |"


def lines(text: str) -> dict[str, str]:
    """The lines of the table in a page, by family."""
    rows = [row for row in text.splitlines() if row.startswith("| ") and not row.startswith(("| family", "| ---"))]
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows}


def written(old: str, results: Iterable[Result]) -> str:
    """The page with the lines of these results in place of those that it had of them; what was not compared has none."""
    rows = lines(old)
    for found in results:
        rows.pop(found.family, None)
        if not found.fault and (found.way or found.refused):
            rows[found.family] = line(found)
    ways = Counter(row.split(" | ")[2].partition(":")[0].removesuffix(" |") for row in rows.values())
    counts = "\n".join(f"- {way} ({ways[way]}): {said}" for way, said in _WAYS.items())
    head = _HEAD.format(version=transformers.__version__, bound=BOUND, counts=counts)
    return head + _TABLE + "".join(f"{rows[family]}\n" for family in sorted(rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
