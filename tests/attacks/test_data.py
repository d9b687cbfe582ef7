"""Data from strangers: paths and links that lead out, pickles, escapes, cards that name other files."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.untrusted import worker
from tests.attacks.scene import Scene
from tests.attacks.table import Attack, names, refused
from tests.test_pipeline import TEXT

if TYPE_CHECKING:
    import pyarrow as pa


def data(name: str, content: str | bytes | None = None, link: str | None = None) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        if content is not None:
            scene.write(name, content)
        if link is not None:
            (scene.inside / name).symlink_to(link)
        scene.write("x.yaml", TEXT.replace("MODEL", "model").replace("colours.csv", name).replace("colour", "text"))
        return ("run", "x.yaml")

    return prepare


def dataset(
    card: str = "", link: str | None = None, name: str = "README.md", files: int = 0
) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        scene.write("set/train.csv", "text,label\nred,0\nblue,1\n" * 40)
        if card:
            scene.write(f"set/{name}", card)
        for number in range(files):
            (scene.inside / "set" / f"{number}.csv").touch()
        if link is not None:
            (scene.inside / "set" / "test.csv").symlink_to(link)
        text = TEXT.replace("MODEL", "model").replace("file: colours.csv", "hub: set").replace("colour", "text")
        scene.write("x.yaml", text)
        return ("run", "x.yaml")

    return prepare


def card(path: str) -> str:
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {json.dumps(path)}\n---\n"
    )


FORMAT_STRING = "text,label\n{{ 7 * 7 }}{0.__class__}%s%n,0\n"


def repeated(length: int, rows: int, **options: bool) -> bytes:
    """A parquet file of a few kilobytes in which one long text stands in every other row."""
    import pyarrow as pa
    import pyarrow.parquet

    texts = pa.DictionaryArray.from_arrays(pa.array([n % 2 for n in range(rows)]), pa.array(["x" * length, "blue"]))
    table = pa.table({"text": texts, "label": pa.array([n % 2 for n in range(rows)])})
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, compression="zstd", **options)
    return out.getvalue()


def parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out, compression="zstd", store_schema=False)
    return out.getvalue()


def beside(column: pa.Array) -> pa.Table:
    """A table with a strange column beside those that are asked for."""
    import pyarrow as pa

    rows = pa.array([0, 1] * (len(column) // 2), pa.int8())
    return pa.table({"text": rows.cast(pa.string()), "label": rows, "more": column})


def endless() -> pa.Table:
    import numpy as np
    import pyarrow as pa

    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(30_000_000, np.int8)), pa.array(["a"]))
    return pa.table({"text": texts, "label": pa.array(np.zeros(30_000_000, np.int8))})


def nested(depth: int, of: str = "struct") -> pa.Table:
    import pyarrow as pa

    column = pa.array([1, 2])
    for _ in range(depth):
        if of == "struct":
            column = pa.StructArray.from_arrays([column], ["a"])
        else:
            column = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), column)
    return beside(column)


def lists(rows: int, length: int) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    ends = pa.array(np.arange(rows + 1, dtype=np.int64) * length)
    return beside(pa.LargeListArray.from_arrays(ends, pa.array(np.zeros(rows * length, np.int64))))


def wide(columns: int) -> pa.Table:
    import pyarrow as pa

    return pa.table({"text": ["a", "b"], "label": [0, 1], **{f"c{n}": [0, 1] for n in range(columns)}})


def nowhere() -> pa.Table:
    import pyarrow as pa

    return beside(pa.array([0, 1], pa.timestamp("us", tz="Nowhere/Land")))


def binary() -> pa.Table:
    import pyarrow as pa

    return pa.table({"text": ["a", "b"], "label": [b"\xff", b"\xfe"]})


def hollow(name: str) -> Callable[[Scene], Sequence[str]]:
    """A file of gigabytes that takes no room on the disk."""

    def prepare(scene: Scene) -> Sequence[str]:
        arguments = data(name, "text,label\n")(scene)
        os.truncate(scene.inside / name, 10**10)
        return arguments

    return prepare


def pipe(name: str) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        (scene.inside / name).parent.mkdir(exist_ok=True)
        os.mkfifo(scene.inside / name)
        return (dataset() if "/" in name else data(name))(scene)

    return prepare


DATA: list[Attack] = [
    (
        "text that is compressed",
        data("x.csv", gzip.compress(b"text,label\n" + b"red,0\n" * 1_000_000)),
        "is compressed",
    ),
    ("lines that are compressed", data("x.jsonl", zlib.compress(b'{"text": "red"}\n' * 1000)), "is compressed"),
    ("a category of ten million characters", data("x.parquet", repeated(10_000_000, 1000)), "MiB of memory"),
    ("a text by the thousand", data("x.parquet", repeated(3_000_000, 5000, store_schema=False)), "MiB of memory"),
    ("rows without end", lambda scene: data("x.parquet", parquet(endless()))(scene), "MiB of memory"),
    ("structs in structs", lambda scene: data("x.parquet", parquet(nested(1000)))(scene), "x.parquet: "),
    ("lists in lists", lambda scene: data("x.parquet", parquet(nested(300, of="list")))(scene), "x.parquet: "),
    ("lists of one number", lambda scene: data("x.parquet", parquet(lists(2_000, 20_000)))(scene), "MiB of memory"),
    ("one long list", lambda scene: data("x.parquet", parquet(lists(2, 20_000_000)))(scene), "MiB of memory"),
    ("columns by the thousand", lambda scene: data("x.parquet", parquet(wide(9_000)))(scene), "more than 64"),
    (
        "a key of its own in each row",
        data("x.jsonl", "".join(f'{{"text": "a", "label": 0, "k{n}": 1}}\n' for n in range(20_000))),
        "more than 10,000 columns",
    ),
    (
        "a key of its own in each row, though few",
        data("x.jsonl", "".join(f'{{"text": "a", "label": 0, "k{n}": 1}}\n' for n in range(9_000))),
        "more than 64",
    ),
    ("objects in objects", data("x.jsonl", '{"text": ' + '{"a": ' * 900 + "1" + "}" * 901 + "\n"), "x.jsonl"),
    ("a number of a million digits", data("x.jsonl", '{"text": "a", "label": ' + "1" * 1_000_000 + "}\n"), "x.jsonl"),
    ("a time of nowhere", lambda scene: data("x.parquet", parquet(nowhere()))(scene), "x.parquet: "),
    ("labels in bytes", lambda scene: data("x.parquet", parquet(binary()))(scene), "holds Binary"),
    ("quotes without end", data("x.csv", "text,label\n" + '"' * 5_000_001 + ",1\n"), "x.csv"),
    ("cells without end", data("x.csv", "text,label\n" + "," * 9_000_000 + "\n"), "cells where the header has 2"),
    (
        "columns without end",
        data("x.csv", "text,label" + "".join(f",c{n}" for n in range(20_000)) + "\n"),
        "20,002 columns",
    ),
    ("a file of holes", hollow("x.csv"), "a file of holes"),
    ("a parquet of holes", hollow("x.parquet"), "a file of holes"),
    ("a pipe", pipe("x.csv"), "no such file"),
    ("a pipe in a data set", pipe("set/x.csv"), "neither a file nor a folder"),
    ("a path that climbs", data("../outside/secret.csv"), "below the folder of the spec"),
    ("an absolute path", data("/etc/passwd"), "below the folder of the spec"),
    ("a link out", data("mine.csv", link="../outside/secret.csv"), "below the folder of the spec"),
    ("a link to a device", data("mine.csv", link="/dev/zero"), "below the folder of the spec"),
    ("a pattern", data("'*.csv'", None), "there is no such file"),
    ("a file that is a pattern", data('"[a]*.csv"', "text,label\nred,0\n"), "there is no such file"),
    ("an address", data("https://example.invalid/x.csv"), "no such file"),
    ("a bucket", data("s3://bucket/x.csv"), "no such file"),
    ("a pickle", data("x.pkl", pickle.dumps(Path("x"))), "cannot be read"),
    ("a pickle by another name", data("x.parquet", pickle.dumps(Path("x"))), "x.parquet"),
    ("a parquet of nothing", data("x.parquet", b"PAR1" + b"\xff" * 100 + b"PAR1"), "x.parquet"),
    ("a parquet with a great footer", data("x.parquet", b"PAR1" + b"\0" * 50 + b"\xff\xff\xff\x7fPAR1"), "x.parquet"),
    ("an escape in a label", data("x.csv", "text,label\nred,\x1b]0;owned\x07\n"), "\\x1b]0;owned\\x07"),
    ("an escape in a header", data("x.csv", "text,\x1b[2Jlabel\nred,1\n"), 'no column "label"'),
    ("an escape in a line of JSON", data("x.jsonl", '{"text": "a", "label": "\\u001b[2J"}\n'), "\\x1b[2J"),
    ("a line of JSON in brackets", data("x.jsonl", "[" * 100_000 + "\n"), "x.jsonl"),
    ("ten million characters in a cell", data("x.csv", "text,label\n" + "x" * 10_000_000 + ",1\n"), "longer than"),
    ("files by the thousand", dataset(files=5_000), "more than 5,000 files"),
    ("a link in a data set", dataset(link="../../outside/secret.csv"), "is a link out of the folder"),
    ("a card that climbs", dataset(card("../../outside/secret.csv")), "not in the folder"),
    ("a card with an absolute path", dataset(card("/etc/passwd")), "not in the folder"),
    ("a card with an address", dataset(card("https://example.invalid/x.csv")), "not in the folder"),
    ("a card with a chained address", dataset(card("zip://x.csv::https://example.invalid/x.zip")), "not in the folder"),
    ("a card with aliases", dataset("---\na: &a [x]\nconfigs: [*a, *a]\n---\n"), "aliases"),
    ("a card with a call", dataset("---\nconfigs: !!python/object/apply:os.system ['true']\n---\n"), "no YAML"),
    ("the other card", dataset("configs: [{data_files: ~/x.csv}]\n", name=".huggingface.yaml"), "not in the folder"),
]


@pytest.mark.parametrize("attack", DATA, ids=names(DATA))
def test_data_from_strangers(scene: Scene, attack: Attack, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Less memory and time than people have, so that what never ends does so sooner.
    monkeypatch.setenv(worker.FACTOR, "0.3")
    shutil.copytree(tiny_llama, scene.inside / "model")
    refused(scene, attack)
