"""Tiny configurations of any family, shrunk from their defaults by the names of their sizes."""

from __future__ import annotations

import re
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig

VOCAB = 96
"""Tokens of every tiny network."""

FIRST, LAST = 8, 88
"""Tokens that prompts are made of; below are beginning, end and padding, above what stands for images and the like."""

BLOCKS = 4
CONTEXT = 64
WINDOW = 16

_SIZES: tuple[tuple[str, int], ...] = (
    (r"layers_to_|_layers_block|layer_interval|layer_period|layer_offset|layer_freq|every_n|_step$|first_k_dense", 0),
    (r"num_nextn_predict_layers|num_kv_shared_layers|n_shared_experts|num_shared_experts", 0),
    (r"vocab_size|num_embeddings", VOCAB),
    (r"^qk_head_dim$", 16),
    (r"rotary_dim", 4),
    (r"conv_kernel_size", 3),
    (r"(num|n)_?\w*(hidden_)?layers?$|^\w*encoder_layers$|^\w*decoder_layers$|^depth$|^num_blocks$", BLOCKS),
    (r"original_max_position", 2 * WINDOW),
    (
        r"max_(\w+_)?position|n_positions|max_target|n_ctx|max_seq_len|context_length|max_sequence_length|seq_length",
        CONTEXT,
    ),
    (r"window|chunk_size|local_attention|block_size", WINDOW),
    (r"experts_per_tok|num_selected_experts|top_k$|moe_topk|moe_k|topk_num|num_experts_per_token", 2),
    (r"n_group$|topk_group|num_hidden_groups", 1),
    (r"experts", 4),
    (r"num_key_value_heads|num_kv_heads|n_groups", 2),
    (r"rope_head_dim|head_dim|d_kv|head_size|attention_head_size|kv_channels", 8),
    (r"heads?$", 4),
    (r"lora_rank|laurel_rank|state_size|d_state|dt_rank|time_step_rank|low_rank", 8),
    (r"expand", 2),
    (r"conv_kernel|d_conv|conv_l_cache|l_cache", 4),
    (r"image_size", 28),
    (r"patch_size", 14),
    (r"intermediate_size|inner|ffn|d_ff|mlp|feed_forward", 64),
    (r"hidden_size|embd|d_model|^dim$|emb|width|project|hidden_dim|hidden|channels", 32),
)
"""Names and what becomes of them; 0 leaves a number as it is."""

_UNSET = {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": VOCAB,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "num_experts": 4,
}
"""Sizes that a default configuration leaves open and its network needs."""

_SCAN = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 2, "mamba_d_ssm": 64}
_BEGINNING = {"decoder_start_token_id": 0}

_OWN: dict[str, dict[str, Any]] = {
    "bamba": _SCAN,
    "chameleon": {"vocabulary_map": {"<image>": LAST + 1}},
    "emu3": {"vocabulary_map": {"<|extra_200|>": LAST + 1, "<image>": LAST + 2}},
    "esm": {"pad_token_id": 0, "mask_token_id": LAST + 1},
    "esmc": {"num_key_value_heads": 4},
    "falcon_h1": _SCAN,
    "gemma3n": {"text_config": {"num_kv_shared_layers": 2}},
    "gemma3n_text": {"num_kv_shared_layers": 2},
    "granitemoehybrid": _SCAN,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longt5": _BEGINNING,
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2},
    "mllama": {"text_config": {"cross_attention_layers": [1]}},
    "switch_transformers": _BEGINNING,
    "t5": _BEGINNING,
    "xlnet": {"d_head": 8},
    "zamba2": {"n_mamba_heads": 8, "mamba_headdim": 8, "mamba_ngroups": 1},
    "zamba": {"attention_hidden_size": 64, "attention_head_dim": 16},
}
"""Settings that a family needs besides."""


class NoDefault(Exception):
    """A family that has no configuration of its own."""


def tiny(family: str) -> PretrainedConfig:
    """A configuration of a few thousand weights. Raises NoDefault where a family is put together from others."""
    try:
        default = CONFIG_MAPPING[family]()
    except Exception as error:
        raise NoDefault(f"{type(error).__name__}: {error}") from error
    return _shrunk(default, _OWN.get(family, {}))


def numbers(config: PretrainedConfig) -> list[int]:
    """Windows, chunks, contexts: lengths at which a network may behave otherwise."""
    text = text_of(config)
    found = {WINDOW, CONTEXT}
    for name in text.to_dict():
        value = _get(text, name)
        if re.search(r"window|chunk|position|context|block_size|local", name) and isinstance(value, int):
            found.add(value)
    return sorted(value for value in found if FIRST <= value <= CONTEXT)


def text_of(config: PretrainedConfig) -> PretrainedConfig:
    """What a configuration says of the part that reads text; the whole where transformers sees several."""
    try:
        return config.get_text_config(decoder=True)
    except ValueError:
        return config


def _shrunk(default: PretrainedConfig, own: dict[str, Any]) -> PretrainedConfig:
    values: dict[str, Any] = {}
    plain = default.to_dict()
    blocks = max(
        (plain[name] for name in ("num_hidden_layers", "n_layer", "num_layers") if isinstance(plain.get(name), int)),
        default=0,
    )
    for name in plain:
        value = _get(default, name)
        if isinstance(value, PretrainedConfig):
            values[name] = _shrunk(value, own.get(name, {}))
        elif value is None and name in _UNSET:
            values[name] = _UNSET[name]
        elif name.endswith(("token_id", "token_index", "_id")):
            values[name] = _token(name, value)
        elif isinstance(value, int) and not isinstance(value, bool):
            values[name] = _size(name, value)
        elif isinstance(value, list | tuple) and len(value) == blocks and blocks:
            kinds = list(dict.fromkeys(value)) if all(isinstance(one, str | int) for one in value) else list(value)
            values[name] = [kinds[number % len(kinds)] for number in range(BLOCKS)]
        elif name == "layer_types" and isinstance(value, list | tuple):
            kinds = list(dict.fromkeys(value))
            values[name] = [kinds[number % len(kinds)] for number in range(BLOCKS)]
    if "kv_lora_rank" in plain:
        # Latent attention has as many keys as queries.
        values["num_key_value_heads"] = values.get("num_attention_heads", 4)
    by_kind = any(isinstance(value, dict) for value in (plain.get("rope_parameters") or {}).values())
    if not by_kind and "mrope_section" in (getattr(type(default), "ignore_keys_at_rope_validation", None) or ()):
        ropes = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0, "mrope_section": [2, 1, 1]}
        values["rope_parameters"] = ropes
    values |= {
        name: value
        for name, value in own.items()
        if not isinstance(value, dict) or name not in values or not isinstance(values[name], PretrainedConfig)
    }
    return type(default)(**values)


def _size(name: str, value: int) -> int:
    for pattern, size in _SIZES:
        if re.search(pattern, name):
            return size if size == VOCAB else min(value, size) if size else value
    return value if value <= 64 else 32


def _token(name: str, value: Any) -> Any:
    fixed = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "unk_token_id": 3}
    if name in fixed:
        return None if value is None else fixed[name]
    if isinstance(value, int) and not isinstance(value, bool) and value >= FIRST:
        return LAST + sum(map(ord, name)) % (VOCAB - LAST)
    return value


def _get(config: PretrainedConfig, name: str) -> Any:
    """A setting; None for one that every block has another value of, which transformers refuses to give."""
    try:
        return getattr(config, name, None)
    except Exception:
        return None
