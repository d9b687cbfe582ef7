"""The conversion of a .gguf file, run as a process of its own: `python -m harness.models.gguf_worker FILE FOLDER`.

Its own process, because the library parses the file's vocabulary and its table of names anew at every step, seconds each
time. Here both are kept, which would be out of place in a program that does other things as well; and the memory is
given back at the end. A stranger may have made the file, so there are limits, as the worker has them (`harness.untrusted.bounded`):
besides, nothing but the folder is written, no program is started and nobody is spoken to.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.models.gguf_file import (
    FREQUENCIES,
    architecture_of,
    check_names,
    check_tensors,
    check_values,
    complete_config,
    parameters_by_tensor,
    scaled,
    values,
)
from harness.models.gguf_tokenizer import complete, save
from harness.untrusted import text
from harness.untrusted.bounded import Limits, bound, settle

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SECONDS = 12
_MEBIBYTES = 1024
_TIMES = 32
_LONGEST = 2000


def write(file: Path, folder: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer into `folder`. Raises HarnessError."""
    import gguf
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    from harness.models.quiet import quiet_transformers

    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with quiet_transformers():
        try:
            reader = gguf.GGUFReader(file)
            said = values(reader)
            architecture_of(file, said)
            check_names(file, said)
            tensors = {tensor.name: tensor for tensor in reader.tensors}
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
            if not isinstance(tokenizer, PreTrainedTokenizerFast):
                raise HarnessError(
                    f"{file}: its tokenizer is none that the tokenizers library reads; name the model's folder"
                )
            complete(file, said, tokenizer, _tokens(reader))
            config = AutoConfig.from_pretrained(file.parent, **where)
            complete_config(said, config)
            if getattr(config, "rope_parameters", None) is not None or FREQUENCIES in tensors:
                config.rope_parameters = scaled(file, said, _numbers(tensors.get(FREQUENCIES)), config)
            check_values(file, said, config)
            with torch.device("meta"):
                empty = AutoModelForCausalLM.from_config(config)
            empty.tie_weights()
            names = parameters_by_tensor(file, said, tensors, dict(empty.named_parameters()))
            model = AutoModelForCausalLM.from_pretrained(file.parent, config=config, dtype=torch.float32, **where)
        except HarnessError:
            raise
        # A stranger's file can make the libraries stumble anywhere.
        except Exception as error:
            raise HarnessError(f"{file}: this .gguf file cannot be read: {type(error).__name__}: {error}") from error
        # The quantizer belongs to the file that was read; with it the plain weights could not be saved.
        for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
            if hasattr(owner, name):
                delattr(owner, name)
        read = dict(model.named_parameters())
        check_tensors(file, tensors, {known: read[name].detach().numpy() for known, name in names.items()})
        model.save_pretrained(folder)
        save(tokenizer, folder)
        again = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if again.backend_tokenizer.to_str() != tokenizer.backend_tokenizer.to_str():
        raise HarnessError(f"{file}: its tokenizer changed while it was converted; please report this file")
    _verify(file, folder, model)


def _numbers(tensor: Any | None) -> list[float]:
    import gguf

    return [] if tensor is None else [float(number) for number in gguf.dequantize(tensor.data, tensor.tensor_type)]


def _tokens(reader: Any) -> list[str]:
    field = reader.fields["tokenizer.ggml.tokens"]
    return [bytes(field.parts[place]).decode() for place in field.data]


def _verify(file: Path, folder: Path, model: PreTrainedModel) -> None:
    """Checks that what was written is what was read: every tensor, bit for bit, and finite."""
    import torch
    from safetensors import safe_open

    weights = dict(model.named_parameters())
    seen = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (not a mapping)
                tensor = stored.get_tensor(name)
                if name in weights and not (torch.equal(tensor, weights[name]) and bool(tensor.sum().isfinite())):
                    raise HarnessError(f"{file}: the weight {name} did not survive the conversion")
                seen.add(name)
    tied = {name for name in weights if name not in seen}
    if tied:
        raise HarnessError(f"{file}: weights are missing after the conversion: {', '.join(sorted(tied)[:4])}")


def limits(file: Path) -> Limits:
    """More for larger files: of every byte become at most 32 of float32, which are in memory three times, and once in a file."""
    mebibytes = -(-file.stat().st_size // 2**20)
    return Limits(_SECONDS + mebibytes, _MEBIBYTES + 3 * _TIMES * mebibytes, (_MEBIBYTES + _TIMES * mebibytes) << 20)


def _main(file: str, folder: str, multiplied: str = "1") -> int:
    import gguf
    import safetensors.torch  # noqa: F401 (what is imported is no stranger's, and may be large)
    import transformers.modeling_utils  # noqa: F401

    most = limits(Path(file)).times(float(multiplied))
    Path(folder).mkdir(exist_ok=True)
    settle(Path(folder), most.answer_bytes)
    bound(most)
    vars(gguf).update({name: cache(vars(gguf)[name]) for name in ("GGUFReader", "get_tensor_name_map")})
    try:
        write(Path(file), Path(folder))
    except HarnessError as error:
        if isinstance(error.__cause__, MemoryError):
            raise
        print(text.line(str(error), _LONGEST), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
