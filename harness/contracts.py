"""What each kind of plug-in must do, and the values that pass between them.

    Source ──examples──▶ Distractor ──prompts──▶ (network) ──states──▶ Normalisation ──▶ Probe
    Probe ──Readout──▶ Answers ──▶ Metric ──Measured──▶ Check ──▶ Judgement

Layer 0 is the embedding output and layer i the residual stream after block i, all *before* the final norm
(Hugging Face's `hidden_states`, except that its last entry is usually after the final norm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from harness.axes import WithAxes
from harness.kind import Kind, options
from harness.maths.estimate import Estimate, Measured

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from torch import Tensor

    from harness.evidence import Evidence, ProbeEvidence


# ---------------------------------------------------------------- data


class Factor(msgspec.Struct, frozen=True):
    """Something that is true of each row and that a probe may have found: the truth, or a distractor."""

    name: str
    values: tuple[str, ...] = ()
    """Names of the classes, index = label; empty when the factor is a number or a vector."""
    kind: Literal["class", "number", "vector"] = "class"


class Source(Kind, frozen=True):
    """A data set: examples with fields for the template and a label.

    `load` returns a table with the columns `example` (text, unique), `group` (text: rows that must not straddle a
    split), `label` (integer, an index into `answers`), further columns of known factors (see `factors`), and
    whatever fields the template may use.
    """

    folder: ClassVar[str] = "data"

    answers: ClassVar[tuple[str, ...]] = ()
    """Default answers, index = label."""
    template: ClassVar[str] = ""
    """Default template."""
    factors: ClassVar[tuple[Factor, ...]] = ()
    """Columns of the table, besides the label, whose value is known by construction."""
    lawful: ClassVar[bool] = False
    """Whether laws of probability tie its statements together. The table then has `law` and `parts`: see harness.maths.laws."""

    def load(self, seed: int, folder: Path, limit: int | None = None) -> pl.DataFrame:
        """All examples in an order that is the same everywhere. `folder` is the spec's, for relative paths.

        `limit` is a hint: a generated set may stop there; the caller samples. Raises DataError.
        """
        raise NotImplementedError

    def fingerprint(self, seed: int, folder: Path) -> str:
        """A string that changes when the examples would, computed without loading them where possible."""
        raise NotImplementedError


class Distractor(Kind, frozen=True):
    """Something that is added to a prompt and has a label of its own, drawn independently of the truth."""

    folder: ClassVar[str] = "distractors"

    def factor(self, name: str) -> Factor:
        """The factor under the name that the spec gives to this distractor."""
        raise NotImplementedError

    @property
    def follows_truth(self) -> bool:
        """Whether its value goes together with the truth on purpose; the linter then does not take it for a leaked label."""
        return False

    @property
    def leaves_prompts_alone(self) -> bool:
        """Whether it leaves prompts as they are on purpose; that it changes nothing is then no mistake."""
        return False

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        """A value per example (an index into the factor's values), balanced within each label and split.

        `examples` has the data's columns, `split`, `truth` (which member of the pair is right, 0 or 1) and `right` (the
        right answer in words).
        """
        raise NotImplementedError

    def edit_fields(self, fields: Mapping[str, Any], value: int) -> Mapping[str, Any]:
        """The template's fields with the distractor in them; unchanged by default. `choices` are the pair's answers."""
        return fields

    def edit_text(self, text: str, value: int) -> str:
        """The rendered prompt, answer included, with the distractor in it; unchanged by default."""
        return text


# ---------------------------------------------------------------- networks


class PromptTable(msgspec.Struct, frozen=True):
    """All prompts of one condition.

    `frame` has one row per (example, template, answer), sorted by `pair` then `answer`, with the columns: `pair`
    (u32, the number of its (example, template)), `example`, `group`, `split` (train, validation, test), `template`
    (name), `answer` (0 or 1: which member of the contrast pair), `text`, `tokens` (list of u32), `answer_start`
    and `answer_end` (token span of the answer, end exclusive), and one column per factor, the same in both rows of a
    pair: `truth` (which member is right, 0 or 1) and every distractor by name.
    """

    frame: pl.DataFrame
    factors: tuple[Factor, ...]
    templates: tuple[str, ...]
    findings: tuple[str, ...] = ()
    """What linting found that is no error but belongs in the report: one sentence each."""


class Bed(Kind, frozen=True):
    """A test bed: a network whose latent knowledge is known to be there, with its own data.

    Its prompts are token ids, not text, and what is true of each row stands in factor columns by construction.
    """

    folder: ClassVar[str] = "beds"

    answers: ClassVar[tuple[str, ...]] = ("no", "yes")
    """Names of the two members of a pair."""
    factors: ClassVar[tuple[Factor, ...]] = ()
    """Columns of `load`'s table, besides the label, that are true of each row by construction."""
    shape: ClassVar[tuple[int, int]]
    """(layers including layer 0, d_model), known before anything is loaded; may be a property."""

    def load(self, count: int, seed: int) -> pl.DataFrame:
        """`count` examples with `example`, `group`, `label`, the factors' columns, and `tokens_0`, `tokens_1`: the token
        ids of the two members of the pair."""
        raise NotImplementedError

    def states(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """States at the last token of each prompt, float32, (layer, row, d_model)."""
        raise NotImplementedError


# ---------------------------------------------------------------- states and probes


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


class Answers(WithAxes, frozen=True):
    """What a fitted probe says about each pair. Numpy, float32; axes (seed, layer, pair)."""

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
        """The same with the answer turned round where sign, shape (seed, layer), is −1."""
        import numpy as np

        side = sign[:, :, None]
        probability = self.probability
        if probability is not None:
            probability = np.where(side < 0, 1 - probability, probability)
        members = self.members
        if members is not None:
            members = np.where(side[..., None] < 0, 1 - members, members)
        return Answers(self.score * side, probability, members)


class Fitted(WithAxes, frozen=True):
    """What was learnt from training rows. Its fields are the tensors that the store keeps."""

    def tensors(self) -> dict[str, Tensor]:
        """On the CPU and contiguous, as safetensors wants them."""
        import torch

        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: own.detach().cpu().contiguous() for name, own in found.items() if isinstance(own, torch.Tensor)}


