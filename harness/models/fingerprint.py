"""Content hashes of model files, remembered by path, size and time of change so that a plan need not read gigabytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.store import cache_folder

_VOLATILE = {
    "_from_model_config",
    "_name_or_path",
    "architectures",
    "dtype",
    "output_attentions",
    "output_hidden_states",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
"""Keys of config.json that say who saved it, not what the network computes."""


def file_sha256(path: Path) -> str:
    """SHA-256 of a file. A file that is the same one on disk, of the same size and not written since, is not read again."""
    real = path.resolve()
    state = real.stat()
    # Not the time of modification alone: copying and unpacking with times kept puts another file there of the same size and time.
    stamp = [str(real), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    memo = cache_folder() / "hashes" / f"{hashlib.sha256(str(real).encode()).hexdigest()[:24]}.json"
    try:
        remembered = json.loads(memo.read_bytes())
        if remembered["stamp"] == stamp:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never hashed, or the note is damaged: hash it now
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(memo, {"stamp": stamp, "sha256": digest})
    return digest


def _remember(memo: Path, note: dict[str, Any]) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        draft = memo.with_name(f"{memo.name}~{os.getpid()}-{uuid4().hex[:8]}")
        draft.write_text(json.dumps(note))
        draft.replace(memo)
    except OSError:
        return  # a cache that cannot be written costs time, nothing else


def combined(files: Sequence[Path], values: Sequence[object] = ()) -> str:
    """One hash of files (by name and content) and plain values."""
    parts = [[path.name, file_sha256(path)] for path in sorted(files, key=lambda path: path.name)]
    return hashlib.sha256(json.dumps([parts, list(values)], sort_keys=True).encode()).hexdigest()[:32]


def meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the keys that do not change the network."""
    return {key: _plain(value) for key, value in config.items() if key not in _VOLATILE}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return meaning(value)
    if isinstance(value, list):
        return [_plain(item) if isinstance(item, int) else item for item in value]
    # A whole number that no 64 bits hold cannot be hashed as one.
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value
