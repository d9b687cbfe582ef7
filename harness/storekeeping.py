"""Housekeeping of the artifact store: what is there, is it sound, what may go."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from rich.table import Table

from harness.store import Store

DRAFT_AGE_S = 24 * 3600.0
"""Drafts (NAME~…) of killed runs are removed after a day; a younger one may be in the making."""


def overview(store: Store) -> Table:
    """One row per kind of artifact, and the sum."""
    table = Table(title=f"store: {store.root}", title_justify="left")
    for name in ("kind", "artifacts", "MiB", "last used"):
        table.add_column(name, justify="left" if name in ("kind", "last used") else "right")
    total_count, total_size = 0, 0
    for kind in _kinds(store):
        keys = store.keys(kind)
        size = sum(_size(store.place(kind, key)) for key in keys)
        used = max((_used(store.place(kind, key)) for key in keys), default=0.0)
        table.add_row(kind, str(len(keys)), f"{size / 2**20:.1f}", _age(used))
        total_count += len(keys)
        total_size += size
    table.add_row("all", str(total_count), f"{total_size / 2**20:.1f}", "")
    return table


def verify(store: Store) -> tuple[int, list[str]]:
    """Verifies every artifact: how many are sound, and what was damaged (it is removed)."""
    sound = sum(store.open(kind, key) is not None for kind in _kinds(store) for key in store.keys(kind))
    return sound, store.damaged


def prune(store: Store, age_s: float, dry_run: bool = False) -> tuple[int, int]:
    """Removes what was not used for `age_s` seconds; the count and the bytes that it took."""
    now = time.time()
    count = size = 0
    for kind in _kinds(store):
        for key in store.keys(kind):
            place = store.place(kind, key)
            if now - _used(place) > age_s:
                count, size = count + 1, size + _size(place)
                if not dry_run:
                    store.remove(kind, key)
        for draft in (store.root / kind).glob("*~*"):
            if now - draft.stat().st_mtime > DRAFT_AGE_S and not dry_run:
                shutil.rmtree(draft, ignore_errors=True)
    return count, size


def _kinds(store: Store) -> list[str]:
    if not store.root.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(store.root) if entry.is_dir() and entry.name != "plans")


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _used(place: Path) -> float:
    """When the artifact was last written or opened (opening touches its description)."""
    try:
        return (place / "meta.json").stat().st_mtime
    except OSError:
        return 0.0


def _age(moment: float) -> str:
    if not moment:
        return ""
    hours = (time.time() - moment) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
