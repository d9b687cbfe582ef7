"""Probes, what they are given and what they give: contrast pairs, normalisations, erasures, readouts, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts.kind import Kind
from harness.maths.axes import WithAxes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Fitted(WithAxes, frozen=True):
    """A value learnt from training rows. Its fields are the tensors that the store keeps."""

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors, on the CPU and contiguous, as safetensors wants them."""
        import torch

        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: own.detach().cpu().contiguous() for name, own in found.items() if isinstance(own, torch.Tensor)}


class Pairs(WithAxes, frozen=True):
    """The states of contrast pairs at some layers: what a probe is fitted on or applied to."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "states": ("layer", "row", "answer", "d_model"),
        "template": ("row",),
        "labels": ("seed", "row"),
        "example": ("row",),
        "relations": ("relation", "member"),
        "log_odds": ("row",),
        "partial": (),
        "grain": ("layer",),
    }
    numbered: ClassVar[Mapping[str, str]] = {"relations": "row"}

    states: Tensor
    """Float32, (layer, pair, answer, d_model); answer 0 is answers[0] (x⁻), answer 1 is answers[1] (x⁺)."""
    template: Tensor
    """Index of the template that each pair came from, int64, (pair,)."""
    labels: Tensor | None = None
    """Index of the right answer, int64, (pair,), or (seed, pair) where each seed has labels of its own (a control).
    None for an unsupervised probe, which is never handed labels."""
    example: Tensor | None = None
    """Which example each pair is of, int64, (pair,): equal numbers are one example under several templates. None where
    every pair is an example of its own."""
    relations: Mapping[str, Tensor] = {}
    """By law: pairs whose probabilities the law ties together, int64, (relation, member), indices into the pair axis."""
    log_odds: Tensor | None = None
    """log P(answers[1] | prompt) − log P(answers[0] | prompt) by the model itself, float32, (pair,); None if it has
    no language-model head."""
    partial: bool = False
    """Whether there are more layers than these, which are fitted apart. That nothing varies here is then no error."""
    grain: Tensor | None = None
    """Norm of what may be rounding in one state, (layer,), see `harness.maths.rounding`; of training pairs that were normalised. None
    where it is that of the states as they are."""


class Answers(WithAxes, frozen=True):
    """The answers of a fitted probe to each pair. Numpy, float32; axes (seed, layer, pair)."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "score": ("seed", "layer", "row"),
        "probability": ("seed", "layer", "row"),
        "members": ("seed", "layer", "row", "answer"),
    }

    score: np.ndarray
    """Larger means answers[1]; the probe's own threshold is at 0."""
    probability: np.ndarray | None = None
    """P(answers[1]) in [0, 1] where the probe claims one; 0.5 where score is 0."""
    members: np.ndarray | None = None
    """p(x⁻) and p(x⁺), (seed, layer, pair, 2), for probes that judge each statement by itself; None otherwise."""

    def flipped(self, sign: np.ndarray) -> Answers:
        """The answers turned round where sign, shape (seed, layer), is −1."""
        import numpy as np

        side = sign[:, :, None]
        probability = self.probability
        if probability is not None:
            probability = np.where(side < 0, 1 - probability, probability)
        members = self.members
        if members is not None:
            members = np.where(side[..., None] < 0, 1 - members, members)
        return Answers(self.score * side, probability, members)


class Readout(Fitted, frozen=True):
    """A fitted probe; see `harness.readouts` for the forms."""

    def answers(self, pairs: Pairs) -> Answers:
        raise NotImplementedError

    @property
    def loss(self) -> Tensor | None:
        """Training loss of each kept fit, (seed, layer); None for probes that have none."""
        return None

    @property
    def pair_weights(self) -> Tensor | None:
        """Weights of x⁻ and x⁺ in the linear map that the score is, (seed, layer, 2, d_model); None where it is none."""
        return None


class Normalisation(Kind, frozen=True):
    """A map of the states, learnt without labels from training rows."""

    folder: ClassVar[str] = "normalisations"

    by_layer: ClassVar[bool] = True
    """Whether a layer's map depends on nothing but that layer, and has tensors of the same size for every layer."""

    def fit(self, pairs: Pairs) -> Normaliser:
        raise NotImplementedError


