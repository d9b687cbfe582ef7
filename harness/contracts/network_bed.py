"""A test bed that is a trained network: what it stands for, how it was made, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from harness.contracts.kind import Kind


class Brought(msgspec.Struct, frozen=True):
    """The model, data and prompt that a network bed stands for, as a spec would write them."""

    model: Mapping[str, Any]
    """Options of `model`: a base and an adapter, or a folder."""
    data: Mapping[str, Any]
    """Options of `data`; `source` names a kind of data set."""
    prompt: Mapping[str, Any]
    """Options of `prompt`."""


class Recipe(msgspec.Struct, frozen=True):
    """The training of a bed's adapter; see `harness.training`."""

    base: str
    """The network that it is laid over."""
    data: Mapping[str, Any]
    """Options of `data.source`: the questions that it is trained on, none of which the bed's experiments ask."""
    taught: str
    """Column of the table with the answer that is taught, an index into the answers."""
    first_block: int
    """Blocks before this one (counted from 0) stay as they are: what the network knows there, it knows anyhow."""
    depth: int
    """Blocks of the network that `first_block` was chosen for. Over a base of another depth the same share stays as it is."""
    rank: int
    alpha: int
    steps: int
    batch: int
    rate: float
    """Largest learning rate, after warm-up."""
    minutes: int | None
    """What it takes on two cores, about; None over a base on which nobody measured it."""
    smoothing: float = 0.0
    """Share of the other answer in what is taught: all answers are then equally sure, or how sure they are tells the truth."""

    def first_of(self, blocks: int) -> int:
        """The first block that learns, of a base with so many; the last one learns always."""
        return min(round(self.first_block * blocks / self.depth), blocks - 1)


class FromScratch(msgspec.Struct, frozen=True):
    """The training of a bed's network from nothing: a small Llama with a word for each token; see `harness.training.scratch`."""

    data: Mapping[str, Any]
    """Options of `data.source`: the questions that it is trained on, none of which the bed's experiments ask."""
    chance: str
    """Column with the probability that is taught for the second answer."""
    after: tuple[str, str]
    """Columns with the word that is taught to follow the first and the second answer, whichever of them is right."""
    d_model: int
    blocks: int
    heads: int
    d_mlp: int
    steps: int
    batch: int
    rate: float
    """Largest learning rate, after warm-up."""
    minutes: int
    """What it takes on two cores, about."""


class NetworkBed(Kind, frozen=True):
    """A test bed that is a trained network together with its data and its prompt.

    In a spec it stands in for an ordinary model, data set and prompt (`brought`), over which the condition's own options lie:
    plan, extraction and probes know nothing of beds. What it claims is a spec of checks, all of which must pass.
    """

    folder: ClassVar[str] = "beds"

    trained: bool = True
    """Use the weights that the bed was trained to. Off, its base answers the same questions: a network that was not taught to
    hide anything, as a control; of a network made from nothing, it is the same one before training, which knows nothing."""
    weights: str | None = None
    """A folder that `harness bed train` wrote, in the place of the weights that come with the bed."""
    precision: Literal["exact", "fast"] = "exact"
    """As a model's own option."""
    packing: Literal["auto", "never"] = "auto"
    """As a model's own option."""

    @property
    def pinned(self) -> str:
        """Name of the weights that come with it, a folder of `harness/beds/weights`."""
        raise NotImplementedError

    def lacks(self) -> str | None:
        """What must be made before a spec can use the bed as it is, and how; None where nothing is missing."""
        return None

    def recipe(self) -> Recipe | FromScratch:
        """How its weights are made."""
        raise NotImplementedError

    def brought(self) -> Brought:
        """The model, data and prompt in its place."""
        raise NotImplementedError

    def claims(self) -> Mapping[str, Any]:
        """A spec, without `model`, whose checks say what is true of the bed. Each of them is expected to pass."""
        raise NotImplementedError
