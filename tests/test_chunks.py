"""Chunks of Zarr arrays that would unfold to more than their numbers take are known before anything is unfolded."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import pytest

from harness.imported.chunks import Unfolds, check_chunk

SHAPE, ITEM = (4, 5), 4
SIZE = 80
BYTES: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}


def frame(size: int) -> bytes:
    """A frame of zstd that says how large it is, without its blocks."""
    return b"\x28\xb5\x2f\xfd" + bytes([0b11100000]) + struct.pack("<Q", size) + b"\x01\0\0"


def blosc(size: int) -> bytes:
    return bytes([2, 1, 0, 4]) + struct.pack("<III", size, size, 16)


MADE = {"zstd": frame, "blosc": blosc, "gzip": lambda size: gzip.compress(bytes(size))}


def sharded(parts: list[bytes], codecs: list[dict[str, Any]]) -> tuple[bytes, list[dict[str, Any]]]:
    """A shard of chunks of one row each, with its index at the end."""
    places, start = b"", 0
    for part in parts:
        places += struct.pack("<QQ", start, len(part))
        start += len(part)
    options = {
        "chunk_shape": [1, 5],
        "codecs": codecs,
        "index_codecs": [BYTES, {"name": "crc32c"}],
        "index_location": "end",
    }
    return b"".join(parts) + places + bytes(4), [{"name": "sharding_indexed", "configuration": options}]


@pytest.mark.parametrize("name", MADE)
def test_a_chunk_unfolds_to_its_numbers_and_not_to_more(name: str) -> None:
    codecs = [BYTES, {"name": name, "configuration": {}}]
    check_chunk(MADE[name](SIZE), codecs, SHAPE, ITEM)
    for size in (SIZE + 1000, 2**31):
        if name != "gzip" or size < 2**20:
            with pytest.raises(Unfolds, match="bytes or more, and its numbers take 80"):
                check_chunk(MADE[name](size), codecs, SHAPE, ITEM)
    shard, of_shards = sharded([MADE[name](20)] * 4, codecs)
    check_chunk(shard, of_shards, SHAPE, ITEM)
    shard, of_shards = sharded([MADE[name](20)] * 3 + [MADE[name](20_000)], codecs)
    with pytest.raises(Unfolds, match="its numbers take 20"):
        check_chunk(shard, of_shards, SHAPE, ITEM)


@pytest.mark.parametrize(
    ("raw", "codecs"),
    [
        (b"\x28\xb5\x2f\xfd\x00\x00\x01\0\0", [BYTES, {"name": "zstd"}]),
        (b"\x50\x2a\x4d\x18\x00\x00\x00\x00", [BYTES, {"name": "zstd"}]),
        (gzip.compress(bytes(40), mtime=0) * 2, [BYTES, {"name": "gzip"}]),
        (frame(80), [BYTES, {"name": "zstd"}, {"name": "gzip"}]),
        (b"none", [BYTES, {"name": "gzip"}]),
        (b"short", [BYTES, {"name": "blosc"}]),
        (bytes(50), sharded([], [BYTES])[1]),
        (sharded([b""], [BYTES])[0] + bytes(64), [*sharded([], [BYTES])[1], {"name": "gzip"}]),
    ],
)
def test_of_what_its_size_cannot_be_told_is_refused(raw: bytes, codecs: list[dict[str, Any]]) -> None:
    with pytest.raises(Unfolds):
        check_chunk(raw, codecs, SHAPE, ITEM)