class Normaliser(Fitted, frozen=True):
    """A fitted normalisation; see `harness.readouts.normalisers` for the forms."""

    def __call__(self, pairs: Pairs) -> Pairs:
        raise NotImplementedError


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is taken out of the states, with the help of labels, before a probe is fitted: a control.

    Fitted on training rows after the normalisation, applied to all rows.
    """

    of: str = "truth"
    """The factor: `truth`, a distractor's name, or an XOR that the spec declares."""
    by: Literal["leace", "mean_difference", "lda", "logistic_regression"] = "leace"
    """`leace` moves the states least among the maps after which no linear probe of a statement beats a constant on the
    training rows. The others project the direction of that supervised probe out, at a right angle: `mean_difference`
    leaves no difference of the means either (Roger); `lda` and `logistic_regression` leave what other directions know."""
    times: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How often: each time the direction is fitted again to what is left (iterative nullspace projection)."""

    def __post_init__(self) -> None:
        if self.times > 1 and self.by in ("leace", "mean_difference"):
            raise ValueError(
                f"after {self.by} the class means are equal, so that a second time finds nothing: take `times` out, or "
                "use by: logistic_regression"
            )


class Probe(Kind, frozen=True):
    """A method that answers each question from the states of its contrast pair.

    All layers, restarts and seeds are fitted together, as batched linear algebra.
    """

    folder: ClassVar[str] = "probes"

    name: str = ""
    """Name in the report; the kind if empty, as in `logistic_regression`, or `logistic_regression@word` with another target."""
    normalise: str = "mean"
    """Normalisation of the states before the fit, with statistics of the training rows: `harness list normalisations`."""
    target: str = "truth"
    """What a probe that learns from labels is fitted on: the truth, another factor, or an XOR that the spec declares, such as
    `truth^word`. It is named after it, and its sign is right for it; against all else it is resolved like any other's."""
    erase: Erasure | None = None
    """A factor that labels take out of the states before the fit, as a control: `{of: truth, by: leace}`. What the probe
    still finds afterwards is something else. Nothing is erased if empty."""

    supervised: ClassVar[bool] = False
    """Whether `fit` is handed labels."""
    seeded: ClassVar[bool] = False
    """Whether the fit depends on the seed. One that does not is fitted once, whatever the spec's `seeds`."""
    unfitted: ClassVar[bool] = False
    """Whether its direction is drawn and looks at no state, so that hundreds of seeds cost one matrix product."""
    reads: ClassVar[Literal["states", "log_odds"]] = "states"
    """What it needs of the model. `log_odds` has no layers: the report shows its layer as `all`."""
    asks: ClassVar[Literal["pair", "example"]] = "pair"
    """What must be asked for one answer: a question in one wording, or in all of them. It decides what an answer costs."""
    by_layer: ClassVar[bool] = True
    """Whether a layer's fit depends on nothing but that layer, to the last bit: layers may then be fitted apart, a few at a
    time or by several processes."""
    detects: ClassVar[bool] = False
    """Whether it says how unusual a row is. Larger is more unusual, whatever it is scored against: no sign is resolved, and
    no layer is chosen by what it is scored against, because rows like those that it was fitted on have no unusual one."""

    halves: ClassVar[int] = 20
    """Halves of its training rows on which it is fitted again at the summary layer: how far its scores move with
    the training sample. Fewer where a fit is a long descent, or grows many trees; intervals are wider then."""
    directed: ClassVar[bool] = True
    """Whether its score is a linear map of the pair's states, so that it has a direction."""

    @property
    def title(self) -> str:
        """The name in the report: the one given, or the kind, with `@TARGET` where that is not the truth."""
        elsewhere = self.supervised and self.target != "truth"
        return self.name or (f"{self.kind()}@{self.target}" if elsewhere else self.kind())

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        """Fits on training pairs, already normalised. The result's seed axis has one entry per seed.

        Raises NumericalError when the states make the fit impossible (fewer than two rows, no variance …).
        """
        raise NotImplementedError
