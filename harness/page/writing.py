"""A report written: its files, its manifest and its page."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec

from harness.code.code_version import code_of
from harness.page import html
from harness.report import outline
from harness.report.content import Report
from harness.report.folder import MANIFEST, PAGE, TEXT, as_json, place
from harness.report.markdown import made_from_changes
from harness.report.read import LARGEST_BYTES
from harness.report.rendering import render
from harness.store import content_key
from harness.untrusted.files import read_ordinary

HEAD = 1000
"""Bytes of a page within which it says what it was made from."""


def write(
    report: Report, folder: Path, *, page: bool = True, rendered: Mapping[str, bytes] | None = None
) -> list[Path]:
    """Writes the report and takes away what a former run left and this one does not make; returns what was written.

    `rendered` is what `harness.report.rendering` gave for the same report, where it is at hand. Without `page`, report.html is
    left out (and an old one removed, for it would show other numbers); one that was made from these very files stays.
    """
    files = dict(render(report) if rendered is None else rendered)
    manifest = {**report.manifest, "report": msgspec.to_builtins(outline.of(report))}
    files[MANIFEST] = as_json(manifest)
    files[TEXT] = made_from_changes(files[TEXT].decode(), manifest).encode()
    if page:
        made_from = content_key(
            code_of(html.render), html.assets(), {name: sha256(files[name]).hexdigest() for name in sorted(files)}
        )
        if (there := _page_made_from(made_from, folder / PAGE)) is not None:
            files[PAGE] = there
        else:
            pictures = {Path(name).name: content for name, content in files.items() if name.endswith(".svg")}
            files[PAGE] = html.render(
                outline.of(report),
                report.results,
                report.seeds,
                report.checks,
                manifest,
                html.extras_of(files.get, pictures),
                made_from,
            )
    return place(files, folder)


def _page_made_from(key: str, path: Path) -> bytes | None:
    """The page that is there, if it is whole and says that it was made from this."""
    try:
        content = read_ordinary(path, LARGEST_BYTES, links=False)
    except OSError:
        return None
    whole = content.endswith((b"</html>\n", b"</html>"))
    return content if whole and f'content="{key}"'.encode() in content[:HEAD] else None
