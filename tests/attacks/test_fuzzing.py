"""The control of attacks at random: what is a breach is seen as one, and every generator makes attacks that can be made again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.fuzzing import met
from tests.attacks.generators import GENERATORS, template
from tests.attacks.scene import Harm


def busy(home: Path) -> None:
    while True:
        pass


def large(home: Path) -> None:
    assert bytearray(b"x" * (700 << 20))


def crash(home: Path) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def harm(home: Path) -> None:
    raise Harm("ours")


def other(home: Path) -> None:
    raise AssertionError("not refused")


def trace(home: Path) -> None:
    raise KeyError("x")


def quiet(home: Path) -> None:
    time.sleep(0.01)


@pytest.mark.parametrize(
    ("attack", "breach"),
    [
        (busy, "hangs"), (large, "bombs"), (crash, "crashes"), (harm, "harms"), (other, "others"), (trace, "tracebacks"), (quiet, ""),
    ],
)  # fmt: skip
def test_a_breach_is_seen(attack: Callable[[Path], None], breach: str, tmp_path: Path) -> None:
    used = _memory_mib()
    assert met(attack, tmp_path, longest_s=1 if attack is busy else 20, most_mib=used + 600).breach == breach


def _memory_mib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def test_the_same_number_makes_the_same_attack() -> None:
    made = [[template(random.Random(f"jinja {n}")) for n in range(50)] for _ in range(2)]
    assert made[0] == made[1] and len(set(made[0])) > 45
    assert len(GENERATORS) == 9
