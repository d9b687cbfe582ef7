"""A store in a bucket: an object store that fsspec reaches, with a folder of this machine in front of it.

    s3://BUCKET/PATH, gs://…, az://…, sftp://…      URL/KIND/KEY/…, as in a folder

What is read is fetched once, verified like any artifact, and lies in the folder from then on. What is made lies in the
folder first and is sent from there, its description last: an artifact without one is not there yet. Notes about this
machine (leases, last runs) stay here.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.errors import StoreError, UsageError
from harness.store.keys import cache_folder, content_key
from harness.store.store import LARGEST_META, Artifact, Store, description_of
from harness.untrusted.paths import below, is_plain, own_path

LOOKED_S = 2.0
"""A list of what the bucket holds is trusted for so long where it lacks what is looked for."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def store_at(root: str | Path | None = None) -> Store:
    """The store in a folder or, for a URL, in a bucket; by default that of HARNESS_STORE, or the user's cache.

    Raises UsageError for a URL that nothing here can reach.
    """
    place = str(root or os.environ.get("HARNESS_STORE") or "")
    return ObjectStore(place) if "://" in place else Store(own_path(place) if place else None)


def local_store(root: str | Path | None = None) -> Store:
    """The store that may be tidied up here: of a bucket, the folder of this machine in front of it."""
    return Store(store_at(root).root)


class ObjectStore(Store):
    """Artifacts in a bucket, with copies in a folder of this machine."""

    def __init__(self, url: str):
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        try:
            self.bucket, self.path = url_to_fs(self.url)
        # Each kind of bucket has errors of its own, for credentials and places that make no sense.
        except Exception as error:
            raise UsageError(
                f"the store {self.url} cannot be reached: {error}; install what its kind of URL needs (s3fs, gcsfs, adlfs …), "
                "or name a folder"
            ) from error
        super().__init__(cache_folder() / "buckets" / content_key(self.url))
        self._looked: dict[str, tuple[float, frozenset[str]]] = {}

    def has(self, kind: str, key: str) -> bool:
        return super().has(kind, key) or self._sent(kind, key) is not None

    def keys(self, kind: str, prefix: str = "") -> list[str]:
        there = (key for key in self._list(kind, "") if key.startswith(prefix))
        return sorted({*super().keys(kind, prefix), *there})

    def meta(self, kind: str, key: str) -> dict[str, Any] | None:
        if (own := super().meta(kind, key)) is not None:
            return own
        sent = self._sent(kind, key)
        return None if sent is None else sent[1]["about"]

    def open(self, kind: str, key: str, *, touch: bool = True) -> Artifact | None:
        artifact = super().open(kind, key, touch=touch)
        if artifact is not None:
            # What could not be sent when it was made.
            self._send(kind, key)
        elif self._fetch(kind, key):
            artifact = super().open(kind, key, touch=touch)
            if artifact is None:
                self._drop(kind, key)
        return artifact

    @contextmanager
    def write(
        self,
        kind: str,
        key: str,
        about: dict[str, Any] | None = None,
        took: Mapping[str, float] = MappingProxyType({}),
        digests: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[Path]:
        with super().write(kind, key, about, took, digests) as folder:
            yield folder
        self._send(kind, key)

    def set_aside(self, kind: str, key: str, name: str = "meta.json") -> None:
        """Removes the damaged copy on this machine. The one in the bucket may be sound."""
        self.damaged.append(f"{kind}/{key}/{name}")
        super().remove(kind, key)

    def remove(self, kind: str, key: str) -> None:
        super().remove(kind, key)
        self._drop(kind, key)

    def _sent(self, kind: str, key: str) -> tuple[bytes, dict[str, Any]] | None:
        """The description of an artifact in the bucket, as it stands there and read; None where there is no whole one."""
        if key not in self._list(kind, key):
            return None
        raw = self._or_none(self.bucket.cat_file, self._place(kind, key, "meta.json"), 0, LARGEST_META)
        meta = None if raw is None else description_of(raw)
        return None if raw is None or meta is None else (raw, meta)

    def _fetch(self, kind: str, key: str) -> bool:
        """Copies an artifact to this machine; whether the bucket has it. Nothing is written outside of its folder."""
        sent = self._sent(kind, key)
        if sent is None:
            return False
        raw, meta = sent
        with self._draft(kind, key) as draft:
            for name in meta["files"]:
                if is_plain(name):
                    target = below(draft, name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._or_none(self.bucket.get_file, self._place(kind, key, name), str(target))
            (draft / "meta.json").write_bytes(raw)
            self._keep(draft, kind, key)
        return True

    def _send(self, kind: str, key: str) -> None:
        """Sends an artifact of this machine, unless the bucket has it; the description last."""
        if key in self._list(kind, key) and self._sent(kind, key) is not None:
            return
        place = self.place(kind, key)
        files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
        for name in sorted(files, key=lambda name: name == "meta.json"):
            where = self._place(kind, key, name)
            self._asked(self.bucket.makedirs, where.rpartition("/")[0], exist_ok=True)
            self._asked(self.bucket.put_file, str(place / name), where)
        self._looked.pop(kind, None)

    def _drop(self, kind: str, key: str) -> None:
        self._or_none(self.bucket.rm, f"{self.path}/{kind}/{key}", recursive=True)
        self._looked.pop(kind, None)

    def _list(self, kind: str, wanted: str) -> frozenset[str]:
        """Keys of a kind in the bucket; asked again, but not at once, where the one that is wanted is not among them."""
        looked, found = self._looked.get(kind, (0.0, frozenset()))
        if wanted in found or time.monotonic() - looked < LOOKED_S:
            return found
        self.bucket.invalidate_cache()
        names = self._or_none(self.bucket.ls, f"{self.path}/{kind}", detail=False) or ()
        keys = (str(name).rstrip("/").rpartition("/")[2] for name in names)
        found = frozenset(key for key in keys if _NAME.fullmatch(key))
        self._looked[kind] = (time.monotonic(), found)
        return found

    def _place(self, kind: str, key: str, name: str) -> str:
        return f"{self.path}/{kind}/{key}/{name}"

    def _or_none(self, ask: Callable[..., Any], *what: Any, **how: Any) -> Any:
        try:
            return self._asked(ask, *what, **how)
        except FileNotFoundError:
            return None

    def _asked(self, ask: Callable[..., Any], *what: Any, **how: Any) -> Any:
        """Asks the bucket. Raises StoreError where it does not answer, and FileNotFoundError."""
        try:
            return ask(*what, **how)
        except FileNotFoundError:
            raise
        # Each kind of bucket has errors of its own.
        except Exception as error:
            raise StoreError(
                f"the store {self.url} does not answer: {type(error).__name__}: {error}; what is made so far lies in "
                f"{self.root} and will be used: run the same command again to go on"
            ) from error
