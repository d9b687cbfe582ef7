"""What a language model is asked to write, and what it has written; `harness.models.generation` writes it."""

from __future__ import annotations

import msgspec

ROWS = 64
"""Most replies that are written at once."""


class Asking(msgspec.Struct, frozen=True):
    """A prompt that is to be answered."""

    tokens: tuple[int, ...]
    most: int
    """Tokens that the reply may have."""
    seed: int
    """Of its draws."""


class Continued(msgspec.Struct, frozen=True):
    """What a network writes after a prompt."""

    tokens: tuple[int, ...]
    """Without the token that ends it."""
    ended: bool
    """Whether the network ended it; it was cut off else."""
