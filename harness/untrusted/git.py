"""Git, asked about a folder that a stranger may have made: none of their programs is run.

A repository's own configuration can name programs that git runs even for `status`: file-system monitors, filters, hooks,
transports. They are all switched off, so that looking at a stranger's folder runs nothing of theirs.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SWITCHED_OFF = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "core.pager=cat", "protocol.allow=never")
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    # No transport of that name: a lazy fetch would run the repository's own command.
    "GIT_ALLOW_PROTOCOL": "none",
}


def ask(*arguments: str, folder: Path | None = None, timeout_s: float = 60) -> subprocess.CompletedProcess[bytes]:
    """What git answers in `folder`. Raises FileNotFoundError without git, subprocess.TimeoutExpired."""
    return _run(_SWITCHED_OFF, arguments, folder, timeout_s)


def changed(folder: Path, timeout_s: float = 60) -> tuple[Path, list[str]] | None:
    """The root of `folder`'s repository, and what git tracks there and was changed; None where it cannot tell. Raises as `ask`."""
    listed = ask("config", "--name-only", "--null", "--get-regexp", r"^filter\.", folder=folder, timeout_s=timeout_s)
    names = {name for name in listed.stdout.decode(errors="surrogateescape").split("\0") if name}
    filters = {re.sub(r"\.[^.]*$", "", name) for name in names}
    # A key with "=" in it cannot be given on the command line; such a repository is not looked at.
    if any("=" in name for name in filters):
        return None
    empty = [
        f"{name}.{part}" for name in sorted(filters) for part in ("clean=", "smudge=", "process=", "required=false")
    ]
    # Submodules have configurations of their own.
    arguments = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--ignore-submodules=all")
    done = _run((*_SWITCHED_OFF, *empty), arguments, folder, timeout_s)
    top = ask("rev-parse", "--show-toplevel", folder=folder, timeout_s=timeout_s)
    if done.returncode or top.returncode:
        return None
    root = Path(os.fsdecode(top.stdout.rstrip(b"\n")))
    # Two letters and a blank stand before each name.
    return root, [os.fsdecode(line[3:]) for line in done.stdout.split(b"\0") if line]


def _run(
    settings: Sequence[str], arguments: Sequence[str], folder: Path | None, timeout_s: float
) -> subprocess.CompletedProcess[bytes]:
    where = [] if folder is None else ["-C", str(folder)]
    options = [part for setting in settings for part in ("-c", setting)]
    return subprocess.run(
        ["git", *where, *options, *arguments],
        capture_output=True,
        env={**os.environ, **_ENVIRONMENT},
        timeout=timeout_s,
        check=False,
    )
