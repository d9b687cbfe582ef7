"""Probes, what they are given and what they give: contrast pairs, normalisations, erasures, readouts, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts.kind import Kind
from harness.contracts.targets import TargetKindName
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
    """States of rows at some layers: what a probe is fitted on or applied to. A row of two views is a contrast pair, of one a statement."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "states": ("layer", "row", "view", "d_model"),
        "template": ("row",),
        "labels": ("seed", "row"),
        "values": ("seed", "row", "component"),
        "classes": (),
        "example": ("row",),
        "group": ("row",),
        "relations": ("relation", "member"),
        "log_odds": ("row",),
        "partial": (),
        "alone": (),
        "grain": ("layer",),
    }
    numbered: ClassVar[Mapping[str, str]] = {"relations": "row"}

    states: Tensor
    """Float32, (layer, row, view, d_model); of a contrast pair view 0 is answers[0] (x⁻), view 1 is answers[1] (x⁺)."""
    template: Tensor
    """Index of the template that each pair came from, int64, (pair,)."""
    labels: Tensor | None = None
    """Index of the right answer or class, int64, (row,), or (seed, row) where each seed has labels of its own (a control).
    None for an unsupervised probe, which is never handed labels, and for a target of numbers."""
    values: Tensor | None = None
    """Numbers that the row is labelled with, float32, (row, component), or (seed, row, component); of a number, one component. None
    for a target of classes."""
    classes: int = 2
    """Classes that `labels` tell apart, some of which may have no row here."""
    example: Tensor | None = None
    """Which example each pair is of, int64, (pair,): equal numbers are one example under several templates. None where
    every pair is an example of its own."""
    group: Tensor | None = None
    """Which group each row is of, int64, (row,): rows of one are held out together where something is chosen by training rows. None where
    it is not known; those of an example are one then."""
    relations: Mapping[str, Tensor] = {}
    """By law: pairs whose probabilities the law ties together, int64, (relation, member), indices into the pair axis."""
    log_odds: Tensor | None = None
    """log P(answers[1] | prompt) − log P(answers[0] | prompt) by the model itself, float32, (pair,); None if it has
    no language-model head."""
    partial: bool = False
    """Whether there are more layers than these, which are fitted apart. That nothing varies here is then no error."""
    alone: bool = False
    """Whether each layer must be fitted to the last bit as without the others, also where a probe has to copy for it: so where layers
    stand for sets of rows that would otherwise be fitted one after another."""
    grain: Tensor | None = None
    """Norm of what may be rounding in one state, (layer,), see `harness.maths.rounding`; of training pairs that were normalised. None
    where it is that of the states as they are."""


class Answers(WithAxes, frozen=True):
    """The answers of a fitted probe to each row. Numpy, float32; axes (seed, layer, row)."""

    shapes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "score": ("seed", "layer", "row"),
        "probability": ("seed", "layer", "row"),
        "members": ("seed", "layer", "row", "view"),
        "outputs": ("seed", "layer", "row", "output"),
    }

    score: np.ndarray
    """Larger means answers[1]; the probe's own threshold is at 0. With `outputs`: of classes, how far the likeliest is above the next,
    in log-probability; of a number, how far it is above the mean of the training rows; of a vector, how far it is from theirs. It is 0
    where nothing was found."""
    probability: np.ndarray | None = None
    """P(answers[1]) in [0, 1] where the probe claims one; 0.5 where score is 0."""
    members: np.ndarray | None = None
    """p(x⁻) and p(x⁺), (seed, layer, row, 2), for probes that judge each statement by itself; None otherwise."""
    outputs: np.ndarray | None = None
    """What a probe says that was fitted on something not binary, (seed, layer, row, output): log-probabilities of the classes, the
    number (one output), or the vector. None for one that answers by `score`."""

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
        return Answers(self.score * side, probability, members, self.outputs)


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
        """Weights of the views in the linear map that the score is, (seed, layer, view, d_model); None where it is none."""
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


class Together(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several layers as one space, on which a probe is fitted once.

    They are the layers at which it does best by itself on validation rows (fitted with the first seed), each divided by the root mean
    square of its normalised states. It has no layer of its own in the tables; the report names those that were chosen.
    """

    together: Annotated[int, Meta(ge=2, le=1000)]
    """How many; all that are kept where there are no more, for which no validation rows are needed."""
    by: Literal["joined", "averaged"] = "joined"
    """`joined` sets their states side by side: what they know is added up, with so many times the weights to fit, which takes more
    rows. `averaged` takes the mean of each dimension, as of one stream that all layers write to: no more weights than at one layer,
    but what turns from layer to layer is lost."""


class Probe(Kind, frozen=True):
    """A method that answers each question from the states of its row: of a contrast pair, or of a statement.

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

    layers: Together | None = None
    """Layers that it is fitted on at once, as in `{together: 5}`; it is fitted on each by itself if empty."""

    views: ClassVar[tuple[int, ...]] = (2,)
    """Numbers of views that its rows may have: 2 for contrast pairs, 1 for statements. One that names both says of either what it says of
    x⁺ − x⁻ and of the statement by itself."""
    targets: ClassVar[tuple[TargetKindName, ...]] = ("binary",)
    """Kinds of target that it can be fitted on. Of one that is not binary it gives `outputs`."""
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
    by_group: ClassVar[bool] = False
    """Whether it looks at which rows are of one group, of labels or not."""
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

    @property
    def layered(self) -> bool:
        """Whether it has a fit for each layer: one that reads no states has none, and one of several layers together has one for all."""
        return self.reads == "states" and self.layers is None

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        """Fits on training pairs, already normalised. The result's seed axis has one entry per seed.

        Raises NumericalError when the states make the fit impossible (fewer than two rows, no variance …).
        """
        raise NotImplementedError
