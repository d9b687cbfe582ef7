"""The picture of a run in README: `python -m tests.readme_picture` runs the starter spec on a terminal, and writes docs/run.svg.

What is drawn is what the terminal showed: once while states are read, and at the end. Nothing is written by hand but the command.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs" / "run.svg"
COLUMNS = 92
MIDDLE = re.compile(r"activations .*\n.*\b[3-6]\d % · .*left.*\n.*stage \d")
"""A moment that shows all that is drawn of a stage."""

_BEGUN = re.compile(r"(\x1b(\[[0-9;?]*)?)?$")
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])")


class Screen:
    """The lines of a terminal, with their colours, after what rich writes: whole lines, written again after they were erased."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0

    def feed(self, text: str) -> None:
        at = 0
        for control in _CONTROL.finditer(text):
            self.lines[self._row] += text[at : control.start()]
            at = control.end()
            arguments, letter, moved = control.groups()
            if moved == "\n":
                self._row += 1
                self.lines += [""] * (self._row == len(self.lines))
            elif letter == "A":
                self._row -= int(arguments or 1)
            elif letter == "K":
                self.lines[self._row] = ""
            elif letter == "m":
                self.lines[self._row] += control[0]
        self.lines[self._row] += text[at:]

    @property
    def shown(self) -> list[str]:
        """The lines as they are now, without empty ones at the end."""
        return "\n".join(self.lines).rstrip().split("\n")


def recorded(arguments: list[str], folder: Path) -> tuple[list[str], list[str]]:
    """The screen in the middle of a run and at its end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "NO_COLOR")}
    environment = {**kept, "TERM": "xterm-256color", "HARNESS_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "harness", *arguments]
    screen, middle, begun = Screen(), [], ""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment):
        os.close(theirs)
        while part := _read(ours):
            # A part may end within a character or a control sequence.
            text = begun + decoder.decode(part)
            begun = _BEGUN.search(text)[0]  # type: ignore[index]  # it matches nothing, too
            screen.feed(text[: len(text) - len(begun)])
            if not middle and MIDDLE.search(Text.from_ansi("\n".join(screen.lines)).plain):
                middle = screen.shown
    os.close(ours)
    return middle, screen.shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # So a terminal ends whose programs have ended.
        return b""


def picture(command: str, middle: list[str], end: list[str]) -> str:
    """An SVG of both screens, below the command that was typed."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {command}", style="bold"))
    for line in middle:
        console.print(Text.from_ansi(line))
    console.print(Text("⋮", style="dim"))
    # What stood above the moving lines is there still.
    for line in end[len(middle) - 3 :]:
        console.print(Text.from_ansi(line))
    drawn = console.export_svg(title="harness run", unique_id="run")
    # The fonts would be asked for on the network; a reader's own fixed-width font is as good.
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "harness", "init", "my-question"], cwd=folder, check=True)
        command = ["run", "my-question.yaml", *sys.argv[1:]]
        middle, end = recorded(command, folder)
    if not middle:
        sys.exit("the run was too fast to be seen at its middle; give it more rows")
    PICTURE.write_text(picture(f"harness {' '.join(command)}", middle, end), encoding="utf-8")


if __name__ == "__main__":
    main()
