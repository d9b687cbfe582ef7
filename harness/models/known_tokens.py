"""The tokens that a tokenizer has, of the places that a network's vocabulary has for them: networks are padded to round sizes."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.models.backend import REMEDY, limits_of, whole
from harness.models.tokenizer import prepare
from harness.untrusted import worker

if TYPE_CHECKING:
    from harness.models.card import ModelCard


def known_tokens(card: ModelCard) -> frozenset[int]:
    """Numbers of all tokens of a model's tokenizer, control tokens included. Raises HarnessError."""
    file = prepare(card.path, card.tokenizer_identity, card.trust_remote_code) / "tokenizer.json"
    packed = worker.call(
        bytes,
        numbers,
        file,
        what="the model's tokenizer (tokenizer.json)",
        remedy=REMEDY,
        error=HarnessError,
        limits=limits_of([file]),
        needs=("tokenizers",),
    )
    return frozenset(array("I", packed))


def numbers(file: Path) -> bytes:
    """What the worker does."""
    found = whole(file.read_text(encoding="utf-8")).get_vocab(with_added_tokens=True)
    return array("I", sorted(set(found.values()))).tobytes()
