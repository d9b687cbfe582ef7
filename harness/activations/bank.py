"""The bank: stored states, row by row, so that a row is forwarded once whatever asks for it.

A bank belongs to one network in one precision. It consists of shards, each an artifact of the store with the states of a
few hundred rows, (layer, row, d_model), and the rows' keys in its description. A shard serves every request for layers
that it has. Reading maps the files into memory and copies only the layers and rows asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import StoreError
from harness.store import Store, content_key
from harness.store.reading import SEEN_S
from harness.store.tensors import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

_FILE = "states.safetensors"


class _Shard(msgspec.Struct, frozen=True):
    """A shard's description."""

    rows: list[str]
    layers: list[int]
    log_prob: bool
    how: str
    """How its states were got, for the report."""


class _Place(msgspec.Struct, frozen=True):
    shard: str
    row: int


class Bank:
    """The stored states of one network, for readers of certain layers."""

    def __init__(self, store: Store, key: str, layers: Sequence[int], log_prob: bool, kind: str = "states"):
        """`kind` is the folder of the store. Only shards that hold all of `layers` (and the answers' log-probabilities, if `log_prob`) are looked at."""
        self.store = store
        self._kind = kind
        self.key = key
        self.layers = tuple(layers)
        self.log_prob_wanted = log_prob
        self._shards: dict[str, _Shard] = {}
        self._index: dict[str, _Place] = {}
        self._opened: dict[str, Path] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look at what the store holds now."""
        for name in self.store.keys(self._kind, f"{self.key}-"):
            if name not in self._shards and (about := self.store.meta(self._kind, name)) is not None:
                try:
                    self._add(name, msgspec.convert(about, _Shard))
                except msgspec.ValidationError:
                    self.store.set_aside(self._kind, name)

    def await_rows(self, keys: Sequence[str]) -> None:
        """Wait until rows that another process has stored are seen here, which a shared disk may delay. Raises StoreError."""
        deadline = time.monotonic() + SEEN_S
        while missing := [key for key in keys if key not in self._index]:
            self.refresh()
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{len(missing)} rows of states that another process stored are not seen here after {SEEN_S:.0f} s; "
                    f"is {self.store.root} the same folder for all?"
                )
            if missing[0] not in self._index:
                time.sleep(0.2)

    def have(self, keys: Iterable[str]) -> set[str]:
        """The rows that are stored, of those given. Their files are not verified: see `verify`."""
        return {key for key in keys if key in self._index}

    def verify(self, keys: Iterable[str]) -> None:
        """Check the files of these rows, each once. Rows of a damaged file are no longer among those that we have."""
        for name in sorted({self._index[key].shard for key in keys if key in self._index}):
            self._open(name)

    def how(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The ways in which the states of these rows were forwarded, each once."""
        return tuple(sorted({self._shards[self._index[key].shard].how for key in keys if key in self._index}))

    def add(self, keys: Sequence[str], states: Tensor, log_prob: Tensor | None, how: str) -> None:
        """Store the states of some rows, (layer, row, d_model), on the processor, as one shard."""
        name = f"{self.key}-{content_key(list(keys), self.layers, log_prob is not None)}"
        about = _Shard(list(keys), list(self.layers), log_prob is not None, how)
        tensors = {"states": states}
        if log_prob is not None:
            tensors["log_prob"] = log_prob.float()
        digests: dict[str, str] = {}
        with self.store.write(self._kind, name, msgspec.to_builtins(about), digests=digests) as folder:
            digests[_FILE] = write_tensors(folder / _FILE, tensors)
        self._add(name, about)

    def read(self, keys: Sequence[str], layers: Sequence[int]) -> Tensor:
        """States of stored rows, float32, (layer, row, d_model), in the order asked for. Raises StoreError if one is damaged."""
        import torch
        from safetensors import safe_open

        out: Tensor | None = None
        for name, wanted in self._by_shard(keys).items():
            with safe_open(self._sound(name), framework="pt") as file:
                # Of a mapped file only the layers asked for are read.
                states = file.get_slice("states")
                if out is None:
                    out = torch.empty((len(layers), len(keys), states.get_shape()[-1]), dtype=torch.float32)
                target = torch.tensor([number for number, _ in wanted])
                source = torch.tensor([row for _, row in wanted])
                held = self._shards[name].layers
                for number, layer in enumerate(layers):
                    out[number, target] = states[held.index(layer)].index_select(0, source).float()
        assert out is not None, "no rows asked for"
        return out

    def log_prob(self, keys: Sequence[str]) -> Tensor:
        """log P(answer) of stored rows, float32, (row,)."""
        import torch
        from safetensors import safe_open

        out = torch.empty(len(keys), dtype=torch.float32)
        for name, wanted in self._by_shard(keys).items():
            with safe_open(self._sound(name), framework="pt") as file:
                found = file.get_tensor("log_prob")
                out[torch.tensor([number for number, _ in wanted])] = found[torch.tensor([row for _, row in wanted])]
        return out

    def _add(self, name: str, shard: _Shard) -> None:
        self._shards[name] = shard
        if set(self.layers) <= set(shard.layers) and (shard.log_prob or not self.log_prob_wanted):
            for row, key in enumerate(shard.rows):
                self._index.setdefault(key, _Place(name, row))

    def _by_shard(self, keys: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        """For each shard, which of the asked rows it holds, and where."""
        found: dict[str, list[tuple[int, int]]] = {}
        for number, key in enumerate(keys):
            place = self._index[key]
            found.setdefault(place.shard, []).append((number, place.row))
        return found

    def _sound(self, name: str) -> Path:
        path = self._open(name)
        if path is None:
            raise StoreError(f"stored states were found damaged ({name}) and set aside; run again to make them anew")
        return path

    def _open(self, name: str) -> Path | None:
        """A shard's file, verified the first time; None and forgotten if it is damaged."""
        if name not in self._opened:
            artifact = self.store.open(self._kind, name)
            if artifact is not None and not (_FILE in artifact.files and _fits(artifact / _FILE, self._shards[name])):
                self.store.set_aside(self._kind, name)
                artifact = None
            if artifact is None:
                self._forget(name)
                return None
            self._opened[name] = artifact / _FILE
        return self._opened[name]

    def _forget(self, name: str) -> None:
        del self._shards[name]
        self._index = {}
        for other, shard in sorted(self._shards.items()):
            self._add(other, shard)


def _fits(file: Path, shard: _Shard) -> bool:
    """Whether a shard's file holds what its description says. Checksums say only that nobody changed it since."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            shape = opened.get_slice("states").get_shape()
            chances = opened.get_slice("log_prob").get_shape() if shard.log_prob else [len(shard.rows)]
    except (OSError, SafetensorError):
        return False
    return len(shape) == 3 and shape[:2] == [len(shard.layers), len(shard.rows)] and chances == [len(shard.rows)]
