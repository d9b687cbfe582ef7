"""An asset is the pinned file and nothing else, wherever it comes from."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import msgspec
import pytest
from huggingface_hub import errors as hub_errors

from harness import assets
from harness.assets import CATALOG, Asset, bring, hub, is_here
from harness.assets.bring import AssetError
from harness.assets.indexes import public, settings
from harness.assets.unpack import ArchiveError
from harness.errors import HarnessError, UsageError
from harness.store import cache_folder

_VARIABLES = (
    "PIP_INDEX_URL UV_INDEX_URL UV_DEFAULT_INDEX PIP_EXTRA_INDEX_URL UV_EXTRA_INDEX_URL UV_INDEX PIP_FIND_LINKS PIP_CERT "
    "REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE PIP_CLIENT_CERT PIP_DEFAULT_TIMEOUT UV_HTTP_TIMEOUT HARNESS_ASSETS"
).split()


@pytest.fixture(autouse=True)
def nothing_set(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine, and a cache of its own, save for tests of the real thing."""
    if request.node.get_closest_marker("real"):
        return
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def wheel(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarball(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def pinned(content: bytes, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Asset:
    """An asset of the catalogue that is this file."""
    asset = Asset(
        name="toy",
        kind="text",
        about="A toy.",
        license="MIT",
        distribution="toy",
        version="1.0",
        filename="toy-1.0-py3-none-any.whl",
        sha256=hashlib.sha256(content).hexdigest(),
        size_mb=0.01,
        members=("toy/words.txt",),
        unpacked_mb=0.001,
    )
    asset = msgspec.structs.replace(asset, **changes)
    monkeypatch.setitem(CATALOG, "toy", asset)
    return asset


def local(content: bytes, asset: Asset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / asset.filename).write_bytes(content)
    monkeypatch.setenv("HARNESS_ASSETS", str(folder))


def leftovers() -> list[Path]:
    return list((cache_folder() / "assets").glob("*"))


WORDS = wheel(**{"toy/words.txt": b"banana shed"})


def test_a_local_folder_serves_and_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = pinned(WORDS, monkeypatch)
    local(WORDS, asset, tmp_path / "files", monkeypatch)
    assert not is_here("toy")
    folder = bring("toy")
    assert (folder / "words.txt").read_bytes() == b"banana shed"
    assert [path.name for path in folder.iterdir()] == ["words.txt"]
    assert is_here("toy")
    (tmp_path / "files" / asset.filename).unlink()
    assert bring("toy") == folder
    assert leftovers() == [folder]


def test_a_wrong_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = pinned(WORDS, monkeypatch)
    other = wheel(**{"toy/words.txt": b"something else"})
    local(other, asset, tmp_path / "files", monkeypatch)
    with pytest.raises(AssetError) as caught:
        bring("toy")
    assert asset.sha256 in str(caught.value)
    assert hashlib.sha256(other).hexdigest() in str(caught.value)
    assert leftovers() == []


def test_a_local_folder_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned(WORDS, monkeypatch)
    monkeypatch.setenv("HARNESS_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match=r"toy-1.0-py3-none-any.whl is not in it.*toy==1.0"):
        bring("toy")


def test_an_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"did you mean .movie-reviews."):
        bring("movie-review")


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize(
    ("content", "changes", "says"),
    [
        (wheel(**{"../evil.txt": b"x"}), {"members": ("../evil.txt",)}, "leaves its folder"),
        (wheel(**{"/etc/evil.txt": b"x"}), {"members": ("/etc/evil.txt",)}, "leaves its folder"),
        (wheel(**{"toy/other.txt": b"x"}), {}, "no member"),
        (wheel(**{"toy/words.txt": b"x" * 2000}), {}, "larger than"),
        (b"no archive at all", {}, "not a readable archive"),
        (
            tarball({"toy/words.txt": link("toy/words.txt", "/etc/passwd", tarfile.SYMTYPE)}),
            {"filename": "toy-1.0.tar.gz"},
            "links are refused",
        ),
        (
            tarball({"toy/words.txt": link("toy/words.txt", "/etc/passwd", tarfile.LNKTYPE)}),
            {"filename": "toy-1.0.tar.gz"},
            "links are refused",
        ),
    ],
    # A tar says when it was packed, and workers of pytest must find tests of the same names.
    ids=("upward", "absolute", "no-member", "too-large", "no-archive", "symbolic-link", "hard-link"),
)
def test_archives_that_are_refused(
    content: bytes, changes: dict[str, object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = pinned(content, monkeypatch, **changes)
    local(content, asset, tmp_path / "files", monkeypatch)
    with pytest.raises(ArchiveError, match=says):
        bring("toy")
    assert leftovers() == []
    assert not (tmp_path / "cache" / "harness" / "evil.txt").exists()


def test_a_zip_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("toy/words.txt")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    asset = pinned(out.getvalue(), monkeypatch)
    local(out.getvalue(), asset, tmp_path / "files", monkeypatch)
    with pytest.raises(ArchiveError, match="links are refused"):
        bring("toy")


def test_a_member_of_an_archive_in_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tarball({"toy-1.0/in.tar.gz": tarball({"deep/words.txt": b"banana"}), "toy-1.0/setup.py": b"raise"})
    asset = pinned(
        content, monkeypatch, filename="toy-1.0.tar.gz", inner="toy-1.0/in.tar.gz", members=("deep/words.txt",)
    )
    local(content, asset, tmp_path / "files", monkeypatch)
    assert (bring("toy") / "words.txt").read_bytes() == b"banana"


class Index:
    """A package index on this machine."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.promised: dict[str, str] = {}
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                name = self.path.rsplit("/", 1)[-1]
                if self.path == "/simple/toy/" and index.files:
                    links = (f'<a href="/f/{n}#sha256={index.promised[n]}">{n}</a>' for n in index.files)
                    self._send(200, "\n".join(links).encode(), "text/html")
                elif self.path.startswith("/f/") and name in index.files:
                    self._send(200, index.files[name], "application/octet-stream")
                else:
                    self._send(404, b"no", "text/plain")

            def _send(self, code: int, body: bytes, kind: str) -> None:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://user:secret@127.0.0.1:{self.server.server_port}/simple"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def offer(self, name: str, content: bytes, promised: str | None = None) -> None:
        self.files[name] = content
        self.promised[name] = promised or hashlib.sha256(content).hexdigest()


@pytest.fixture
def index() -> Iterator[Index]:
    made = Index()
    yield made
    made.server.shutdown()


def test_the_users_index_is_asked(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = pinned(WORDS, monkeypatch)
    index.offer(asset.filename, WORDS)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    told: list[tuple[int, int | None]] = []
    folder = bring("toy", lambda done, total: told.append((done, total)))
    assert (folder / "words.txt").read_bytes() == b"banana shed"
    assert told[-1] == (len(WORDS), len(WORDS))
    assert leftovers() == [folder]


def test_pips_configuration_is_read(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = pinned(WORDS, monkeypatch)
    index.offer(asset.filename, WORDS)
    empty = f"http://127.0.0.1:{index.server.server_port}/empty"
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nindex-url = {empty}\nextra-index-url =\n    file:///nowhere\n    {index.url}\ncert = x.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    found = settings()
    assert [public(url) for url in found.indexes] == [empty + "/", public(index.url) + "/"]
    assert found.certificates == "x.pem"
    assert bring("toy").is_dir()
    assert index.asked[0].startswith("/empty/")
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/simple/")
    assert settings().indexes[0] == "https://other.example/simple/"


def test_an_index_that_offers_another_file_is_refused(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    other = wheel(**{"toy/words.txt": b"evil"})
    asset = pinned(WORDS, monkeypatch)
    monkeypatch.setenv("UV_INDEX_URL", index.url)
    index.offer(asset.filename, other)
    with pytest.raises(AssetError, match=asset.sha256):
        bring("toy")
    assert not any(path.startswith("/f/") for path in index.asked)
    index.offer(asset.filename, other, promised=asset.sha256)  # it lies about the digest
    with pytest.raises(AssetError, match=r"damaged|not the file"):
        bring("toy")
    assert leftovers() == []


def test_no_index_has_it(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = pinned(WORDS, monkeypatch)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetError) as caught:
        bring("toy")
    said = str(caught.value)
    assert asset.filename in said
    assert "127.0.0.1:9" in said
    assert "HARNESS_ASSETS" in said
    assert "secret" not in said
    assert leftovers() == []


def test_the_catalogue_is_pinned() -> None:
    for asset in CATALOG.values():
        assert len(asset.sha256) == 64
        assert asset.license
        assert asset.filename.startswith((asset.distribution, asset.distribution.replace("-", "_")))


@pytest.mark.real
def test_the_real_reviews() -> None:
    lines = (assets.bring("movie-reviews") / "movieReviewSnippets_GroundTruth.txt").read_text("utf-8").splitlines()
    rated = [(float(line.split("\t")[1]), line.split("\t")[2]) for line in lines if line]
    assert len(rated) in (10_604, 10_605)
    assert all(-4 <= rating <= 4 and text for rating, text in rated)
    assert min(sum(rating > 1.5 for rating, _ in rated), sum(rating < -1.5 for rating, _ in rated)) > 2500


def test_an_error_of_the_hub_says_what_would_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One downloader for models and beds; each has its own words for what can be done."""
    repository = hub.Repository(
        name="org/thing", revision="v2", unknown="no such thing", instead="as model.id", name_field="model.id: ",
        revision_field="model.revision: ",
    )  # fmt: skip
    asked: list[dict[str, object]] = []

    def answering(answer: object) -> None:
        def download(name: str, **options: object) -> str:
            asked.append({"name": name, **options})
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    response: Any = SimpleNamespace(headers={}, request=None)
    for error, kind, said in (
        (hub_errors.GatedRepoError("?", response=response), HarnessError, "^org/thing: its authors ask for consent"),
        (hub_errors.RevisionNotFoundError("?", response=response), UsageError, '^model.revision: org/thing has no rev'),
        (hub_errors.RepositoryNotFoundError("?", response=response), UsageError, "^model.id: no such thing$"),
        (hub_errors.HFValidationError("odd"), UsageError, '^model.id: "org/thing" is no name .*odd'),
        (hub_errors.LocalEntryNotFoundError("?"), HarnessError, "Hub cannot be reached.* give its folder as model.id$"),
        (OSError(), HarnessError, r"as model.id \(OSError: \)$"),
    ):  # fmt: skip
        answering(error)
        with pytest.raises(kind, match=said) as raised:
            hub.fetch(repository, ["*.json"])
        assert not isinstance(raised.value, hub.NotHere)
    answering(hub_errors.LocalEntryNotFoundError("?"))
    with pytest.raises(hub.NotHere):
        hub.fetch(repository, ["*.json"], download=False)
    # The control: an answer is handed on, and what was asked for is what was wanted.
    answering(tmp_path)
    assert hub.fetch(repository, ["*.json"], ignored=["*/*"]) == tmp_path
    assert asked[-1] == {
        "name": "org/thing", "revision": "v2", "allow_patterns": ["*.json"], "ignore_patterns": ["*/*"],
        "local_files_only": True,
    }  # fmt: skip
