"""What a model's configurations set is understood, as transformers computes it, or refused by its name; and every tensor has a place."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.errors import HarnessError, UsageError
from harness.models.card import ModelCard, describe
from harness.models.load import load
from harness.models.tokenizer import load_tokenizer
from harness.models.understood import OF_FAMILIES, ROTARY, TOKENIZER
from harness.spec import Model

from .worker_here import worker_here


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def card_of(folder: Path, **options: Any) -> ModelCard:
    return describe(Model(id=str(folder), dtype="float32", **options), folder)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---------------------------------------------------------------- quantised weights


def test_every_way_of_quantising_is_refused_by_its_name(folder: Path) -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    for method in (*AUTO_QUANTIZATION_CONFIG_MAPPING, "brand-new"):
        for name in ("quantization_config", "compression_config"):
            before = (folder / "config.json").read_text()
            edit(folder / "config.json", **{name: {"quant_method": method}})
            with pytest.raises(UsageError, match=f"config.json: {name}: weights quantised by {method}"):
                card_of(folder)
            assert card_of(folder, weights="random"), "weights that are drawn are not quantised"
            edit(folder / "config.json", **{name: None})
            assert card_of(folder), "the control"
            edit(folder / "config.json", text_config={name: {"quant_method": method}})
            with pytest.raises(UsageError, match=f"text_config.{name}"):
                card_of(folder)
            (folder / "config.json").write_text(before)


# ---------------------------------------------------------------- rotary angles


SCALINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "proportional": {"factor": 4.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 4096, "attention_factor": 1.2, "beta_fast": 32.0, "beta_slow": 1.0,
             "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": True},
    "longrope": {"factor": 4.0, "original_max_position_embeddings": 64, "attention_factor": 1.2, "short_factor": [1.0, 1.5, 2.0, 2.5],
                 "long_factor": [2.0, 3.0, 4.0, 5.0]},
}  # fmt: skip
"""Each kind with all of its keys."""

OTHER: dict[str, Any] = {
    "factor": 5.0, "low_freq_factor": 0.25, "high_freq_factor": 9.0, "original_max_position_embeddings": 16, "attention_factor": 2.0,
    "beta_fast": 4.0, "beta_slow": 0.25, "mscale": 3.0, "mscale_all_dim": 2.0, "truncate": False, "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [2.0, 2.1, 2.2, 2.3], "rope_theta": 500.0,
}  # fmt: skip
"""Another value for each key."""


def angles(scaling: dict[str, Any]) -> torch.Tensor:
    """What transformers turns by, at short and at long texts."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        max_position_embeddings=256,
        rope_parameters={"rope_theta": 10_000.0, **scaling},
    )
    found = []
    for length in (10, 40, 100, 400):
        rotary = LlamaRotaryEmbedding(config)
        found += rotary(torch.zeros(1, length, 32), torch.arange(length)[None])
    return torch.cat([each.flatten() for each in found])


@pytest.mark.parametrize("kind", SCALINGS)
def test_every_key_of_a_scaling_that_is_understood_changes_the_angles(kind: str) -> None:
    said = {"rope_type": kind, **SCALINGS[kind]}
    assert SCALINGS[kind].keys() == ROTARY[kind]
    for key in (*SCALINGS[kind], "rope_theta"):
        # The factor of the scores stands in the place of what it is computed from.
        without = {"attention_factor"} if key in ("mscale", "mscale_all_dim") else set()
        plain = {name: value for name, value in said.items() if name not in without}
        changed = {**plain, key: OTHER[key]}
        if kind == "longrope" and key == "factor":
            plain, changed = (
                {name: value for name, value in each.items() if name != "attention_factor"} for each in (plain, changed)
            )
        assert not torch.equal(angles(plain), angles(changed)), key
    assert torch.equal(angles(said), angles({**said, "brand_new": 3.0})), (
        "a key that is not understood is left out in silence"
    )


def test_every_kind_of_scaling_is_understood_or_refused(folder: Path) -> None:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert set(ROTARY) >= {*SCALINGS}
    for kind in (*ROPE_INIT_FUNCTIONS, "default", "ntk", "brand-new"):
        edit(
            folder / "config.json",
            rope_parameters={"rope_type": kind, "rope_theta": 10_000.0, **SCALINGS.get(kind, {})},
        )
        if kind in ROTARY:
            assert card_of(folder)
            edit(folder / "config.json", rope_parameters={"rope_type": kind, "rope_theta": 10_000.0, "brand_new": 1})
            with pytest.raises(UsageError, match=r"rope_parameters.brand_new \(1\) is not understood for a scaling by"):
                card_of(folder)
        else:
            with pytest.raises(UsageError, match=f"a scaling of rotary angles by {kind} is not understood"):
                card_of(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "low_freq_factor": 1.0}}, "rope_scaling.low_freq_factor"),
        ({"rope_scaling": {"factor": 2.0}}, r"rope_scaling.factor \(2.0\) is not understood for a scaling by default"),
        ({"rope_scaling": {"rope_type": "default", "type": "linear", "factor": 2.0}}, "by default and linear"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}}, "contradict each other"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0, "alpha": 3.0}}, "rope_scaling.alpha"),
        ({"rope_scaling": "linear"}, "no scaling of rotary angles"),
        ({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0, "x": 1}}}, "rope_parameters.full_attention.x"),
        ({"text_config": {"rope_scaling": {"type": "ntk"}}}, "text_config.rope_scaling"),
    ],
)  # fmt: skip
def test_scalings_that_are_not_understood_are_refused(folder: Path, changes: dict[str, Any], says: str) -> None:
    edit(folder / "config.json", rope_parameters=None)
    assert card_of(folder), "the control"
    edit(folder / "config.json", **changes)
    with pytest.raises(UsageError, match=says):
        card_of(folder)


