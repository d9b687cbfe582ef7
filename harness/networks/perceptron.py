"""A multi-layer perceptron on one-hot tokens (Gromov 2023, arXiv 2301.02679, for modular addition)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from harness.errors import UsageError
from harness.networks.layout import Layout
from harness.networks.small_network import Sizes, SmallNetwork, embedded, passed

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.small_network import At


class Perceptron(SmallNetwork, frozen=True, kw_only=True):
    """Hidden layers of rectified units over the tokens, one-hot at their positions. Groks sooner than a transformer, with less to look into."""

    widths: tuple[int, ...] = (256,)
    """Units of each hidden layer."""

    embedding: ClassVar[str] = "in"

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 1:
            raise UsageError(
                f"widths: {msgspec.to_builtins(self.widths)} names no layers of at least one unit; give one number a layer"
            )

    def layout(self, sizes: Sizes) -> Layout:
        first, *_, last = self.widths[0], *self.widths
        shapes: dict[str, tuple[int, ...]] = {"in": (sizes.context * sizes.vocabulary, first), "in_bias": (first,)}
        for number, (width, after) in enumerate(zip(self.widths, self.widths[1:], strict=False), start=1):
            shapes |= {f"{number}.weight": (width, after), f"{number}.bias": (after,)}
        return Layout(shapes | {"out": (last, sizes.classes)})

    def spread(self, name: str, shape: tuple[int, ...]) -> float:
        if name.endswith("bias"):
            return 0.0
        # A row of the first matrix is one token at one position, of which few are read at once: width stands for what comes in.
        return shape[1] ** -0.5 if name == "in" else shape[0] ** -0.5

    def widest(self, sizes: Sizes) -> int:
        return max(sizes.context * self.widths[0], *self.widths, sizes.classes)

    def places(self) -> tuple[str, ...]:
        return tuple(f"hidden.{number}" for number in range(1, len(self.widths) + 1))

    def layers(self) -> tuple[str, ...]:
        return self.places()

    def logits(self, parameters: Mapping[str, Tensor], questions: Tensor, at: At = passed) -> Tensor:
        import torch

        context = questions.shape[-1]
        vocabulary = parameters["in"].shape[1] // context
        one_hot = questions + vocabulary * torch.arange(context, device=questions.device)
        summed = embedded(parameters["in"], one_hot).sum(2) + parameters["in_bias"][:, None]
        states = at("hidden.1", summed.relu())
        for number in range(1, len(self.widths)):
            states = torch.bmm(states, parameters[f"{number}.weight"]) + parameters[f"{number}.bias"][:, None]
            states = at(f"hidden.{number + 1}", states.relu())
        return torch.bmm(states, parameters["out"])