class Readout(Fitted, frozen=True):
    """A fitted probe; see `harness.readouts` for the forms."""

    def answers(self, pairs: Pairs) -> Answers:
        raise NotImplementedError

    @property
    def loss(self) -> Tensor | None:
        """Training loss of each kept fit, (seed, layer); None for probes that have none."""
        return None


class Normalisation(Kind, frozen=True):
    """A map of the states, learnt without labels from training rows."""

    folder: ClassVar[str] = "normalisations"

    by_layer: ClassVar[bool] = True
    """Whether a layer's map depends on nothing but that layer, and has tensors of the same size for every layer."""

    def fit(self, pairs: Pairs) -> Normaliser:
        raise NotImplementedError


class Normaliser(Fitted, frozen=True):
    """A fitted normalisation; see `harness.normalisers` for the forms."""

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

    directed: ClassVar[bool] = True
    """Whether its score is a linear map of the pair's states, so that it has a direction."""

    @property
    def title(self) -> str:
        """The name in the report: the one given, or the kind, with `@TARGET` where that is not the truth."""
        elsewhere = self.supervised and self.target != "truth"
        return self.name or (f"{self.kind()}@{self.target}" if elsewhere else self.kind())

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        """Fit on training pairs, already normalised. The result's seed axis has one entry per seed.

        Raises NumericalError when the states make the fit impossible (fewer than two rows, no variance …).
        """
        raise NotImplementedError


# ---------------------------------------------------------------- metrics and checks


class Metric(Kind, frozen=True):
    """A score of a probe's answers against the labels of one factor."""

    folder: ClassVar[str] = "metrics"

    unit: ClassVar[str] = ""
    chance: ClassVar[float | None] = None
    """Value of an uninformed answer, for the figures."""
    higher_is_better: ClassVar[bool] = True
    labelled: ClassVar[bool] = True
    """Whether it depends on labels. One that does not is measured on the answers as fitted and reported once, under
    `truth`."""

    @property
    def title(self) -> str:
        """The name in results: the kind, unless an option makes it another score."""
        return self.kind()

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the metrics that are always reported together with this one."""
        return ()

    def measure(self, answers: Answers, labels: np.ndarray, group: np.ndarray) -> Measured | None:
        """Answers' signs are already resolved on training rows. `labels` is (row,) of 0/1, `group` (row,) of integers.

        None when the probe does not give what the metric needs (no probabilities, one class only).
        """
        raise NotImplementedError


class LawMetric(Metric, frozen=True):
    """A score of how answers go together. It is reported once, under `truth`, on answers whose sign was resolved for it."""

    def measure(
        self, answers: Answers, labels: np.ndarray, group: np.ndarray, relations: Mapping[str, np.ndarray] | None = None
    ) -> Measured | None:
        """`relations` by law, (relation, member), indices of rows. None when no law of the metric's is among them."""
        raise NotImplementedError


ProbeName = Annotated[str, Meta(extra={"names": "probe"})]
"""An option of a check that names a probe of the spec, one of its conditions, or what a probe is scored on."""
ConditionName = Annotated[str, Meta(extra={"names": "condition"})]
TargetName = Annotated[str, Meta(extra={"names": "target"})]
NAMED = ("probe", "condition", "target")

Finding = Literal["pass", "fail", "inconclusive"]


class Judgement(msgspec.Struct, frozen=True):
    """What a check found."""

    finding: Finding
    estimate: Estimate
    threshold: float
    why: str
    """One sentence: the statistic, the layer, the numbers, and how the finding follows from the interval."""


