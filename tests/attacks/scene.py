"""Where an attack takes place: a stranger's folder to work in, something of ours beside it, and a watch over both.

The watch is an audit hook of Python's: whatever is opened, written, removed, started or connected to outside of the
stranger's folder is noted, whether or not it succeeds.
"""

from __future__ import annotations

import importlib
import io
import os
import platform
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "xyzzy-secret"
"""Stands in our files; where it turns up in an output, something was read that should not have been."""


class Harm(AssertionError):
    """Something of ours was touched or shown, something was run, or something steers the terminal."""


class Hang(AssertionError):
    """An attack took longer than any may."""


class Trace(AssertionError):
    """A traceback was printed, or would have been."""


BREACHES = ("tracebacks", "hangs", "bombs", "harms", "crashes", "others")
"""Kinds of breach: of `others`, an attack was not refused, or not with its sentence."""


def kind_of(error: BaseException) -> str:
    """Of which kind it is that an attack ended with an error; one that is no assertion got through the command line."""
    kinds: dict[type[BaseException], str] = {
        Harm: "harms",
        Hang: "hangs",
        Trace: "tracebacks",
        AssertionError: "others",
    }
    return next((kind for known, kind in kinds.items() if isinstance(error, known)), "tracebacks")


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
_RUNS = {"os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
_CONNECTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}
_WORKER = ["-P", "-m", "harness.untrusted.bounded"]
"""The worker, which refuses by itself to run, change or speak to anything."""
_STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass
class Watch:
    """What was done that should not have been."""

    home: Path
    ours: Path
    noted: list[str] = field(default_factory=list)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
            path, flags = _real(args[0]), args[2] if isinstance(args[2], int) else 0
            if path.is_relative_to(self.ours) or (flags & _WRITES and not self._may_write(path)):
                self.noted.append(f"opened {path}")
        elif event in _CHANGES:
            paths = [_real(arg) for arg in args if isinstance(arg, str | bytes | os.PathLike)]
            self.noted += [f"{event} {path}" for path in paths if not self._may_write(path)]
        elif event in _RUNS:
            program = args[1] if event == "subprocess.Popen" else args
            if not (isinstance(program, list) and (program[:1] == ["git"] or program[1:4] == _WORKER)):
                self.noted.append(f"{event} {program}")
        elif event in _CONNECTS or event == "pickle.find_class":
            self.noted.append(f"{event} {args[1:]}")

    def _may_write(self, path: Path) -> bool:
        # The first lines of a large data file lie in a folder of their own meanwhile.
        if any(part.startswith("harness-head-") for part in path.parts):
            return True
        if path.is_relative_to(self.ours):
            return False
        return path.is_relative_to(self.home) or "__pycache__" in path.parts or path.is_relative_to("/dev")


_watches: list[Watch] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    for watch in _watches:
        watch(event, args)


# A hook stays for as long as the process lives; without a watch it does nothing.
sys.addaudithook(_hook)


def import_libraries() -> None:
    """What is large or runs something when it is first imported: Python looks for
    the processor with another program, and torch takes two gigabytes of addresses."""
    for name in ("polars", "transformers.modeling_utils"):
        importlib.import_module(name)
    platform.processor()


def _real(path: str | bytes | os.PathLike[Any]) -> Path:
    return Path(os.path.realpath(os.fsdecode(path)))


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class Scene:
    """A folder `inside` that strangers filled and in which commands are run, and `outside`, which is ours."""

    def __init__(self, home: Path):
        self.home = home.resolve()
        self.inside, self.outside = self.home / "inside", self.home / "outside"
        self.canary = self.outside / "canary"
        for folder in (self.inside, self.outside):
            folder.mkdir()
        (self.outside / "secret.csv").write_text(f"text,label\n{SECRET} one,0\n{SECRET} two,1\n" * 40)
        (self.outside / "secret.yaml").write_text(f"about: {SECRET}\n")
        (self.outside / "figures").mkdir()
        (self.outside / "figures" / "ours.svg").write_text(SECRET)
        self.noted: list[str] = []

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the stranger's folder."""
        path = self.inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path

    def run(self, *arguments: str | Path) -> Said:
        """The command line, in this process, under watch."""
        from harness import cli

        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict") for _ in range(2)]
        code = 0
        with self.watched(), redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            before = sys.argv, os.getcwd(), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
            sys.argv = ["harness", *map(str, arguments)]
            os.chdir(self.inside)
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
            finally:
                sys.argv = before[0]
                os.chdir(before[1])
                signal.signal(signal.SIGINT, before[2])
                signal.signal(signal.SIGTERM, before[3])
        texts = []
        for stream in streams:
            stream.flush()
            assert isinstance(stream.buffer, io.BytesIO)
            texts.append(stream.buffer.getvalue().decode())
        return Said(code, *texts)

    @contextmanager
    def watched(self) -> Iterator[None]:
        ours = {path: _content(path) for path in sorted(self.outside.rglob("*"))}
        watch = Watch(self.home, self.outside)
        _watches.append(watch)
        try:
            yield
        finally:
            _watches.remove(watch)
            self.noted += watch.noted
            now = {path: _content(path) for path in sorted(self.outside.rglob("*"))}
            self.noted += [f"changed {path}" for path in ours.keys() | now.keys() if ours.get(path) != now.get(path)]

    def assert_untouched(self) -> None:
        """Nothing of ours was touched, and nothing was run."""
        if self.noted or self.canary.exists():
            raise Harm("; ".join(self.noted) or "the canary was touched")

    def assert_unharmed(self, said: Said) -> None:
        """Nothing of ours was touched or shown, nothing was run, and nothing steers the terminal."""
        self.assert_untouched()
        harm = []
        for text in (said.out, said.err):
            if "should not have happened: Hang" in text:
                raise Hang(text)
            if "Traceback" in text or "should not have happened" in text:
                raise Trace(text)
            if SECRET in text:
                harm.append(f"a secret was shown: {text}")
            if _STEERS.search(text):
                harm.append(f"the terminal is steered: {text!r}")
        for path in (self.inside / "reports").rglob("*"):
            if not path.is_dir() and not path.is_symlink() and SECRET.encode() in path.read_bytes():
                harm.append(f"a secret stands in {path}")
        if harm:
            raise Harm("; ".join(harm))


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
