"""The files in a model's folder: weights, tokenizer, what its headers say. A stranger's folder is looked over before a library reads it."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from harness.errors import UsageError
from harness.models.shape import Shape, read_config
from harness.untrusted.files import is_hollow, is_irregular, read_json
from harness.untrusted.paths import is_below, real

_EMBEDDING = re.compile(
    r"(^|\.)(embed\w*|wte|wpe|word_embeddings\w*|\w*_embeddings|shared|lm_head|embed_out|output_projection)\."
)

_TEXT = frozenset({".jinja", ".json", ".model", ".txt"})
LARGEST_TEXT = 256 * 2**20
"""A larger tokenizer or configuration is none; those of the largest vocabularies have a tenth of that."""

_LARGEST_LIST = 32 * 2**20
"""Of an index of weights, or of what stands before them in a file: for a trillion weights it has half of that."""

FLOATING = ("F64", "F32", "F16", "BF16")
"""Number formats of weights, in the words of safetensors."""

_SINGLE, _SHARDED = "model.safetensors", "model.safetensors.index.json"
_PICKLE, _PICKLED_SHARDS = "pytorch_model.bin", "pytorch_model.bin.index.json"

_WEIGHTS = frozenset({".bin", ".gguf", ".h5", ".msgpack", ".onnx", ".ot", ".pt", ".pth", ".safetensors"})
_DOCUMENTS = frozenset({".csv", ".gif", ".jpeg", ".jpg", ".md", ".parquet", ".pdf", ".png", ".py", ".pyc", ".svg"})
_OF_THE_NETWORK = frozenset({"config.json", "generation_config.json", "adapter_config.json"})
_NOTES = frozenset({"made.json", "meta.json", "harness-origin.json"})
"""What this program writes beside a network."""
TEMPLATES = "additional_chat_templates"

_HALVES: dict[str, Literal["bfloat16", "float16"]] = {"BF16": "bfloat16", "F16": "float16"}
"""Number formats of two bytes, by safetensors' names for them."""


class Loading(Protocol):
    """How a folder is loaded: a spec's `model`, or the card of one."""

    @property
    def weights(self) -> str: ...
    @property
    def weights_seed(self) -> int: ...
    @property
    def allow_pickle(self) -> bool: ...
    @property
    def trust_remote_code(self) -> bool: ...


class Tensor(msgspec.Struct, frozen=True):
    """Where a tensor stands in a safetensors file."""

    dtype: str
    """In the words of safetensors: F32, BF16 …"""
    shape: list[int]
    begin: int
    """First byte, counted from the beginning of the file."""


def tokenizer_files(folder: Path) -> list[Path]:
    """All files that a tokenizer may be made of: what is there besides weights, configurations, code, notes and documents.

    Which of them a tokenizer reads depends on its class: one vocabulary or another, merges, templates, a file that its configuration
    names. A file that is counted and never read costs a computation; one that is read and not counted gives wrong states.
    """
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file()
        and not path.name.startswith(".")
        and path.suffix.lower() not in _WEIGHTS | _DOCUMENTS
        and path.name not in _OF_THE_NETWORK | _NOTES
        and not path.name.endswith(".index.json")
    ]
    return found + sorted(path for path in (folder / TEMPLATES).glob("*.jinja") if path.is_file())


def check_files(folder: Path) -> None:
    """Refuses what libraries would read without end in a model's folder (pipes, devices, text of any size), and links to files that
    are not the model's: what a template or a vocabulary says turns up in reports."""
    for path in (*sorted(folder.iterdir()), *sorted((folder / TEMPLATES).glob("*"))):
        if is_irregular(path):
            raise UsageError(f"{path} is neither a file nor a folder; take it away")
        if path.is_symlink() and not (is_below(path, folder) or is_blob(path, folder)):
            raise UsageError(
                f"{path} is a link to a file outside of the model's folder; put the file itself there (a hard link will do)"
            )
        if path.suffix in _TEXT and path.is_file() and path.stat().st_size > LARGEST_TEXT:
            raise UsageError(f"{path} is larger than {LARGEST_TEXT >> 20} MiB, and no model's is")
        if (size := _listed(path)) > _LARGEST_LIST:
            raise UsageError(
                f"{path} lists its weights in {size / 2**20:,.0f} MiB, and no model does in more than {_LARGEST_LIST >> 20}; get it again"
            )
        if path.is_file() and is_hollow(path):
            raise UsageError(f"{path} is a file of holes, with nothing written in most of it; get it again")


