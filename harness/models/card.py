"""What is known of a model before its weights are loaded: identity, sizes, precision. Nothing heavy is imported."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import UsageError
from harness.models import adapter, gguf, precision, tokenizer
from harness.models.adapter import Adapter
from harness.models.fingerprint import combined, meaning
from harness.models.locate import Located, ModelMissing, Progress, locate
from harness.models.shape import Shape, read_config, shape
from harness.spec import Model
from harness.store import content_key
from harness.untrusted.files import is_irregular, read_ordinary

__all__ = ["ModelCard", "ModelMissing", "Progress", "describe"]

_EMBEDDING = re.compile(
    r"(^|\.)(embed\w*|wte|wpe|word_embeddings\w*|\w*_embeddings|shared|lm_head|embed_out|output_projection)\."
)

_TEXT = frozenset({".jinja", ".json", ".model", ".txt"})
LARGEST_TEXT = 256 * 2**20
"""A larger tokenizer or configuration is none; those of the largest vocabularies have a tenth of that."""


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be loaded. Two cards of equal identity, side and dtype give the same states."""

    name: str
    """As the spec gives it."""
    identity: str
    """Content hash of weights, configuration and tokenizer; of configuration and seed for random weights."""
    tokenizer_identity: str
    """Content hash of the tokenizer's files; empty for a test bed."""
    path: Path | None
    """Folder with configuration, tokenizer and weights; None for a test bed."""
    revision: str
    """Commit on the Hub, SHA-256 of an asset's file; empty for a local folder."""
    shape: Shape
    parameters: int
    """All weights."""
    body_parameters: int
    """Weights without embeddings and language-model head: what a token is multiplied with."""
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
    def stacks(self) -> str:
        return self.shape.stacks

    @property
    def family(self) -> str:
        return self.shape.family

    @property
    def blocks(self) -> int:
        return self.shape.blocks

    @property
    def layers(self) -> int:
        """Places where states can be read: layer 0 (the embeddings) and one after each block."""
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
        return self.path is not None and self.side == "decoder"

    @property
    def weight_bytes(self) -> int:
        return self.parameters * precision.BYTES[self.dtype]


def describe(model: Model, folder: Path, bring: bool = True, progress: Progress | None = None) -> ModelCard:
    """Find a model (and fetch it, if `bring`) and say what it is.

    `folder` is the spec's, for relative paths. Raises UsageError for a model that cannot be used as it is,
    ModelMissing when it is not here and `bring` is false, HarnessError when it cannot be had.
    """
    place = locate(model, folder, bring, progress)
    _check_files(place.folder)
    config = read_config(place.folder)
    sizes = shape(config, place.folder, model.side)
    weights = _weight_files(place.folder, model)
    tokenizer_files = tokenizer.files(place.folder)
    if not tokenizer_files:
        raise UsageError(f"model.id: {place.folder} has no tokenizer (tokenizer.json and tokenizer_config.json)")
    count, body = _parameters(weights, sizes)
    laid = None if model.adapter is None else _adapter(model, model.adapter, folder, weights)
    side: Literal["decoder", "encoder"] = (
        "encoder" if sizes.stacks == "encoder-only" or model.side == "encoder" else "decoder"
    )
    return ModelCard(
        name=model.id if laid is None else f"{model.id} + {laid.name}",
        identity=_identity(model, place, weights, tokenizer_files, laid),
        tokenizer_identity=combined(tokenizer_files),
        path=place.folder,
        revision=place.revision,
        shape=sizes,
        parameters=count,
        body_parameters=body,
        dtype=precision.choose(model.dtype),
        weights=model.weights,
        weights_seed=model.weights_seed if model.weights == "random" else 0,
        side=side,
        packing=model.packing,
        trust_remote_code=model.trust_remote_code,
        allow_pickle=model.allow_pickle,
        adapter=laid,
    )


def _adapter(model: Model, name: str, folder: Path, weights: list[Path]) -> Adapter:
    """The adapter, which must lie on weights that are there."""
    found = adapter.find_adapter(name, folder)
    _check_files(found.folder)
    if any(file.suffix != ".safetensors" for file in weights):
        raise UsageError("model.adapter: an adapter is laid over safetensors only; convert the model's weights")
    there = {name: sizes for file in weights for name, sizes in _header(file).items()}
    adapter.check_fits(found, _header(found.folder / adapter.WEIGHTS), there, model.id)
    return found


