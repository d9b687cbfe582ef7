"""What stands in a .gguf file, and how much of it is understood: every key and every tensor is taken, or the file is refused.

transformers reads the keys that it knows and leaves the rest: a scaling of the rotary angles, a tensor of frequencies, a rule for
splitting words. llama.cpp, which writes such files, computes with all of them. Keys are therefore compared with the configuration that
came of them, and a key that is not listed here refuses the file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

ARCHITECTURES = ("gpt2", "llama", "phi3", "qwen2", "qwen3", "stablelm", "starcoder2")
"""Those whose files were compared with the networks that they were written from."""

_NAMES: Mapping[str, tuple[str, ...]] = {
    "attention.head_count": ("num_attention_heads",),
    "attention.head_count_kv": ("num_key_value_heads", "num_attention_heads"),
    "attention.layer_norm_epsilon": ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
    "attention.sliding_window": ("sliding_window",),
    "block_count": ("num_hidden_layers",),
    "context_length": ("max_position_embeddings",),
    "embedding_length": ("hidden_size",),
    "vocab_size": ("vocab_size",),
}
"""Keys of the network, without the architecture before them, and the configuration's names for the same number."""

_COMPUTED = (
    "attention.key_length",
    "attention.value_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
)
_SCALING = ("rope.scale_linear", "rope.scaling.factor", "rope.scaling.type")
_REMARKS = ("rope.scaling.finetuned",)

_TOKENIZER = frozenset(
    f"tokenizer.ggml.{name}"
    for name in (
        "add_bos_token", "add_eos_token", "add_space_prefix", "bos_token_id", "eos_token_id", "merges", "model", "padding_token_id", "pre",
        "scores", "token_type", "tokens", "unknown_token_id",
    )
) | {"tokenizer.chat_template"}  # fmt: skip
"""What is made of them is compared with them in `gguf_tokenizer`."""

_TOKENS_OF_USES = frozenset(
    f"tokenizer.ggml.{name}"
    for name in (
        "eom_token_id", "eot_token_id", "fim_mid_token_id", "fim_pad_token_id", "fim_pre_token_id", "fim_rep_token_id",
        "fim_sep_token_id", "fim_suf_token_id", "mask_token_id", "middle_token_id", "prefix_token_id", "seperator_token_id",
        "suffix_token_id", "token_type_count",
    )
) | {"tokenizer.chat_templates"}  # fmt: skip
"""They say what tokens are for when text is generated or filled in, and change neither tokens nor states."""

FREQUENCIES = "rope_freqs.weight"
_TOLERANCE = 1e-5


def values(reader: Any) -> dict[str, Any]:
    """All keys of a file and their values; of lists of text, only how long they are."""
    from gguf import GGUFValueType

    found: dict[str, Any] = {}
    for name, field in reader.fields.items():
        if len(field.types) > 1 and field.types[-1] == GGUFValueType.STRING:
            found[name] = len(field.data)
            continue
        parts = [field.parts[place] for place in field.data]
        if field.types[-1:] == [GGUFValueType.STRING]:
            found[name] = bytes(parts[0]).decode()
        else:
            plain = [number for part in parts for number in part.tolist()]
            found[name] = plain if len(field.types) > 1 else plain[0]
    return found


def architecture_of(file: Path, said: Mapping[str, Any]) -> str:
    """The file's architecture. Raises HarnessError for one that is not among those that are understood."""
    architecture = said.get("general.architecture")
    if said.get("general.type", "model") != "model" or architecture not in ARCHITECTURES:
        what = f"{said.get('general.type', 'model')} of architecture {architecture}"
        raise HarnessError(
            f"{file}: it holds a {what}, and those that are read from .gguf are models of {', '.join(ARCHITECTURES)}; name the model's "
            "folder or its Hub id as model.id"
        )
    return str(architecture)


def check_names(file: Path, said: Mapping[str, Any]) -> None:
    """Raises HarnessError for a key that is not understood."""
    own = f"{said['general.architecture']}."
    network = {own + name for name in (*_NAMES, *_COMPUTED, *_SCALING, *_REMARKS)}
    for key in said:
        if not key.startswith(("general.", "GGUF.")) and key not in network | _TOKENIZER | _TOKENS_OF_USES:
            raise HarnessError(
                f"{file}: its key {key} ({str(said[key])[:40]}) is none that is understood here, so that the network might be another; "
                "name the model's folder or its Hub id as model.id"
            )


def scaled(file: Path, said: Mapping[str, Any], factors: list[float], config: Any) -> dict[str, Any]:
    """The rotary angles' parameters, with the scaling that the file asks for by keys or by `factors`, a tensor of d_rotary / 2 numbers.

    Raises HarnessError for a scaling that cannot be said in transformers' words.
    """
    plain = dict(config.rope_parameters or {})
    own = f"{said['general.architecture']}."
    factor = said.get(f"{own}rope.scaling.factor", said.get(f"{own}rope.scale_linear", 1.0))
    kind = said.get(f"{own}rope.scaling.type", "linear")
    if kind not in ("none", "linear") or (kind == "none" and factor != 1.0):
        raise HarnessError(
            f"{file}: {own}rope.scaling.type {kind} with factor {factor:g} is not understood here; name the model's folder or its Hub id "
            "as model.id"
        )
    if set(factors) <= {1.0}:
        return plain if factor == 1.0 else plain | {"rope_type": "linear", "factor": float(factor)}
    found = _llama3(factors, float(plain.get("rope_theta", 10_000.0)))
    if said["general.architecture"] != "llama" or factor != 1.0 or found is None:
        raise HarnessError(
            f"{file}: the frequencies in {FREQUENCIES} are not those of Llama 3, the only ones that are understood here; name the "
            "model's folder or its Hub id as model.id"
        )
    return plain | found


