"""The page on what strangers may send: each line names an attack that there is, and each table of attacks has a line."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "specs" / "STRANGERS.md").read_text(encoding="utf-8")


def lines() -> list[list[str]]:
    """The cells of each line of the table of what may be sent."""
    table = PAGE.split("## What it may, and what not")[1].split("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return found[2:]


def attacks(module: str) -> set[str]:
    """What the attacks of a module are called: every text in its tables, or that begins one of their lines."""
    return set(_texts(vars(importlib.import_module(f"tests.attacks.{module}")).values()))


def _texts(values: object) -> Iterator[str]:
    for value in values:  # type: ignore[attr-defined]
        if isinstance(value, list | tuple):
            for one in value:
                if isinstance(one, str):
                    yield one
                elif isinstance(one, tuple) and one and isinstance(one[0], str):
                    yield one[0]


@pytest.mark.parametrize("line", lines(), ids=lambda line: line[-1][:60])
def test_each_line_names_an_attack(line: list[str]) -> None:
    module, name = re.fullmatch(r"`(\w+): (.+)`", line[-1]).groups()  # type: ignore[union-attr]
    assert name in attacks(module)


def test_each_table_of_attacks_has_a_line() -> None:
    tables = {path.stem for path in (ROOT / "tests" / "attacks").glob("test_*.py")}
    named = {re.match(r"`(\w+)", line[-1])[1] for line in lines()}  # type: ignore[index]
    assert tables - named == {"test_scene", "test_fuzzing"}


def test_the_commands_of_the_page_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.attacks.__main__ import parser

    said = parser().format_help()
    options = set(re.findall(r"`python -m tests\.attacks (--[a-z-]+)", PAGE))
    assert options and all(option in said for option in options)


def test_what_the_page_says_of_the_environment() -> None:
    from harness.untrusted import worker

    assert worker.FACTOR in PAGE
    assert "USE_HUB_KERNELS" in (ROOT / "harness" / "models" / "__init__.py").read_text()
