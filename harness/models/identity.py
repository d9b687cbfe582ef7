"""What a model's folder is known by: a hash of all that is loaded from it, which is asked again once it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.models import gguf
from harness.models.fingerprint import combined, file_sha256, meaning
from harness.models.model_folder import Loading, tokenizer_files, weight_files
from harness.models.shape import read_config
from harness.store import content_key
from harness.untrusted.files import read_json

_TOKENS = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
"""What a network takes from generation_config.json where config.json does not say it."""
_LARGEST = 2**20


def folder_identity(folder: Path, model: Loading) -> str:
    """Content hash of what is loaded from a folder: weights or seed, configuration, tokenizer, code if it is run.

    Raises UsageError for a folder that is no model's, or whose code lies elsewhere.
    """
    config = read_config(folder)
    known: list[object] = [meaning(config)]
    if said := _generation(folder, config):
        known.append(said)
    if model.trust_remote_code:
        known += _code(folder, config)
    tokens = tokenizer_identity(folder)
    if model.weights == "random":
        return content_key("random", *known, model.weights_seed, tokens)
    if gguf.is_ours(folder) and (folder / gguf.ORIGIN).is_file():
        # What was converted is known by the file that it came from, whatever wrote the safetensors. Only folders of our own
        # are believed: a stranger's could claim to be any model, and have its states kept under that one's name.
        return content_key("gguf", _origin(folder), folder.name.rsplit("-", 1)[-1])
    return content_key("weights", combined(weight_files(folder, model)), *known, tokens)


def tokenizer_identity(folder: Path) -> str:
    """Content hash of the tokenizer's files, and of what config.json says of its class."""
    config = read_config(folder)
    chosen = [config["model_type"], *([config["tokenizer_class"]] if config.get("tokenizer_class") else [])]
    return combined(tokenizer_files(folder), chosen)


def _generation(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The tokens that only generation_config.json names."""
    try:
        said = read_json(folder / "generation_config.json", _LARGEST)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{folder}/generation_config.json: not a readable configuration: {error}") from error
    if not isinstance(said, dict):
        raise UsageError(f"{folder}/generation_config.json: not a configuration; save the model anew")
    return meaning({name: said[name] for name in _TOKENS if said.get(name) is not None and config.get(name) is None})


def _code(folder: Path, config: dict[str, Any]) -> list[object]:
    """The modules that come with a model, all of which may be run. Raises UsageError for those of another repository."""
    named = config.get("auto_map")
    classes = [str(name) for name in named.values()] if isinstance(named, dict) else []
    elsewhere = [name for name in classes if "--" in name]
    if elsewhere:
        raise UsageError(
            f"{folder}/config.json: auto_map takes code from another repository ({elsewhere[0][:80]}), so that the folder does not "
            "say what is computed; put that code into the folder"
        )
    modules = sorted(folder.rglob("*.py"))
    return [combined(modules)] if modules else []


def _origin(folder: Path) -> str:
    """The SHA-256 of the .gguf that a folder was converted from. Raises HarnessError where its files are not those any more."""
    origin = json.loads((folder / gguf.ORIGIN).read_bytes())
    for name, sha256 in origin["files"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != sha256:
            raise HarnessError(f"{folder / name} is not as it was converted from {origin['file']}; delete {folder}")
    return str(origin["gguf_sha256"])
