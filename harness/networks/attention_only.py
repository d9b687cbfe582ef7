"""A transformer that has attention alone, whose patterns and heads can be read and altered (Elhage et al. 2021, "A Mathematical Framework for Transformer
Circuits")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import UsageError
from harness.networks.layout import Layout
from harness.networks.small_network import Sizes, SmallNetwork, embedded, passed

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.small_network import At


class AttentionOnly(SmallNetwork, frozen=True, kw_only=True):
    """Blocks of attention on a residual stream, without biases, which answer at each position."""

    blocks: int = 2
    """How many."""
    d_model: int = 64
    """Width of the residual stream."""
    heads: int = 4
    """Attention heads of a block, which share the width."""
    positions: Literal["relative", "absolute"] = "relative"
    """`relative`: each head adds a number to its scores for each distance. `absolute`: a vector for each position is added to the embedding."""
    layer_norm: bool = False
    """Whether what a block reads, and what is answered from, is normalised, without gain. What a network without it computes is easier to take apart."""

    embedding: ClassVar[str] = "embed"

    def __post_init__(self) -> None:
        for option in ("blocks", "d_model", "heads"):
            if getattr(self, option) < 1:
                raise UsageError(f"{option}: {getattr(self, option)} is less than 1")
        if self.d_model % self.heads:
            raise UsageError(f"heads: {self.heads} heads cannot share a width of {self.d_model}; give a divisor of it")

    def layout(self, sizes: Sizes) -> Layout:
        width = self.d_model
        shapes: dict[str, tuple[int, ...]] = {"embed": (sizes.vocabulary, width)}
        if self.positions == "absolute":
            shapes["position"] = (sizes.context, width)
        for block in range(1, self.blocks + 1):
            shapes |= {f"{block}.{name}": (width, width) for name in ("query", "key", "value", "output")}
            if self.positions == "relative":
                shapes[f"{block}.distance"] = (self.heads, sizes.context)
        return Layout(shapes | {"unembed": (width, sizes.classes)})

    def spread(self, name: str, shape: tuple[int, ...]) -> float:
        if name.endswith("distance"):
            return 0.0
        return shape[-1] ** -0.5 if name == "unembed" else self.d_model**-0.5

    def widest(self, sizes: Sizes) -> int:
        return sizes.context * max(self.d_model, self.heads * sizes.context, sizes.classes)

    def places(self) -> tuple[str, ...]:
        each = ("pattern", "heads", "attention", "residual")
        return ("residual.0", *(f"{name}.{block}" for block in range(1, self.blocks + 1) for name in each))

    def layers(self) -> tuple[str, ...]:
        return tuple(f"residual.{block}" for block in range(self.blocks + 1))

    def logits(self, parameters: Mapping[str, Tensor], questions: Tensor, at: At = passed) -> Tensor:
        """At each position, (network, row, position, class). Places hold (network, row, position, width), `pattern` how each position attends,
        (network, row, head, position, attended position), and `heads` the values that each head gathers before the output map, (network,
        row, position, head, width of a head)."""
        import torch

        stream = embedded(parameters["embed"], questions)
        if self.positions == "absolute":
            stream = stream + parameters["position"][:, None, : questions.shape[-1]]
        stream = at("residual.0", stream)
        for block in range(1, self.blocks + 1):
            stream = stream + at(f"attention.{block}", self._attended(parameters, block, self._normed(stream), at))
            stream = at(f"residual.{block}", stream)
        logits = torch.bmm(self._normed(stream).flatten(1, 2), parameters["unembed"])
        return logits.unflatten(1, stream.shape[1:3])

    def _normed(self, stream: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.layer_norm(stream, stream.shape[-1:]) if self.layer_norm else stream

    def _attended(self, parameters: Mapping[str, Tensor], block: int, read: Tensor, at: At) -> Tensor:
        """What the heads of a block write, (network, row, position, width)."""
        import torch

        length, width = read.shape[2:]
        # (network, row, head, position, width of a head)
        query, key, value = (
            _times(read, parameters[f"{block}.{name}"]).unflatten(-1, (self.heads, -1)).transpose(2, 3)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        back = torch.arange(length)[:, None] - torch.arange(length)
        if self.positions == "relative":
            scores = scores + parameters[f"{block}.distance"][:, None, :, back.clamp(min=0)]
        pattern = at(f"pattern.{block}", scores.masked_fill(back < 0, -torch.inf).softmax(-1))
        heads = at(f"heads.{block}", (pattern @ value).transpose(2, 3))
        return _times(heads.flatten(3), parameters[f"{block}.output"])


def _times(states: Tensor, weight: Tensor) -> Tensor:
    """States (network, row, position, in) times each network's own matrix (network, in, out)."""
    import torch

    return torch.bmm(states.flatten(1, 2), weight).unflatten(1, states.shape[1:3])
