"""Tables as bytes: what is packed comes back, and whatever else is unpacked takes no more memory than its bytes allow."""

from __future__ import annotations

import resource
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError
from harness.untrusted.frames import Column, packed, unpacked

TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (pl.String, st.text()),
    "whole numbers": (pl.Int64, st.integers(-(2**63), 2**63 - 1)),
    "small numbers": (pl.UInt8, st.integers(0, 255)),
    "numbers": (pl.Float64, st.floats(allow_nan=True)),
    "single": (pl.Float32, st.floats(width=32)),
    "truths": (pl.Boolean, st.booleans()),
    "classes": (pl.Enum(["no", "yes", ""]), st.sampled_from(["no", "yes", ""])),
    "nothing": (pl.Null, st.none()),
    "names": (pl.List(pl.String), st.lists(st.none() | st.text(max_size=3), max_size=4)),
    "tokens": (pl.List(pl.UInt32), st.lists(st.integers(0, 2**32 - 1), max_size=4)),
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    height = draw(st.integers(0, 6))
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), unique=True))
    return pl.DataFrame(
        [
            pl.Series(
                name, draw(st.lists(st.none() | TYPES[name][1], min_size=height, max_size=height)), TYPES[name][0]
            )
            for name in names
        ]
    )


@given(frames())
@settings(deadline=None)
def test_what_is_packed_comes_back(frame: pl.DataFrame) -> None:
    again = unpacked(packed(frame))
    assert again.schema == frame.schema
    assert again.equals(frame)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([{"a": 1}]),
        pl.Series([b"x"]),
        pl.Series([["x"]], dtype=pl.List(pl.Enum(["x"]))),
        pl.Series([[1, None]]),
        pl.Series([[[1]]]),
        pl.Series([0]).cast(pl.Date),
    ],
    ids=lambda values: str(values.dtype),
)
def test_what_cannot_be_packed_is_said(values: pl.Series) -> None:
    with pytest.raises(DataError, match='column "x" holds'):
        packed(values.alias("x").to_frame())


HEAVY = {
    "more text than there is": b"\x91\x95\xa1a\xa6String\xc4\x00\xdd\xff\xff\xff\xff",
    "more columns than there are": b"\xdd\xff\xff\xff\xff",
    "more bytes than there are": b"\x91\x95\xa1a\xa5Int64\xc4\x00\xc6\xff\xff\xff\xff",
    "parquet": b"PAR1" + bytes(100),
    "lists of more than there is": msgspec.msgpack.encode(
        [Column("a", "UInt32", b"", bytes(8), lengths=np.array([2**62, 2**62, 2], np.int64).tobytes())]
    ),
    "lists of less than nothing": msgspec.msgpack.encode(
        [Column("a", "UInt32", b"", bytes(8), lengths=np.array([-1, 3], np.int64).tobytes())]
    ),
    "half a number": msgspec.msgpack.encode([Column("a", "Int64", b"", bytes(7))]),
    "a type of none": msgspec.msgpack.encode([Column("a", "Object", b"", bytes(8))]),
    "a class of none": msgspec.msgpack.encode([Column("a", "Enum", b"", ["x"], classes=["y"])]),
    "columns of two lengths": msgspec.msgpack.encode(
        [Column("a", "Int64", b"", bytes(8)), Column("b", "Int64", b"", bytes(16))]
    ),
    "marks of another length": msgspec.msgpack.encode([Column("a", "Int64", bytes(9), bytes(8))]),
}


@pytest.mark.parametrize("content", HEAVY.values(), ids=HEAVY)
def test_what_does_not_add_up_is_refused(content: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, LookupError, TypeError, pl.exceptions.PolarsError)):
        unpacked(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB"


def test_truths_of_other_bytes_are_truths() -> None:
    """Rust takes a byte that is neither 0 nor 1 for whatever it likes."""
    odd = msgspec.msgpack.encode([Column("a", "Boolean", bytes([0, 2, 255]), bytes([7, 255, 0]))])
    assert unpacked(odd)["a"].to_list() == [True, None, None]
