"""What the last run of each spec was made from, and which artifacts it refers to.

It lies in the store beside the artifacts. It says why a stage has to be computed again, and what may be tidied up; no result
depends on it, so that one that cannot be read is as good as none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import msgspec

from harness.store.store import LARGEST_META, Store, sealed, unsealed
from harness.untrusted.files import read_ordinary

FOLDER = "plans"


class LastRun(msgspec.Struct, frozen=True):
    """The last run of the spec of a name."""

    name: str
    stages: dict[str, dict[str, str]]
    """By a stage's title, its ingredients."""
    uses: list[str]
    """KIND/KEY of artifacts; KIND/PREFIX- where it stands for all artifacts whose keys begin so."""
    definitions: bytes = b""
    """Short hashes of the definitions that its code reached; see `harness.code.code_version.hashes_of`."""

    def refers_to(self, artifact: str) -> bool:
        return refers(self.uses, artifact)


def refers(uses: list[str], artifact: str) -> bool:
    """Whether KIND/KEY is among its artifacts, or begins as one that ends in a hyphen."""
    return any(artifact == use or (use.endswith("-") and artifact.startswith(use)) for use in uses)


def keep(store: Store, run: LastRun) -> None:
    """Writes the note. Raises StoreError when the disk is full; a store that may not be written goes without."""
    place = store.folder(FOLDER) / f"{run.name}.json"
    draft = place.with_name(f"{place.name}~{os.getpid()}-{uuid4().hex[:8]}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(sealed(msgspec.to_builtins(run)))
            draft.replace(place)
        finally:
            with suppress(OSError):
                draft.unlink()
    except OSError as error:
        if not store.is_read_only(error):
            raise store.explain(error) from error


def recall(store: Store, name: str) -> LastRun | None:
    """The last run of the spec of that name; None if there was none, or its note is damaged or of an older layout."""
    place = store.folder(FOLDER) / f"{name}.json"
    # Read once: another run may put one there at any moment.
    content = _content(place)
    if content is None:
        return None
    found = _run_of(content)
    if found is None and _was_sealed(content):
        store.damaged.append(f"{FOLDER}/{place.name}")
    return found


def everything(store: Store) -> list[LastRun]:
    """The last run of every spec, by name."""
    notes = sorted(store.folder(FOLDER).glob("*.json"))
    return [found for path in notes if (found := _run_of(_content(path) or b"")) is not None]


def _content(path: Path) -> bytes | None:
    """A note as it stands there; None where there is none, and nothing where it cannot be read."""
    try:
        return read_ordinary(path, LARGEST_META, links=False)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def _run_of(content: bytes) -> LastRun | None:
    try:
        found = unsealed(content)
        return None if found is None else msgspec.convert(found, LastRun)
    except msgspec.ValidationError:
        return None


def _was_sealed(content: bytes) -> bool:
    """Whether what cannot be used is a damaged note of this layout. Those of the first layout had neither word in them."""
    return not content or any(word in content for word in (b'"seal"', b'"uses"'))
