"""The loss of breaking laws of probability, and its gradient, for many probes at many layers at once.

A statement's probability is the answer of its contrast pair, P = ½ [p(x⁺) + 1 − p(x⁻)] with p = σ(x · θ + b). A law's
loss is the mean of its squared violation over its relations, as CCS squares p(x⁺) + p(x⁻) − 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from harness.maths.laws import LAWS

if TYPE_CHECKING:
    from torch import Tensor

    from harness.probes._descent import Objective


class Together:
    """The sum of several objectives."""

    def __init__(self, parts: Sequence[Objective]):
        self.parts = tuple(parts)

    def loss(self, theta: Tensor) -> Tensor:
        return _sum([part.loss(theta) for part in self.parts])

    def gradient(self, theta: Tensor) -> Tensor:
        return _sum([part.gradient(theta) for part in self.parts])

    def loss_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradients = zip(*(part.loss_and_gradient(theta) for part in self.parts), strict=True)
        return _sum(losses), _sum(gradients)

    def only(self, layers: Tensor) -> Together:
        return Together([part.only(layers) for part in self.parts])


class Lawful:
    """Weighted squared violations on the states of some layers. Probes are `theta`, (layer, fit, d_model), one longer
    with a bias."""

    def __init__(self, states: Tensor, relations: Mapping[str, Tensor], weights: Mapping[str, float], bias: bool):
        """`states` is (layer, row, view, d_model), float32; `relations` by law, (relation, member), pairs."""
        import torch

        rows = states.transpose(1, 2).flatten(1, 2)
        self.rows = torch.cat([rows, rows.new_ones(*rows.shape[:2], 1)], dim=2) if bias else rows.contiguous()
        self.pairs = states.shape[1]
        self.laws = [(law, members.to(states.device), weights[law]) for law, members in relations.items()]
        self.places = _places([members for _, members, _ in self.laws], self.pairs)

    def only(self, layers: Tensor) -> Lawful:
        """The same for some of the layers."""
        kept = object.__new__(Lawful)
        kept.__dict__ |= self.__dict__
        kept.rows = self.rows[layers]
        return kept

    def loss(self, theta: Tensor) -> Tensor:
        """(layer, fit)."""
        return self._loss(self._broken(self._members(theta)))

    def gradient(self, theta: Tensor) -> Tensor:
        """By theta."""
        members = self._members(theta)
        return self._gradient(members, self._broken(members))

    def loss_and_gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Both for one forward product."""
        members = self._members(theta)
        broken = self._broken(members)
        return self._loss(broken), self._gradient(members, broken)

    def _members(self, theta: Tensor) -> Tensor:
        """p of every x⁻, then of every x⁺, (layer, fit, 2 · pair)."""
        import torch

        return torch.bmm(theta, self.rows.transpose(1, 2)).sigmoid_()

    def _broken(self, members: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each law its violations and which bound is broken most, both (layer, fit, relation)."""
        import torch

        no, yes = members.split(self.pairs, dim=-1)
        answer = (yes - no + 1) / 2
        result = []
        for law, indices, _ in self.laws:
            of_members = [answer[..., column] for column in indices.T]
            excess = []
            for bound in LAWS[law]:
                terms = zip(bound.weights, of_members, strict=True)
                excess.append(_sum([weight * p for weight, p in terms if weight]) + bound.constant)
            worst, which = torch.stack(excess).max(dim=0)
            result.append((worst.clamp_min(0), which))
        return result

    def _loss(self, broken: list[tuple[Tensor, Tensor]]) -> Tensor:
        parts = zip(self.laws, broken, strict=True)
        return _sum([weight * violation.square().mean(dim=-1) for (_, _, weight), (violation, _) in parts])

    def _gradient(self, members: Tensor, broken: list[tuple[Tensor, Tensor]]) -> Tensor:
        import torch

        by_member = [members.new_zeros(*members.shape[:2], 1)]
        for (law, indices, weight), (violation, which) in zip(self.laws, broken, strict=True):
            slope = (2 * weight / len(indices)) * violation
            bounds = torch.tensor([bound.weights for bound in LAWS[law]], dtype=slope.dtype, device=slope.device)
            # Of the largest excess only the broken bound has a slope; where none is broken the violation is 0.
            by_member.append((slope[..., None] * bounds[which]).flatten(2))
        by_answer = torch.cat(by_member, dim=-1)[..., self.places].sum(dim=-1)
        # dP/dp is ½ for x⁺ and −½ for x⁻; dp/da = p − p².
        by_p = torch.cat([-by_answer, by_answer], dim=-1) / 2
        return torch.bmm(by_p.mul_(members - members.square()), self.rows)


def _places(relations: Sequence[Tensor], pairs: int) -> Tensor:
    """For each pair where it stands among all members of all relations, counted from 1, padded with 0: (pair, most).

    Gathering by it sums in one order. Scattering would, on a GPU, sum in any, and no two runs would be the same.
    """
    import torch

    flat = torch.cat([members.flatten() for members in relations]).cpu()
    order = torch.argsort(flat, stable=True)
    counts = torch.bincount(flat, minlength=pairs)
    table = torch.zeros(pairs, max(int(counts.max()), 1), dtype=torch.int64)
    turn = torch.arange(len(flat)) - (counts.cumsum(0) - counts)[flat[order]]
    table[flat[order], turn] = order + 1
    return table.to(relations[0].device)


def _sum(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
