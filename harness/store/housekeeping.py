"""Housekeeping of the artifact store: lists, verifies and prunes artifacts.

Only a folder that is marked as a store is tidied up, links are never followed, and what a running process uses stays.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import UsageError
from harness.store import last_runs, leases
from harness.store.store import FORMAT, Store, description, format_of
from harness.untrusted.text import line

if TYPE_CHECKING:
    from rich.table import Table

DRAFT_AGE_S = 24 * 3600.0
"""Drafts (NAME~…) of killed runs are removed after a day; a younger one may be in the making."""

_LATEST = 2.0**36
"""Seconds since the epoch, in a thousand years: what claims to be younger says nothing."""
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_NOT_ARTIFACTS = {last_runs.FOLDER, leases.FOLDER}


class Entry(msgspec.Struct, frozen=True):
    """One artifact, looked at from outside."""

    kind: str
    key: str
    bytes: int
    made: float | None
    """Seconds since the epoch; None where its description cannot be read."""
    used: float
    """When it was last written or opened."""
    format: int | None
    """None where its description cannot be read."""
    used_by: tuple[str, ...]
    """Specs whose last run refers to it."""
    in_use: bool
    """Whether a process that is running now uses it."""


class Pruned(msgspec.Struct, frozen=True):
    """The artifacts that a pruning removed, or would remove."""

    count: int
    bytes: int
    in_use: int
    """Artifacts that would have gone, if no running process used them."""


def seconds(text: str) -> float:
    """The seconds of `30d`, `12h`, `2w`, `90min`; a bare number is days. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)(s|min|h|d|w)?", text.strip())
    if not found:
        raise UsageError(f'"{text}" is no span of time; write 30d, 12h or 2w')
    return float(found[1]) * _UNITS[found[2] or "d"]


def entries(store: Store) -> Iterator[Entry]:
    """Every artifact, by kind and key."""
    runs = last_runs.everything(store)
    running = leases.living(store)
    for kind in _kinds(store):
        for key in _keys(store, kind):
            place, name = store.place(kind, key), f"{kind}/{key}"
            used = _used(place)
            about = _description(store, kind, key)
            yield Entry(
                kind=kind,
                key=key,
                bytes=_size(place),
                made=about.get("made"),
                used=used,
                format=about.get("format"),
                used_by=tuple(run.name for run in runs if run.refers_to(name)),
                # What it opened or wrote since it began, besides what its plan names; file systems keep coarse times.
                in_use=any(used >= note.since - 2 or last_runs.refers(note.uses, name) for note in running),
            )


def as_json(store: Store) -> dict[str, Any]:
    """Everything about the store, for programs."""
    found = list(entries(store))
    return {
        "root": str(store.root),
        "format": FORMAT,
        "bytes": sum(entry.bytes for entry in found),
        "specs": [run.name for run in last_runs.everything(store)],
        "running": [{"host": note.host, "pid": note.pid, "since": note.since} for note in leases.living(store)],
        "artifacts": [msgspec.to_builtins(entry) for entry in found],
    }


def overview(store: Store) -> Table:
    """One row per kind of artifact, and the sum."""
    table = _table(f"store: {store.root}", ("kind", "artifacts", "MiB", "last used", "used by"))
    found = list(entries(store))
    for kind in sorted({entry.kind for entry in found}):
        of_kind = [entry for entry in found if entry.kind == kind]
        _row(table, kind, of_kind)
    _row(table, "all", found)
    return table


def listing(store: Store, kind: str) -> Table:
    """One row per artifact of a kind. Raises UsageError where there is none of that kind."""
    if kind not in _kinds(store):
        raise UsageError(f'the store has no "{kind}"; it has {", ".join(_kinds(store)) or "nothing"}')
    table = _table(f"{kind} in {store.root}", ("key", "MiB", "made", "last used", "used by"))
    for entry in entries(store):
        if entry.kind != kind:
            continue
        note = "" if entry.format == FORMAT else f" (format {entry.format}: not read)"
        users = ", ".join(entry.used_by) or "–"
        running = " (in use now)" if entry.in_use else ""
        _add(table, entry.key + note, _mib(entry.bytes), _age(entry.made), _age(entry.used), users + running)
    return table


