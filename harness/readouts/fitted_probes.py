"""The forms that a fitted probe can take.

A probe's `fit` returns one of these (a detector's, one of `harness.readouts.detectors`); scoring and storing know nothing of the
method that made it. Every readout holds all seeds and layers at once, in the space of the *normalised* states. How each is
kept is said in `harness.readouts.stored_readouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Answers, Pairs, Readout
from harness.errors import UsageError
from harness.readouts.layerwise import by_layer, same_space, stacked

if TYPE_CHECKING:
    from torch import Tensor


class LinearReadout(Readout, frozen=True):
    """score = x⁻ · weight[0] + x⁺ · weight[1] + bias: one hyperplane in the space of the row, which has one view in a statement."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "layer", "view", "d_model"),
        "bias": ("seed", "layer"),
        "calibrated": ("1",),
    }

    weight: Tensor
    """Float32, (seed, layer, view, d_model); of a pair the two rows belong to answers[0] and answers[1]. All zero at a layer whose
    states do not vary: the score is then the bias alone."""
    bias: Tensor
    """Float32, (seed, layer)."""
    calibrated: bool
    """Whether the score is a log-odds, so that sigmoid(score) is a probability. Otherwise it is a distance."""

    @property
    def pair_weights(self) -> Tensor:
        return self.weight.float()

    def answers(self, pairs: Pairs) -> Answers:
        layers, rows, views, width = pairs.states.shape
        same_space(self.weight.shape[1], self.weight.shape[3], layers, width)
        weight = self.weight.to(pairs.states).flatten(2)
        scores = by_layer(weight, self.bias, pairs.states.reshape(layers, rows, views * width))
        probability = stacked([score.sigmoid() for score in scores]) if self.calibrated else None
        return Answers(stacked(scores), probability)

    def tensors(self) -> dict[str, Tensor]:
        import torch

        calibrated = torch.tensor([self.calibrated], dtype=torch.uint8)
        return super().tensors() | {"calibrated": calibrated}


class RestartsReadout(Readout, frozen=True):
    """A fitted probe of a method with random starts. Every restart is kept, because the spread of solutions is a finding;
    `direction`, `bias` and `loss` are those of the chosen one."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "restart_direction": ("seed", "restart", "layer", "d_model"),
        "restart_bias": ("seed", "restart", "layer"),
        "restart_loss": ("seed", "restart", "layer"),
        "chosen": ("seed", "layer"),
    }

    restart_direction: Tensor
    """θ of every fit, float32, (seed, restart, layer, d_model)."""
    restart_bias: Tensor
    """b of every fit, float32, (seed, restart, layer)."""
    restart_loss: Tensor
    """Training loss of every fit, float32, (seed, restart, layer)."""
    chosen: Tensor
    """Restart with the lowest loss, the first of equals, int64, (seed, layer)."""

    @property
    def direction(self) -> Tensor:
        """θ of the chosen restart, (seed, layer, d_model)."""
        width = self.restart_direction.shape[-1]
        index = self.chosen[:, None, :, None].expand(-1, 1, -1, width)
        return self.restart_direction.gather(1, index)[:, 0]

    @property
    def bias(self) -> Tensor:
        """b of the chosen restart, (seed, layer)."""
        return self.restart_bias.gather(1, self.chosen[:, None])[:, 0]

    @property
    def loss(self) -> Tensor | None:
        """Training loss of the chosen restart, (seed, layer)."""
        return self.restart_loss.gather(1, self.chosen[:, None])[:, 0]

    @property
    def pair_weights(self) -> Tensor:
        import torch

        direction = self.direction
        return torch.stack([-direction, direction], dim=-2).float()

    def restarts(self, pairs: Pairs) -> Answers:
        """Answers of all restarts; the first axis is seed · restart, restarts of one seed side by side."""
        raise NotImplementedError


class ConsistentReadout(RestartsReadout, frozen=True):
    """Judges each member by itself, p(x) = σ(x · θ + b), and answers ½ [p(x⁺) + 1 − p(x⁻)] (Burns et al. 2022, §2.2).

    A probe that always says 0.4 has a loss of 0.2.
    """

    def answers(self, pairs: Pairs) -> Answers:
        return _judged(self.direction, self.bias, pairs)

    def restarts(self, pairs: Pairs) -> Answers:
        return _judged(self.restart_direction.flatten(0, 1), self.restart_bias.flatten(0, 1), pairs)


class ContrastReadout(RestartsReadout, frozen=True):
    """score = (x⁺ − x⁻) · θ + b, a distance and no probability."""

    def answers(self, pairs: Pairs) -> Answers:
        return _contrasted(self.direction, self.bias, pairs)

    def restarts(self, pairs: Pairs) -> Answers:
        return _contrasted(self.restart_direction.flatten(0, 1), self.restart_bias.flatten(0, 1), pairs)


class HiddenReadout(Readout, frozen=True):
    """score = second · relu(Σ_view row · weight + hidden_bias) + bias, a log-odds: one hidden layer."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight": ("seed", "layer", "hidden", "view", "d_model"),
        "hidden_bias": ("seed", "layer", "hidden"),
        "second": ("seed", "layer", "hidden"),
        "bias": ("seed", "layer"),
    }

    weight: Tensor
    """Float32, (seed, layer, hidden, view, d_model); of a pair the two rows belong to answers[0] and answers[1]."""
    hidden_bias: Tensor
    """Float32, (seed, layer, hidden)."""
    second: Tensor
    """Float32, (seed, layer, hidden)."""
    bias: Tensor
    """Float32, (seed, layer)."""

    def answers(self, pairs: Pairs) -> Answers:
        import torch

        layers, _, _, width = pairs.states.shape
        same_space(self.weight.shape[1], self.weight.shape[4], layers, width)
        # Layer by layer, as in `by_layer`; seed by seed, because all hidden units of all could be larger than the states.
        scores = [
            torch.stack([self._at(seed, layer, rows) for seed in range(len(self.weight))])
            for layer, rows in enumerate(pairs.states.flatten(2))
        ]
        return Answers(stacked(scores), stacked([score.sigmoid() for score in scores]))

    def _at(self, seed: int, layer: int, rows: Tensor) -> Tensor:
        """(row,) of one seed at one layer; rows (row, view · d_model)."""
        import torch

        every = (self.weight, self.hidden_bias, self.second, self.bias)
        weight, hidden_bias, second, bias = (part[seed, layer].to(rows) for part in every)
        return torch.addmm(hidden_bias, rows, weight.flatten(1).T).relu_() @ second + bias


