"""Text from strangers, made harmless for where it is shown: a terminal, Markdown, a file name.

Names, templates and data come from specs and CSV files that somebody else wrote. A terminal escape can rewrite the
screen, a bidirectional override can reorder a line, and Markdown can smuggle in links, images and tables.
"""

from __future__ import annotations

import re
import unicodedata

# Complete escape sequences go as a whole, so that "\x1b[31mred" becomes "red" and not "[31mred".
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS …: titles, links, the clipboard
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE_IN_JSON = re.compile(f"[\x7f-\x9f{''.join(sorted(_BIDIRECTIONAL))}]")
_ELLIPSIS = "…"


def block(text: str) -> str:
    """Several lines without control characters, escapes and bidirectional overrides; tabs and newlines stay."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return "".join(
        c for c in text if c in "\n\t" or not (unicodedata.category(c) in ("Cc", "Cs") or c in _BIDIRECTIONAL)
    )


def line(text: str, width: int | None = None) -> str:
    """One line: white space runs become one space; cut to `width` characters with an ellipsis."""
    text = " ".join(block(text).split())
    if width is not None and len(text) > width:
        return text[: width - 1].rstrip() + _ELLIPSIS
    return text


def printable(text: str) -> str:
    """The text with what would steer the terminal written out, as in `\\x1b`, so that nothing of a message is lost."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def printable_json(content: str) -> str:
    """JSON in which what would steer the terminal, and JSON itself lets stand, is written as an escape; it says the same."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", content)


def markdown(text: str) -> str:
    """One line in which nothing is Markdown, HTML or mathematics any more; fit for a table's cell."""
    text = line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~$])", r"\\\1", text)
    # Between letters an underscore is only an underscore, and a name such as mean_difference stays readable.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    # At the start of a line these would begin a heading, a list or a rule.
    return re.sub(r"^(?=(?:#{1,6}|[+\-]|\d+[.)])(?:\s|$)|[=\-]+$)(\d*)", r"\1\\", text)


def code(text: str) -> str:
    """A name as inline code where that is safe in a table, else as escaped text."""
    text = line(text)
    if text and not re.search(r"[`|\\]", text):
        return f"`{text}`"
    return markdown(text)


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any run of backticks inside."""
    text = block(text).rstrip("\n")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def file_name(text: str) -> str:
    """Lower-case letters, digits and hyphens only; never empty."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:60] or "x"
