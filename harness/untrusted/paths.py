"""Names of files that strangers chose, joined to a folder that they must not leave.

Names come from a store's descriptions, archives, indexes of weights, cards and specs. `below` is the one way from such a name to a
path; `is_plain` is for names that a program wrote, of which nothing but the plainest form is honest.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

_OTHER_ROOT = re.compile(r"[/\\~]|[A-Za-z]:[/\\]")


class LeadsOut(ValueError):
    """A name that is, or may be, outside of its folder."""


def leads_out(name: str) -> bool:
    """Whether a name could be outside of its folder, whatever lies there."""
    return _OTHER_ROOT.match(name) is not None or ".." in re.split(r"[/\\]", name) or "\0" in name


def is_plain(name: str) -> bool:
    """Whether a name is made of parts with one slash between them, none of them empty, `.` or `..`."""
    return name != "." and not leads_out(name) and "\\" not in name and str(PurePosixPath(name)) == name


def below(folder: Path, name: str) -> Path:
    """The path of a name in a folder, links followed. Raises LeadsOut if it is not below the folder."""
    if leads_out(name):
        raise LeadsOut(f"{name!r} leads out of its folder")
    if not is_below(folder / name, folder):
        raise LeadsOut(f"{name!r} leads out of its folder by a link")
    return real(folder / name)


def own_path(name: str | Path) -> Path:
    """A path of the user's own with `~` and `~name` written out, also where no shell did; as it stands where there is no such user."""
    # Not Path.expanduser, which raises for a user that there is not.
    return Path(os.path.expanduser(name))


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path is below a folder (or is it), links followed."""
    return real(path).is_relative_to(real(folder))


def real(path: Path) -> Path:
    """The path with links followed."""
    # Unlike `resolve`, it has no objection to links that go round in a loop.
    return Path(os.path.realpath(path))
