"""A .gguf file is the network that it was written from, whatever is in it; what is not understood refuses it."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.models import gguf as conversion
from harness.models.card import describe
from harness.models.gguf_file import ARCHITECTURES
from harness.models.gguf_tokenizer import SPLITS
from harness.models.gguf_worker import write
from harness.models.load import load
from harness.spec import Model
from harness.untrusted import own_python

WORDS = "the city of Paris is in France true false river house   2024 don't ünï"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def config_of(architecture: str, **more: Any) -> Any:
    from transformers import AutoConfig

    sizes = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    if architecture == "gpt2":
        return AutoConfig.for_model("gpt2", n_embd=32, n_layer=2, n_head=4, n_positions=512, **sizes, **more)
    more = {"head_dim": 8, **more} if architecture == "qwen3" else more
    more = {"tie_word_embeddings": False, "partial_rotary_factor": 0.5, **more} if architecture == "stablelm" else more
    return AutoConfig.for_model(
        architecture, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, **sizes, **more,
    )  # fmt: skip


def network(architecture: str = "llama", **more: Any) -> Any:
    """A random network whose every parameter matters: transformers starts norms at one and biases at zero."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_of(architecture, **more)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5).add_(torch.randn_like(parameter) * 0.05)
    return model


def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level vocabulary of 300."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([WORDS] * 20, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    tokens = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    tokens += [f"[PAD{number}]" for number in range(len(tokens), 300)]
    return tokens, [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def number_keys(model: Any, architecture: str) -> dict[str, Any]:
    """The keys that llama.cpp's converter writes of a network."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    found = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        "attention.head_count": config.num_attention_heads,
    }
    if architecture != "gpt2":
        found |= {
            "attention.head_count_kv": config.num_key_value_heads,
            "rope.dimension_count": int(head * rope.get("partial_rotary_factor", 1.0)),
            "rope.freq_base": rope["rope_theta"],
        }
    name = (
        "attention.layer_norm_epsilon"
        if architecture in ("gpt2", "stablelm", "starcoder2")
        else "attention.layer_norm_rms_epsilon"
    )
    names = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
    return found | {name: next(getattr(config, each) for each in names if hasattr(config, each))}


def permuted(weight: Any, heads: int) -> Any:
    """Rows of a head in the order that llama.cpp turns them in: halves side by side, not one after the other."""
    return weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def tensors_of(model: Any, architecture: str) -> dict[str, Any]:
    of_name = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(of_name, model.config.num_hidden_layers)
    found = {}
    for name, parameter in model.named_parameters():
        weight = parameter.detach().numpy()
        if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
            config = model.config
            weight = permuted(weight, config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
        if architecture == "gpt2" and ".c_" in name and weight.ndim == 2:
            weight = weight.T
        found[names.get_name(name, (".weight", ".bias"))] = np.ascontiguousarray(weight, dtype=np.float32)
    return found


def written(
    file: Path,
    model: Any,
    architecture: str = "llama",
    keys: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
    pre: str | None = "llama-bpe",
) -> Path:
    """A .gguf as llama.cpp writes it, with more keys and tensors, or without some."""
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_file_type(0)
    tokens, merges = vocabulary()
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3] + [5 if token.startswith("[PAD") else 1 for token in tokens[2:]])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    own = {f"{architecture}.{name}": value for name, value in number_keys(model, architecture).items()}
    for name, value in (own | (keys or {})).items():
        if name not in without:
            kind = {
                bool: writer.add_bool,
                int: writer.add_uint32,
                float: writer.add_float32,
                str: writer.add_string,
            }.get(type(value))
            (kind or writer.add_array)(name, value)
    for name, tensor in (tensors_of(model, architecture) | (tensors or {})).items():
        if name not in without:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def worst(file: Path, model: Any) -> float:
    """The largest difference of logits from the network that a file was written from, relative to their spread."""
    from transformers import AutoModelForCausalLM

    folder = file.with_suffix("")
    folder.mkdir()
    write(file, folder)
    ids = torch.arange(2, 130)[None]
    with torch.no_grad():
        own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()(ids).logits
        plain = model(ids).logits
    return float((own - plain).abs().max() / plain.std())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_is_the_network_that_it_was_written_from(tmp_path: Path, architecture: str) -> None:
    model = network(architecture)
    pre = {"qwen2": "qwen2", "qwen3": "qwen2", "gpt2": "gpt-2", "starcoder2": "starcoder"}.get(
        architecture, "llama-bpe"
    )
    assert worst(written(tmp_path / "x.gguf", model, architecture, pre=pre), model) < 1e-5


# ---------------------------------------------------------------- scaled angles


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64, "rope_theta": 10_000.0}  # fmt: skip


def factors_of(model: Any, head: int = 8) -> Any:
    """What the angles of a network are divided by, as llama.cpp's converter writes it."""
    plain = 10_000.0 ** (-torch.arange(0, head, 2) / head)
    return (plain / model.model.rotary_emb.inv_freq).numpy().astype(np.float32)


@pytest.mark.parametrize(("factor", "original"), [(8.0, 64), (32.0, 64), (8.0, 256), (8.0, 8192)])
def test_frequencies_of_llama_3_are_applied(tmp_path: Path, factor: float, original: int) -> None:
    model = network(rope_parameters=LLAMA3 | {"factor": factor, "original_max_position_embeddings": original})
    file = written(tmp_path / "x.gguf", model, tensors={"rope_freqs.weight": factors_of(model)})
    assert worst(file, model) < 1e-5
    if (
        original < 8192
    ):  # The control: without them it is another network. Eight dimensions have no wave as long as 8192.
        plain = written(tmp_path / "plain.gguf", model)
        assert worst(plain, model) > 0.01


def test_frequencies_of_one_change_nothing(tmp_path: Path) -> None:
    model = network()
    ones = {"rope_freqs.weight": np.ones(4, dtype=np.float32)}
    assert worst(written(tmp_path / "x.gguf", model, tensors=ones), model) < 1e-5


@pytest.mark.parametrize(
    "keys",
    [
        {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
        {"llama.rope.scaling.factor": 4.0},
        {"llama.rope.scale_linear": 4.0},
    ],
)
def test_linear_scaling_is_applied(tmp_path: Path, keys: dict[str, Any]) -> None:
    model = network(rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0})
    assert worst(written(tmp_path / "x.gguf", model, keys=keys), model) < 1e-5
    assert worst(written(tmp_path / "plain.gguf", model), model) > 0.01, "the control"


# ---------------------------------------------------------------- what is not understood


@pytest.mark.slow
def test_every_key_that_llama_cpp_writes_is_understood_or_refused_by_its_name(tmp_path: Path) -> None:
    """Over all keys that the library of such files knows, each with a value that no tiny network has."""
    names = {
        value.format(arch="llama", name="x", dense="x", id=0)
        for group in vars(gguf.Keys).values()
        if isinstance(group, type)
        for value in vars(group).values()
        if isinstance(value, str) and "." in value and not value.startswith(("general.", "__", "gguf."))
    }
    assert len(names) > 150
    model = network()
    stated = {f"llama.{name}" for name in number_keys(model, "llama")}
    understood, refused = set(), dict[str, str]()
    for name in sorted(
        names
        - stated
        - {f"tokenizer.ggml.{each}" for each in ("tokens", "merges", "token_type", "scores", "model", "pre")}
    ):
        file = written(tmp_path / "x.gguf", model, keys={name: 77})
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        try:
            write(file, folder)
        except HarnessError as error:
            refused[name] = str(error)
        else:
            understood.add(name)
    assert {name for name in understood if name.startswith("llama.")} == {
        "llama.rope.scaling.factor",
        "llama.rope.scaling.finetuned",
    }
    assert {"llama.rope.scaling.yarn_beta_fast", "llama.logit_scale", "llama.attention.scale"} <= refused.keys()
    # Heads and a vocabulary of another size than the tensors' are refused in transformers' words.
    unnamed = {name for name, said in refused.items() if name not in said}
    assert unnamed <= {"llama.attention.key_length", "llama.vocab_size"}, refused


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, "rope.scaling.type yarn"),
        ({"llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4.0}, "rope.scaling.type none with factor 4"),
        ({"llama.logit_scale": 0.5}, "its key llama.logit_scale"),
        ({"llama.brand_new": 1}, "its key llama.brand_new"),
        ({"other.block_count": 1}, "its key other.block_count"),
        ({"llama.attention.sliding_window": 8}, "llama.attention.sliding_window is 8 in the file and None"),
        ({"llama.attention.value_length": 16}, "llama.attention.value_length is 16 in the file and 8"),
        ({"llama.attention.key_length": 16}, "this .gguf file cannot be read"),
        ({"llama.attention.head_count_kv": [2, 1]}, "num_key_value_heads"),
        ({"tokenizer.ggml.remove_extra_whitespaces": True}, "its key tokenizer.ggml.remove_extra_whitespaces"),
        ({"general.type": "adapter"}, "an? adapter of architecture llama"),
    ],
)  # fmt: skip
def test_keys_that_are_not_understood_refuse_the_file(tmp_path: Path, keys: dict[str, Any], says: str) -> None:
    file = written(tmp_path / "x.gguf", network(), keys=keys)
    with pytest.raises(HarnessError, match=says):
        write(file, tmp_path)


