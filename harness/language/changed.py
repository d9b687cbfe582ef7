"""Which specs were changed by commits: the files that a spec names are part of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.language.syntax.document import Unreadable, compose
from harness.language.syntax.nodes import plain
from harness.untrusted import git
from harness.untrusted.files import read_ordinary
from harness.untrusted.text import line

_LARGEST_BYTES = 2**20
_LONGEST_PATH = 1000


def changed_since(revision: str, specs: Sequence[Path]) -> list[Path]:
    """The specs that commits since `revision` changed, or of which they changed a file or folder that the spec names.

    A file counts wherever it is named, so that what a spec includes, its data and its beds do. Raises UsageError without git, outside a
    repository, and for an unknown revision.
    """
    found = []
    changed: dict[Path, list[Path]] = {}
    for spec in specs:
        root = Path(os.fsdecode(_git(spec.parent, "rev-parse", "--show-toplevel").rstrip(b"\n")))
        if root not in changed:
            changed[root] = _committed(revision, root)
        named = {path.resolve() for path in files_of(spec)}
        if any(path in named or named.intersection(path.parents) for path in changed[root]):
            found.append(spec)
    return found


def files_of(spec: Path) -> set[Path]:
    """The spec, and the files and folders that it names, or that YAML files named by it do. Others are not looked for above it."""
    found: set[Path] = set()
    waiting = [spec]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.suffix in (".yaml", ".yml"):
            waiting += _named(path)
        elif (card := path / "bed.yaml").is_file():
            waiting.append(card)
    return found


def _named(path: Path) -> Iterator[Path]:
    try:
        root, _ = compose(read_ordinary(path, _LARGEST_BYTES).decode(), str(path))
    except (OSError, ValueError, Unreadable):
        # What cannot be read is told where the spec is run.
        return
    if root is None:
        return
    for text in _texts(plain(root)):
        if text and len(text) <= _LONGEST_PATH and "\0" not in text and text.strip("./"):
            there = path.parent / text
            if there.exists():
                yield Path(os.path.normpath(there))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _committed(revision: str, root: Path) -> list[Path]:
    """Paths that differ between the revision and HEAD."""
    shown = line(revision)
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").decode()
    except UsageError:
        raise UsageError(f'no revision "{shown}" in git here; name a branch, a tag or a commit with --since') from None
    options = ("--name-only", "--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all", "-z")
    names = _git(root, "diff", *options, commit.strip(), "HEAD", "--").split(b"\0")
    return [root.resolve() / os.fsdecode(name) for name in names if name]


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = git.ask(*arguments, folder=folder)
    except FileNotFoundError as error:
        raise UsageError("--since needs git, which is not installed; leave it out to run all specs") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError("git did not answer within a minute") from error
    if done.returncode:
        said = line(done.stderr.decode(errors="replace").strip())
        raise UsageError(f"--since asks git about {folder}, which answers: {said or 'nothing'}")
    return done.stdout
