"""Arrays of states on disk, read a layer and some rows at a time: safetensors, npy and Zarr v3."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import DataError, UsageError
from harness.imported.chunks import Unfolds, check_chunk, inner_shape
from harness.imported.states_card import Opened
from harness.untrusted.files import is_hollow, is_irregular, read_ordinary
from harness.untrusted.paths import is_below

if TYPE_CHECKING:
    from torch import Tensor

_AT_ONCE = 1 << 28
"""Bytes of states, as float32, that are looked at together."""
_LARGEST_CHUNK = 1 << 30
_MOST_CHUNKS = 1_000_000
_LARGEST_HEADER = 1 << 20
_BYTES = {"float16": 2, "float32": 4, "float64": 8, "bfloat16": 2}
_DTYPES = tuple(_BYTES)
_CODECS = ("bytes", "transpose", "zstd", "gzip", "blosc", "crc32c", "sharding_indexed")


class Array(msgspec.Struct, frozen=True):
    """An open array, of which nothing but its shape has been read."""

    opened: Opened
    shape: tuple[int, ...]
    take: Callable[[tuple[slice, ...]], Tensor]
    """A part of it, in any number format."""

    def size(self, axis: str) -> int:
        axes: tuple[str, ...] = self.opened.card.axes
        return self.shape[axes.index(axis)] if axis in axes else 1

    @property
    def layers(self) -> tuple[int, ...]:
        return self.opened.card.layers or tuple(range(self.size("layer")))

    def read(self, layer: int, rows: Sequence[int]) -> Tensor:
        """States of rows at a layer, float32, (row, view, d_model), in the order asked for. Raises DataError where one is not finite."""
        import torch

        axes, wanted = self.opened.card.axes, torch.as_tensor(rows, dtype=torch.int64)
        views, width = self.size("view"), self.size("d_model")
        out = torch.empty((len(wanted), views, width), dtype=torch.float32)
        step = max(1, _AT_ONCE // (4 * views * width))
        order = [axes.index(axis) for axis in ("row", "view", "d_model") if axis in axes]
        number = self.layers.index(layer)
        for start in range(0, self.size("row"), step):
            places = ((wanted >= start) & (wanted < start + step)).nonzero()[:, 0]
            if not len(places):
                continue
            own = wanted[places]
            first, last = int(own.min()), int(own.max()) + 1
            at = {"layer": slice(number, number + 1), "row": slice(first, last)}
            part = self.take(tuple(at.get(axis, slice(None)) for axis in axes)).permute(axes.index("layer"), *order)[0]
            part = part.reshape(last - first, views, width)
            if _follow(own) and _follow(places):
                # As those of a whole table do: they are copied once.
                out[int(places[0]) : int(places[-1]) + 1] = part
            else:
                out[places] = part[own - first].float()
        # A sum takes a third of the time; it is finite only where every number is.
        if not bool(out.sum().isfinite()) and (bad := (~out.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()):
            raise DataError(
                f"{self.opened.name}/{self.opened.card.states}: row {int(wanted[bad[0]]) + 1} is not finite at layer {layer}; take such rows "
                "out of the array and of the table"
            )
        return out


def _follow(numbers: Tensor) -> bool:
    """Whether each is one more than the last."""
    return bool((numbers.diff() == 1).all())


def open_array(opened: Opened) -> Array:
    """Opens the array of a folder. Raises UsageError for one that is not what the card says, or cannot be read."""
    path, place = opened.array, f"{opened.name}/{opened.card.states}"
    ending = path.suffix.lower()
    ways = {".safetensors": _safetensors, ".npy": _npy, ".zarr": _zarr}
    if ending not in ways:
        raise UsageError(
            f"{opened.title}: states: {opened.card.states}: an array ends in {', '.join(ways)}; save it as one of them"
        )
    if is_irregular(path) or path.is_dir() != (ending == ".zarr"):
        raise UsageError(f"{place}: no {'folder' if ending == '.zarr' else 'ordinary file'}; name the array itself")
    if path.is_file() and is_hollow(path):
        raise UsageError(f"{place}: most of the file was never written; copy it again")
    array: Array = ways[ending](opened, path, place)
    _check(array, place)
    return array


def _check(array: Array, place: str) -> None:
    card = array.opened.card
    if len(array.shape) != len(card.axes):
        raise UsageError(
            f"{place}: {len(array.shape)} axes, {array.shape}, and the card names {len(card.axes)}: {', '.join(card.axes)}"
        )
    if 0 in array.shape:
        raise UsageError(f"{place}: an array of shape {array.shape} holds nothing")
    if card.layers and len(card.layers) != array.size("layer"):
        raise UsageError(
            f"{place}: {array.size('layer')} layers, and the card numbers {len(card.layers)}; correct `layers`"
        )
    if "view" in card.axes and array.size("view") != 2:
        raise UsageError(
            f"{place}: {array.size('view')} views; a contrast pair has two, x⁻ and x⁺, and a statement has no such axis"
        )


def _format(name: str, place: str) -> None:
    if name not in _DTYPES:
        raise UsageError(f"{place}: numbers of the format {name}; states are {', '.join(_DTYPES)}")


def _safetensors(opened: Opened, path: Path, place: str) -> Array:
    from safetensors import SafetensorError, safe_open

    name = opened.card.tensor
    try:
        file = safe_open(path, framework="pt")
        names = list(file.keys())
        if name not in names:
            raise UsageError(
                f'{place}: no tensor "{name}"; it has {", ".join(names[:8])}: name one as `tensor` in the card'
            )
        found = file.get_slice(name)
        _format(
            {"F16": "float16", "F32": "float32", "F64": "float64", "BF16": "bfloat16"}.get(
                found.get_dtype(), found.get_dtype()
            ),
            place,
        )
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{place}: no safetensors file: {error}") from error
    return Array(opened, tuple(found.get_shape()), lambda at: found[at])


def _npy(opened: Opened, path: Path, place: str) -> Array:
    import numpy as np
    import torch

    try:
        # Copied where it is written to, which nothing does: torch takes no array that could not be.
        found = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, OverflowError, SyntaxError) as error:
        raise UsageError(f"{place}: no array of numpy: {error}") from error
    _format(found.dtype.name if isinstance(found, np.ndarray) else type(found).__name__, place)
    native = found.dtype.newbyteorder("=")
    return Array(opened, found.shape, lambda at: torch.from_numpy(np.asarray(found[at], dtype=native)))


def _zarr(opened: Opened, path: Path, place: str) -> Array:
    """What the metadata say is bounded before the library is asked, and what chunks unfold to: a chunk is decoded whole."""
    try:
        import zarr
    except ImportError as error:
        raise UsageError(
            f"{place}: Zarr arrays are read by the library zarr; run: pip install 'elk-harness[zarr]'"
        ) from error
    import numpy as np
    import torch

    for file in path.rglob("*"):
        if file.is_symlink() or is_irregular(file) or not is_below(file, path):
            raise UsageError(f"{place}: {file.name} is a link or no ordinary file; copy the array itself")
    try:
        about: dict[str, Any] = json.loads(read_ordinary(path / "zarr.json", _LARGEST_HEADER))
        shape, chunk = tuple(about["shape"]), tuple(about["chunk_grid"]["configuration"]["chunk_shape"])
        kind, codecs = (about["zarr_format"], about["node_type"]), list(_codecs(about["codecs"]))
        _format(str(about["data_type"]), place)
        inner = inner_shape(about["codecs"])
        sound = all(isinstance(size, int) and 0 < size < 2**48 for size in (*shape, *chunk)) and len(shape) == len(
            chunk
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{place}: no Zarr array of version 3: {error}") from error
    if kind != (3, "array") or not sound:
        raise UsageError(f"{place}: no Zarr array of version 3; save it with zarr.create_array(…, zarr_format=3)")
    if unknown := [codec for codec in codecs if codec not in _CODECS]:
        raise UsageError(f"{place}: its codec {str(unknown[0])[:40]!r} is not read here; use {', '.join(_CODECS)}")
    count = math.prod(-(-size // part) for size, part in zip(shape, chunk, strict=True))
    if inner is not None and len(inner) == len(chunk):
        count *= math.prod(-(-size // part) for size, part in zip(chunk, inner, strict=True))
    if 8 * math.prod(chunk) > _LARGEST_CHUNK or count > _MOST_CHUNKS:
        raise UsageError(
            f"{place}: chunks of {chunk} numbers, {count:,} of them; save it in chunks of at most {_LARGEST_CHUNK >> 23} Mi numbers, and in no more than {_MOST_CHUNKS:,}"
        )
    for file in path.rglob("*"):
        if not file.is_file() or file.name == "zarr.json":
            continue
        try:
            check_chunk(file.read_bytes(), about["codecs"], chunk, _BYTES[about["data_type"]])
        except (Unfolds, KeyError, TypeError, OSError) as error:
            raise UsageError(
                f"{place}: the chunk {file.relative_to(path)} cannot be read: {error}; save the array anew"
            ) from error
    try:
        found = zarr.open_array(path, mode="r")
    # Whatever the library makes of a stranger's metadata.
    except Exception as error:
        raise UsageError(f"{place}: zarr cannot open it: {error}") from error

    def take(at: tuple[slice, ...]) -> Tensor:
        try:
            return torch.from_numpy(np.asarray(found[at]))
        except Exception as error:
            raise DataError(f"{place}: a chunk cannot be read: {error}") from error

    return Array(opened, shape, take)


def _codecs(codecs: Any) -> Any:
    """The names of codecs, those within a shard too."""
    for codec in codecs:
        yield codec["name"]
        for inner in ("codecs", "index_codecs"):
            yield from _codecs(codec.get("configuration", {}).get(inner, ()))
