"""What transformers makes of a configuration: the class that reads it, and the network, built once without weights and counted.

The first time a configuration is met, transformers builds it on the device `meta`, which takes no memory, and what was found is
kept in the user's cache. From then on neither transformers nor torch is needed to say what a network is, and what cannot be built
is said before anything is loaded.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import msgspec

from harness.code.code_version import code_of
from harness.errors import UsageError
from harness.models.fingerprint import file_sha256, meaning
from harness.models.lengths import window
from harness.models.shape import (
    BLOCKS,
    CHOSEN,
    DECODER_BLOCKS,
    WIDTH,
    Shape,
    Stacks,
    check_sizes,
    only_for_costs,
    positions,
    size,
)
from harness.store import cache_folder, content_key

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

Side = Literal["auto", "decoder", "encoder"]

LONGEST_REASON = 200
"""Characters of a library's error that are quoted."""


def shape_of(config: Mapping[str, Any], folder: Path, side: Side, trust_remote_code: bool = False) -> Shape:
    """The sizes of the stack that is read. `config` is what config.json in the folder says.

    Raises UsageError for sizes of no network, for a side that the model does not have, and where transformers has no class that
    reads text with it, or cannot build it.
    """
    check_sizes(config, folder)
    own_code = [file_sha256(path) for path in sorted(folder.rglob("*.py"))] if trust_remote_code else None
    libraries = [version(name) for name in ("torch", "transformers")]
    # Who saved it does not change a network, but what is read of it.
    key = content_key(
        meaning(config),
        str(config.get("architectures")),
        side,
        own_code,
        libraries,
        code_of("models.architecture:learnt"),
    )
    memo = cache_folder() / "architectures" / f"{key}.json"
    try:
        return msgspec.json.decode(memo.read_bytes(), type=Shape)
    except (OSError, msgspec.DecodeError):
        pass  # never met, or the note is damaged: build it now
    found = learnt(config, folder, side, trust_remote_code)
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        draft = memo.with_name(f"{memo.name}~{os.getpid()}-{uuid4().hex[:8]}")
        draft.write_bytes(msgspec.json.encode(found))
        draft.replace(memo)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return found


def learnt(config: Mapping[str, Any], folder: Path, side: Side, trust_remote_code: bool) -> Shape:
    """The same by building the network without weights."""
    from transformers import AutoConfig

    from harness.models.quiet import quiet_transformers

    with quiet_transformers():
        try:
            whole = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
        # A stranger's configuration can make the library stumble anywhere.
        except Exception as error:
            raise UsageError(f"{folder}: transformers cannot read its config.json: {reason(error)}") from error
        found = loader(whole, config)
        if found is None:
            raise UsageError(
                f"{folder}: transformers has no class that reads text with a network of the family {whole.model_type}; use a "
                "language model"
            )
        name, stacks = found
        if (side, stacks) in (("encoder", "decoder-only"), ("decoder", "encoder-only")):
            raise UsageError(f"model.side: {side}: this model ({whole.model_type}) is {stacks}; leave `side` out")
        try:
            model = without_weights(whole, name, trust_remote_code)
            return _counted(model, whole, name, stacks, side == "encoder", folder)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{folder}: transformers cannot build a {whole.model_type}: {reason(error)}") from error


