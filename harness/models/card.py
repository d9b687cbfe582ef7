"""A model's card: its identity, sizes and precision, known before its weights are loaded. Nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.models import adapter, precision
from harness.models.adapter import Adapter
from harness.models.architecture import shape_of
from harness.models.identity import folder_identity, tokenizer_identity
from harness.models.locate import ModelMissing, Progress, locate
from harness.models.model_folder import (
    check_files,
    count_parameters,
    shapes_of,
    stored_format,
    tokenizer_files,
    weight_files,
)
from harness.models.shape import Shape, Stacks, read_config
from harness.models.understood import check_understood
from harness.spec import Model
from harness.store import content_key

__all__ = ["ModelCard", "ModelMissing", "Progress", "describe"]


WIDE = 2**30
"""Bytes of float32 weights up to which they are held so, where products are exact: to widen them in each pass would cost a short prompt as
much as the products do."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A language model that can be loaded. Two cards of equal identity, side and dtype give the same states."""

    name: str
    """As the spec gives it."""
    identity: str
    """Content hash of weights, configuration and tokenizer; of configuration and seed for random weights."""
    folder_identity: str
    """Content hash of what is loaded from `path`, before an adapter is laid over it."""
    tokenizer_identity: str
    """Content hash of the tokenizer's files."""
    path: Path
    """Folder with configuration, tokenizer and weights."""
    revision: str
    """Commit on the Hub, SHA-256 of an asset's file; empty for a local folder."""
    shape: Shape
    parameters: int
    """All weights."""
    dtype: precision.Dtype
    """In which the forward pass multiplies. States are float32."""
    held: precision.Dtype
    """In which the weights lie in memory: as their files store them, or float32; see `WIDE`."""
    weights: Literal["pretrained", "random"]
    weights_seed: int
    side: Literal["decoder", "encoder"]
    """The stack that is read."""
    packing: Literal["auto", "never"]
    trust_remote_code: bool
    allow_pickle: bool
    adapter: Adapter | None = None
    """What is laid over the weights."""

    @property
    def body_parameters(self) -> int:
        """What a token is multiplied with: weights without embeddings, head, and what reads images or sound."""
        return self.shape.body_parameters

    @property
    def stacks(self) -> Stacks:
        return self.shape.stacks

    @property
    def family(self) -> str:
        return self.shape.family

    @property
    def blocks(self) -> int:
        return self.shape.blocks

    @property
    def layers(self) -> int:
        """The number of layers where states can be read: layer 0 (the embeddings) and one after each block."""
        return self.shape.blocks + 1

    @property
    def d_model(self) -> int:
        return self.shape.d_model

    @property
    def context(self) -> int | None:
        return self.shape.context

    @property
    def has_head(self) -> bool:
        """Whether it gives probabilities of answers."""
        return self.side == "decoder"

    @property
    def weight_bytes(self) -> int:
        """Of all weights as they are held. Those that an adapter changes are float32."""
        held, wide = precision.BYTES[self.held], precision.BYTES["float32"]
        changed = 0 if self.adapter is None else adapter.numbers_changed(self.adapter)
        return self.parameters * held + changed * (wide - held)

    @property
    def widened_bytes(self) -> int:
        """Float32 copies of the weights in use: those of a block, or of the largest table if that is more."""
        if self.held == "float32":
            return 0
        block = self.body_parameters // max(self.blocks, 1)
        return max(block, self.shape.vocab * self.d_model) * precision.BYTES["float32"]

    def for_training(self) -> ModelCard:
        """The card of the same network all in float32, as gradients need it."""
        return msgspec.structs.replace(self, dtype="float32", held="float32")


def small(parameters: int) -> bool:
    """Whether a network of so many weights is held in float32 whatever its files store."""
    return parameters * precision.BYTES["float32"] <= WIDE


def saved_whole(card: ModelCard, folder: Path) -> ModelCard:
    """The card of a network whose weights were all saved to another folder, without an identity of its own."""
    moved = msgspec.structs.replace(card, path=folder, weights="pretrained", weights_seed=0)
    return msgspec.structs.replace(moved, folder_identity=folder_identity(folder, moved))


def describe(model: Model, folder: Path, bring: bool = True, progress: Progress | None = None) -> ModelCard:
    """Find a model (and fetch it, if `bring`) and say what it is.

    `folder` is the spec's, for relative paths. Raises UsageError for a model that cannot be used as it is,
    ModelMissing when it is not here and `bring` is false, HarnessError when it cannot be had.
    """
    place = locate(model, folder, bring, progress)
    check_files(place.folder)
    config = read_config(place.folder)
    check_understood(place.folder, config, model.weights == "pretrained")
    sizes = shape_of(config, place.folder, model.side, model.trust_remote_code)
    weights = weight_files(place.folder, model)
    if not tokenizer_files(place.folder):
        raise UsageError(f"model.id: {place.folder} has no tokenizer (tokenizer.json and tokenizer_config.json)")
    parameters = count_parameters(weights, sizes) if model.weights == "pretrained" else sizes.parameters
    if 2 * parameters < sizes.parameters:
        # transformers would set memory aside for all of them, and then say so.
        raise UsageError(
            f"model.id: most weights are not in the files of {place.folder}: they hold {parameters:,}, and the network of its "
            f"config.json has {sizes.parameters:,}; get the whole model"
        )
    dtype = precision.choose(model.precision, model.dtype)
    over = None if model.adapter is None else _adapter(model, model.adapter, folder, weights)
    base = folder_identity(place.folder, model)
    side: Literal["decoder", "encoder"] = (
        "encoder" if sizes.stacks == "encoder-only" or model.side == "encoder" else "decoder"
    )
    return ModelCard(
        name=model.id if over is None else f"{model.id} + {over.name}",
        identity=base if over is None else content_key("adapter", base, over.identity),
        folder_identity=base,
        tokenizer_identity=tokenizer_identity(place.folder),
        path=place.folder,
        revision=place.revision,
        shape=sizes,
        parameters=parameters,
        dtype=dtype,
        held="float32" if dtype == "float32" and small(parameters) else stored_format(weights),
        weights=model.weights,
        weights_seed=model.weights_seed if model.weights == "random" else 0,
        side=side,
        packing=model.packing,
        trust_remote_code=model.trust_remote_code,
        allow_pickle=model.allow_pickle,
        adapter=over,
    )


def _adapter(model: Model, name: str, folder: Path, weights: list[Path]) -> Adapter:
    """The adapter, which must lie on weights that are there."""
    found = adapter.find_adapter(name, folder)
    check_files(found.folder)
    if any(file.suffix != ".safetensors" for file in weights):
        raise UsageError("model.adapter: an adapter is laid over safetensors only; convert the model's weights")
    adapter.check_fits(found, shapes_of([found.folder / adapter.WEIGHTS]), shapes_of(weights), model.id)
    return found
