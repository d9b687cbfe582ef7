"""A small decoder-only transformer, by default the one layer without layer norm of Nanda et al. 2023 (arXiv 2301.05217, appendix A)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import UsageError
from harness.networks.layout import Layout
from harness.networks.small_network import Sizes, SmallNetwork, embedded, passed

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.small_network import At

SHORT = 8
"""Up to so many positions, products of a query with all keys are sums over the width: batched products of tiny matrices take three
times as long."""


class Transformer(SmallNetwork, frozen=True, kw_only=True):
    """Blocks of attention and rectified units on a residual stream, with learned positions and without biases of attention."""

    blocks: int = 1
    """How many."""
    d_model: int = 128
    """Width of the residual stream."""
    heads: int = 4
    """Attention heads of a block, which share the width."""
    d_mlp: int = 512
    """Rectified units of a block; 0 leaves attention alone."""
    layer_norm: bool = False
    """Whether what a block reads is normalised, without gain. What a network without it computes is easier to take apart."""
    answers: Literal["last", "each"] = "last"
    """At the last position only, or at each; the last block then computes no other."""

    embedding: ClassVar[str] = "embed"

    def __post_init__(self) -> None:
        for option, least in (("blocks", 1), ("d_model", 1), ("heads", 1), ("d_mlp", 0)):
            if getattr(self, option) < least:
                raise UsageError(f"{option}: {getattr(self, option)} is less than {least}")
        if self.d_model % self.heads:
            raise UsageError(f"heads: {self.heads} heads cannot share a width of {self.d_model}; give a divisor of it")

    def layout(self, sizes: Sizes) -> Layout:
        width = self.d_model
        shapes: dict[str, tuple[int, ...]] = {"embed": (sizes.vocabulary, width), "position": (sizes.context, width)}
        for block in range(1, self.blocks + 1):
            shapes |= {f"{block}.{name}": (width, width) for name in ("query", "key", "value", "output")}
            if self.d_mlp:
                shapes |= {f"{block}.in": (width, self.d_mlp), f"{block}.in_bias": (self.d_mlp,)}
                shapes |= {f"{block}.out": (self.d_mlp, width), f"{block}.out_bias": (width,)}
        return Layout(shapes | {"unembed": (width, sizes.classes)})

    def spread(self, name: str, shape: tuple[int, ...]) -> float:
        if name.endswith("bias"):
            return 0.0
        return shape[-1] ** -0.5 if name == "unembed" else self.d_model**-0.5

    def widest(self, sizes: Sizes) -> int:
        answering = 1 if self.answers == "last" and self.blocks == 1 else sizes.context
        return max(sizes.context * self.d_model, answering * self.d_mlp, answering * sizes.classes)

    def places(self) -> tuple[str, ...]:
        each = ("attention", "mlp", "residual") if self.d_mlp else ("attention", "residual")
        return ("residual.0", *(f"{name}.{block}" for block in range(1, self.blocks + 1) for name in each))

    def layers(self) -> tuple[str, ...]:
        return tuple(f"residual.{block}" for block in range(self.blocks + 1))

    def logits(self, parameters: Mapping[str, Tensor], questions: Tensor, at: At = passed) -> Tensor:
        """The same at each position, (network, row, position, class), where `answers` is each. Places hold (network, row, position, width),
        of which the last block's positions are those that answer."""
        import torch

        stream = embedded(parameters["embed"], questions) + parameters["position"][:, None, : questions.shape[-1]]
        stream = at("residual.0", stream)
        for block in range(1, self.blocks + 1):
            own = {name: parameters[f"{block}.{name}"] for name in ("query", "key", "value", "output")}
            read = self._normed(stream)
            if self.answers == "last" and block == self.blocks:
                stream = stream[:, :, -1:]
            stream = stream + at(f"attention.{block}", self._attended(own, read, stream.shape[2]))
            if self.d_mlp:
                weights = (parameters[f"{block}.{name}"] for name in ("in", "in_bias", "out", "out_bias"))
                stream = stream + at(f"mlp.{block}", _rectified(self._normed(stream), *weights))
            stream = at(f"residual.{block}", stream)
        logits = torch.bmm(self._normed(stream).flatten(1, 2), parameters["unembed"])
        return logits if self.answers == "last" else logits.unflatten(1, stream.shape[1:3])

    def _normed(self, stream: Tensor) -> Tensor:
        import torch

        return torch.nn.functional.layer_norm(stream, stream.shape[-1:]) if self.layer_norm else stream

    def _attended(self, weights: Mapping[str, Tensor], read: Tensor, queries: int) -> Tensor:
        """What heads write, (network, row, query, width), at the last `queries` positions, each of which sees itself and those before it."""
        import torch

        _networks, _rows, keys, width = read.shape
        asking = read[:, :, -queries:]
        parts = {"query": asking, "key": read, "value": read}
        query, key, value = (
            _times(states, weights[name]).unflatten(-1, (self.heads, -1)) for name, states in parts.items()
        )
        later = torch.ones(queries, keys, dtype=torch.bool, device=read.device).triu(1 + keys - queries)
        scale = (width // self.heads) ** -0.5
        if keys <= SHORT:
            # (network, row, query, key, head, width of a head)
            scores = (query.unsqueeze(3) * key.unsqueeze(2)).sum(-1) * scale
            shares = scores.masked_fill(later[..., None], -torch.inf).softmax(3)
            heads = (shares.unsqueeze(-1) * value.unsqueeze(2)).sum(3)
        else:
            query, key, value = (states.transpose(2, 3) for states in (query, key, value))
            scores = query @ key.transpose(-1, -2) * scale
            heads = (scores.masked_fill(later, -torch.inf).softmax(-1) @ value).transpose(2, 3)
        return _times(heads.flatten(3), weights["output"])


def _times(states: Tensor, weight: Tensor) -> Tensor:
    """States (network, row, position, in) times each network's own matrix (network, in, out)."""
    import torch

    return torch.bmm(states.flatten(1, 2), weight).unflatten(1, states.shape[1:3])


def _rectified(states: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor) -> Tensor:
    hidden = (_times(states, inner) + inner_bias[:, None, None]).relu()
    return _times(hidden, outer) + outer_bias[:, None, None]