def loader(config: PretrainedConfig, raw: Mapping[str, Any]) -> tuple[str, Stacks] | None:
    """The class of transformers that reads text with a network, by name, and the network's stacks; None where there is none."""
    from transformers.models.auto import modeling_auto as auto

    of_others = getattr(config, "auto_map", None) or {}
    architectures = raw.get("architectures")
    built_as = [name for name in architectures if isinstance(name, str)] if isinstance(architectures, list) else []

    def has(name: str, mapping: Any) -> bool:
        return name in of_others or type(config) in mapping

    def made(mapping: Any) -> bool:
        """Whether the configuration names the class of this mapping."""
        found = mapping.get(type(config), ())
        return any(one.__name__ in built_as for one in (found if isinstance(found, tuple) else (found,)))

    if getattr(config, "is_encoder_decoder", False):
        name = "AutoModelForSeq2SeqLM"
        return (name, "encoder-decoder") if has(name, auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING) else None
    several = (
        ("AutoModelForImageTextToText", auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING),
        ("AutoModelForMultimodalLM", auto.MODEL_FOR_MULTIMODAL_LM_MAPPING),
    )
    for name, mapping in several:
        if made(mapping):
            return name, "decoder-only"
    causal = has("AutoModelForCausalLM", auto.MODEL_FOR_CAUSAL_LM_MAPPING)
    masked = has("AutoModelForMaskedLM", auto.MODEL_FOR_MASKED_LM_MAPPING)
    says_causal = any("ForCausalLM" in one or "LMHeadModel" in one for one in built_as) or bool(raw.get("is_decoder"))
    if causal and (says_causal or not masked):
        return "AutoModelForCausalLM", "decoder-only"
    if masked:
        return "AutoModel", "encoder-only"
    for name, mapping in several:
        if has(name, mapping):
            return name, "decoder-only"
    return ("AutoModel", "encoder-only") if has("AutoModel", auto.MODEL_MAPPING) else None


def without_weights(config: PretrainedConfig, name: str, trust_remote_code: bool = False) -> PreTrainedModel:
    """The network of a configuration on the device `meta`, built by the class of that name."""
    import torch

    with torch.device("meta"):
        return with_attention(
            lambda attention: class_named(name).from_config(
                config, attn_implementation=attention, trust_remote_code=trust_remote_code
            )
        )


def class_named(name: str) -> Any:
    """A class of transformers."""
    import transformers

    return getattr(transformers, name)


def with_attention(make: Any) -> PreTrainedModel:
    """Scaled-dot-product attention where the architecture offers it, the plain one where it does not."""
    try:
        return make("sdpa")
    except (ValueError, ImportError) as error:
        if "attention" not in str(error).lower() and "sdpa" not in str(error).lower():
            raise
        return make("eager")


def reason(error: Exception) -> str:
    """What a library's error says, in one line."""
    line = next(iter(str(error).strip().splitlines()), "")
    cut = line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + " …"
    return f"{type(error).__name__}: {cut}" if cut else type(error).__name__


def _counted(
    model: PreTrainedModel, config: PretrainedConfig, name: str, stacks: Stacks, encoder: bool, folder: Path
) -> Shape:
    from harness.models.model_folder import is_embedding
    from harness.models.sites import sites_of
    from harness.models.stack import blocks_of, text_body, text_stack

    _check_reads_text(model, stacks, folder)
    try:
        stack = text_stack(model, stacks, encoder)
    except NotImplementedError as error:
        raise UsageError(f"{folder}: a {type(model).__name__} has no token embedding; use a language model") from error
    text = _text(config, stack)
    said = size(text, DECODER_BLOCKS) if stacks == "encoder-decoder" and not encoder else None
    said = said or size(text, BLOCKS)
    blocks = blocks_of(stack, said)
    width = size(text, WIDTH)
    if blocks is None or width is None:
        lacks = "no list of blocks" if blocks is None else "no width"
        raise UsageError(
            f"{folder}: {lacks} can be found in a {type(model).__name__}, so that its layers cannot be read; use a language model "
            "of another family"
        )
    counted = model if stacks == "encoder-decoder" else stack
    passes = len(blocks) if said in (None, len(blocks)) else _passes(text_body(model, stack), blocks) or len(blocks)
    whole = model if stacks == "encoder-decoder" and not encoder else text_body(model, stack)
    return Shape(
        family=str(config.model_type),
        loader=name,
        stacks=stacks,
        blocks=passes,
        d_model=width,
        vocab=_rows(model, stack, folder),
        parameters=sum(weight.numel() for weight in model.parameters()),
        body_parameters=sum(weight.numel() for name, weight in counted.named_parameters() if not is_embedding(name)),
        context=_context(text, text_body(model, stack)),
        window=window(text),
        chosen=size(text, CHOSEN),
        sites=sites_of(list(blocks), whole, width),
        **only_for_costs(text, width),
    )


