"""Folders of states from strangers: paths and links that lead out, bombs, arrays and tables that are none."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.attacks.scene import Scene
from tests.attacks.table import Attack, names, refused

ROWS = "y,who\n" + "".join(f"{number % 2},g{number}\n" for number in range(40))
SPEC = "harness: 1\nname: x\nmodel: {states: s}\nprobes: [mean_difference]\nseeds: 2\n"


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text.encode() + b"\n"


ARRAY = header("(40, 2, 4)") + bytes(40 * 2 * 4 * 4)


def zarr(**changes: Any) -> str:
    about: dict[str, Any] = {
        "zarr_format": 3, "node_type": "array", "shape": [40, 2, 4], "data_type": "float32", "fill_value": 0.0, "attributes": {},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [40, 2, 4]}},
        "chunk_key_encoding": {"name": "default"}, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }  # fmt: skip
    return json.dumps(about | changes)


def states(
    array: bytes | str = ARRAY, rows: str | bytes = ROWS, file: str = "states.npy", link: str | None = None, **card: Any
) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        about = {
            "harness_states": 1,
            "states": file.split("/")[0],
            "rows": "rows.csv",
            "columns": {"label": "y", "group": "who"},
        } | card
        scene.write("s/states.json", json.dumps(about))
        scene.write("s/rows.csv", rows)
        if link is None:
            scene.write(f"s/{file}", array)
        else:
            (scene.inside / "s" / file).symlink_to(link)
        scene.write("x.yaml", SPEC)
        return ("run", "x.yaml")

    return prepare


def hollow(scene: Scene) -> Sequence[str]:
    arguments = states(header("(1000000, 100, 100)"))(scene)
    os.truncate(scene.inside / "s" / "states.npy", 4 * 10**10)
    return arguments


def pipe(scene: Scene) -> Sequence[str]:
    arguments = states()(scene)
    (scene.inside / "s" / "states.npy").unlink()
    os.mkfifo(scene.inside / "s" / "states.npy")
    return arguments


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
UNFOLDED = 2**28
"""Bytes that a bomb unfolds to where a library unfolds it; the numbers of its chunk take 1,280."""


def bomb(
    chunk: Callable[[], bytes], codecs: Sequence[dict[str, Any]], **metadata: Any
) -> Callable[[Scene], Sequence[str]]:
    """A sound folder with a chunk that unfolds to more than the metadata say."""

    def prepare(scene: Scene) -> Sequence[str]:
        arguments = states(zarr(codecs=codecs, **metadata), file="x.zarr/zarr.json")(scene)
        scene.write("s/x.zarr/c/0/0/0", chunk())
        return arguments

    return prepare


def of_zstd() -> bytes:
    """A frame of blocks that repeat one byte."""
    blocks = UNFOLDED >> 17
    said = b"\x28\xb5\x2f\xfd\xe0" + UNFOLDED.to_bytes(8, "little")
    return said + b"".join((2**20 | 2 | (last == blocks - 1)).to_bytes(3, "little") + b"\0" for last in range(blocks))


def of_gzip() -> bytes:
    return gzip.compress(bytes(UNFOLDED), compresslevel=1)


def of_blosc() -> bytes:
    from numcodecs import Blosc

    packed: bytes = Blosc(cname="zstd", clevel=1).encode(bytes(UNFOLDED))
    return packed


WIDE = {
    "shape": [40, 2, 1_600_000],
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [40, 2, 1_600_000]}},
}
SHARDS = {"chunk_shape": [1, 1, 1], "codecs": [BYTES], "index_codecs": [BYTES], "index_location": "end"}
BLOSC = {"typesize": 1, "cname": "zstd", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}
BOMBS: list[Attack] = [
    ("a chunk of zstd", bomb(of_zstd, [BYTES, {"name": "zstd", "configuration": {"level": 0, "checksum": False}}]), "its numbers take 1,280"),
    ("a chunk of gzip", bomb(of_gzip, [BYTES, {"name": "gzip", "configuration": {"level": 5}}]), "its numbers take 1,280"),
    ("a chunk of blosc", bomb(of_blosc, [BYTES, {"name": "blosc", "configuration": BLOSC}]), "its numbers take 1,280"),
    ("a shard of a chunk for each number", bomb(lambda: bytes(100), [{"name": "sharding_indexed", "configuration": SHARDS}], **WIDE), "chunks of"),
]  # fmt: skip


@pytest.mark.parametrize("attack", BOMBS, ids=names(BOMBS))
def test_bombs_are_not_unfolded(attack: Attack, scene: Scene) -> None:
    pytest.importorskip("zarr")
    refused(scene, attack)


def test_a_bomb_is_one() -> None:
    """The controls: each of them is as large as it says, and small on disk."""
    numcodecs = pytest.importorskip("numcodecs")
    for made, codec in ((of_zstd(), numcodecs.Zstd()), (of_gzip(), numcodecs.GZip()), (of_blosc(), numcodecs.Blosc())):
        assert len(made) < UNFOLDED / 100
        assert len(codec.decode(made)) == UNFOLDED


STATES: list[Attack] = [
    ("an array that climbs", states(states="../../outside/secret.csv"), "leads out of its folder"),
    ("an array elsewhere", states(states="/etc/passwd"), "leads out of its folder"),
    ("a card that says more", states(more=1), "unknown field"),
    ("a table elsewhere", states(rows="y,who\n", columns={"label": "y"}), "there are no rows"),
    ("an array behind a link", states(link="../../outside/secret.csv"), "leads out of its folder by a link"),
    ("an array behind a link to a device", states(link="/dev/zero"), "leads out of its folder by a link"),
    ("a pipe", pipe, "no ordinary file"),
    ("an array of holes", hollow, "most of the file was never written"),
    ("pickled objects", states(header("(40, 2, 4)", "|O") + b"cos\nsystem\n(S'touch harmed'\ntR."), "no array of numpy"),
    ("a header that is code", states(header("__import__('os').system('touch harmed')")), "no array of numpy"),
    ("an array without end", states(header(f"({10**12}, 2, 4)")), "no array of numpy"),
    ("tensors whose header is without end", states((10**15).to_bytes(8, "little"), file="x.safetensors"), "no safetensors file"),
    ("chunks without end", states(zarr(shape=[10**9, 2, 4], chunk_grid={"configuration": {"chunk_shape": [10**9, 2, 4]}}), file="x.zarr/zarr.json"), "chunks of"),
    ("chunks by the million", states(zarr(shape=[10**9, 2, 4], chunk_grid={"configuration": {"chunk_shape": [1, 1, 1]}}), file="x.zarr/zarr.json"), "chunks of"),
    ("a codec of their own", states(zarr(codecs=[{"name": "numcodecs.pickle"}]), file="x.zarr/zarr.json"), "is not read here"),
    ("metadata that are none", states("[" * 100_000, file="x.zarr/zarr.json"), "no Zarr array"),
    ("rows that are not those of the array", states(rows=ROWS + "1,more\n"), "41 rows, and the array has 40"),
    ("a number that is none", states(header("(40, 2, 4)") + b"\xff" * 1280), "is not finite at layer 0"),
    ("a table of quotes", states(rows="y,who\n" + '"' * 5_000_001 + ",1\n"), "rows.csv"),
    ("answers by the thousand", states(answers=[f"a{number}" for number in range(1001)]), "at most 1,000 classes"),
    ("classes of a factor by the thousand", states(factors={"who": [f"g{number}" for number in range(40_000)]}), "`factors.who` are 40,000 names"),
    ("a card of brackets", lambda scene: (states()(scene), scene.write("s/states.json", "[" * 100_000))[0], "not a readable card"),
]  # fmt: skip


@pytest.mark.parametrize("attack", STATES, ids=names(STATES))
def test_states_from_strangers(attack: Attack, scene: Scene) -> None:
    refused(scene, attack)


def test_the_control(scene: Scene) -> None:
    """The same folder as its owner would have written it is read."""
    import numpy as np

    array = np.random.default_rng(0).standard_normal((40, 2, 4)).astype("<f4")
    said = scene.run(*states(header("(40, 2, 4)") + array.tobytes())(scene))
    assert said.code == 0, said
