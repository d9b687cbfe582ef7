"""Taking named files out of an archive that strangers made.

Only the members that the catalogue names are read, each as plain bytes: no path of the archive ever becomes a path
on disk, links are refused, and a size cap holds against archives that unfold without end.
"""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from harness.errors import HarnessError
from harness.untrusted.paths import is_plain

_CHUNK = 1 << 20


class ArchiveError(HarnessError):
    """An archive that lacks a member, or holds something that is not safe to unpack."""


def unpack(archive: Path, members: Sequence[str], inner: str, limit: int, folder: Path) -> None:
    """Write each member into `folder` under its last name. `limit` bounds their total size in bytes."""
    with archive.open("rb") as file:
        source: IO[bytes] = file
        if inner:
            buffer = io.BytesIO()
            _copy(source, archive.name, inner, buffer, limit)
            buffer.seek(0)
            source = buffer
        name = inner or archive.name
        for member in members:
            target = folder / _safe_name(member, name)
            with target.open("xb") as out:
                source.seek(0)
                limit -= _copy(source, name, member, out, limit)


def _safe_name(member: str, archive: str) -> str:
    if not is_plain(member):
        raise ArchiveError(f"{archive}: the member {member!r} leaves its folder; it is refused")
    return PurePosixPath(member).name


def _copy(source: IO[bytes], archive: str, member: str, out: IO[bytes], limit: int) -> int:
    """Copy one member to `out`; the number of bytes."""
    _safe_name(member, archive)
    try:
        if archive.endswith((".whl", ".zip")):
            with zipfile.ZipFile(source) as opened, _zip_member(opened, archive, member) as content:
                return _bounded(content, out, limit, f"{archive}: {member}")
        with tarfile.open(fileobj=source, mode="r:gz") as opened_tar:
            info = opened_tar.getmember(member)
            if not info.isreg():
                raise ArchiveError(f"{archive}: the member {member!r} is not a plain file; links are refused")
            content = opened_tar.extractfile(info)  # type: ignore[assignment]
            return _bounded(content, out, limit, f"{archive}: {member}")
    except KeyError as error:
        raise ArchiveError(f"{archive}: no member {member!r} in it") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{archive}: not a readable archive ({error})") from error


def _zip_member(opened: zipfile.ZipFile, archive: str, member: str) -> IO[bytes]:
    info = opened.getinfo(member)
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        raise ArchiveError(f"{archive}: the member {member!r} is not a plain file; links are refused")
    return opened.open(info)


def _bounded(content: IO[bytes], out: IO[bytes], limit: int, what: str) -> int:
    # Counted while it is read: the size that an archive states of itself proves nothing.
    size = 0
    while chunk := content.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise ArchiveError(f"{what} is larger than the {limit / 1e6:.0f} MB that the catalogue allows")
        out.write(chunk)
    return size