def _check_reads_text(model: PreTrainedModel, stacks: Stacks, folder: Path) -> None:
    taken = inspect.signature(model.forward).parameters
    wanted = ["input_ids", "decoder_input_ids"] if stacks == "encoder-decoder" else ["input_ids"]
    besides = [
        name
        for name, parameter in taken.items()
        if name not in wanted and parameter.default is parameter.empty and parameter.kind < parameter.VAR_POSITIONAL
    ]
    if any(name not in taken for name in wanted):
        raise UsageError(
            f"{folder}: a {type(model).__name__} reads {model.main_input_name}, not text; use a language model"
        )
    if besides:
        raise UsageError(
            f"{folder}: a {type(model).__name__} reads text only with {', '.join(besides)} beside it; use a language model"
        )


def _passes(body: nn.Module, blocks: nn.ModuleList) -> int:
    """How often blocks are passed in a pass of tokens that have no values; 0 where such a pass is not possible.

    Blocks whose weights are shared, as ALBERT's, are passed several times.
    """
    import torch

    count = 0

    def passed(*_: Any) -> None:
        nonlocal count
        count += 1

    hooks = [block.register_forward_hook(passed) for block in blocks]
    try:
        body(input_ids=torch.zeros(1, 4, dtype=torch.int64, device="meta"))
    # What looks at values cannot be passed without them.
    except Exception:
        return 0
    finally:
        for hook in hooks:
            hook.remove()
    return count


def _rows(model: PreTrainedModel, stack: nn.Module, folder: Path) -> int:
    """Rows of the token embedding; of two, the fewer."""
    tables = []
    for part in (model, stack):
        try:
            tables.append(part.get_input_embeddings().weight)  # type: ignore[operator]
        except (AttributeError, NotImplementedError):
            continue
    rows = [int(table.shape[0]) for table in tables if getattr(table, "ndim", 0) == 2]
    if not rows:
        raise UsageError(f"{folder}: a {type(model).__name__} has no single table of tokens; use a language model")
    return min(rows)


def _text(config: PretrainedConfig, stack: nn.Module) -> dict[str, Any]:
    """What the configuration says of the stack that is read, with transformers' names and defaults."""
    own = getattr(stack, "config", None) or config.get_text_config(decoder=True)
    names = {name for part in _parts(own) for name in part}
    found = {name: _setting(own, name) for name in names}
    return {name: value for name, value in found.items() if not callable(value)}


def _setting(config: PretrainedConfig, name: str) -> Any:
    """A setting; None for one that every block has another value of, which transformers refuses to give."""
    try:
        return getattr(config, name, None)
    except Exception:
        return None


def _parts(config: PretrainedConfig) -> Iterator[Mapping[str, Any]]:
    yield config.to_dict()
    yield config.attribute_map
    # Sizes that a configuration computes.
    yield dict.fromkeys(name for name, value in inspect.getmembers(type(config)) if isinstance(value, property))


def _context(text: Mapping[str, Any], body: nn.Module) -> int | None:
    """The longest sequence; None where positions have no end, as relative ones.

    It has fewer tokens than positions where a table of them begins after the padding index, as RoBERTa's.
    """
    from torch import Tensor

    found = positions(text)
    for name, table in body.named_modules():
        weight, padding = getattr(table, "weight", None), getattr(table, "padding_idx", None)
        sizes = tuple(weight.shape) if isinstance(weight, Tensor) else ()
        if found and "position" in name and len(sizes) == 2 and sizes[0] == found:
            return found - (0 if padding is None else int(padding) + 1)
    return None if text.get("relative_attention_num_buckets") else found
