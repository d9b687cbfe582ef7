"""The artifact store: a folder or a bucket in which everything that was computed lies under a hash of what it was made from."""

from __future__ import annotations

from harness.store.bucket import ObjectStore, local_store, store_at
from harness.store.keys import cache_folder, content_key, default_root
from harness.store.store import FORMAT, LARGEST_META, Artifact, Store, sealed, unsealed

__all__ = [
    "FORMAT",
    "LARGEST_META",
    "Artifact",
    "ObjectStore",
    "Store",
    "cache_folder",
    "content_key",
    "default_root",
    "local_store",
    "sealed",
    "store_at",
    "unsealed",
]
