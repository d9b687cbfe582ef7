"""Sizes of a network: what config.json says, as transformers reads it, and what was counted in the network built without weights.

Every family has its own names for the same things; the lists below are those of transformers. A size that only costs depend on may
be unknown: then the cost is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import UsageError
from harness.models.sites import Tap
from harness.untrusted.files import read_json

Stacks = Literal["decoder-only", "encoder-only", "encoder-decoder"]

LARGEST_CONFIG = 16 * 2**20
LARGEST = 10**8
"""A larger size is that of no network."""
MOST_BLOCKS = 10_000

BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
DECODER_BLOCKS = ("num_decoder_layers", "decoder_layers")
WIDTH = ("hidden_size", "n_embd", "d_model", "dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads")
_HEAD_DIM = ("head_dim", "d_kv")
_D_MLP = ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "hidden_dim", "encoder_ffn_dim", "ffn_hidden_size")
_VOCAB = ("vocab_size",)
CHOSEN = ("index_topk",)
_POSITIONS = (
    "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len",
    "max_encoder_position_embeddings", "max_decoder_position_embeddings", "max_target_positions",
)  # fmt: skip


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of a network that costs and hooks depend on, and the class that reads it."""

    family: str
    """transformers' model_type."""
    loader: str
    """The class of transformers that builds it, by name."""
    stacks: Stacks
    blocks: int
    """Of the stack that is read."""
    d_model: int
    vocab: int
    """Rows of the token embedding: no token of a prompt may be as large."""
    parameters: int
    """All weights of the built network."""
    body_parameters: int
    """Weights without embeddings, language-model head and what reads images or sound: what a token is multiplied with."""
    context: int | None
    """Longest sequence; None where the positions have no end (relative ones)."""
    window: int | None
    """The shortest window of the attention (sliding, local or in chunks), in tokens; None without one."""
    chosen: int | None
    """The number of tokens that the attention chooses by score and looks at; None where it looks at all."""
    heads: int | None
    """None where there are none, or as many in every block; so are the next three, which only costs depend on."""
    kv_heads: int | None
    head_dim: int | None
    d_mlp: int | None
    sites: dict[str, Tap] = {}
    """Where in its blocks states can be read, besides the residual stream after them."""

    def tap(self, site: str) -> Tap:
        """Where a site within the blocks is; `head:3` is part of what is read there. KeyError for one that they do not have."""
        return self.sites[site.partition(":")[0]]

    def width(self, site: str) -> int:
        """The width of a state at a site. Raises UsageError where this network has none."""
        name, _, head = site.partition(":")
        if name == "residual":
            return self.d_model
        if name not in self.sites:
            has = ", ".join(("residual", *(one for one in self.sites if one != "head" or self.heads)))
            raise UsageError(f"no {name} can be read in every block of a {self.family}; it has {has}")
        width = self.sites[name].width
        if not head:
            return width
        if self.heads is None or width % self.heads:
            raise UsageError(
                f"how many heads each block of a {self.family} has is not known, so that none can be read alone"
            )
        if int(head) >= self.heads:
            raise UsageError(f"there is no head {head}; this network has heads 0 to {self.heads - 1}")
        return width // self.heads

    @property
    def attention_width(self) -> int | None:
        """Numbers of a token's queries, in all heads of a block."""
        return None if self.heads is None or self.head_dim is None else self.heads * self.head_dim

    @property
    def unknown(self) -> tuple[str, ...]:
        """Sizes that costs depend on and nobody can say, in words."""
        sizes = {"attention heads": self.attention_width, "width of the MLP": self.d_mlp}
        return tuple(name for name, size in sizes.items() if size is None)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises UsageError when it is missing or no configuration."""
    path = folder / "config.json"
    try:
        config = read_json(path, LARGEST_CONFIG)
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no config.json in it, so it is no model folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable configuration: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UsageError(f"{path}: no model_type in it, so transformers cannot tell what network it is")
    return config


def check_sizes(config: Mapping[str, Any], folder: Path) -> None:
    """Refuses sizes of no network before anything is built of them. Raises UsageError."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        for names in (WIDTH, _HEADS, _KV_HEADS, _VOCAB):
            _check(part, folder, names, LARGEST)
        for names in (BLOCKS, DECODER_BLOCKS):
            _check(part, folder, names, LARGEST)
            blocks = _get(part, names)
            if isinstance(blocks, int) and blocks > MOST_BLOCKS:
                raise UsageError(
                    f"{folder}/config.json: {blocks:,} blocks are those of no network; at most {MOST_BLOCKS:,}"
                )
        _check(part, folder, _POSITIONS, 2**62)


def size(text: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """The size that stands under one of these names; None where there is none, or another one in every block."""
    value = _get(text, names)
    if isinstance(value, list | tuple) and len(set(map(str, value))) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def only_for_costs(text: Mapping[str, Any], d_model: int) -> dict[str, int | None]:
    """Heads and widths that nothing but costs depends on."""
    heads = size(text, _HEADS)
    kv_heads = 1 if text.get("multi_query") else size(text, _KV_HEADS) or heads
    head_dim = size(text, _HEAD_DIM) or (d_model // heads if heads else None)
    d_mlp = size(text, _D_MLP)
    if d_mlp is None and "n_inner" in text:
        # GPT-2's way to say four times the width.
        d_mlp = 4 * d_model
    return {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "d_mlp": d_mlp}


def positions(text: Mapping[str, Any]) -> int | None:
    """The number of positions that the configuration gives."""
    return size(text, _POSITIONS)


def _get(text: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((text[name] for name in names if text.get(name) is not None), None)


def _check(text: Mapping[str, Any], folder: Path, names: Sequence[str], most: int) -> None:
    """Raises UsageError for what is no size. A list has one for every block."""
    for name in names:
        value = text.get(name)
        for one in value if isinstance(value, list) and value else [value]:
            if isinstance(one, float) and one.is_integer():
                one = int(one)
            if one is not None and (isinstance(one, bool) or not isinstance(one, int) or not 0 < one <= most):
                raise UsageError(
                    f"{folder}/config.json: {name} is {str(value)[:40]!r}, not a whole number from 1 to {most:,}"
                )