class LayerChoice(msgspec.Struct, frozen=True):
    """The layer that summaries and checks look at; as text, what the report says of it: "24 (best validation AUROC)"."""

    index: int
    """Place on the layer axis."""
    layer: int | None
    """The layer's number; None for a probe that has no layers."""
    rule: str
    """The rule that chose it, in words."""

    def __str__(self) -> str:
        return f"{'all' if self.layer is None else self.layer} ({self.rule})"


class Fits(msgspec.Struct, frozen=True):
    """Every fit of a probe at one layer, kept or not."""

    loss: np.ndarray
    """Training loss, (seed, restart)."""
    accuracy: np.ndarray
    """Accuracy on test rows, each fit's sign resolved on training rows, (seed, restart)."""


class Steered(msgspec.Struct, frozen=True):
    """How far the network's own answer follows when states are moved along a direction, and along random ones."""

    along: Measured
    """Change of the log-odds of answers[1] per standard deviation, towards what the probe says is answers[1]: (1, 1) and
    (1, 1, row)."""
    at_random: np.ndarray
    """The same for random directions of the same length, (direction,)."""
    there: Measured | None
    """The same as `along` for the difference of the class means, by labels of training rows, of the very states that are moved: what
    acts there, if anything that is known does. None where it cannot be had."""
    where: str
    """The layer and the tokens, in words."""


@cache
def named_by(check: type[Check]) -> Mapping[str, str]:
    """What is named by each of a check's options that name something of the spec: {'probe': 'probe', 'over': 'target'}."""
    found = {option.name: _named(option.type) for option in options(check)}
    return {name: what for name, what in found.items() if what}


def _named(hint: Any) -> str:
    extra = next((meta.extra for meta in get_args(hint) if isinstance(meta, Meta) and meta.extra), {})
    return extra.get("names") or next(filter(None, map(_named, get_args(hint))), "")


class Check(Kind, frozen=True, kw_only=True):
    """A claim about one probe on the test rows of one condition, decided by an interval: pass, fail or inconclusive."""

    folder: ClassVar[str] = "checks"

    expect: Literal["pass", "fail", "inconclusive"] | None = None
    """The finding that the spec's author expects; another one is exit code 1."""
    name: str = ""
    """Name in the report; the kind if empty."""
    layer: int | str | None = None
    """Layer to judge at: a number, or a rule (see `layer` of the spec); the spec's own rule if empty."""
    probe: ProbeName
    """Name of the probe that the claim is about."""
    condition: ConditionName = "main"
    """Condition whose test rows are looked at; `main` is the only one of a spec without conditions."""
    fit_on: ConditionName | None = None
    """Condition that the probe was fitted on; the same one if empty. The pair must be in the spec's `transfer`."""

    claim: ClassVar[str] = ""
    """The claim in words, with {probe}, {condition} and the other options to fill in."""

    @property
    def subject(self) -> str:
        """The probe and where it stands, for a `why`."""
        fitted = "" if self.fit_on in (None, self.condition) else f" (fitted on {self.fit_on})"
        return f"{self.probe}{fitted} on {self.condition}"

    def refers(self) -> Mapping[str, tuple[str, ...]]:
        """Names in its options that must exist in the spec, by what they name: `probe`, `condition`, `target`."""
        found: dict[str, dict[str, None]] = {what: {} for what in NAMED}
        for option, what in named_by(type(self)).items():
            value = getattr(self, option)
            found[what] |= dict.fromkeys(value if isinstance(value, tuple) else (value,) if value else ())
        return {what: tuple(names) for what, names in found.items()}

    def runs(self, fitted: str) -> tuple[tuple[str, str], ...]:
        """What it looks at: (fitted on, tested on), all of which must be in `transfer`. `fitted` is where its probe is fitted;
        any other condition that it names is fitted on itself."""
        others = (name for name in self.refers()["condition"] if name not in (self.condition, fitted))
        return (fitted, self.condition), *((name, name) for name in others)

    def intervention(self) -> Mapping[str, Any] | None:
        """Options of the intervention whose outcome it asks for, where the probe is fitted aside; None if it needs none.

        The spec's own is used if it has one like it, else it is made with these options and the defaults."""
        return None

    def needs(self, fitted: str) -> tuple[tuple[str, str, str], ...]:
        """Which probes must be there: (probe, fitted on, tested on). All that it names wherever it looks, unless it knows better."""
        return tuple((probe, *run) for probe in self.refers()["probe"] for run in self.runs(fitted))

    def own(self, evidence: Evidence) -> ProbeEvidence:
        """What there is of its probe, where and at the layer that it asks for."""
        return evidence.of(self.probe, self.condition, fit_on=self.fit_on, layer=self.layer)

    def decide(self, evidence: Evidence) -> Judgement:
        raise NotImplementedError
