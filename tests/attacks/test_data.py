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

import pytest

from harness.data import _bombs
from tests.attacks.scene import Scene
from tests.attacks.table import Attack, names, refused
from tests.test_pipeline import TEXT


def data(name: str, content: str | bytes | None = None, link: str | None = None) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        if content is not None:
            scene.write(name, content)
        if link is not None:
            (scene.inside / name).symlink_to(link)
        scene.write("x.yaml", TEXT.replace("MODEL", "model").replace("colours.csv", name).replace("colour", "text"))
        return ("run", "x.yaml")

    return prepare


def dataset(card: str = "", link: str | None = None, name: str = "README.md") -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        scene.write("set/train.csv", "text,label\nred,0\nblue,1\n" * 40)
        if card:
            scene.write(f"set/{name}", card)
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
    ("a category of ten million characters", data("x.parquet", repeated(10_000_000, 1000)), "longer than"),
    ("a text by the thousand", data("x.parquet", repeated(3_000_000, 5000, store_schema=False)), "6 GiB written out"),
    ("rows without end", data("x.parquet", repeated(1, 60_000)), "60,000 rows, and 50,000 are allowed"),
    (
        "columns without end",
        data("x.csv", "text,label" + "".join(f",c{n}" for n in range(20_000)) + "\n"),
        "20,002 columns",
    ),
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
    monkeypatch.setattr(_bombs, "MOST_ROWS", 50_000)
    shutil.copytree(tiny_llama, scene.inside / "model")
    refused(scene, attack)
