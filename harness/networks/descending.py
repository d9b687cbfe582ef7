"""Networks that descend on a loss of their own, many at once, with the same AdamW as those that answer questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from harness.networks.stacked import Rates, Stacked

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.layout import Layout

Parameters = Mapping[str, "Tensor"]
"""By name, (network, …)."""


class Descending(Stacked):
    """A stack of networks in training. Rows are networks, (network, size of a layout)."""

    @classmethod
    def of(cls, networks: Stacked) -> Descending:
        """The same networks, whose tensors are shared."""
        return cls(*(getattr(networks, name) for name in Stacked.__struct_fields__))

    def descend(
        self,
        layout: Layout,
        rates: Rates,
        loss: Callable[[Parameters, int], Tensor],
        to: int,
        after: Callable[[Parameters], None] | None = None,
    ) -> None:
        """Trains up to step `to` on `loss(parameters, step)`, (network,), where the first step is 0. `after` may change the parameters after each step,
        such as to keep a norm."""
        import torch

        gradient = torch.zeros_like(self.parameters)
        leaves = {name: view.requires_grad_() for name, view in layout.views(self.parameters.detach()).items()}
        into = list(layout.views(gradient).values())
        while self.step < to:
            total = loss(leaves, self.step).sum()
            for place, found in zip(into, torch.autograd.grad(total, list(leaves.values())), strict=True):
                place.copy_(found)
            self._move(gradient, rates)
            if after is not None:
                with torch.no_grad():
                    after(leaves)


def joined(parts: Mapping[tuple[int, ...], Stacked]) -> Stacked:
    """Parts of a stack, each under the places of its networks among all, as one."""
    import torch

    order = torch.tensor([place for places in parts for place in places]).argsort()
    parameters, mean, square = (
        torch.cat([getattr(one, name) for one in parts.values()])[order] for name in ("parameters", "mean", "square")
    )
    return Stacked(parameters, mean, square, next(iter(parts.values())).step)
