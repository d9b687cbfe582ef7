"""Package indexes, from the user's own settings for pip and uv.

An environment variable comes before the configuration files, as in pip. Local folders (`find-links`) are searched
too; `file:` indexes are left out.
"""

from __future__ import annotations

import os
import re
import sys
from configparser import ConfigParser, Error
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

import msgspec

from harness.untrusted.paths import own_path

DEFAULT = "https://pypi.org/simple"


class Settings(msgspec.Struct, frozen=True):
    """How package indexes are reached."""

    indexes: tuple[str, ...]
    """URLs in the order in which they are asked; they may contain a password: see `public`."""
    folders: tuple[Path, ...]
    """Local folders that may hold the file itself."""
    certificates: str | None
    """File or folder of trusted certificates; None for the usual ones."""
    client_certificate: str | None
    timeout_s: float


def settings() -> Settings:
    """The user's settings. Proxies are honoured by the HTTP library itself."""
    config = _pip_configuration()
    main = _first("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX") or config.get("index-url") or DEFAULT
    extra = " ".join(
        (
            _first("PIP_EXTRA_INDEX_URL") or config.get("extra-index-url", ""),
            _first("UV_EXTRA_INDEX_URL", "UV_INDEX") or "",
        )
    )
    found = (_first("PIP_FIND_LINKS") or config.get("find-links", "")).split()
    # uv writes a named index as NAME=URL.
    urls = [main, *(re.sub(r"^[\w.-]+=(?=https?://)", "", url) for url in extra.split())]
    return Settings(
        indexes=tuple(dict.fromkeys(url.rstrip("/") + "/" for url in urls if url.startswith(("http://", "https://")))),
        folders=tuple(folder for folder in map(_local, found) if folder is not None),
        certificates=_first("PIP_CERT")
        or config.get("cert")
        or _first("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
        client_certificate=_first("PIP_CLIENT_CERT") or config.get("client-cert"),
        timeout_s=_seconds(_first("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT") or config.get("timeout")),
    )


def public(url: str) -> str:
    """A URL without the user's name and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]))


def _first(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def _seconds(text: str | None) -> float:
    try:
        return max(float(text or 0), 30.0)
    except ValueError:
        return 30.0


def _local(link: str) -> Path | None:
    path = Path(url2pathname(urlsplit(link).path)) if link.startswith("file:") else Path(link)
    return own_path(path) if "://" not in link or link.startswith("file:") else None


def _pip_configuration() -> dict[str, str]:
    """pip's settings from its files; a later file wins. A file that cannot be read is pip's affair, not ours."""
    values: dict[str, str] = {}
    for path in _pip_files():
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(path, encoding="utf-8")
        except (Error, OSError, UnicodeDecodeError):
            continue
        for section in ("global", "download", "install"):
            if parser.has_section(section):
                values.update(parser.items(section))
    return values


def _pip_files() -> list[Path]:
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [
        *(
            Path(folder) / "pip/pip.conf"
            for folder in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")
            if folder
        ),
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        home / "Library/Application Support/pip/pip.conf",
        user / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    return [*files, Path(named)] if named else files