def verify(store: Store) -> tuple[int, list[str]]:
    """Verifies every artifact: how many are sound, and what was damaged (it is removed)."""
    _check(store)
    names = [(kind, key) for kind in _kinds(store) for key in _keys(store, kind)]
    sound = sum(store.open(kind, key, touch=False) is not None for kind, key in names)
    return sound, store.damaged


def prune(store: Store, older_than_s: float | None = None, unused: bool = False, dry_run: bool = False) -> Pruned:
    """Removes artifacts that were not used for `older_than_s` and, if `unused`, that no spec's last run refers to.

    Both where both are given. Kinds that no run refers to by name go by age alone. Raises UsageError for a
    folder that is no store.
    """
    _check(store)
    found = list(entries(store))
    referred = {use.split("/")[0] for run in last_runs.everything(store) for use in run.uses}
    old = [e for e in found if older_than_s is None or time.time() - e.used > older_than_s]
    if unused:
        old = [
            e for e in old if not e.used_by and (older_than_s is not None or e.kind in referred or e.format != FORMAT)
        ]
    going = [entry for entry in old if not entry.in_use]
    if not dry_run:
        for entry in going:
            store.remove(entry.kind, entry.key)
        _sweep(store)
    return Pruned(len(going), sum(entry.bytes for entry in going), len(old) - len(going))


def _sweep(store: Store) -> None:
    """Removes the files that killed processes left behind."""
    leases.clear(store)
    for folder in (*_kinds(store), *_NOT_ARTIFACTS):
        for draft in store.folder(folder).glob("*~*"):
            if draft.is_symlink() or time.time() - draft.stat().st_mtime < DRAFT_AGE_S:
                continue
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)


def _check(store: Store) -> None:
    if store.root.is_dir() and not store.is_store and any(store.root.iterdir()):
        raise UsageError(
            f"{store.root} is not marked as a store (no CACHEDIR.TAG of this program in it), so nothing in it is removed; "
            "a run into it marks it"
        )


def _kinds(store: Store) -> list[str]:
    return [name for name in _folders(store.root) if name not in _NOT_ARTIFACTS]


def _keys(store: Store, kind: str) -> list[str]:
    return [name for name in _folders(store.root / kind) if "~" not in name]


def _folders(place: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _description(store: Store, kind: str, key: str) -> dict[str, Any]:
    """Format and time of an artifact; empty where its description cannot be read."""
    try:
        raw = description(store.place(kind, key))
    except OSError:
        return {}
    number = format_of(raw)
    if number is None:
        return {}
    made = json.loads(raw).get("made")
    # A stranger's may be any number, of any size.
    return {"made": made if isinstance(made, float) and 0 < made < _LATEST else None, "format": number}


def _size(place: Path) -> int:
    return sum(path.lstat().st_size for path in place.rglob("*") if not path.is_dir())


def _used(place: Path) -> float:
    """When the artifact was last written or opened (opening touches its description)."""
    for path in (place / "meta.json", place):
        try:
            return path.lstat().st_mtime
        except OSError:
            continue
    return 0.0


def _table(title: str, columns: tuple[str, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(line(title)), title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in ("artifacts", "MiB") else "left", overflow="fold")
    return table


def _row(table: Table, title: str, found: list[Entry]) -> None:
    users = ", ".join(sorted({name for entry in found for name in entry.used_by})) or "–"
    other = sum(entry.format != FORMAT for entry in found)
    users += f"; {other} of another format" if other else ""
    used = max((entry.used for entry in found), default=0.0)
    _add(table, title, str(len(found)), _mib(sum(entry.bytes for entry in found)), _age(used), users)


def _add(table: Table, *cells: str) -> None:
    from rich.text import Text

    # Whatever lies in a store is shown by its name, and a stranger may have made it.
    table.add_row(*(Text(line(cell)) for cell in cells))


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f}"


def _age(moment: float | None) -> str:
    if not moment:
        return ""
    hours = (time.time() - moment) / 3600
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} days ago"