def _identity(
    model: Model, place: Located, weights: list[Path], tokenizer_files: list[Path], laid: Adapter | None
) -> str:
    base = _base_identity(model, place, weights, tokenizer_files)
    return base if laid is None else content_key("adapter", base, laid.identity)


def _base_identity(model: Model, place: Located, weights: list[Path], tokenizer_files: list[Path]) -> str:
    config = meaning(read_config(place.folder))
    if model.weights == "random":
        return content_key("random", config, model.weights_seed, combined(tokenizer_files))
    origin = place.folder / gguf.ORIGIN
    if gguf.is_ours(place.folder) and origin.is_file():
        # What was converted is known by the file that it came from, whatever wrote the safetensors. Only folders of our own
        # are believed: a stranger's could claim to be any model, and have its states kept under that one's name.
        return content_key("gguf", json.loads(origin.read_bytes())["gguf_sha256"], place.folder.name.rsplit("-", 1)[-1])
    return content_key("weights", combined(weights), config, combined(tokenizer_files))


def _check_files(folder: Path) -> None:
    """The libraries that read a model's folder wait for pipes, and read devices and text of any size to the end."""
    for path in sorted(folder.iterdir()):
        if is_irregular(path):
            raise UsageError(f"{path} is neither a file nor a folder; take it away")
        if path.suffix in _TEXT and path.is_file() and path.stat().st_size > LARGEST_TEXT:
            raise UsageError(f"{path} is larger than {LARGEST_TEXT >> 20} MiB, and no model's is")


def _weight_files(folder: Path, model: Model) -> list[Path]:
    """The files with weights; empty only where none are needed."""
    if (folder / "adapter_config.json").exists():
        # transformers would load the model that the adapter names, wherever that is, and not the one in this folder.
        raise UsageError(
            f"model.id: {folder} holds an adapter (adapter_config.json), not a whole model; name its base as model.id and "
            "this folder as model.adapter, or merge it into its base (peft: merge_and_unload, then save_pretrained)"
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in _indexed(index)]
        missing = [file.name for file in files if not file.is_file()]
        if missing and model.weights == "pretrained":
            raise UsageError(f"model.id: {folder} lacks {', '.join(missing)}, which its index names")
        if not missing:
            return files
    files = sorted(
        path for path in folder.glob("*.safetensors") if not path.name.startswith(("consolidated", "adapter"))
    )
    if files or model.weights == "random":
        return files
    pickles = sorted((*folder.glob("pytorch_model*.bin"), *folder.glob("*.pth")))
    if pickles and model.allow_pickle:
        return pickles
    if pickles:
        raise UsageError(
            f"model.id: {folder} has only pickled weights ({pickles[0].name}), which can run code when they are loaded; convert "
            "them to safetensors, or set model.allow_pickle: true if you trust their authors"
        )
    raise UsageError(f"model.id: {folder} has no weights (*.safetensors); set model.weights: random to go without")


def _indexed(index: Path) -> list[str]:
    """The files that an index names. It comes from a stranger: they lie beside it and are no pickles, or it is refused."""
    try:
        names = sorted(set(json.loads(read_ordinary(index, LARGEST_TEXT))["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{index}: not a readable index of weights: {error}") from error
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", name):
            raise UsageError(
                f"{index}: it names the file {str(name)[:80]!r}; weights lie beside their index and end in .safetensors"
            )
    return names


def _parameters(weights: list[Path], sizes: Shape) -> tuple[int, int]:
    """All weights and those without embeddings: counted from the files' headers, or by the usual formula."""
    counted = [file for file in weights if file.suffix == ".safetensors"]
    if not counted:
        embeddings = sizes.vocab * sizes.d_model * (1 if sizes.tied else 2)
        return sizes.body_parameters + embeddings, sizes.body_parameters
    count = body = 0
    for file in counted:
        for name, dimensions in _header(file).items():
            size = math.prod(dimensions)
            count += size
            body += 0 if _EMBEDDING.search(name) else size
    return count, body


def _header(file: Path) -> dict[str, list[int]]:
    """Names and shapes of the tensors in a safetensors file, without reading the tensors."""
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            if size > 100_000_000:
                raise ValueError("its header is too large")
            header = json.loads(opened.read(size))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
            if os.fstat(opened.fileno()).st_size != 8 + size + end:
                raise ValueError("it is shorter or longer than its header says; get it again")
        shapes = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        if not all(isinstance(size, int) and size >= 0 for dimensions in shapes.values() for size in dimensions):
            raise ValueError("a tensor's shape is not made of whole numbers")
        return shapes
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{file}: not a readable safetensors file: {error}") from error
