"""How a command ends: whatever goes wrong becomes a sentence and an exit code, here and nowhere else.

1 is said by commands that compared something, and by nothing else. What nobody foresaw (a fault of ours or of a library, memory that is
exhausted, a panic of a library in Rust, which is no `Exception`) ends with 3; its traceback is kept where `--log` says.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import typer

from harness.commands.options import print_error
from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED, EXIT_UNFINISHED, HarnessError

_NO_MEMORY = re.compile(r"cannot allocate memory|failed to map segment|not enough memory", re.IGNORECASE)

LONGEST = 300
"""Letters that are shown of a message that nobody wrote for a person."""


class Log:
    """The file for tracebacks, once `--log` has named it."""

    path: Path | None = None


def exit_code(command: Callable[[], object]) -> int:
    """Runs a command of the command line; the exit code."""
    try:
        code = _code(command)
        sys.stdout.flush()
    except BrokenPipeError:
        return _nobody_reads()
    except OSError as error:
        # What is left in the buffer would be complained of once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _unforeseen(error)
    return code


def _code(command: Callable[[], object]) -> int:
    try:
        command()
    except HarnessError as error:
        print_error(str(error))
        return error.exit_code
    except BrokenPipeError:
        raise
    except SystemExit as end:
        return _of_exit(end)
    except KeyboardInterrupt:
        return _interrupted()
    except BaseException as error:
        return _unforeseen(error)
    return EXIT_EXPECTED


def _of_exit(end: SystemExit) -> int:
    """typer ends with 1 also where nobody reads its output any more, or somebody pressed Ctrl-C, which is no finding of ours."""
    why = end.__context__
    if isinstance(why, OSError) and why.errno == errno.EPIPE:
        return _nobody_reads()
    code = end.code if isinstance(end.code, int) else EXIT_EXPECTED if end.code is None else EXIT_UNFINISHED
    if code == 128 + 2 or (code == EXIT_UNEXPECTED and not isinstance(why, typer.Exit)):
        return _interrupted()
    return code


def _nobody_reads() -> int:
    """The reader (head, less) has gone: nothing is wrong, but Python would complain while it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_EXPECTED


def _interrupted() -> int:
    print_error("interrupted")
    return EXIT_UNFINISHED


def _unforeseen(error: BaseException) -> int:
    print_error(f"{_sentence(error)}; {_kept(error)}")
    return EXIT_UNFINISHED


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return "the memory is exhausted; allow more, or ask for less at a time with --memory or --tokens-per-pass"
    if isinstance(error, OSError):
        place = f"{str(error.filename)[:LONGEST]}: " if error.filename is not None else ""
        return f"{place}{error.strerror or str(error)[:LONGEST]}"
    said = (str(error).strip().splitlines() or [""])[0][:LONGEST]
    return f"this should not have happened: {type(error).__name__}{': ' if said else ''}{said}"


def _kept(error: BaseException) -> str:
    """Where the traceback is."""
    if Log.path is None:
        return "run it again with `harness --log FILE …` to keep what a report of the fault should have in it"
    try:
        with Log.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError as problem:
        return f"{Log.path} cannot be written ({problem.strerror})"
    return f"{Log.path} has the traceback"
