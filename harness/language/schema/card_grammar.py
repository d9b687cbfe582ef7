"""The keys of a bed's card, and of a spec's `model` that names one. As in `grammar`, the structs of a card are the schema and are not built."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from harness.contracts import Bed, Claim, Metric, Probe
from harness.language.syntax.nodes import Node
from harness.spec import Activations, Data, LayerRule, Model, Origin, Part, Prompt, Slug, StatesFolder, Transfer


class OwnBed(Part, frozen=True, kw_only=True):
    """A bed that somebody published as a folder with a card: it stands in for model, data and prompt."""

    bed: str
    """A folder with a `bed.yaml` (`./my-bed`), or a repository on the Hub (`some-org/some-bed`)."""
    setting: str | None = None
    """One of the card's conditions, such as `honest`; if empty, what the card says above them."""
    revision: str = "main"
    """Branch, tag or commit on the Hub. Only a commit is sure to stay the same."""
    trained: bool = True
    """Off, its base answers without the adapter, or a network of its own with random weights: a control."""
    precision: Literal["exact", "fast"] | None = None
    """As a model's own option, in the place of the card's."""
    packing: Literal["auto", "never"] | None = None
    """As a model's own option, in the place of the card's."""
    trust_remote_code: bool = False
    """Run Python code that comes with the bed. A card cannot ask for it; off unless you trust its authors."""
    allow_pickle: bool = False
    """Load pickled weights, which can run code. A card cannot ask for it; off unless you trust its authors."""


class BedParts(msgspec.Struct, frozen=True):
    """The parts of a condition that a bed with a card stands for."""

    model: Model
    data: Node
    prompt: Node
    origin: Origin


class Setting(Part, frozen=True, kw_only=True):
    """One of a bed's conditions: overrides that are merged over the card's keys of the same name."""

    model: Model | Bed | StatesFolder
    """Merged over the card's `model`, such as another adapter."""
    data: Data
    """Merged over the card's `data`, such as `where`."""
    prompt: Prompt
    """Merged over the card's `prompt`."""


class Claims(Part, frozen=True, kw_only=True):
    """Checks that must come out as the card says, and the probes that they need, as in a spec."""

    probes: Annotated[tuple[Probe, ...], Meta(min_length=1)]
    """Methods that the checks name: `harness list probes`. Baselines are added, as in a spec."""
    checks: Annotated[tuple[Claim, ...], Meta(min_length=1)]
    """Each is expected to pass unless it says `expect: fail`."""
    transfer: Annotated[tuple[Transfer, ...], Meta(min_length=1)] = ()
    """Where probes are fitted and where they are tested; each condition on itself if left out."""
    activations: Activations = Activations()
    """Which states of the network to keep."""
    xors: tuple[Annotated[tuple[str, ...], Meta(min_length=2, max_length=2)], ...] = ()
    """Pairs of factors whose XOR is scored beside them."""
    baselines: bool = True
    """Add random directions, the model's own answer and logistic regression to the probes where they are missing."""
    seeds: Annotated[int, Meta(ge=1)] = 1
    """Seeds of the probes that draw random numbers."""
    layer: LayerRule | int = "middle"
    """The layer that checks look at: a number, or a rule that never sees the test score."""
    metrics: Annotated[tuple[Metric, ...], Meta(min_length=1)] = ("accuracy", "auroc")  # type: ignore[assignment]
    """Scores of every probe."""


class Card(Part, frozen=True, kw_only=True):
    """A test bed that is published as a folder: what its network is, what is known of its data, what must hold."""

    bed: Literal[1]
    """Version of the card's language."""
    name: Slug
    """A slug, for the report of its claims."""
    about: Annotated[str, Meta(min_length=1)]
    """What it is and how it was made, in a few sentences."""
    model: Model | Bed | StatesFolder
    """A base and an adapter in this folder, or `id: .` for a network of its own."""
    data: Data
    """A file in this folder, with its columns and the factors that are known of each row; or any built-in set."""
    prompt: Prompt = Prompt()
    """How an example and an answer become text."""
    conditions: dict[Slug, Setting] = {}  # noqa: RUF012 - msgspec copies an empty default
    """The bed's settings, such as `honest` and `deceptive`; a spec takes one by `setting`."""
    claims: Claims
    """What must hold. Nothing that is found with the bed should be believed before it was tried."""
