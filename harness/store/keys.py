"""Where the store lies, and the keys of what is in it: hashes of plain values."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import platformdirs

from harness.untrusted.paths import own_path


def default_root() -> Path:
    """`HARNESS_STORE` where set, else a folder under the user's cache."""
    if root := os.environ.get("HARNESS_STORE"):
        return own_path(root)
    return cache_folder() / "store"


def cache_folder() -> Path:
    """The user's cache folder for this program: ~/.cache/harness on Linux, or below XDG_CACHE_HOME."""
    return platformdirs.user_cache_path("harness", appauthor=False)


def content_key(*parts: Any) -> str:
    """A short hash of plain values (numbers, strings, lists, dicts, structs); equal values give equal keys."""
    import msgspec

    encoded = msgspec.json.encode(parts, order="deterministic")
    return hashlib.sha256(encoded).hexdigest()[:24]
