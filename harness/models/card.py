"""A model's card: its identity, sizes and precision, known before its weights are loaded. Nothing heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.models import adapter, gguf, precision
from harness.models.adapter import Adapter
from harness.models.architecture import shape_of
from harness.models.fingerprint import combined, meaning
from harness.models.locate import Located, ModelMissing, Progress, locate
from harness.models.model_folder import check_files, count_parameters, header_of, tokenizer_files, weight_files
from harness.models.shape import Shape, Stacks, read_config
from harness.spec import Model
from harness.store import content_key

__all__ = ["ModelCard", "ModelMissing", "Progress", "describe"]


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A language model that can be loaded. Two cards of equal identity, side and dtype give the same states."""

    name: str
    """As the spec gives it."""
    identity: str
    """Content hash of weights, configuration and tokenizer; of configuration and seed for random weights."""
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
    """In which the forward pass computes, and in which states are stored."""
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
        return self.parameters * precision.BYTES[self.dtype]


def describe(model: Model, folder: Path, bring: bool = True, progress: Progress | None = None) -> ModelCard:
    """Find a model (and fetch it, if `bring`) and say what it is.

    `folder` is the spec's, for relative paths. Raises UsageError for a model that cannot be used as it is,
    ModelMissing when it is not here and `bring` is false, HarnessError when it cannot be had.
    """
    place = locate(model, folder, bring, progress)
    check_files(place.folder)
    config = read_config(place.folder)
    sizes = shape_of(config, place.folder, model.side, model.trust_remote_code)
    weights = weight_files(place.folder, model)
    tokens = tokenizer_files(place.folder)
    if not tokens:
        raise UsageError(f"model.id: {place.folder} has no tokenizer (tokenizer.json and tokenizer_config.json)")
    over = None if model.adapter is None else _adapter(model, model.adapter, folder, weights)
    side: Literal["decoder", "encoder"] = (
        "encoder" if sizes.stacks == "encoder-only" or model.side == "encoder" else "decoder"
    )
    return ModelCard(
        name=model.id if over is None else f"{model.id} + {over.name}",
        identity=_identity(model, place, weights, tokens, over),
        tokenizer_identity=combined(tokens),
        path=place.folder,
        revision=place.revision,
        shape=sizes,
        parameters=count_parameters(weights, sizes),
        dtype=precision.choose(model.dtype),
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
    base = {name: sizes for file in weights for name, sizes in header_of(file).items()}
    adapter.check_fits(found, header_of(found.folder / adapter.WEIGHTS), base, model.id)
    return found


def _identity(model: Model, place: Located, weights: list[Path], tokens: list[Path], over: Adapter | None) -> str:
    base = _base_identity(model, place, weights, tokens)
    return base if over is None else content_key("adapter", base, over.identity)


def _base_identity(model: Model, place: Located, weights: list[Path], tokens: list[Path]) -> str:
    config = meaning(read_config(place.folder))
    if model.weights == "random":
        return content_key("random", config, model.weights_seed, combined(tokens))
    origin = place.folder / gguf.ORIGIN
    if gguf.is_ours(place.folder) and origin.is_file():
        # What was converted is known by the file that it came from, whatever wrote the safetensors. Only folders of our own
        # are believed: a stranger's could claim to be any model, and have its states kept under that one's name.
        return content_key("gguf", json.loads(origin.read_bytes())["gguf_sha256"], place.folder.name.rsplit("-", 1)[-1])
    return content_key("weights", combined(weights), config, combined(tokens))
