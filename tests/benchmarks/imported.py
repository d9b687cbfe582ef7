"""States that somebody else made, read layer by layer, against reading the bytes of the file; neither is in memory before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

from harness.imported.states_card import Card, Columns, open_folder
from harness.imported.states_folder import write_folder
from harness.subjects.imported import ImportedStates
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, versus

LAYERS, ROWS, WIDTH = 6, 20_000, 1024
REPEATS = 3
FORMS = ("npy", "safetensors")


def lines() -> Iterator[Line]:
    size = LAYERS * ROWS * WIDTH * 4
    for form in FORMS:
        with tempfile.TemporaryDirectory(dir=os.environ.get("HARNESS_STORE")) as made:
            folder = Path(made) / "states"
            table = pl.DataFrame({"label": [row % 2 for row in range(ROWS)]})
            card = Card(
                harness_states=1, states="", rows="", axes=("layer", "row", "d_model"), columns=Columns(label="label")
            )
            write_folder(folder, card, table, _layer, (LAYERS, ROWS, WIDTH), form)  # type: ignore[arg-type]
            array = folder / f"states.{form}"
            opened = open_folder(str(folder), Path(made))
            taken = race({"ours": lambda: _ours(ImportedStates(opened)), "plain": lambda: _plain(array)}, REPEATS)  # noqa: B023
        what = f"{size / 2**20:,.0f} MiB of imported states, {form}, {size / taken['ours'].wall_s / 2**20:,.0f} MiB/s"
        yield versus(f"{what}, against reading the file", taken["ours"], taken["plain"], at_least=0.5)


def _layer(number: int) -> Tensor:
    return torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(number))


def _ours(subject: ImportedStates) -> None:
    forgotten(subject.opened.array)
    for layer in range(LAYERS):
        subject.read(range(ROWS), (layer,))


def _plain(file: Path) -> None:
    forgotten(file)
    block = bytearray(1 << 23)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(block):
            pass


def forgotten(file: Path) -> None:
    """The file's pages leave the system's memory, so that it is read from the disk again."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
