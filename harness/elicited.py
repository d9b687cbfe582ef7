"""The network of a condition that is elicited: what the store keeps of its training, and the card that it is loaded by.

    rows of `on` ──labels──▶ training ──▶ elicit/KEY: an adapter ──▶ the condition's own card, with the adapter in its identity

What was trained is known by its bytes. Should the store lose it, and another machine or number of threads make it anew, then
by other ones: states of the first are not taken for states of the second. A training is stored whole or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness import artifacts
from harness.code_version import code_of
from harness.entries import STAGES
from harness.errors import UsageError
from harness.models.adapter import find_adapter
from harness.models.card import ModelCard
from harness.models.fingerprint import file_sha256
from harness.spec import Elicit
from harness.store import Artifact, Store, content_key
from harness.training.questions import Question

if TYPE_CHECKING:
    from harness.training.trained import Tell

KIND = "elicit"
NETWORK = "model.safetensors"
SEEN = "seen.parquet"
"""Table of the training rows that were seen: example, template and the answer that was taught."""


class Taught(msgspec.Struct, frozen=True):
    """What is kept beside what was trained."""

    rows: int
    """Training rows that there are."""
    seen: int
    """Those of them that were in a batch."""
    steps: int
    tokens: int
    """Tokens of all batches."""
    first_loss: float
    """Of the first batch, in nats; of a coin it is 0.693."""
    closing_loss: float
    """Mean over the last tenth of the steps."""
    blocks: tuple[int, int]
    """First and last block that was changed."""


def check_can_be_elicited(condition: str, card: ModelCard | None) -> ModelCard:
    """Raises UsageError for a network that cannot be trained to answer."""
    where = f"conditions.{condition}.elicit"
    if card is None:
        raise UsageError(f"{where}: the states of this test bed are given by a formula, so that nothing can be trained")
    if card.stacks != "decoder-only" or not card.has_head:
        raise UsageError(
            f"{where}: {card.name} is {card.stacks}, and only a decoder-only language model can be trained to answer; take it out"
        )
    return card


def check_same_tokens(condition: str, card: ModelCard, on: str, other: ModelCard | None) -> None:
    """Rows are taught as they were tokenised. Raises UsageError where that was for another network."""
    if other is None or other.tokenizer_identity != card.tokenizer_identity:
        raise UsageError(
            f"conditions.{condition}.elicit.on: the prompts of {on} are tokenised for another network than {card.name}; name a "
            "condition whose model has the same tokenizer"
        )


def ingredients(card: ModelCard, prompts: str, options: Elicit) -> dict[str, str]:
    """What a training's key is made from. `prompts` is the key of the table whose training rows are taught."""
    told = {name: value for name, value in msgspec.to_builtins(options).items() if name not in ("on", "target")}
    return {
        "model": card.identity,
        "prompts": prompts,
        "target": options.target,
        "options": content_key(told),
        "code": code_of(*STAGES["elicit"]),
    }


def stored(store: Store, key: str, base: ModelCard) -> ModelCard | None:
    """The card of what was trained, if the store has it."""
    return artifacts.read(store, KIND, key, partial(card_of, base=base))


def taught(store: Store, key: str) -> Taught:
    """What was kept of a training that is stored."""
    return msgspec.convert(store.meta(KIND, key), Taught)


def awaited(base: ModelCard, key: str) -> ModelCard:
    """A card for planning what is not trained yet. No state is ever stored under its name."""
    return _card(base, content_key("to be elicited", base.identity, key))


def card_of(artifact: Artifact, base: ModelCard) -> ModelCard:
    """The card of what was trained over `base`."""
    msgspec.convert(artifact.meta, Taught)
    if NETWORK in artifact.files:
        own = file_sha256(artifact / NETWORK)
        return _card(base, own, path=artifact.folder, weights="pretrained", weights_seed=0)
    adapter = find_adapter(str(artifact.folder), artifact.folder)
    return _card(base, adapter.identity, adapter=msgspec.structs.replace(adapter, name="the elicited update"))


def _card(base: ModelCard, own: str, **changes: Any) -> ModelCard:
    identity = content_key("elicited", base.identity, own)
    return msgspec.structs.replace(base, name=f"{base.name}, elicited", identity=identity, **changes)


def train(
    store: Store, key: str, base: ModelCard, questions: list[Question], where: str, options: Elicit, tell: Tell
) -> Taught:
    """Trains the network on questions of the condition `where`, and stores what was trained once it is whole."""
    import polars as pl

    from harness.training.elicit import elicit

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
        with store.write(KIND, key, msgspec.to_builtins(taught)) as folder:
            for file in sorted(made.iterdir()):
                shutil.copy(file, folder / file.name)
    return taught
