"""Data from strangers: paths and links that lead out, pickles, escapes, cards that name other files."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

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

DATA: list[Attack] = [
    ("a path that climbs", data("../outside/secret.csv"), "below the folder of the spec"),
    ("an absolute path", data("/etc/passwd"), "below the folder of the spec"),
    ("a link out", data("mine.csv", link="../outside/secret.csv"), "below the folder of the spec"),
    ("a link to a device", data("mine.csv", link="/dev/zero"), "below the folder of the spec"),
    ("a pattern", data("'*.csv'", None), "is a pattern"),
    ("a file that is a pattern", data('"[a]*.csv"', "text,label\nred,0\n"), "is a pattern"),
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
def test_data_from_strangers(scene: Scene, attack: Attack, tiny_llama: Path) -> None:
    shutil.copytree(tiny_llama, scene.inside / "model")
    refused(scene, attack)