def _listed(path: Path) -> int:
    """Bytes in which an index of weights, or a file of them, says what is in it."""
    if not path.is_file():
        return 0
    if path.name.endswith(".index.json"):
        return path.stat().st_size
    if path.suffix != ".safetensors":
        return 0
    with path.open("rb") as file:
        # What is larger than the file is refused where it is read.
        return min(int.from_bytes(file.read(8), "little"), path.stat().st_size)


def is_blob(path: Path, folder: Path) -> bool:
    """Whether a file in a snapshot of the Hub's cache is a link to a file of the same repository there."""
    # The folder of blobs may not be a link itself: it could be to anything.
    repositories = (above.parent for above in real(folder).parents if above.name == "snapshots")
    return any(real(path).parent == repository / "blobs" for repository in repositories)


def weight_files(folder: Path, model: Loading) -> list[Path]:
    """The files that transformers loads a network's weights from; empty only where none are needed.

    A folder may hold several: shards and, saved over them later, a single file. As transformers does: the file that the configuration
    names, else the single file, else the shards of the index, else pickles in the same order; never a variant or another name.
    """
    if (folder / "adapter_config.json").exists():
        # transformers would load the model that the adapter names, wherever that is, and not the one in this folder.
        raise UsageError(
            f"model.id: {folder} holds an adapter (adapter_config.json), not a whole model; name its base as model.id and "
            "this folder as model.adapter, or merge it into its base (peft: merge_and_unload, then save_pretrained)"
        )
    named = read_config(folder).get("transformers_weights")
    if named is not None and not (
        isinstance(named, str) and re.fullmatch(r"[^/\\\0]+\.safetensors(\.index\.json)?", named)
    ):
        raise UsageError(
            f"{folder}/config.json: transformers_weights is {str(named)[:80]!r}; weights lie beside their configuration, in "
            "safetensors or an index of them"
        )
    names = (named,) if named else (_SINGLE, _SHARDED, *((_PICKLE, _PICKLED_SHARDS) if model.allow_pickle else ()))
    chosen = next((folder / name for name in names if (folder / name).is_file()), None)
    if chosen is None:
        if model.weights == "random":
            return []
        raise _no_weights(folder, named)
    files = [folder / name for name in _indexed(chosen)] if chosen.name.endswith(".index.json") else [chosen]
    missing = [file.name for file in files if not file.is_file()]
    if missing and model.weights == "pretrained":
        raise UsageError(f"model.id: {folder} lacks {', '.join(missing)}, which {chosen.name} names")
    return [] if missing else files


