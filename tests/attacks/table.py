"""A line of a table of attacks: what it is, how it is made, and what must be said of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.attacks.scene import Hang, Scene

LONGEST_S = 15.0
"""Seconds of the processor: no attack may take more, imports included. Without limits each of them would take minutes or hours."""

PLANTED = "harness: 1\nname: x\nmodel: {bed: planted}\ndata: {limit: 60}\nprobes: [mean_difference]\n"

Attack = tuple[str, Callable[[Scene], Sequence[str | Path]], str]
"""What it is, how it is made (the arguments of the command come back), and what must be said."""


@contextmanager
def soon() -> Iterator[None]:
    """What is in the block takes less of the processor's time than an attack may."""
    started = time.process_time()
    yield
    if (took := time.process_time() - started) >= LONGEST_S:
        raise Hang(f"an attack took {took:.1f} s of the processor")


def refused(scene: Scene, attack: Attack) -> None:
    """The attack ends with exit code 2 or 3, soon, with its sentence, and does no harm."""
    _, prepare, says = attack
    arguments = prepare(scene)
    with soon():
        said = scene.run(*arguments)
    scene.assert_unharmed(said)
    assert said.code in (2, 3), said
    assert says in said.err, said.err


def names(attacks: Sequence[Attack]) -> list[str]:
    return [attack[0] for attack in attacks]
