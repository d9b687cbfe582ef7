"""The toy model of superposition, ReLU(WᵀWx + b) (Elhage et al. 2022, arXiv 2209.10652, §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.errors import UsageError
from harness.networks.layout import ALIGNED, Layout
from harness.networks.small_network import Sizes, SmallNetwork, passed
from harness.worlds.sparse_features import LEVELS

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.small_network import At


class ToyModel(SmallNetwork, frozen=True, kw_only=True):
    """A linear map of features into fewer dimensions, and its transpose with a bias and a rectifier back."""

    d_model: int = 5
    """Dimensions, which are its one layer."""

    embedding: ClassVar[str] = "weight"

    def __post_init__(self) -> None:
        if self.d_model < 1:
            raise UsageError(f"d_model: {self.d_model} is less than 1")

    def layout(self, sizes: Sizes) -> Layout:
        """`weight` has the direction of each feature as a row."""
        return Layout({"weight": (sizes.classes, self.d_model), "bias": (sizes.classes,)})

    def spread(self, name: str, shape: tuple[int, ...]) -> float:
        return 0.0 if name == "bias" else (2 / sum(shape)) ** 0.5

    def widest(self, sizes: Sizes) -> int:
        return max(sizes.classes, self.d_model)

    def places(self) -> tuple[str, ...]:
        return ("hidden",)

    def layers(self) -> tuple[str, ...]:
        return self.places()

    def logits(self, parameters: Mapping[str, Tensor], questions: Tensor, at: At = passed) -> Tensor:
        """Features that it gives back, (network, row, feature), for samples (network or 1, row, feature) in thousandths."""
        import torch
        from torch.nn.functional import pad

        # Dimensions of zeros beside the others, so that every network's products begin at a multiple of 64 bytes: they sum in another order elsewhere.
        beside = (0, -self.d_model % ALIGNED)
        weight = pad(parameters["weight"], beside)
        features = (questions.float() / LEVELS).expand(len(weight), -1, -1)
        hidden = torch.bmm(features, weight)
        if at is not passed:
            hidden = pad(at("hidden", hidden[..., : self.d_model]), beside)
        return torch.baddbmm(parameters["bias"][:, None], hidden, weight.transpose(1, 2)).relu()
