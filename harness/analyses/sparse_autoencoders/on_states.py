"""Sparse autoencoders on the states of one layer, as a spec asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import msgspec
from msgspec import Meta

from harness.contracts import ConditionName
from harness.networks.sparse_autoencoder import Variant

if TYPE_CHECKING:
    from harness.networks.sparse_autoencoder import Autoencoder

VARIANTS: tuple[Variant, ...] = get_args(Variant)
Penalty = Annotated[float, Meta(gt=0, le=1000)]


class OnStates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Autoencoders on the states of one layer."""

    condition: ConditionName = "main"
    """Whose states are learned."""
    layer: int = -1
    """The layer, among those that are kept; negative ones count from the last."""
    l1: tuple[Penalty, ...] = ()
    """Penalties on the sum of activations. They shrink activations too; small ones explain nearly all variance by features that mean nothing."""
    gated: tuple[Penalty, ...] = ()
    """Penalties of gated ones, which do not shrink what they find."""
    top_k: tuple[Annotated[int, Meta(ge=1, le=16384)], ...] = ()
    """How many features of a state, for those that keep the largest ones and know no penalty."""
    jumprelu: tuple[Penalty, ...] = ()
    """Penalties on the number of active features, of those that learn a threshold for each. They shrink nothing, and one state may have more features than
    another, which `top_k` does not know."""
    dictionary: Annotated[int, Meta(ge=1, le=65536)] = 128
    """Features."""
    seeds: Annotated[int, Meta(ge=1, le=256)] = 6
    """Of each sparsity. Intervals of checks are over them, and fewer than six say nothing of others."""
    steps: Annotated[int, Meta(ge=1, le=1_000_000)] = 3000
    """Steps of training."""
    batch: Annotated[int, Meta(ge=1, le=65536)] = 128
    """States of a step, drawn from the training rows."""
    texts: Annotated[int, Meta(ge=2, le=100_000)] | None = None
    """Test prompts on which it is measured how much of a language model's loss is recovered when what is given back stands in the place of the states at
    all their tokens; not measured if empty. Each is forwarded from the layer on once for each autoencoder, and twice more. States of one token of a prompt
    make autoencoders of that token's states, which may know nothing of the others."""
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 3e-3
    """Of Adam. It rises over 50 steps, stays up to half of all, and falls to zero at the last one."""

    def __post_init__(self) -> None:
        if not any(getattr(self, name) for name in VARIANTS):
            raise ValueError(
                "l1: there is none to train; write `l1: [0.1]`, `gated: [0.1]`, `top_k: [8]` or `jumprelu: [0.01]`"
            )
        for name in VARIANTS:
            asked = getattr(self, name)
            repeated = next((one for one in asked if asked.count(one) > 1), None)
            if repeated is not None:
                raise ValueError(
                    f"{name}: {repeated:g} stands there more than once, and the same networks would count as others; name it once, and raise "
                    "`seeds` for more networks"
                )
        if self.top_k and max(self.top_k) > self.dictionary:
            raise ValueError(
                f"top_k: {max(self.top_k)} features of a dictionary of {self.dictionary} are more than there are; give fewer"
            )

    def autoencoders(self, width: int) -> tuple[Autoencoder, ...]:
        """All of them, for states of a width."""
        from harness.networks.sparse_autoencoder import Autoencoder

        asked = [(name, one) for name in VARIANTS for one in getattr(self, name)]
        return tuple(
            Autoencoder(
                variant=variant,
                sparsity=float(sparsity),
                width=width,
                dictionary=self.dictionary,
                seed=seed,
            )
            for variant, sparsity in asked
            for seed in range(self.seeds)
        )