def _llama3(factors: list[float], theta: float) -> dict[str, Any] | None:
    """The parameters of Llama 3's scaling that give these factors: long waves are stretched whole, short ones not, others between."""
    most = max(factors)
    for original in (2**power for power in range(5, 21)):
        expected = []
        for number in range(len(factors)):
            turns = original * theta ** (-number / len(factors)) / (2 * math.pi)
            share = min(max((turns - 1.0) / (4.0 - 1.0), 0.0), 1.0)
            expected.append(1 / ((1 - share) / most + share))
        if all(math.isclose(one, other, rel_tol=_TOLERANCE) for one, other in zip(factors, expected, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": most,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": original,
            }
    return None


def complete_config(said: Mapping[str, Any], config: Any) -> None:
    """Gives a configuration what the file says and transformers does not read of some architectures: context, heads' size, the share of a
    head that is turned, padding."""
    own = f"{said['general.architecture']}."
    config.max_position_embeddings = said[f"{own}context_length"]
    config.pad_token_id = said.get("tokenizer.ggml.padding_token_id")
    head = said.get(f"{own}attention.key_length", config.hidden_size // config.num_attention_heads)
    if getattr(config, "head_dim", None) is not None:
        config.head_dim = head
    turned = said.get(f"{own}rope.dimension_count", head)
    if turned != head or "partial_rotary_factor" in (getattr(config, "rope_parameters", None) or {}):
        config.rope_parameters = {**(config.rope_parameters or {}), "partial_rotary_factor": turned / head}


def check_values(file: Path, said: Mapping[str, Any], config: Any) -> None:
    """Raises HarnessError where the configuration that was made says another number than the file."""
    architecture = said["general.architecture"]
    for name, expected in _expected(config):
        found = said.get(f"{architecture}.{name}")
        for number in found if isinstance(found, list) else [] if found is None else [found]:
            if expected is None or not math.isclose(number, expected, rel_tol=1e-6):
                raise HarnessError(
                    f"{file}: {architecture}.{name} is {number:g} in the file and {expected} in what transformers makes of it; name "
                    "the model's folder or its Hub id as model.id"
                )
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window is not None and f"{architecture}.attention.sliding_window" not in said:
        raise HarnessError(
            f"{file}: transformers makes a network with a sliding window of it, and the file has none; name the model's folder or its "
            "Hub id as model.id"
        )


def _expected(config: Any) -> Iterator[tuple[str, float | None]]:
    """The numbers of a configuration by the file's names for them."""
    for name, others in _NAMES.items():
        yield name, next((getattr(config, other) for other in others if getattr(config, other, None) is not None), None)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    yield "attention.key_length", head
    yield "attention.value_length", head
    wide = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    yield "feed_forward_length", wide or 4 * config.hidden_size
    rope = getattr(config, "rope_parameters", None) or {}
    yield "rope.freq_base", rope.get("rope_theta")
    yield "rope.dimension_count", int(head * rope.get("partial_rotary_factor", 1.0))


def parameters_by_tensor(
    file: Path, said: Mapping[str, Any], tensors: Collection[str], parameters: Collection[str]
) -> dict[str, str]:
    """The network's name for each of the file's tensors. Raises HarnessError for a tensor that goes nowhere, and for one that is not there."""
    import gguf

    architecture = said["general.architecture"]
    of_name = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(of_name, said[f"{architecture}.block_count"])
    goes = {names.get_name(name, (".weight", ".bias")) or name: name for name in parameters}
    for name in tensors:
        if name not in goes and name != FREQUENCIES:
            raise HarnessError(
                f"{file}: its tensor {name} is none of a {architecture} in transformers, so that the network would be another; name "
                "the model's folder or its Hub id as model.id"
            )
    absent = [name for known, name in goes.items() if known not in tensors]
    if absent:
        raise HarnessError(f"{file}: it has no tensor for {', '.join(sorted(absent)[:3])}; get the whole file")
    return {known: name for known, name in goes.items() if known in tensors}


def check_tensors(file: Path, tensors: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raises HarnessError for a parameter that holds other numbers than its tensor.

    `tensors` are the file's, as its reader gives them, and `parameters` the network's, as arrays, both by the file's names. Sums and sums
    of squares are compared: they are the same for a transposed matrix and for one whose heads are in another order.
    """
    import gguf
    import numpy as np

    for name, parameter in parameters.items():
        plain = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
        one, other = (np.asarray(each, dtype=np.float64).ravel() for each in (plain, parameter))
        if len(one) != len(other) or not all(
            math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * scale)
            for a, b, scale in ((one.sum(), other.sum(), np.abs(one).sum()), (one @ one, other @ other, 0.0))
        ):
            raise HarnessError(f"{file}: the tensor {name} came out as other numbers; please report this file")