def test_tensors_that_are_not_understood_refuse_the_file(tmp_path: Path) -> None:
    model = network()
    for name, says in (
        ("blk.0.attn_q.bias", "its tensor blk.0.attn_q.bias is none of a llama"),
        ("rope_factors_long.weight", "its tensor rope_factors_long.weight"),
        ("blk.0.attn_q_norm.weight", "its tensor blk.0.attn_q_norm.weight"),
        ("rope_freqs.weight", "not those of Llama 3"),
    ):
        numbers = np.array([1, 1.5, 2, 2.5], dtype=np.float32)
        with pytest.raises(HarnessError, match=says):
            write(written(tmp_path / "x.gguf", model, tensors={name: numbers}), tmp_path)


def test_a_tensor_that_is_missing_is_not_drawn_at_random(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"no tensor for model\.layers\.1\.mlp\.up_proj\.weight"):
        write(written(tmp_path / "x.gguf", network(), without=("blk.1.ffn_up.weight",)), tmp_path)


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="architecture gemma2"):
        write(written(tmp_path / "x.gguf", network(), keys={"general.architecture": "gemma2"}), tmp_path)


# ---------------------------------------------------------------- tokenizers


@pytest.mark.parametrize("pre", SPLITS)
def test_text_is_split_as_the_file_says(tmp_path: Path, pre: str) -> None:
    """Against the tokens' own merges, by a splitter of the regular expression in another engine."""
    import regex
    from transformers import AutoTokenizer

    write(written(tmp_path / "x.gguf", network(), pre=pre), tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    split = SPLITS[pre]
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    for text in (WORDS, "a  2024 b", "In 12345, don't\n\n 7  ünï!!/", "Paris\t  HOUSE's 3½"):
        parts = [text] if not split.digits else regex.split(r"(\p{N})", text)
        pieces = [piece for part in parts if part for piece in regex.findall(split.pattern or gpt2, part)]
        assert "".join(pieces) == text
        wanted = [number for piece in pieces for number in merged(piece, split.whole_first)]
        assert tokenizer(text).input_ids == [0] * split.begins + wanted, text


def merged(piece: str, whole_first: bool) -> list[int]:
    """A piece's tokens by byte-pair merging, the plain way."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens, merges = vocabulary()
    parts = [bytes_to_unicode()[byte] for byte in piece.encode()]
    if whole_first and "".join(parts) in tokens:
        return [tokens.index("".join(parts))]
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
    while found := [(ranks[pair], place) for place, pair in enumerate(itertools.pairwise(parts)) if pair in ranks]:
        _, place = min(found)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return [tokens.index(part) for part in parts]


@pytest.mark.parametrize(("keys", "around"), [
    ({}, ([0], [])),
    ({"tokenizer.ggml.add_bos_token": False}, ([], [])),
    ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": True}, ([0], [1])),
])  # fmt: skip
def test_texts_begin_and_end_as_the_file_says(tmp_path: Path, keys: dict[str, Any], around: Any) -> None:
    from transformers import AutoTokenizer

    write(written(tmp_path / "x.gguf", network(), keys=keys), tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("").input_ids == around[0] + around[1]


@pytest.mark.parametrize("pre", [None, "default", "brand-new"])
def test_a_split_that_is_not_understood_refuses_the_file(tmp_path: Path, pre: str | None) -> None:
    with pytest.raises(HarnessError, match=f"tokenizer.ggml.pre {pre}\\)? is none that is understood|pre {pre}"):
        write(written(tmp_path / "x.gguf", network(), pre=pre), tmp_path)


# ---------------------------------------------------------------- from a spec


def test_a_converted_folder_that_was_changed_is_not_taken_for_the_file(tmp_path: Path) -> None:
    written(tmp_path / "x.gguf", network())
    card = describe(Model(id="x.gguf", dtype="float32"), tmp_path)
    assert load(card), "the control"
    weights = card.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(HarnessError, match=f"is not as it was converted from x.gguf; delete {card.path}"):
        describe(Model(id="x.gguf", dtype="float32"), tmp_path)
    assert conversion.is_ours(card.path)
    assert math.isfinite(card.parameters)


# ---------------------------------------------------------------- limits


def test_the_conversion_is_a_program_of_its_own(tmp_path: Path) -> None:
    """As it is called where nothing else of this program runs: `.ci/run` does."""
    file = written(tmp_path / "x.gguf", network())
    program = own_python.command("harness.models.gguf_worker", str(file), str(tmp_path / "converted"))
    subprocess.run(program, env=own_python.bounded_environment(), check=True, capture_output=True)
    assert (tmp_path / "converted" / "model.safetensors").is_file()


def test_a_conversion_that_takes_more_than_it_may_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control is the same file with the limits that people have."""
    from transformers import AutoModelForCausalLM

    config = config_of("llama")
    config.intermediate_size = 1 << 16
    file = written(tmp_path / "x.gguf", AutoModelForCausalLM.from_config(config).eval())
    monkeypatch.setenv("HARNESS_BOUNDS", "0.0001")
    with pytest.raises(
        HarnessError,
        match=r"x\.gguf: it (needs|takes) more than [0-9,]+ (MiB of memory|s of the processor); .*_BOUNDS=4$",
    ):
        conversion.convert(file)
    assert not conversion.is_converted(file)
    monkeypatch.delenv("HARNESS_BOUNDS")
    assert (conversion.convert(file) / "model.safetensors").is_file()