class ThresholdReadout(Readout, frozen=True):
    """The model's own answer: score = log_odds − threshold. It has no layers: the layer axis has length one."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {"threshold": ("seed", "1")}

    threshold: Tensor
    """Log-odds, float32, (seed, 1)."""

    def answers(self, pairs: Pairs) -> Answers:
        score = needed_log_odds(pairs).float() - self.threshold.to(pairs.states.device)[..., None]
        return Answers(score.cpu().numpy(), score.sigmoid().cpu().numpy())


class EnsembleReadout(Readout, frozen=True):
    """The model's own answer to an example, from all its templates; every row of the example has the same score."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "threshold": ("seed", "template"),
        "template": ("template",),
        "votes": ("1",),
    }

    threshold: Tensor
    """Log-odds, float32, (seed, template)."""
    template: Tensor
    """Which templates these are, sorted, int64, (template,)."""
    votes: Tensor
    """1 where each template's answer counts once, 0 where its log-odds do, uint8, (1,)."""

    def answers(self, pairs: Pairs) -> Answers:
        import torch

        log_odds = needed_log_odds(pairs).float()
        known = self.template.to(pairs.template)
        place = torch.searchsorted(known, pairs.template).clamp_max(len(known) - 1)
        if not torch.equal(known[place], pairs.template):
            raise UsageError(
                "prompt_ensemble is tested on templates that it was not fitted on; give both conditions the same ones"
            )
        given = log_odds - self.threshold.to(log_odds)[:, place]
        votes = bool(self.votes)
        if votes:
            given = (given.sign() + 1) / 2
        score = _mean_by(pairs.example, given)
        probability = score if votes else score.sigmoid()
        score = score - 0.5 if votes else score
        return Answers(score[:, None].cpu().numpy(), probability[:, None].cpu().numpy())


def _mean_by(example: Tensor | None, rows: Tensor) -> Tensor:
    """Each row's mean over the rows of its example, (seed, row)."""
    if example is None:
        return rows
    _, place, count = example.unique(return_inverse=True, return_counts=True)
    sums = rows.new_zeros(len(rows), len(count)).index_add_(1, place, rows)
    return (sums / count)[:, place]


def needed_log_odds(pairs: Pairs) -> Tensor:
    """The model's log-odds, (pair,). Raises UsageError when it has none."""
    if pairs.log_odds is None:
        raise UsageError(
            "zero_shot and prompt_ensemble need the model's own probabilities of the answers, but this model has no language-model head; "
            "take the probe out of this spec, or use a causal or masked language model"
        )
    return pairs.log_odds


def _judged(direction: Tensor, bias: Tensor, pairs: Pairs) -> Answers:
    """Answers of p(x) = σ(x · θ + b); direction (fit, layer, d_model), bias (fit, layer)."""
    layers, rows, _, width = pairs.states.shape
    same_space(direction.shape[1], direction.shape[2], layers, width)
    states = pairs.states.reshape(layers, 2 * rows, width)
    logits = [own.unflatten(1, (rows, 2)) for own in by_layer(direction.to(states), bias, states)]
    members = stacked([own.sigmoid() for own in logits])
    scores = [_half_difference(own) for own in logits]
    return Answers(stacked(scores), stacked([own + 0.5 for own in scores]), members)


def _contrasted(direction: Tensor, bias: Tensor, pairs: Pairs) -> Answers:
    """Answers of (x⁺ − x⁻) · θ + b; direction (fit, layer, d_model), bias (fit, layer)."""
    layers, _, _, width = pairs.states.shape
    same_space(direction.shape[1], direction.shape[2], layers, width)
    difference = pairs.states[:, :, 1] - pairs.states[:, :, 0]
    return Answers(stacked(by_layer(direction.to(difference), bias, difference)))


def _half_difference(logits: Tensor) -> Tensor:
    """½ [σ(a⁺) − σ(a⁻)] = answer − ½, with the right sign also where both sigmoids round to one number.

    With a = larger and b = smaller, σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{b − a}), which cancels nothing. States with large
    norms saturate sigmoids in float32; a plain difference would then turn sure answers into ties.
    """
    import torch

    low, high = logits.double().aminmax(dim=-1)
    size = 0.5 * high.sigmoid() * (-low).sigmoid() * -torch.expm1(low - high)
    sign = torch.sign(logits[..., 1] - logits[..., 0])
    # Below float32's smallest normal number the order is lost, but the side is kept.
    return sign * size.float().clamp_min(torch.finfo(torch.float32).tiny)
