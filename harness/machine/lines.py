"""Lines for people: wrapped at words where a terminal would cut within them, whole in a pipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def tell(text: str, stream: TextIO) -> None:
    """Writes lines to a stream. `text` has nothing in it that would steer a terminal."""
    if not stream.isatty():
        print(text, file=stream)
        return
    from rich.console import Console

    show(text, Console(file=stream))


def show(text: str, console: Console, style: str = "") -> None:
    """The same on a console. What has no blank in it, as a path, stays whole, however narrow the terminal is."""
    from rich.text import Text

    # A pipe is no terminal, whatever FORCE_COLOR makes rich say of it.
    if console.file.isatty():
        text = "\n".join(_wrapped(line, console.width) for line in text.split("\n"))
    # Not by rich: it cuts words that are longer than a line, or wraps nothing.
    console.print(Text(text, style=style), soft_wrap=True)


def _wrapped(line: str, width: int) -> str:
    from rich.cells import cell_len

    lines = [""]
    for word in re.findall(r"\s*\S+", line):
        if lines[-1] and cell_len(lines[-1] + word) > width:
            lines.append(word.lstrip())
        else:
            lines[-1] += word
    return "\n".join(lines)
