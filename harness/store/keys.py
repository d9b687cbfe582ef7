"""Where the store lies, and the keys of what is in it: hashes of plain values."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any


def default_root() -> Path:
    """`HARNESS_STORE` where set, else a folder under the user's cache."""
    if root := os.environ.get("HARNESS_STORE"):
        return Path(root)
    return cache_folder() / "store"


def cache_folder() -> Path:
    """The user's cache folder for this program (XDG_CACHE_HOME is honoured)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harness"


def content_key(*parts: Any) -> str:
    """A short hash of plain values (numbers, strings, lists, dicts, structs); equal values give equal keys."""
    import msgspec

    encoded = msgspec.json.encode(parts, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:24]
