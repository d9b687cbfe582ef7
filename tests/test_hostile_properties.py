"""Whatever bytes stand in a spec, a template or a report: an answer, or an error of ours. `python -m tests.fuzz` looks for longer."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.untrusted.files import is_hollow
from tests.fuzz.__main__ import mutated
from tests.fuzz.targets import TARGETS, WORDS, corpus

ORDINARY = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, words that mean something to the reader, and honest inputs with a few changes."""
    words = st.lists(st.sampled_from(WORDS[target]) | st.text(max_size=3), max_size=60).map("".join)
    known = corpus(target)
    encoded = [word.encode() for word in WORDS[target]]
    changed = st.integers(0, 2**32).map(lambda seed: mutated(random.Random(seed), known, encoded))
    return st.binary(max_size=200) | words.map(lambda text: text.encode("utf-8", "surrogatepass")) | changed


@pytest.mark.parametrize("target", TARGETS)
def test_any_input_is_answered_or_refused(target: str) -> None:
    @ORDINARY
    @given(inputs(target))
    def check(content: bytes) -> None:
        TARGETS[target](content)

    check()


@pytest.mark.parametrize("target", TARGETS)
def test_honest_inputs_are_not_refused(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what is fuzzed gets through where nothing is wrong."""
    refused: list[str] = []
    monkeypatch.setattr("tests.fuzz.targets._check_said", lambda error: refused.append(str(error)))
    for content in corpus(target):
        TARGETS[target](content)
    assert refused == []


def test_files_of_holes(tmp_path: Path) -> None:
    """A large file of which next to nothing is written; what a program wrote, or is small, is none."""
    for name, written, size, hollow in (
        ("a terabyte", 1, 10**12, True),
        ("nothing at all", 0, 10**9, True),
        ("whole", 70 << 20, 70 << 20, False),
        ("half", 50 << 20, 100 << 20, False),
        ("small", 1, 10 << 20, False),
    ):
        (tmp_path / name).write_bytes(b"x" * written)
        os.truncate(tmp_path / name, size)
        assert is_hollow(tmp_path / name) == hollow, name