def test_keys_of_families_are_read_by_those_families() -> None:
    import transformers

    models = Path(transformers.__file__).parent / "models"
    for key, families in OF_FAMILIES.items():
        for family in families:
            sources = [path.read_text() for path in models.glob(f"{family}*/*.py")]
            assert sources, family
            assert any(re.search(rf"[\"']{key}[\"']|\.{key}\b", source) for source in sources), (family, key)


# ---------------------------------------------------------------- tokenizers


def test_options_of_a_tokenizer_that_are_not_understood_are_refused(folder: Path) -> None:
    for name, value in (
        ("brand_new", 1),
        ("split_special_tokens", True),
        ("mecab_kwargs", {"x": 1}),
        ("init_inputs", ["x"]),
    ):
        before = (folder / "tokenizer_config.json").read_text()
        edit(folder / "tokenizer_config.json", **{name: value})
        with pytest.raises(UsageError, match=f"its option {name} "):
            card_of(folder)
        edit(folder / "tokenizer_config.json", **{name: None})
        assert card_of(folder), "the control"
        (folder / "tokenizer_config.json").write_text(before)


def test_what_transformers_itself_saves_is_understood(folder: Path) -> None:
    from transformers import (
        BertTokenizer,
        GPT2Tokenizer,
        LlamaTokenizer,
        PreTrainedTokenizerFast,
        Qwen2Tokenizer,
        RobertaTokenizer,
    )

    words = {
        token: number
        for number, token in enumerate(("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "<s>", "</s>", "<unk>", "a"))
    }
    made = [
        BertTokenizer(vocab=words, do_lower_case=True),
        *(kind(vocab=words, merges=[]) for kind in (GPT2Tokenizer, LlamaTokenizer, Qwen2Tokenizer, RobertaTokenizer)),
        PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left", extra_special_tokens=["<x>"]),
    ]
    for tokenizer in made:
        tokenizer.save_pretrained(folder)
        assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"]
        assert card_of(folder)
    assert len(TOKENIZER) > 50


def test_a_tokenizer_whose_tokens_are_not_its_files_alone_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedTokenizerFast

    assert load_tokenizer(card_of(folder)), "the control"
    edit(folder / "tokenizer_config.json", name_or_path="another")
    card = card_of(folder)
    whole = PreTrainedTokenizerFast._encode_plus
    monkeypatch.setattr(
        PreTrainedTokenizerFast,
        "_encode_plus",
        lambda self, text, *args, **options: whole(self, text.lower(), *args, **options),
    )
    with worker_here(), pytest.raises(HarnessError, match="transformers makes other tokens of"):
        load_tokenizer(card)


# ---------------------------------------------------------------- tensors


def add(folder: Path, **tensors: torch.Tensor) -> None:
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    save_file(
        held | {name.replace("__", "."): tensor for name, tensor in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


@pytest.mark.parametrize("name", ["q_proj.bias", "q_proj.weight_scale", "q_proj.lora_A.weight", "q_norm.weight"])
def test_a_tensor_of_a_map_that_has_no_place_for_it_is_refused(folder: Path, name: str) -> None:
    where = f"model.layers.0.self_attn.{name}"
    add(folder, **{where: torch.ones(32)})
    with pytest.raises(HarnessError, match=f"its files hold {where}, and a llama in transformers has no such thing"):
        load(card_of(folder))


def test_tensors_of_parts_that_are_not_read_may_be_left_out(folder: Path) -> None:
    before = dict(load(card_of(folder)).model.named_parameters())
    heads = {"score.weight": torch.ones(2, 32), "model.layers.2.mlp.up_proj.weight": torch.ones(64, 32)}
    masks = {
        f"model.layers.0.self_attn.{name}": torch.ones(4) for name in ("rotary_emb.inv_freq", "bias", "masked_bias")
    }
    add(folder, **heads, **masks)
    after = dict(load(card_of(folder)).model.named_parameters())
    assert all(torch.equal(parameter, after[name]) for name, parameter in before.items())
