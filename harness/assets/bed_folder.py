"""The folder of a test bed that somebody published: beside the spec, anywhere on this machine, or on the Hub.

It comes from a stranger. Nothing in it leads out of it, by a link or otherwise; and of a repository on the Hub only files of
known kinds are taken, never code. The Hub's cache is made of links, so that a bed from there has a folder of its own in the
user's cache, whose files are those of the repository (hard links where the disk can do them).
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import msgspec

from harness.assets import hub
from harness.errors import UsageError
from harness.store import cache_folder
from harness.untrusted.files import is_irregular
from harness.untrusted.paths import is_below, own_path

CARD = "bed.yaml"

LARGEST = 10_000
"""Files and folders in a bed."""

_KINDS = (".csv", ".jinja", ".json", ".jsonl", ".md", ".model", ".parquet", ".safetensors", ".tiktoken", ".tsv", ".txt")
_PICKLES = (".bin", ".pt", ".pth")
_CODE = (".py",)


class BedFolder(msgspec.Struct, frozen=True):
    """Where a bed lies on this machine."""

    folder: Path
    revision: str = ""
    """Commit on the Hub; empty for a local folder."""


def is_own(name: str) -> bool:
    """Whether a bed's name is that of a folder or of a repository, and not of one that comes with the program."""
    return name.startswith((".", "~")) or "/" in name or "\\" in name


def find_bed(
    name: str, revision: str, base: Path, *, whole: bool, pickles: bool = False, code: bool = False
) -> BedFolder:
    """The folder of a bed. `base` is the spec's, where relative paths start.

    Of a bed on the Hub only the card is fetched unless `whole`. Raises UsageError for a name that leads nowhere or a folder
    that leads out, HarnessError where the Hub cannot be reached.
    """
    if "\0" in name:
        raise UsageError("a folder's name has no NUL in it")
    place = own_path(name)
    place = place if place.is_absolute() else base / place
    if place.is_dir():
        found = BedFolder(place)
    elif name.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UsageError(f"no folder {place}")
    else:
        found = _from_hub(name, revision, (*_KINDS, *(_PICKLES * pickles), *(_CODE * code)) if whole else ())
    if not (found.folder / CARD).is_file():
        where = found.folder if not found.revision else f"{name} on the Hub"
        raise UsageError(f"{where} is no bed: it has no {CARD}; `harness bed init FOLDER` writes one to begin with")
    check_inside(found.folder)
    return found


def files_of(folder: Path) -> list[Path]:
    """Everything in a folder but what is hidden, sorted by path. Raises UsageError for more than a bed can have."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in (*folders, *files) if not name.startswith(".")]
        if len(found) > LARGEST:
            raise UsageError(f"{folder} holds more than {LARGEST:,} files, and no bed does; name the bed's own folder")
    return sorted(found)


def check_inside(folder: Path) -> None:
    """Raises UsageError for a link that leads out of the folder, and for what is neither file nor folder."""
    for path in files_of(folder):
        if path.is_symlink() and not is_below(path, folder):
            raise UsageError(f"{path} is a link out of the bed's folder; copy the file into it")
        if is_irregular(path):
            raise UsageError(f"{path} is neither a file nor a folder; take it away")


def _from_hub(name: str, revision: str, endings: tuple[str, ...]) -> BedFolder:
    repository = hub.Repository(
        name=name,
        revision=revision,
        unknown=f"no folder {name}, and no such repository on the Hub (or it is private: set HF_TOKEN)",
        instead="in its place, as in {bed: ./my-bed}",
    )
    snapshot = hub.fetch(repository, [CARD, *(f"*{ending}" for ending in endings)])
    target = cache_folder() / "beds" / name.replace("/", "--") / snapshot.name
    # A snapshot is links to files of the repository's own part of the cache, and to nothing else.
    cache = snapshot.parent.parent
    for path in files_of(snapshot):
        if not is_below(path, cache):
            raise UsageError(f"{name}: {path.relative_to(snapshot)} is a link out of the repository")
        if path.name == CARD or path.suffix in endings:
            _put(path.resolve(), target / path.relative_to(snapshot))
    return BedFolder(target, snapshot.name)


def _put(source: Path, target: Path) -> None:
    """The same file under another name, for as little room as the disk allows."""
    if target.exists() or not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return  # another process has put it there
    except OSError:
        draft = target.with_name(f".{target.name}~{os.getpid()}")
        shutil.copyfile(source, draft)
        draft.replace(target)
