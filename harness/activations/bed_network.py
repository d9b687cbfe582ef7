"""A test bed in the place of a language model, so that its states come through the same bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harness.activations.rows import Row
from harness.code_version import code_of
from harness.contracts import Bed
from harness.models.card import ModelCard
from harness.models.shape import Shape
from harness.store import content_key

if TYPE_CHECKING:
    from harness.activations.forward import Forwarded


def describe_bed(bed: Bed) -> ModelCard:
    """A bed's card. Its identity is its options and its code."""
    layers, d_model = bed.shape
    return ModelCard(
        name=bed.kind(),
        identity=content_key("bed", bed.kind(), msgspec.to_builtins(bed), code_of(type(bed))),
        tokenizer_identity="",
        path=None,
        revision="",
        shape=Shape(
            family="bed",
            stacks="decoder-only",
            blocks=layers - 1,
            d_model=d_model,
            heads=1,
            kv_heads=1,
            head_dim=d_model,
            d_mlp=0,
            vocab=0,
            context=None,
            window=None,
            gated=False,
            tied=True,
        ),
        parameters=0,
        body_parameters=0,
        dtype="float32",
        weights="pretrained",
        weights_seed=0,
        side="decoder",
        packing="never",
        trust_remote_code=False,
        allow_pickle=False,
    )


class BedForward:
    """Asks a bed for its states; it gives those of the last token, and has no probabilities of answers."""

    def __init__(self, bed: Bed):
        self.bed = bed

    def __call__(
        self, groups: Sequence[Sequence[Row]], layers: Sequence[int], log_prob: bool, stem: int = 0
    ) -> Forwarded:
        from harness.activations.forward import Forwarded

        assert not log_prob, "a bed has no language-model head"
        states = self.bed.states([row.tokens for group in groups for row in group])
        return Forwarded(states[list(layers)], None)
