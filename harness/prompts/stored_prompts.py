"""The stored form of a table of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.contracts import Factor, PromptTable
from harness.store import Artifact
from harness.store.reading import load_frame, save_frame

_TABLE = "prompts"


def save_table(table: PromptTable, folder: Path) -> None:
    """The table of prompts; the rest goes to `table_about`."""
    save_frame(table.frame, folder, _TABLE)


def table_about(table: PromptTable) -> dict[str, Any]:
    """What the store keeps beside the table."""
    return {
        "rows": table.frame.height,
        "factors": [msgspec.to_builtins(factor) for factor in table.factors],
        "templates": list(table.templates),
        "findings": list(table.findings),
        "data_set": table.data_set,
        "views": table.views,
    }


def load_table(artifact: Artifact) -> PromptTable:
    about = artifact.meta
    frame = load_frame(artifact, _TABLE)
    frame.select("pair", "example", "group", "split", "template", "answer", "tokens", "truth")
    return PromptTable(
        frame=frame,
        factors=msgspec.convert(about["factors"], tuple[Factor, ...]),
        templates=msgspec.convert(about["templates"], tuple[str, ...]),
        findings=msgspec.convert(about["findings"], tuple[str, ...]),
        data_set=msgspec.convert(about["data_set"], str),
        views=msgspec.convert(about["views"], int),
    )
