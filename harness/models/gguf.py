"""A .gguf file made into a plain model folder, once.

The weights are dequantised and kept as float32: a 4-bit weight is scale × number + offset with two half-precision
factors, and neither bfloat16 nor float16 holds that product exactly. A smaller dtype is a matter of loading.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from harness.code_version import code_version
from harness.errors import HarnessError
from harness.models.fingerprint import file_sha256
from harness.store import cache_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ORIGIN = "harness-origin.json"
"""Says which .gguf file a converted folder was made from."""

_PROBES = ("The city of Paris is in France.", " two  spaces\n\nünï 123", "Between positive and negative: ")


def converted_folder(file: Path) -> Path:
    """Where the converted model lies, or would lie."""
    return cache_folder() / "models" / f"{file.stem}-{file_sha256(file)[:12]}-{code_version('models/gguf')[:6]}"


def is_converted(file: Path) -> bool:
    """Whether `convert` would answer at once."""
    return (converted_folder(file) / ORIGIN).is_file()


def convert(file: Path, progress: Callable[[str, int, int | None], None] | None = None) -> Path:
    """The folder with config.json, model.safetensors and the tokenizer. Takes seconds to minutes, once.

    Raises HarnessError when transformers cannot read this file.
    """
    folder = converted_folder(file)
    if is_converted(file):
        return folder
    if progress:
        progress(f"converting {file.name}", 0, None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f"{folder.name}~{os.getpid()}-{uuid4().hex[:8]}")
    try:
        draft.mkdir()
        _write(file, draft)
        (draft / ORIGIN).write_text(json.dumps({"gguf_sha256": file_sha256(file), "file": file.name}))
        try:
            draft.rename(folder)
        except OSError:
            # Another process was faster, and made the same.
            if not is_converted(file):
                raise
    except OSError as error:
        raise HarnessError(f"{file}: the converted model cannot be written to {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _write(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from harness.models.quiet import quiet_transformers

    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
            config = AutoConfig.from_pretrained(file.parent, **where)
            model = AutoModelForCausalLM.from_pretrained(file.parent, config=config, dtype=torch.float32, **where)
        except (ValueError, KeyError, NotImplementedError, ImportError) as error:
            raise HarnessError(f"{file}: transformers cannot read this .gguf file: {error}") from error
        # The quantizer belongs to the file that was read; with it the plain weights could not be saved.
        for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
            if hasattr(owner, name):
                delattr(owner, name)
        model.is_quantized = False
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        again = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if [tokenizer(text).input_ids for text in _PROBES] != [again(text).input_ids for text in _PROBES]:
        raise HarnessError(f"{file}: its tokenizer changed while it was converted; please report this file")
    _verify(file, folder, model)


def _verify(file: Path, folder: Path, model: PreTrainedModel) -> None:
    """What was written is what was read: every tensor, bit for bit, and finite."""
    import torch
    from safetensors import safe_open

    weights = dict(model.named_parameters())
    seen = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (not a mapping)
                tensor = stored.get_tensor(name)
                if name in weights and not (torch.equal(tensor, weights[name]) and bool(tensor.isfinite().all())):
                    raise HarnessError(f"{file}: the weight {name} did not survive the conversion")
                seen.add(name)
    tied = {name for name in weights if name not in seen}
    if tied:
        raise HarnessError(f"{file}: weights are missing after the conversion: {', '.join(sorted(tied)[:4])}")
