"""What chunks of a Zarr array unfold to, told from their bytes before a library unfolds them: a stranger's kilobyte may say that it is terabytes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

_MORE = 64
"""Bytes that checksums add to a chunk."""
_EMPTY = 2**64 - 1
_COMPRESSORS = ("zstd", "gzip", "blosc")
_PLAIN = ("bytes", "transpose", "crc32c")


class Unfolds(ValueError):
    """A chunk that is larger than the array's metadata say, or of which that cannot be told."""


def inner_shape(codecs: Sequence[Mapping[str, Any]]) -> tuple[int, ...] | None:
    """The shape of the chunks in a shard; None where chunks are no shards. Raises ValueError."""
    for codec in codecs:
        if codec["name"] == "sharding_indexed":
            shape = tuple(codec["configuration"]["chunk_shape"])
            if not all(isinstance(size, int) and 0 < size < 2**48 for size in shape):
                raise ValueError("chunks of a shard have whole sizes")
            return shape
    return None


def check_chunk(raw: bytes, codecs: Sequence[Mapping[str, Any]], shape: Sequence[int], item: int) -> None:
    """Raises Unfolds where a chunk of that shape, with `item` bytes a number, would unfold to more than its numbers take."""
    size, inner = item * math.prod(shape), inner_shape(codecs)
    names = [codec["name"] for codec in codecs]
    if inner is not None:
        if len(codecs) > 1:
            raise Unfolds("a shard is encoded once more")
        _check_shard(raw, codecs[0]["configuration"], shape, inner, item)
        return
    packed = [name for name in names if name in _COMPRESSORS]
    if len(packed) > 1 or any(name not in (*_COMPRESSORS, *_PLAIN) for name in names):
        raise Unfolds("it is compressed more than once")
    if packed and (found := _SIZES[packed[0]](raw, size + _MORE)) > size + _MORE:
        raise Unfolds(f"it unfolds to {found:,} bytes or more, and its numbers take {size:,}")


def _check_shard(raw: bytes, options: Mapping[str, Any], shape: Sequence[int], inner: Sequence[int], item: int) -> None:
    coded = [codec["name"] for codec in options.get("index_codecs", ())]
    if any(name not in ("bytes", "crc32c") for name in coded) or len(inner) != len(shape):
        raise Unfolds("its index is compressed, or of other axes")
    count = math.prod(-(-whole // part) for whole, part in zip(shape, inner, strict=True))
    size = 16 * count + 4 * coded.count("crc32c")
    if len(raw) < size:
        raise Unfolds("it is shorter than its index")
    index = raw[:size] if options.get("index_location", "end") == "start" else raw[len(raw) - size :]
    for place in range(0, 16 * count, 16):
        start, length = (int.from_bytes(index[at : at + 8], "little") for at in (place, place + 8))
        if (start, length) != (_EMPTY, _EMPTY):
            check_chunk(raw[start : start + length], options["codecs"], inner, item)


def _of_zstd(raw: bytes, most: int) -> int:
    """By the head of its frame (RFC 8878, §3.1.1.1), which the library goes by."""
    del most
    if len(raw) < 6 or raw[:4] != b"\x28\xb5\x2f\xfd":
        raise Unfolds("it is no frame of zstd")
    single, flag, dictionary = raw[4] >> 5 & 1, raw[4] >> 6, (0, 1, 2, 4)[raw[4] & 3]
    length = (single, 2, 4, 8)[flag]
    if not length:
        raise Unfolds("its frame does not say how large it is")
    start = 5 + (1 - single) + dictionary
    return int.from_bytes(raw[start : start + length], "little") + 256 * (flag == 1)


def _of_blosc(raw: bytes, most: int) -> int:
    del most
    if len(raw) < 16:
        raise Unfolds("it is shorter than the head of blosc")
    return int.from_bytes(raw[4:8], "little")


def _of_gzip(raw: bytes, most: int) -> int:
    """Unfolded as far as it may go: nothing in it says how large it is."""
    unfold = zlib.decompressobj(31)
    try:
        size = len(unfold.decompress(raw, most + 1))
    except zlib.error as error:
        raise Unfolds(str(error)) from error
    if unfold.unused_data:
        raise Unfolds("it has more than one member")
    return size


_SIZES = {"zstd": _of_zstd, "blosc": _of_blosc, "gzip": _of_gzip}
