"""Files that a stranger may have put there: only an ordinary file of limited size is read, anything else is refused.

A link to a device never ends, a named pipe waits for a writer that never comes, and a sparse file of a few bytes on disk fills
the memory.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any
from uuid import uuid4

_LARGE = 64 * 2**20
_HOLLOW = 100
"""A file is hollow if less than the hundredth part of it is written."""
_MOST_PIECES = 10_000


def read_ordinary(path: Path, largest: int, *, links: bool = True) -> bytes:
    """The bytes of an ordinary file. Raises OSError for any other, and for more than `largest` bytes.

    Without `links`, the file itself must not be a symbolic link.
    """
    # O_NONBLOCK: opening a pipe must not wait. It makes no difference to ordinary files.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file", str(path))
        if found.st_size > largest:
            raise OSError(errno.EFBIG, f"larger than {largest >> 20} MiB", str(path))
        # Not `read(largest)`, for which Python sets aside so much at once.
        return file.read(found.st_size)


def read_json(path: Path, largest: int) -> Any:
    """What an ordinary file of JSON holds. Raises OSError, RecursionError, and ValueError, also for half characters, which no text holds."""
    found = json.loads(read_ordinary(path, largest))
    json.dumps(found, ensure_ascii=False).encode()
    return found


def is_hollow(path: Path) -> bool:
    """Whether a large file is made of holes, which take no room on the disk and as long to read as anything else."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _LARGE or not hasattr(os, "SEEK_HOLE"):
            return False
        filled, at = 0, 0
        for _ in range(_MOST_PIECES):
            try:
                begins = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                # There is nothing more, or the file system does not know.
                return error.errno == errno.ENXIO and filled * _HOLLOW < size
            at = os.lseek(file.fileno(), begins, os.SEEK_HOLE)
            filled += at - begins
            if filled * _HOLLOW >= size:
                return False
    return True


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_irregular(path: Path) -> bool:
    """Whether it is there, or leads there, and is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_whole(path: Path, content: bytes) -> Path:
    """Writes a file beside its place first, then renames it: a reader sees the old file or the new one, never half of one."""
    draft = path.with_name(f".{path.name}~{uuid4().hex[:8]}")
    try:
        # Never through a link that somebody put there: the draft's name is new, and a rename replaces a link itself.
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path
