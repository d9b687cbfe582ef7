"""The tokenizer of a .gguf file: what transformers makes of it is completed by what the file says and transformers leaves.

How words are split before they are merged is a name in the file, and a rule of llama.cpp (src/llama-vocab.cpp); so is whether a whole
word that is a token is taken before any merging, and whether texts begin with a token of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.errors import HarnessError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_MARKS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
)
_MARKS_AND_SLASHES = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


class Split(msgspec.Struct, frozen=True):
    """How a byte-level vocabulary splits text."""

    pattern: str | None = None
    """Of the pieces; None for GPT-2's."""
    digits: bool = False
    """Whether each digit stands alone, before anything else is split."""
    whole_first: bool = False
    """Whether a piece that is a token is taken as it is, without merging."""
    composed: bool = False
    """Whether letters and their accents are put together first (Unicode's NFC), as the tokenizers that were trained so do."""
    begins: bool = False
    """Whether texts begin with a token of their own where the file does not say."""


_GPT2 = Split()
_DIGITS = Split(digits=True)
_LLAMA3 = Split(_WORDS + r"|\p{N}{1,3}" + _MARKS, whole_first=True, begins=True)
_QWEN2 = Split(_WORDS + r"|\p{N}" + _MARKS, composed=True)
_TEKKEN = Split("|".join(_CASED) + r"|\p{N}" + _MARKS_AND_SLASHES, whole_first=True, begins=True)
_GPT4O = Split(
    "|".join(f"{word}(?i:'s|'t|'re|'ve|'m|'ll|'d)?" for word in _CASED) + r"|\p{N}{1,3}" + _MARKS_AND_SLASHES
)

SPLITS: Mapping[str, Split] = {
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "mpt", "jais"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), _DIGITS),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral"), _LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"), _QWEN2),
    "tekken": _TEKKEN,
    **dict.fromkeys(("gpt-4o", "llama4"), _GPT4O),
}
"""By the file's name for them, `tokenizer.ggml.pre`."""


def complete(file: Path, said: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, tokens: list[str]) -> None:
    """Makes a tokenizer split, merge, begin and end as the file says. Raises HarnessError for what is not understood."""
    from tokenizers import Regex, normalizers, pre_tokenizers, processors

    kind, pre = said.get("tokenizer.ggml.model"), said.get("tokenizer.ggml.pre")
    if kind == "llama":
        # transformers' Llama tokenizer always puts a space in front, and llama.cpp does unless the file says otherwise.
        if not said.get("tokenizer.ggml.add_space_prefix", True):
            raise HarnessError(
                f"{file}: tokenizer.ggml.add_space_prefix is false, which is not understood here; name the model's folder"
            )
        split = Split(begins=True)
    elif kind == "gpt2" and isinstance(pre, str) and pre in SPLITS:
        split = SPLITS[pre]
        backend = tokenizer.backend_tokenizer
        pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split.pattern is None)
        before: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if split.digits else []
        if split.pattern is not None:
            before = [pre_tokenizers.Split(Regex(split.pattern), behavior="isolated")]
        backend.pre_tokenizer = pre_tokenizers.Sequence([*before, pieces]) if before else pieces
        backend.normalizer = normalizers.NFC() if split.composed else None
        backend.model.ignore_merges = split.whole_first
    else:
        raise HarnessError(
            f"{file}: its tokenizer ({kind}, tokenizer.ggml.pre {pre}) is none that is understood here: llama, or gpt2 split as "
            f"{', '.join(SPLITS)}; name the model's folder or its Hub id as model.id"
        )
    around = [
        [said[f"tokenizer.ggml.{name}_token_id"]] if said.get(f"tokenizer.ggml.add_{name}_token", default) else []
        for name, default in (("bos", split.begins and "tokenizer.ggml.bos_token_id" in said), ("eos", False))
    ]
    if tokenizer("").input_ids != around[0] + around[1]:
        first, last = ([f"{tokens[number]}:0" for number in side] for side in around)
        added = [(tokens[number], number) for side in around for number in side]
        single = processors.TemplateProcessing(
            single=[*first, "$A:0", *last], pair=[*first, "$A:0", *last, "$B:1"], special_tokens=added
        )
        tokenizer.backend_tokenizer.post_processor = single
    check(file, said, tokenizer, tokens, around[0] + around[1])


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes a tokenizer so that it is read as it is: a class of a model's own would build its splits anew, by its own rules."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(
        json.dumps(json.loads(path.read_bytes()) | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=1)
    )


def check(
    file: Path, said: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast, tokens: list[str], around: list[int]
) -> None:
    """Raises HarnessError where a tokenizer has other tokens than the file, or other tokens around a text."""
    wrong = [
        number
        for number, token in enumerate(tokens)
        if tokenizer.backend_tokenizer.id_to_token(number) not in _spelled(token)
    ]
    if wrong:
        raise HarnessError(
            f"{file}: its token {wrong[0]} is {tokens[wrong[0]]!r} and came out as "
            f"{tokenizer.backend_tokenizer.id_to_token(wrong[0])!r}; name the model's folder or its Hub id as model.id"
        )
    if tokenizer("").input_ids != around:
        raise HarnessError(
            f"{file}: its tokenizer begins and ends texts in another way than the file says; please report this file"
        )


def _spelled(token: str) -> tuple[str, ...]:
    """A token as the file spells it, and in the alphabet of bytes: llama.cpp writes some that were added as plain text."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    alphabet = bytes_to_unicode()
    return token, "".join(alphabet[byte] for byte in token.encode())
