"""Numbers of a network's configuration that may be lengths: windows, chunks, blocks, contexts before and after an extension.

A network may treat texts on the two sides of such a number differently. Families name them as they like, so every whole number
counts, however deep it stands, save under names that are understood: widths, counts, token ids, bases and factors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_SHORTEST = 4
"""No text is parted from longer ones at fewer tokens."""

_NO_LENGTH = re.compile(
    r"(vocab|hidden|intermediate|embedding|feed_forward|ffn|kernel|conv|image|patch|codebook)_sizes?(_mlp)?$"
    r"|(^|_)(dims?|heads?|layers|experts|channels|kernel|rank|groups|depths?|strides?|index|indices|ids?|theta|seed|bins|topk)$"
    r"|^d_\w+$|^n_(embd|inner|heads?|layers?|group)$|_per_tok(en)?$|^dim_|_dim_|_token_"
    r"|^num_(?!\w*(tokens|positions|embeddings)$)"
)
"""Names whose numbers are no lengths. A length that were among them would go untested; a number too many costs a few passes."""

NO_TEXT = re.compile(r"^(vision|audio|image|video|speech|vae|vq)_\w*config$|^(label2id|id2label|quantization_config)$")
"""Parts of a configuration that say nothing of texts."""

_WINDOW = re.compile(r"(^|_)(window|windows|local_attention|chunk)(_|$)")
"""Words in the names of what bounds how far back a token looks."""

_NO_WINDOW = re.compile(r"layers$|pattern$|block|feed_forward|ssm|mamba|^use_|_infer$")


def lengths(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers in tokens that may part texts from longer ones, ascending. `config` is complete: defaults are written out."""
    return tuple(sorted({number for _, number in _numbers(config, "")}))


def window(config: Mapping[str, Any]) -> int | None:
    """The shortest attention window, in tokens, under any of the names that families give it; None without one."""
    found = [
        number
        for name, number in _numbers(config, "")
        if _WINDOW.search(name)
        and not _NO_WINDOW.search(name)
        and (config.get("use_sliding_window", True) or "sliding" not in name)
    ]
    return min(found, default=None)


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    """Whole numbers with their names, from the shortest length on; a list's numbers have the name of the list."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not NO_TEXT.search(str(key)):
                yield from _numbers(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            # Factors for each frequency are floats, of which some are whole by chance.
            if not isinstance(part, float):
                yield from _numbers(part, name)
    elif isinstance(value, float):
        if value.is_integer() and "position" in name:
            yield from _numbers(int(value), name)
    elif isinstance(value, int) and not isinstance(value, bool) and value >= _SHORTEST and not _NO_LENGTH.search(name):
        yield name, value
