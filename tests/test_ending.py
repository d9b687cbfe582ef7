"""How commands end: 1 means a finding and nothing else; whatever nobody foresaw is a sentence, with 3."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from harness.commands import ending
from harness.commands.ending import exit_code
from harness.errors import HarnessError, UsageError


class Panic(BaseException):
    """As libraries in Rust raise it."""


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


def ending_with(code: int, why: BaseException | None) -> Callable[[], None]:
    """As typer ends: with SystemExit, while it handles another exception."""

    def command() -> None:
        if why is None:
            sys.exit(code)
        try:
            raise why
        except BaseException:
            sys.exit(code)

    return command


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (HarnessError("words"), 3, "words"),
        (UsageError("words"), 2, "words"),
        (ValueError("one\ntwo"), 3, "this should not have happened: ValueError: one;"),
        (AssertionError(), 3, "this should not have happened: AssertionError;"),
        (Panic("called `Option::unwrap()`"), 3, "this should not have happened: Panic: called"),
        (RecursionError("x" * 10_000), 3, "RecursionError: xxx"),
        (MemoryError(), 3, "the memory is exhausted"),
        (ImportError("lib.so: failed to map segment from shared object"), 3, "the memory is exhausted"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a/file"), 3, "/a/file: No space left on device"),
        (KeyboardInterrupt(), 3, "interrupted"),
        (ValueError("\x1b[31m"), 3, r"\x1b[31m"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_is_a_sentence(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(raising(error)) == code
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and "Traceback" not in said and len(said) < 600


@pytest.mark.parametrize(
    ("ends", "why", "code"),
    [
        (0, None, 0),
        (0, typer.Exit(0), 0),
        (1, typer.Exit(1), 1),
        (2, typer.Exit(2), 2),
        (1, typer.Abort(), 3),
        (130, typer.Exit(130), 3),
        (1, None, 3),
    ],
)
def test_only_a_command_itself_ends_with_one(ends: int, why: BaseException | None, code: int) -> None:
    assert exit_code(ending_with(ends, why)) == code


def test_the_log_keeps_tracebacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ending.Log, "path", tmp_path / "log")
    for number in (1, 2):
        exit_code(raising(ValueError(f"number {number}")))
    text = (tmp_path / "log").read_text()
    assert text.count("Traceback") == 2 and "ValueError: number 1" in text and "number 2" in text
    assert f"{tmp_path / 'log'} has the traceback" in capsys.readouterr().err
    monkeypatch.setattr(ending.Log, "path", tmp_path / "no" / "log")
    assert exit_code(raising(ValueError())) == 3
    assert "cannot be written" in capsys.readouterr().err


def harness(*arguments: str, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **more)  # type: ignore[call-overload, no-any-return]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = harness("list", "probes", stdout=full)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and "No space left on device" in said and "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("to", [">&-", ">/dev/full", "2>&-", "2>/dev/full", ">&- 2>&-"])
@pytest.mark.parametrize(("spec", "code"), [("model: {bed: planted}\n", 0), ("model: {bed: nonsense}\n", 2)])
def test_the_exit_code_holds_where_nobody_can_be_told(tmp_path: Path, to: str, spec: str, code: int) -> None:
    (tmp_path / "x.yaml").write_text(f"harness: 1\nname: x\n{spec}probes: [crc_tpc]\n")
    command = f"{sys.executable} -m harness validate {tmp_path}/x.yaml {to}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    # What cannot be said on a full disk is no finding either.
    assert done.returncode in ((code, 3) if "full" in to else (code,))


def test_a_reader_that_has_gone_is_no_fault() -> None:
    process = harness("schema", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None and process.stderr.read() == ""
    assert process.wait(timeout=60) == 0


def test_a_store_whose_name_no_disk_takes(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("harness: 1\nname: x\nmodel: {bed: planted}\nprobes: [ccs]\n")
    process = harness("plan", str(tmp_path / "x.yaml"), "--store", str(tmp_path / ("a" * 300)), stdout=subprocess.PIPE)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and "File name too long" in said and "Traceback" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit addresses")
def test_less_address_space_than_libraries_reserve(tmp_path: Path) -> None:
    """Refused before one of them aborts. The control: a limit that leaves enough is none of our business."""
    (tmp_path / "x.yaml").write_text("nonsense: 1\n")
    said = []
    for gibibytes in (1.5, 64):
        limit = int(gibibytes * 2**30)
        process = harness(
            "run",
            str(tmp_path / "x.yaml"),
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        )
        said.append((process.communicate()[1], process.returncode))
    assert "limited to 1.5 GiB" in said[0][0] and said[0][1] == 3
    assert "nonsense" in said[1][0] and said[1][1] == 2
