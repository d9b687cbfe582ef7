"""The movie reviews of the main experiment: as prompts, and as states that probes are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import language
from harness.contracts import Normalisation, Pairs, PromptTable, kind
from harness.models.card import ModelCard, describe
from harness.models.tokenizer import load_tokenizer
from harness.prompts import building
from harness.spec import Model, Spec
from harness.store import Store
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from torch import Tensor

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "specs" / "banana_shed.yaml"
FOUR_TEMPLATES = Path(__file__).with_name("four_templates.yaml")


def spec(limit: int, path: Path = SPEC) -> Spec:
    """The experiment with so many reviews and all layers."""
    return language.read(path, [f"data.limit={limit}", "activations.layers=all"])


def card(precision: str = "fast") -> ModelCard:
    model = spec(4).condition("plain").model
    assert isinstance(model, Model)
    return describe(msgspec.structs.replace(model, precision=precision, dtype=None), SPEC.parent)


def table(limit: int, condition: str = "plain", path: Path = SPEC) -> PromptTable:
    """The prompts of a condition."""
    chosen = spec(limit, path)
    return building.build(
        chosen.condition(condition), chosen.distractors, path.parent, load_tokenizer(card()), card().context
    )


@cache
def training(normalisation: str, layers: Sequence[int] | None = None) -> Pairs:
    """The experiment's 600 training pairs, normalised, with labels, at all 31 layers or some.

    Forwarded once, about a minute, and kept in the store (`HARNESS_STORE`, or the user's).
    """
    import torch

    from harness.activations.extract import extract

    reviews = table(1000)
    chosen = spec(1000).condition("plain")
    found = extract(LanguageModel(card()), [reviews], chosen.activations, Store())
    train = reviews.frame.filter(answer=0, split="train")
    pairs = found.pairs(reviews, train["pair"].to_numpy(), layers or range(card().layers))
    normaliser: Normalisation = kind.find("normalisations", normalisation)()  # type: ignore[assignment]
    labels: Tensor = torch.from_numpy(train["truth"].to_numpy().astype("int64"))
    return msgspec.structs.replace(normaliser.fit(pairs)(pairs), labels=labels)
