"""The keys at the top of a spec, as they are written: before conditions, defaults and baselines are worked out.

The JSON Schema and the documentation are made from these structs and those of `harness.spec`. They are never built:
`harness.language.resolving` turns the written keys into a `Spec`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from harness.contracts import Analysis, Bed, Claim, Distractor, Measurement, Metric, Probe
from harness.spec import (
    Activations,
    Autopsy,
    Data,
    Elicit,
    FeaturesOf,
    Intervention,
    LayerRule,
    Model,
    Part,
    Planting,
    Prompt,
    SampleEfficiency,
    Slug,
    StatesFolder,
    Transfer,
)

VERSION = 1
"""Of the language. A spec says which one it is written in."""

OTHER_VERSION = (
    f"this program reads version {VERSION} of the language: write `harness: {VERSION}`, "
    "or use the program that the spec was written for"
)

BASELINES = ("random", "zero_shot", "logistic_regression")
"""Kinds of probes that stand in every table: chance, the model's own answer, the supervised ceiling."""

SETTING = ("model", "data", "prompt", "activations", "plant", "features")
"""What a condition may override."""


class Override(Part, frozen=True, kw_only=True):
    """A named set of circumstances: overrides that are merged over the keys of the same name above it."""

    model: Model | Bed | StatesFolder
    """Merged over the spec's `model`."""
    data: Data
    """Merged over the spec's `data`."""
    prompt: Prompt
    """Merged over the spec's `prompt`."""
    activations: Activations
    """Merged over the spec's `activations`."""
    plant: Planting
    """Merged over the spec's `plant`; a strength of 0 leaves it out."""
    features: FeaturesOf
    """A sparse autoencoder through which the states are read here, as in `{variant: top_k, sparsity: 32}`."""
    distractors: tuple[str, ...] | dict[Slug, dict[str, Any]] = ()
    """Which of the declared distractors stand in the prompt: a list of names, or a mapping from names to options that
    differ here, as in `{alice: {strength: 5}}`. None of them, if left out."""
    elicit: Elicit
    """Train the network to say the truth before it is asked here, on training rows of some condition: `{on: alice}`."""


class SpecKeys(Part, frozen=True, kw_only=True):
    """An experiment, version 1 of the language."""

    harness: Literal[1]
    """Version of the language."""
    name: Slug
    """A slug; the report goes to reports/NAME."""
    about: str = ""
    """What is asked, for the head of the report."""
    include: str | tuple[str, ...] = ()
    """Other .yaml files, relative to this one, that are merged under it: mappings key by key, all else replaced."""
    model: Model | Bed | StatesFolder
    """The network: an asset's name, a Hub id, a folder, a .gguf file, options of these, or `{bed: NAME, …}`."""
    data: Data = Data()
    """Which examples, how many, and how they are split. A test bed needs none."""
    prompt: Prompt = Prompt()
    """How an example and an answer become text."""
    distractors: dict[Slug, Distractor] = {}  # noqa: RUF012 - msgspec copies an empty default
    """Things to put into prompts, by the name under which the report scores them: `harness list distractors`."""
    conditions: dict[Slug, Override] = {}  # noqa: RUF012
    """Named overrides of model, data, prompt, activations and distractors. With none there is one, `main`, with every distractor."""
    activations: Activations = Activations()
    """Which states of the network to keep."""
    plant: Planting | None = None
    """A feature of chosen strength that is added to the states, as in `{of: coin, strength: 2}`; nothing if left out."""
    features: FeaturesOf | None = None
    """A sparse autoencoder whose features stand in the place of the states, as in `{published: saes/layer8, layer: 8}`; none if left out."""
    xors: tuple[Annotated[tuple[str, ...], Meta(min_length=2, max_length=2)], ...] = ()
    """Pairs of factors whose XOR is scored beside them: `[[truth, word]]` is the target `truth^word`. Each factor has two values."""
    probes: Annotated[tuple[Probe, ...], Meta(min_length=1)]
    """Methods to compare: `harness list probes`. Two of a kind need names."""
    baselines: bool = True
    """Add random directions, the model's own answer and logistic regression to the probes where they are missing."""
    transfer: Annotated[tuple[Transfer, ...], Meta(min_length=1)] = ()
    """Where probes are fitted and where they are tested; each condition on itself if left out."""
    seeds: Annotated[int, Meta(ge=1)] = 1
    """Seeds of the probes that draw random numbers."""
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How often sample and split are drawn, each time with all seeds: scores at summary layers are then means over the draws, with
    intervals of what varies between them. Each costs as much as the first."""
    layer: LayerRule | int = "middle"
    """The layer that summaries and checks look at: a number, or a rule that never sees the test score."""
    metrics: Annotated[tuple[Metric, ...], Meta(min_length=1)] = ("accuracy", "auroc")  # type: ignore[assignment]
    """Scores of every probe against the truth and each distractor: `harness list metrics`."""
    leaderboard: bool | None = None
    """One table of which method survives which distractor; empty for one where at least three conditions have distractors."""
    checks: tuple[Claim, ...] = ()
    """Claims about the numbers, and what you expect of each: `harness list checks`."""
    autopsy: tuple[Autopsy, ...] = ()
    """Probes to look into, by name or with options: what do their answers go with, and how many solutions do seeds find?"""
    interventions: tuple[Intervention, ...] = ()
    """Directions to steer or erase, by a probe's name or with options: does the network's own answer follow?"""
    geometry: bool | tuple[str, ...] = False
    """Add how directions lie to each other, what makes them vary, and where the states lie: `true`, or a list of the
    conditions that are fitted on."""
    sample_efficiency: SampleEfficiency | None = None
    """Curves of score against the number of training pairs, as in `{probes: [logistic_regression], rows: [8, 32, 128]}`."""
    measurements: tuple[Measurement, ...] = ()
    """Numbers about the networks that a test bed trains, at every stored step: `harness list measurements`. Two of a kind need names."""
    rows: bool = True
    """Keep every scored row (its text, its labels, what each probe answers) beside the report. `false` for data that must not be
    shown: then no file has a row's text."""
    analyses: tuple[Analysis, ...] = ()
    """Further analyses, by name or with options, such as `{kind: patching}`: `harness list analyses`. Those above have keys of their own."""
