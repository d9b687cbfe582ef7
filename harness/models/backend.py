"""A tokenizer's own work, which the worker does: reading it, encoding, decoding.

A tokenizer of a few kilobytes can make gigabytes of a word: normalisers that double, replacements, templates. So no tokenizer of a
stranger is opened in the process that runs the network.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.errors import HarnessError
from harness.models.as_text import Spelling, respelled
from harness.untrusted import worker
from harness.untrusted.bounded import Limits

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_WHAT = "the model's tokenizer (tokenizer.json)"
REMEDY = "use another model, or take out of it what makes so much of a text"

_AT_ONCE = 200_000
"""Characters that are encoded in one call of the worker."""
_ANSWER_BYTES = 24 << 20
"""Two million tokens."""
_SECONDS, _MOST_SECONDS, _MOST_SECONDS_READING = 4, 5, 12
_SECONDS_EACH = 0.5
"""For each of the calls in which texts are encoded, all together."""
_MOST_MEBIBYTES, _MOST_READING = 1024, 1280
_WHOLE = "I"


class Encoded(msgspec.Struct, frozen=True):
    """One text as tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Characters of the text that each token covers, end exclusive; (0, 0) for special tokens that were added."""


class Packed(msgspec.Struct, frozen=True):
    """Some encoded texts, one after the other, as they come back from the worker."""

    lengths: list[int]
    ids: bytes
    starts: bytes
    ends: bytes


class Respelling(msgspec.Struct, frozen=True):
    """Control tokens, spelled otherwise."""

    control: dict[str, int]
    spelling: Spelling


def encode(file: Path, texts: Sequence[str], control: Respelling | None = None) -> list[Encoded]:
    """Tokens of each text, by the tokenizer in a file. Raises HarnessError."""
    found: list[Encoded] = []
    limits = limits_of([file])
    parts = _parts(texts)
    budget = worker.Budget(limits.seconds + _SECONDS_EACH * len(parts))
    for part in parts:
        packed = worker.call(
            Packed,
            encoded,
            file,
            part,
            control,
            what=_WHAT,
            remedy=REMEDY,
            error=HarnessError,
            limits=msgspec.structs.replace(limits, answer_bytes=_ANSWER_BYTES),
            needs=("tokenizers",),
            budget=budget,
        )
        found += _unpacked(packed)
    return found


def decode(file: Path, ids: Sequence[int]) -> str:
    """The text of some tokens. Raises HarnessError."""
    return worker.call(
        str,
        decoded,
        file,
        list(ids),
        what=_WHAT,
        remedy=REMEDY,
        error=HarnessError,
        limits=limits_of([file]),
        needs=("tokenizers",),
    )


def limits_of(files: Sequence[Path], reads: bool = False) -> Limits:
    """More for larger files, such as those with a vocabulary of hundreds of thousands, but no more than is left of the 20 s and 2 GB
    that a stranger's model may take, imports included. `reads`: transformers reads them, which keeps everything twice, when
    less is imported elsewhere, and takes 7 s on a busy machine for 30 MiB with 260,000 tokens and 520,000 merges."""
    mebibytes = sum(file.stat().st_size for file in files) / 2**20
    memory = 768 + 24 * mebibytes
    if reads:
        return Limits(int(min(_SECONDS + mebibytes / 5, _MOST_SECONDS_READING)), int(min(2 * memory, _MOST_READING)))
    return Limits(int(min(_SECONDS + mebibytes / 16, _MOST_SECONDS)), int(min(memory, _MOST_MEBIBYTES)))


def encoded(file: Path, texts: Sequence[str], control: Respelling | None) -> Packed:
    """What the worker does."""
    backend = _opened(file) if control is None else _copy(file, control.spelling.start, control)
    found = backend.encode_batch(list(texts), add_special_tokens=True)
    ids, starts, ends = array(_WHOLE), array(_WHOLE), array(_WHOLE)
    for one in found:
        ids.extend(one.ids)
        for special, (start, end) in zip(one.special_tokens_mask, one.offsets, strict=True):
            starts.append(0 if special else start)
            ends.append(0 if special else end)
    return Packed([len(one) for one in found], ids.tobytes(), starts.tobytes(), ends.tobytes())


def decoded(file: Path, ids: list[int]) -> str:
    """What the worker does."""
    return str(_opened(file).decode(ids, skip_special_tokens=False))


def whole(backend: str) -> Backend:
    """A tokenizer of the `tokenizers` library that neither pads nor cuts."""
    from tokenizers import Tokenizer as Backend

    made = Backend.from_str(backend)
    made.no_padding()
    made.no_truncation()
    return made


@lru_cache(maxsize=2)
def _opened(file: Path) -> Backend:
    return whole(file.read_text(encoding="utf-8"))


_copies: dict[tuple[Path, int], Backend] = {}


def _copy(file: Path, start: int, given: Respelling) -> Backend:
    """The tokenizer whose control tokens are spelled otherwise."""
    if (file, start) not in _copies:
        copy = whole(respelled(file.read_text(encoding="utf-8"), tuple(given.control), given.spelling))
        changed = [name for name, number in given.control.items() if copy.token_to_id(given.spelling(name)) != number]
        if changed:
            raise HarnessError(
                f"the model's tokenizer cannot be told to read {changed[0]} as text; take control tokens out of the data, "
                "or write `prompt.control_tokens: allowed`"
            )
        _copies.clear()
        _copies[file, start] = copy
    return _copies[file, start]


def _parts(texts: Sequence[str]) -> list[list[str]]:
    """The texts, as many at a time as have so many characters."""
    parts: list[list[str]] = []
    size = 0
    for text in texts:
        if not parts or size + len(text) > _AT_ONCE:
            parts.append([])
            size = 0
        parts[-1].append(text)
        # A text of none costs something, too.
        size += len(text) + 10
    return parts


def _unpacked(packed: Packed) -> list[Encoded]:
    ids, starts, ends = (array(_WHOLE, content) for content in (packed.ids, packed.starts, packed.ends))
    found, at = [], 0
    for length in packed.lengths:
        part = slice(at, at + length)
        found.append(Encoded(ids[part].tolist(), list(zip(starts[part], ends[part], strict=True))))
        at += length
    return found