def _no_weights(folder: Path, named: str | None) -> UsageError:
    """Says what would be needed, and why what is there is not it."""
    if named is not None:
        return UsageError(f"model.id: {folder} lacks {named}, which config.json names as transformers_weights")
    others = sorted(path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pth", ".pt"))
    pickles = [name for name in others if name.startswith("pytorch_model")]
    if pickles:
        return UsageError(
            f"model.id: {folder} has only pickled weights ({pickles[0]}), which can run code when they are loaded; convert "
            "them to safetensors, or set model.allow_pickle: true if you trust their authors"
        )
    there = f"; {others[0]} is no name that transformers looks for" if others else ""
    return UsageError(
        f"model.id: {folder} has no weights ({_SINGLE}, or shards with {_SHARDED}){there}; save them with save_pretrained, or set "
        "model.weights: random to go without"
    )


def _indexed(index: Path) -> list[str]:
    """The files that an index names. It comes from a stranger: they lie beside it, in the index's own format, or it is refused."""
    try:
        names = sorted(set(read_json(index, LARGEST_TEXT)["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{index}: not a readable index of weights: {error}") from error
    suffix = Path(index.name.removesuffix(".index.json")).suffix
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(rf"[^/\\\0]+{re.escape(suffix)}", name):
            raise UsageError(
                f"{index}: it names the file {str(name)[:80]!r}; weights lie beside their index and end in {suffix}"
            )
    return names


def shapes_of(files: Iterable[Path]) -> dict[str, list[int]]:
    """Shapes of all tensors in safetensors files, by name. Raises UsageError where two files hold a tensor of the same name, and for
    weights that are no floating-point numbers."""
    found: dict[str, list[int]] = {}
    of: dict[str, Path] = {}
    for file in files:
        for name, tensor in tensors_in(file).items():
            # Others hold masks and places as well.
            if tensor.dtype not in FLOATING and (
                name.endswith(".weight") or (name.endswith(".bias") and len(tensor.shape) == 1)
            ):
                raise of_no_floating(file, name, tensor)
            if name in found:
                raise UsageError(
                    f"{file.parent}: both {of[name].name} and {file.name} hold {name[:80]}, so that either may be meant; save the "
                    "model anew"
                )
            found[name], of[name] = tensor.shape, file
    return found


def of_no_floating(file: Path, name: str, tensor: Tensor) -> UsageError:
    """The error about a weight whose numbers mean nothing without the scales that they were divided by."""
    return UsageError(
        f"{file}: the weight {name[:80]} is kept as {tensor.dtype}, as quantised ones are, and not as {', '.join(FLOATING)}; dequantise "
        "the model (transformers: model.dequantize(), then save_pretrained) and name that folder"
    )


def count_parameters(weights: list[Path], sizes: Shape) -> int:
    """All weights, counted from the files' headers; where there are none, those of the built network."""
    counted = [file for file in weights if file.suffix == ".safetensors"]
    if not counted:
        return sizes.parameters
    return sum(math.prod(dimensions) for dimensions in shapes_of(counted).values())


def stored_format(weights: list[Path]) -> Literal["float32", "bfloat16", "float16"]:
    """The number format that loses nothing of what files store: that of all their numbers, or float32 where they have several, or none."""
    if not weights or any(file.suffix != ".safetensors" for file in weights):
        return "float32"
    # Whole numbers and truth values, as of masks, are no weights.
    stored = {one.dtype for file in weights for one in tensors_in(file).values() if one.dtype.startswith(("F", "BF"))}
    return _HALVES.get(stored.pop(), "float32") if len(stored) == 1 else "float32"


def is_embedding(name: str) -> bool:
    """Whether a weight of this name belongs to an embedding or a language-model head."""
    return _EMBEDDING.search(name) is not None


def tensors_in(file: Path) -> dict[str, Tensor]:
    """Where the tensors of a safetensors file stand in it, by name. Raises UsageError for what is no such file."""
    try:
        with file.open("rb") as opened:
            size = int.from_bytes(opened.read(8), "little")
            if size > 100_000_000:
                raise ValueError("its header is too large")
            header = json.loads(opened.read(size))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
            if os.fstat(opened.fileno()).st_size != 8 + size + end:
                raise ValueError("it is shorter or longer than its header says; get it again")
        found = {
            name: Tensor(str(entry["dtype"]), entry["shape"], 8 + size + int(entry["data_offsets"][0]))
            for name, entry in header.items()
            if name != "__metadata__"
        }
        if not all(isinstance(size, int) and size >= 0 for tensor in found.values() for size in tensor.shape):
            raise ValueError("a tensor's shape is not made of whole numbers")
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{file}: not a readable safetensors file: {error}") from error
