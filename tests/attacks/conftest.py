"""Every attack has a stranger's folder to itself, little memory and little time: what gets through fails, it does not take
the machine with it."""

from __future__ import annotations

import functools
import gc
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from harness.code import code_version
from harness.code.closure import Tree
from harness.contracts import kind
from tests.attacks.scene import Hang, Scene, import_libraries

MOST_MORE_BYTES = 2 * 2**30
"""Address space that one attack may add. Most of it is reserved by libraries and never touched."""
MOST_S = int(os.environ.get("ATTACK_PATIENCE_S", "300"))
"""By the clock, for what waits for ever; a machine that is busy with other things needs more. What computes for long is found by the time of the processor, however busy it is."""


@pytest.fixture(scope="session", autouse=True)
def libraries() -> None:
    """And the command line is put together once, as in a process of its own, not for each of hundreds of attacks; so is what is known of our
    own source, which is then kept in memory alone: the folder of the first attack is not there for the others."""
    import_libraries()
    typer.main.get_command = functools.cache(typer.main.get_command)
    code_version.tree = functools.cache(lambda: Tree(kind.ROOT, kind.PACKAGE))
    # What was imported stays, and need not be looked through again for garbage after every attack.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def bounds(libraries: None) -> Iterator[None]:
    """Not more than so much memory and time, on systems that can tell how much there is already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = Path("/proc/self/statm")
    if pages.exists():
        now = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MORE_BYTES, hard))
    before = signal.signal(signal.SIGALRM, _late)
    signal.alarm(MOST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _late(*_: object) -> None:
    raise Hang(f"an attack took more than {MOST_S} seconds")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name, folder in (("HARNESS_STORE", "store"), ("XDG_CACHE_HOME", "cache"), ("MPLCONFIGDIR", "mpl")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    return Scene(tmp_path)
