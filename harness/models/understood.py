"""A model's configurations, as far as they are understood: quantised weights, scaled rotary angles, a tokenizer's options.

Libraries read the keys that they know and leave the rest in silence, or warn. What is set here and not listed refuses the model by the key's
name, before anything is loaded; what is listed was compared with what the library makes of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.models.lengths import NO_TEXT
from harness.untrusted.files import read_json

_ALWAYS = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})
# Places of a picture or a film: a text's are the same in all sections, so that its angles are the plain ones.
_OF_PICTURES = frozenset({"interleaved", "mrope_interleaved", "mrope_section", "xdrope_section"})
_LONG = frozenset({"attention_factor", "factor", "long_factor", "original_max_position_embeddings", "short_factor"})

ROTARY: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "mrope": frozenset(),
    "linear": frozenset({"factor"}),
    "dynamic": frozenset({"factor"}),
    "proportional": frozenset({"factor"}),
    "llama3": frozenset({"factor", "high_freq_factor", "low_freq_factor", "original_max_position_embeddings"}),
    "yarn": frozenset({
        "attention_factor", "beta_fast", "beta_slow", "factor", "mscale", "mscale_all_dim", "original_max_position_embeddings", "truncate",
    }),
    "longrope": _LONG,
    "su": _LONG,
}  # fmt: skip
"""Kinds of scaling, and the keys of each that change the angles."""

OF_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "alpha": ("hunyuan",),
    "beta_fast": ("hunyuan",),
    "beta_slow": ("hunyuan",),
    "llama_4_scaling_beta": ("ministral3", "mistral4"),
    "long_mscale": ("phimoe",),
    "max_position_embeddings": ("ministral3", "mistral4"),
    "mscale": ("hunyuan",),
    "mscale_all_dim": ("hunyuan",),
    "short_mscale": ("phimoe",),
}
"""Further keys, by the beginnings of the families' names that read them."""

_QUANTISED = ("quantization_config", "compression_config")

TOKENIZER = frozenset({
    # What it is and what its vocabulary is.
    "added_tokens_decoder", "additional_special_tokens", "auto_map", "backend", "extra_special_tokens", "fast_tokenizer_files", "is_local",
    "local_files_only", "model_specific_special_tokens", "model_type", "name_or_path", "processor_class", "tokenizer_class", "use_fast", "vocab_size",
    # How text becomes tokens.
    "add_prefix_space", "clean_text", "do_basic_tokenize", "do_lower_case", "do_lowercase", "errors", "extra_ids",
    "fix_mistral_regex", "from_slow", "handle_chinese_chars", "keep_accents", "lang_codes", "language", "language_codes", "legacy",
    "legacy_behaviour", "never_split", "normalize", "num_madeup_words", "offset", "remove_space", "return_token_type_ids",
    "sp_model_kwargs", "src_lang", "strip_accents", "task", "tgt_lang", "tokenize_chinese_chars", "trim_offsets", "wordpieces_prefix",
    # How tokens become text, batches and conversations: texts are encoded one by one, whole, and decoded for display.
    "chat_template", "clean_up_tokenization_spaces", "max_len", "max_length", "model_input_names", "model_max_length", "pad_to_multiple_of",
    "pad_token_type_id", "padding", "padding_side", "response_schema", "response_template", "spaces_between_special_tokens", "stride",
    "truncation", "truncation_side", "truncation_strategy", "use_default_system_prompt",
})  # fmt: skip
"""Options of a tokenizer. Also understood are names of tokens (…_token) and of files (…_file), which are looked for in the folder alone."""
_NAMES_OF_TOKENS = ("_token", "_token_id", "_file")

_LARGEST = 16 * 2**20
"""Of a tokenizer's configuration: tens of thousands of tokens that were added."""
_VOCABULARIES = ("tokenizer.json", "vocab.json", ".index.json")
"""What may be larger; these have limits of their own."""

_IMPLEMENTATION = re.compile(r"_implementation(_internal)?$")


def check_understood(folder: Path, config: Mapping[str, Any], pretrained: bool) -> None:
    """Raises UsageError for what is set in the configurations of a model's folder and not understood."""
    _check_implementations(folder, config)
    for where, part in _parts(config, ""):
        if pretrained:
            _check_plain(folder, where, part)
        if not any(NO_TEXT.search(name) for name in where.split(".")):
            _check_rotary(folder, where, part, str(config.get("model_type")))
    _check_tokenizer(folder / "tokenizer_config.json")
    _check_sizes(folder)


