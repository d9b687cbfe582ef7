"""Writes a folder of states: the array by layer, so that no more than one layer is in memory, the table, and the card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.errors import UsageError
from harness.imported.states_card import CARD, Card, as_json

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

Form = Literal["safetensors", "npy", "zarr"]
_CHUNK = 1 << 20
"""Numbers of a Zarr chunk, about."""


def write_folder(
    folder: Path, card: Card, table: pl.DataFrame, layer: Callable[[int], Tensor], shape: tuple[int, ...], form: Form
) -> Card:
    """Writes states of the shape (layer, row, view, d_model), or without view; `layer` gives one, float32. Gives the card as it was written.

    Raises UsageError where something is in the way.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; name another folder with --out, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"states.{form}"
        _WAYS[form](folder / name, layer, shape)
        table.write_parquet(folder / "rows.parquet")
        card = msgspec.structs.replace(card, states=name, rows="rows.parquet")
        (folder / CARD).write_bytes(as_json(card))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error}") from error
    return card


def _npy(path: Path, layer: Callable[[int], Tensor], shape: tuple[int, ...]) -> None:
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype="<f4", shape=shape)
    for number in range(shape[0]):
        array[number] = layer(number).numpy()
    array.flush()


def _safetensors(path: Path, layer: Callable[[int], Tensor], shape: tuple[int, ...]) -> None:
    """The library writes whole tensors only: a header, and the numbers after it."""
    import math

    about = {"states": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, 4 * math.prod(shape)]}}
    header = json.dumps(about).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for number in range(shape[0]):
            file.write(layer(number).contiguous().numpy().astype("<f4", copy=False).tobytes())


def _zarr(path: Path, layer: Callable[[int], Tensor], shape: tuple[int, ...]) -> None:
    try:
        import zarr
    except ImportError as error:
        raise UsageError("Zarr arrays are written by the library zarr; run: pip install 'elk-harness[zarr]'") from error
    rest = shape[2:]
    size = 1
    for one in rest:
        size *= one
    rows = max(1, min(shape[1], _CHUNK // size))
    array: Any = zarr.create_array(
        store=str(path), shape=shape, chunks=(1, rows, *rest), dtype="float32", zarr_format=3
    )
    for number in range(shape[0]):
        array[number] = layer(number).numpy()


_WAYS: dict[Form, Callable[[Path, Callable[[int], Tensor], tuple[int, ...]], None]] = {
    "npy": _npy,
    "safetensors": _safetensors,
    "zarr": _zarr,
}
