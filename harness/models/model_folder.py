"""The files in a model's folder: weights, tokenizer, what its headers say. A stranger's folder is looked over before a library reads it."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

from harness.errors import UsageError
from harness.models.shape import Shape
from harness.spec import Model
from harness.untrusted.files import is_irregular, read_ordinary

_EMBEDDING = re.compile(
    r"(^|\.)(embed\w*|wte|wpe|word_embeddings\w*|\w*_embeddings|shared|lm_head|embed_out|output_projection)\."
)

_TEXT = frozenset({".jinja", ".json", ".model", ".txt"})
LARGEST_TEXT = 256 * 2**20
"""A larger tokenizer or configuration is none; those of the largest vocabularies have a tenth of that."""


_TOKENIZER = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


def tokenizer_files(folder: Path) -> list[Path]:
    """The files in a model's folder that its tokenizer is made of."""
    return [folder / name for name in _TOKENIZER if (folder / name).is_file()]


def check_files(folder: Path) -> None:
    """Refuses what libraries would read without end in a model's folder: pipes, devices and text of any size."""
    for path in sorted(folder.iterdir()):
        if is_irregular(path):
            raise UsageError(f"{path} is neither a file nor a folder; take it away")
        if path.suffix in _TEXT and path.is_file() and path.stat().st_size > LARGEST_TEXT:
            raise UsageError(f"{path} is larger than {LARGEST_TEXT >> 20} MiB, and no model's is")


def weight_files(folder: Path, model: Model) -> list[Path]:
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


def count_parameters(weights: list[Path], sizes: Shape) -> int:
    """All weights, counted from the files' headers; where there are none, those of the built network."""
    counted = [file for file in weights if file.suffix == ".safetensors"]
    if not counted:
        return sizes.parameters
    return sum(math.prod(dimensions) for file in counted for dimensions in header_of(file).values())


def is_embedding(name: str) -> bool:
    """Whether a weight of this name belongs to an embedding or a language-model head."""
    return _EMBEDDING.search(name) is not None


def header_of(file: Path) -> dict[str, list[int]]:
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
