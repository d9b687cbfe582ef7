"""Elicited language models: the stored update of an elicited condition's training, and the card that its network is loaded by.

    rows of `on` ──labels──▶ training ──▶ elicit/KEY: an adapter ──▶ the condition's own card, with the adapter in its identity

The identity of an update is its bytes. If the store loses it and another machine or number of threads trains it again, its bytes
differ, so that states of the first are not taken for states of the second. A training is stored whole or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contracts.subject import Subject
from harness.errors import UsageError
from harness.models.adapter import find_adapter
from harness.models.card import ModelCard, saved_whole
from harness.models.fingerprint import file_sha256
from harness.models.questions import Question
from harness.spec import Elicit
from harness.store import Artifact, Store, content_key
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from harness.models.training.trained import Tell

KIND = "elicit"
NETWORK = "model.safetensors"
SEEN = "seen.parquet"
"""Table of the training rows that were seen: example, template and the answer that was taught."""


class Taught(msgspec.Struct, frozen=True):
    """The record of a training that is kept beside its update."""

    rows: int
    """Training rows of the condition that it was trained on."""
    seen: int
    """Training rows that were in a batch."""
    steps: int
    tokens: int
    """Tokens of all batches."""
    first_loss: float
    """Loss of the first batch, in nats; 0.693 is that of a coin."""
    closing_loss: float
    """Mean over the last tenth of the steps."""
    blocks: tuple[int, int]
    """First and last block that was changed."""


def check_can_be_elicited(condition: str, subject: Subject) -> LanguageModel:
    """Raises UsageError for a network that cannot be trained to answer."""
    if subject.untrainable:
        raise UsageError(f"conditions.{condition}.elicit: {subject.untrainable}")
    assert isinstance(subject, LanguageModel), "whatever else can be trained is trained in another way"
    return subject


def check_same_tokens(condition: str, subject: Subject, on: str, other: Subject) -> None:
    """Raises UsageError where the rows that are taught were tokenised for another network."""
    if other.tokenizer != subject.tokenizer:
        raise UsageError(
            f"conditions.{condition}.elicit.on: the prompts of {on} are tokenised for another network than {subject.name}; name a "
            "condition whose model has the same tokenizer"
        )


def ingredients(base: LanguageModel, prompts: str, options: Elicit) -> dict[str, str]:
    """The ingredients of a training's key. `prompts` is the key of the table whose training rows are taught."""
    told = {name: value for name, value in msgspec.to_builtins(options).items() if name not in ("on", "target")}
    return {
        "model": base.identity,
        "prompts": prompts,
        "target": options.target,
        "options": content_key(told),
    }


def taught(store: Store, key: str) -> Taught:
    """The record of a training that is stored."""
    return msgspec.convert(store.meta(KIND, key), Taught)


def awaited(base: LanguageModel, key: str) -> LanguageModel:
    """A network for planning what is not trained yet. No state is ever stored under its name."""
    return base.with_card(_card(base.card, content_key("to be elicited", base.identity, key)))


def trained(artifact: Artifact, base: LanguageModel) -> LanguageModel:
    """The network as it was trained over `base`."""
    return base.with_card(card_of(artifact, base.card))


def card_of(artifact: Artifact, base: ModelCard) -> ModelCard:
    """The card of the network that was trained over `base`."""
    msgspec.convert(artifact.meta, Taught)
    if NETWORK in artifact.files:
        own = file_sha256(artifact / NETWORK)
        return saved_whole(_card(base, own), artifact.folder)
    adapter = find_adapter(str(artifact.folder), artifact.folder)
    return _card(base, adapter.identity, adapter=msgspec.structs.replace(adapter, name="the elicited update"))


def _card(base: ModelCard, own: str, **changes: Any) -> ModelCard:
    identity = content_key("elicited", base.identity, own)
    return msgspec.structs.replace(base, name=f"{base.name}, elicited", identity=identity, **changes)


def train(
    store: Store, key: str, base: ModelCard, questions: list[Question], where: str, options: Elicit, tell: Tell
) -> Taught:
    """Trains the network on questions of the condition `where`, and stores the update once it is whole."""
    import polars as pl

    from harness.models.training.elicit import elicit

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="harness-elicit-") as temporary:
        made = Path(temporary)
        lessons = elicit(base, questions, options, made, tell)
        shown = [questions[number] for number in lessons.seen]
        pl.DataFrame(
            {
                "example": [question.example for question in shown],
                "template": [question.template for question in shown],
                "taught": [question.right for question in shown],
            }
        ).write_parquet(made / SEEN)
        taught = Taught(
            rows=len(questions),
            seen=len(shown),
            steps=options.steps,
            tokens=lessons.tokens,
            first_loss=round(lessons.first_loss, 4),
            closing_loss=round(lessons.closing_loss, 4),
            blocks=(options.block(base.blocks), base.blocks - 1),
        )
        took = {"seconds": round(time.perf_counter() - start, 3), "rows": taught.seen, "tokens": taught.tokens}
        with store.write(KIND, key, msgspec.to_builtins(taught), took) as folder:
            for file in sorted(made.iterdir()):
                shutil.copy(file, folder / file.name)
    return taught