def _check_implementations(folder: Path, config: Mapping[str, Any]) -> None:
    """How attention or experts are computed is a plain word; anything else may be a repository on the Hub, whose code would be run."""
    left: list[Any] = [config]
    while left:
        one = left.pop()
        left += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        for name, said in one.items() if isinstance(one, dict) else ():
            chosen = said.values() if isinstance(said, dict) else [said]
            wrong = [value for value in chosen if value is not None and not re.fullmatch(r"\w+", str(value))]
            if _IMPLEMENTATION.search(name) and wrong:
                raise UsageError(
                    f"{folder}/config.json: {name} is {str(wrong[0])[:80]!r}, which may be code on the Hub, and that is not run; take it out"
                )


def _parts(config: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A configuration and those inside it, with the path to each."""
    yield where, config
    for name, part in config.items():
        if name.endswith("_config") and name not in _QUANTISED and isinstance(part, dict):
            yield from _parts(part, f"{where}{name}.")


def _check_plain(folder: Path, where: str, config: Mapping[str, Any]) -> None:
    for name in _QUANTISED:
        if _is_set(config.get(name)):
            said = config[name]
            method = said.get("quant_method") if isinstance(said, dict) else said
            raise UsageError(
                f"{folder}/config.json: {where}{name}: weights quantised by {str(method)[:40]} are not read here; dequantise the model "
                "(transformers: model.dequantize(), then save_pretrained) and name that folder as model.id"
            )


def _check_rotary(folder: Path, where: str, config: Mapping[str, Any], family: str) -> None:
    said = {name: config[name] for name in ("rope_scaling", "rope_parameters") if _is_set(config.get(name))}
    if len(said) == 2 and said["rope_scaling"] != said["rope_parameters"]:
        raise UsageError(
            f"{folder}/config.json: {where}rope_scaling and {where}rope_parameters contradict each other; take one out"
        )
    for name, scaling in said.items():
        if not isinstance(scaling, dict):
            raise UsageError(
                f"{folder}/config.json: {where}{name} is {str(scaling)[:40]}, which is no scaling of rotary angles"
            )
        inner = {kind: one for kind, one in scaling.items() if isinstance(one, dict)}
        for path, one in {f"{where}{name}.{kind}": one for kind, one in inner.items()}.items():
            _check_scaling(folder, path, one, family)
        _check_scaling(folder, f"{where}{name}", {key: one for key, one in scaling.items() if key not in inner}, family)


def _check_scaling(folder: Path, path: str, scaling: Mapping[str, Any], family: str) -> None:
    kinds = [str(scaling[key]) for key in ("rope_type", "type") if _is_set(scaling.get(key))] or ["default"]
    # Configurations of pictures' models name both, and the first one counts.
    if kinds[0] not in ROTARY or (kinds[-1] != kinds[0] and "mrope" not in kinds):
        raise UsageError(
            f"{folder}/config.json: {path}: a scaling of rotary angles by {' and '.join(kinds)[:60]} is not understood here; those that are: "
            f"{', '.join(ROTARY)}"
        )
    for key, value in scaling.items():
        known = key in ROTARY[kinds[0]] | _ALWAYS | _OF_PICTURES or family.startswith(OF_FAMILIES.get(key, ("\0",)))
        if _is_set(value) and not known:
            raise UsageError(
                f"{folder}/config.json: {path}.{key} ({str(value)[:40]}) is not understood for a scaling by {kinds[0]}; take it out if it "
                "changes nothing, else save the model anew with the installed transformers"
            )


def _check_tokenizer(path: Path) -> None:
    try:
        said = read_json(path, _LARGEST)
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable configuration of a tokenizer: {error}") from error
    if not isinstance(said, dict):
        raise UsageError(f"{path}: not a configuration of a tokenizer; save it anew")
    for key, value in said.items():
        if _is_set(value) and key not in TOKENIZER and not key.endswith(_NAMES_OF_TOKENS):
            raise UsageError(
                f"{path}: its option {key[:60]} ({str(value)[:40]}) is none that is understood here; take it out if it changes no token, "
                "else save the tokenizer anew with the installed transformers"
            )


def _check_sizes(folder: Path) -> None:
    """Libraries read what lies beside a tokenizer (special_tokens_map.json, added_tokens.json and others) whole, whatever its size."""
    for path in sorted(folder.glob("*.json")):
        if not path.name.endswith(_VOCABULARIES) and path.is_file() and path.stat().st_size > _LARGEST:
            raise UsageError(
                f"{path}: larger than {_LARGEST >> 20} MiB, which no such file is; take it out, or get it again"
            )


def _is_set(value: Any) -> bool:
    return value is not None and value is not False and value not in ({}, [], "")
