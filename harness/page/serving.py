"""Reports over HTTP on this machine alone, for a browser that opens no files, such as one behind a tunnel."""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.errors import UsageError
from harness.page.report_index import INDEX
from harness.report.folder import PAGE
from harness.report.read import LARGEST_BYTES
from harness.untrusted.files import read_ordinary
from harness.untrusted.paths import LeadsOut, below, is_plain

LOOPBACK = "127.0.0.1"
_OURS = re.compile(r"(?:127\.0\.0\.1|localhost)(?::\d+)?")


def server_of(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of the pages in a folder of reports, and of nothing else there, that hears this machine only; port 0 is any free one.
    Raises UsageError."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self._page() if _OURS.fullmatch(self.headers.get("Host", "")) else None
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def _page(self) -> bytes | None:
            name = unquote(urlsplit(self.path).path).lstrip("/") or INDEX
            if not is_plain(name) or name.split("/")[1:] not in ([], [PAGE]) or ("/" not in name and name != INDEX):
                return None
            try:
                return read_ordinary(below(folder, name), LARGEST_BYTES, links=False)
            except (OSError, LeadsOut):
                return None

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal has the address, and that is enough."""

    try:
        return ThreadingHTTPServer((LOOPBACK, port), Pages)
    except (OSError, OverflowError) as error:
        raise UsageError(f"port {port} cannot be served ({error}); name another with --port, or 0 for any") from error


def serve(folder: Path, page: str, port: int) -> None:
    """Serves until the user interrupts it; `page` is the one to open."""
    with server_of(folder, port) as server:
        print(f"http://{LOOPBACK}:{server.server_address[1]}/{page}  (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
