"""Sizes of a network, read from its config.json.

Every family has its own names for the same things; the lists below are those of transformers. A configuration that
leaves its defaults out is completed by transformers itself, which costs a slow import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import UsageError
from harness.models.lengths import window
from harness.untrusted.files import read_ordinary

Stacks = Literal["decoder-only", "encoder-only", "encoder-decoder"]

_ENCODERS = {
    "albert", "bert", "big_bird", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie",
    "esm", "eurobert", "flaubert", "funnel", "ibert", "layoutlm", "longformer", "luke", "mobilebert", "modernbert",
    "mpnet", "mra", "nomic_bert", "nystromformer", "rembert", "roberta", "roberta-prelayernorm", "roformer",
    "squeezebert", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip

# RoBERTa and its kin start counting positions after the padding index.
_OFFSET_POSITIONS = {
    "roberta",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "longformer",
    "xmod",
}

LARGEST_CONFIG = 16 * 2**20
LARGEST = 10**8
"""A larger size is that of no network."""
MOST_BLOCKS = 10_000

_NAMES: dict[str, tuple[str, ...]] = {
    "blocks": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers"),
    "d_model": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"),
    "vocab": ("vocab_size",),
}


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a network that costs and hooks depend on."""

    family: str
    """transformers' model_type."""
    stacks: Stacks
    blocks: int
    """Of the stack that is read."""
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_mlp: int
    vocab: int
    context: int | None
    """Longest sequence; None where the positions have no end (relative ones)."""
    window: int | None
    """The shortest window of the attention (sliding, local or in chunks), in tokens; None without one."""
    gated: bool
    """Whether the MLP has a gate (three matrices instead of two). A guess by activation function, for costs only."""
    tied: bool
    """Whether the language-model head is the embedding matrix."""

    @property
    def body_parameters(self) -> int:
        """Weights in the blocks by the usual formula, for costs where the real count is not known."""
        attention = self.d_model * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.blocks * (attention + (3 if self.gated else 2) * self.d_model * self.d_mlp)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises UsageError when it is missing or no configuration."""
    path = folder / "config.json"
    try:
        config = json.loads(read_ordinary(path, LARGEST_CONFIG))
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no config.json in it, so it is no model folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable configuration: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UsageError(f"{path}: no model_type in it, so transformers cannot tell what network it is")
    return config


def shape(config: Mapping[str, Any], folder: Path, side: Literal["auto", "decoder", "encoder"]) -> Shape:
    """The sizes of the stack that is read. Raises UsageError for a side that the model does not have."""
    text = _text_part(config)
    stacks = _stacks(text, config)
    if (side, stacks) in (("encoder", "decoder-only"), ("decoder", "encoder-only")):
        raise UsageError(f"model.side: {side}: this model ({text['model_type']}) is {stacks}; leave `side` out")
    if any(_get(text, *names) is None for names in _NAMES.values()):
        text = _text_part(_completed(folder))

    def size(*names: str, most: int = LARGEST) -> int | None:
        return _whole(text, folder, names, most)

    sizes = {name: size(*names) for name, names in _NAMES.items()}
    missing = [name for name, value in sizes.items() if value is None]
    if missing:
        raise UsageError(f"{folder}/config.json: cannot find the network's {', '.join(missing)} in it")
    d_model, heads, blocks, vocab = (sizes[name] or 0 for name in ("d_model", "heads", "blocks", "vocab"))
    if stacks == "encoder-decoder" and side != "encoder":
        blocks = size("num_decoder_layers", "decoder_layers") or blocks
    if blocks > MOST_BLOCKS:
        raise UsageError(f"{folder}/config.json: {blocks:,} blocks are those of no network; at most {MOST_BLOCKS:,}")
    kv_heads = size("num_key_value_heads", "num_kv_heads")
    return Shape(
        family=text["model_type"],
        stacks=stacks,
        blocks=blocks,
        d_model=d_model,
        heads=heads,
        kv_heads=1 if text.get("multi_query") else kv_heads or heads,
        head_dim=size("head_dim", "d_kv") or d_model // heads,
        d_mlp=size("intermediate_size", "n_inner", "ffn_dim", "d_ff", "hidden_dim", "encoder_ffn_dim") or 4 * d_model,
        vocab=vocab,
        context=_context(text, folder),
        window=window(text),
        gated=any(word in str(_get(text, "hidden_act", "hidden_activation", "feed_forward_proj", "activation_function"))
                  for word in ("silu", "swiglu", "gated", "gelu_pytorch_tanh")),
        tied=bool(text.get("tie_word_embeddings", True)),
    )  # fmt: skip


def _text_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """The language model inside a model of several senses."""
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else dict(config)


def _stacks(text: Mapping[str, Any], config: Mapping[str, Any]) -> Stacks:
    if text.get("is_encoder_decoder") or text["model_type"] in ("t5", "mt5", "umt5", "bart", "mbart", "pegasus"):
        return "encoder-decoder"
    built_as = str(config.get("architectures"))
    if "ForCausalLM" in built_as or "LMHeadModel" in built_as or text.get("is_decoder"):
        return "decoder-only"
    if text["model_type"] in _ENCODERS or "ForMaskedLM" in built_as:
        return "encoder-only"
    return "decoder-only"


def _context(text: Mapping[str, Any], folder: Path) -> int | None:
    found = _whole(text, folder, ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 2**62)
    if found is None or text["model_type"] in ("t5", "mt5", "umt5"):
        return None
    return found - (2 if text["model_type"] in _OFFSET_POSITIONS else 0)


def _get(text: Mapping[str, Any], *names: str) -> Any:
    return next((text[name] for name in names if text.get(name) is not None), None)


def _whole(text: Mapping[str, Any], folder: Path, names: Sequence[str], most: int) -> int | None:
    """A size; None where there is none of these names. Raises UsageError for what is no size."""
    value = _get(text, *names)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        name = next(name for name in names if text.get(name) is not None)
        raise UsageError(f"{folder}/config.json: {name} is {str(value)[:40]!r}, not a whole number from 1 to {most:,}")
    return value


def _completed(folder: Path) -> dict[str, Any]:
    from transformers import AutoConfig

    from harness.models.quiet import quiet_transformers

    with quiet_transformers():
        try:
            return dict(AutoConfig.from_pretrained(folder, local_files_only=True).to_dict())
        # A stranger's configuration can make the library stumble anywhere.
        except Exception as error:
            raise UsageError(f"{folder}: transformers cannot read its config.json: {error}") from error
