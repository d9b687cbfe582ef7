"""Assets: real models and texts that package registries carry, pinned by hash; and what is found on the Hub."""

from __future__ import annotations

from harness.assets.bring import bring, is_here
from harness.assets.catalog import CATALOG, Asset

__all__ = ["CATALOG", "Asset", "bring", "is_here"]
