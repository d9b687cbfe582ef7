"""A LoRA adapter is laid over a network as peft itself merges it, or it is refused by the name of what is not understood."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness.errors import HarnessError, UsageError
from harness.models.adapter import WEIGHTS, find_adapter
from harness.models.adapter_config import CONFIG, INITIAL, SCALING, WITHOUT_EFFECT
from harness.models.card import ModelCard, describe
from harness.models.load import load
from harness.spec import Model

QV = ["q_proj", "v_proj"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def base(tiny_llama: Path) -> Path:
    return tiny_llama


def plain(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def saved(base: Path, folder: Path, *, with_embeddings: Any = False, **options: Any) -> Path:
    """An adapter as peft saves it, after its numbers have moved; then the matrices are as in training, and none is zero."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    options = {"target_modules": QV, "r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM", **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(plain(base), LoraConfig(**options))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad or "lora_" in name:
                    parameter.add_(torch.randn_like(parameter) * 0.05)
        # By default peft puts a whole head or embedding beside its matrices.
        model.save_pretrained(folder, save_embedding_layers=with_embeddings)
    return folder


def merged(base: Path, folder: Path) -> dict[str, torch.Tensor]:
    """What peft makes of a base and an adapter."""
    from peft import PeftModel

    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = PeftModel.from_pretrained(plain(base), folder).merge_and_unload()
    return {name: parameter.detach() for name, parameter in whole.named_parameters()}


def card_of(base: Path, folder: Path) -> ModelCard:
    return describe(Model(id=str(base), dtype="float32", adapter=str(folder)), base)


def assert_as_peft(base: Path, folder: Path) -> None:
    ours = dict(load(card_of(base, folder)).model.named_parameters())
    theirs, untouched = merged(base, folder), dict(plain(base).named_parameters())
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        assert float((parameter - theirs[name]).norm()) <= 1e-6 * float(theirs[name].norm()), name
    assert any(not torch.equal(theirs[name], untouched[name]) for name in theirs), "the control: something was changed"


TARGETS: dict[str, dict[str, Any]] = {
    "a list": {"target_modules": [*QV, "down_proj"]},
    "whole names": {"target_modules": ["model.layers.1.mlp.up_proj"]},
    "a regular expression": {"target_modules": r".*layers\.1\.(self_attn|mlp)\.(k|up)_proj"},
    "all linear maps": {"target_modules": "all-linear"},
    "some layers": {"layers_to_transform": [1]},
    "one layer": {"layers_to_transform": 0},
    "layers by a pattern": {"layers_to_transform": [1], "layers_pattern": "layers"},
    "some left out": {"target_modules": "all-linear", "exclude_modules": ["q_proj", "model.layers.0.mlp.up_proj"]},
    "the head": {"target_modules": ["lm_head"]},
}

SCALES: dict[str, dict[str, Any]] = {
    "rank and alpha": {"r": 3, "lora_alpha": 11},
    "the root of the rank": {"use_rslora": True},
    "ranks by name": {"rank_pattern": {"q_proj": 2, "layers.1.self_attn.v_proj": 7}},
    "alphas by name": {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 3, "v_proj": 20}},
    "both, and the root": {
        "rank_pattern": {"v_proj": 2},
        "alpha_pattern": {"^model.layers.1.self_attn.v_proj": 9},
        "use_rslora": True,
    },
}

OTHERS: dict[str, dict[str, Any]] = {
    "dropout": {"lora_dropout": 0.3},
    "the other way round, for linear maps": {"fan_in_fan_out": True},
    "a group's size that is not used": {"qalora_group_size": 8},
    "another core that is not used": {"megatron_core": "elsewhere"},
}

INITIALS = {
    f"initial: {value}": {"init_lora_weights": value} for value in (True, False, "gaussian", "orthogonal", "eva")
}


@pytest.mark.parametrize("options", [*TARGETS.values(), *SCALES.values(), *OTHERS.values(), *INITIALS.values()], ids=[*TARGETS, *SCALES, *OTHERS, *INITIALS])  # fmt: skip
def test_what_is_understood_is_as_peft_merges_it(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    assert_as_peft(base, saved(base, tmp_path / "own", **options))


def test_every_option_that_is_understood_is_compared_with_peft() -> None:
    """Those that say what it is and where it comes from stand in every adapter."""
    from peft import LoraConfig

    compared = {name for options in (*TARGETS.values(), *SCALES.values(), *OTHERS.values()) for name in options}
    always = set(LoraConfig(r=4, target_modules=QV).to_dict()) & {
        "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_type", "peft_version", "revision", "task_type",
    }  # fmt: skip
    # Of initialisations that are refused, or that are done before an adapter is saved; and what peft never saves.
    initial = {"corda_config", "eva_config", "loftq_config", "lora_ga_config", "runtime_config"}
    assert WITHOUT_EFFECT | set(SCALING) == compared | always | initial
    assert {value for value in INITIAL if value is not None} == {
        options["init_lora_weights"] for options in INITIALS.values()
    }


# ---------------------------------------------------------------- what changes more


@pytest.mark.parametrize(
    "initial", ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga", "mica", "PISSA", "brand_new", 1, 7]
)
def test_an_initialisation_that_changes_the_base_is_refused(base: Path, tmp_path: Path, initial: Any) -> None:
    saved(base, tmp_path / "own")
    edit(tmp_path / "own", init_lora_weights=initial)
    with pytest.raises(UsageError, match=f"init_lora_weights .*{initial}"):
        card_of(base, tmp_path / "own")


@pytest.mark.parametrize("initial", ["pissa", "pissa_niter_4", "olora"])
def test_the_product_of_such_an_adapter_is_not_what_peft_merges(base: Path, tmp_path: Path, initial: str) -> None:
    """Why it is refused: taken for an ordinary one, it gives other weights."""
    folder = saved(base, tmp_path / "own", init_lora_weights=initial)
    right = merged(base, folder)
    edit(folder, init_lora_weights=True)
    wrong = dict(load(card_of(base, folder)).model.named_parameters())
    name = "model.layers.0.self_attn.q_proj.weight"
    assert float((wrong[name] - right[name]).norm() / right[name].norm()) > 0.1


def edit(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(content | changes))


def test_every_option_of_peft_is_understood_or_refused_by_its_name(base: Path, tmp_path: Path) -> None:
    """Over the fields of the installed peft's configuration: one that a later peft adds is in no list, and refused."""
    from peft import LoraConfig

    folder = saved(base, tmp_path / "own")
    names = {field.name for field in dataclasses.fields(LoraConfig)}
    assert {"use_dora", "lora_bias", "target_parameters", "layer_replication", "modules_to_save"} <= names
    for name in sorted(names | {"option_of_a_later_peft"}):
        if name in WITHOUT_EFFECT or name in SCALING:
            continue
        before = (folder / CONFIG).read_text()
        for value in (True, "all", ["embed_tokens"], {"a": [1]}, 2.5, 1):
            if name == "init_lora_weights" and value is True:
                continue
            edit(folder, **{name: value})
            with pytest.raises(UsageError, match=f"its option {name} "):
                card_of(base, folder)
            (folder / CONFIG).write_text(before)
    assert card_of(base, folder), "the control"


MORE: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True},
    "biases of all": {"bias": "all"},
    "biases of those": {"bias": "lora_only"},
    "a bias of its own": {"lora_bias": True, "init_lora_weights": True},
    "modules as they are": {"modules_to_save": ["lm_head"]},
    "tokens": {"trainable_token_indices": [3, 4]},
    "layers twice": {"layer_replication": [[0, 2], [1, 2]]},
    "parameters": {"target_parameters": ["mlp.down_proj.weight"]},
    "invoked by tokens": {"alora_invocation_tokens": [5]},
    "embeddings": {"target_modules": ["embed_tokens"]},
    "a head that is saved whole": {"target_modules": ["lm_head"], "with_embeddings": "auto"},
}


@pytest.mark.parametrize("options", MORE.values(), ids=MORE)
def test_what_changes_more_than_products_is_refused(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    folder = saved(base, tmp_path / "own", **options)
    said = "no matrix of a LoRA adapter" if "target_modules" in options else f"its option {next(iter(options))} "
    with pytest.raises(UsageError, match=said):
        card_of(base, folder)


def test_every_other_method_of_peft_is_refused_by_its_name(base: Path, tmp_path: Path) -> None:
    from peft import PeftType

    folder = saved(base, tmp_path / "own")
    for kind in PeftType:
        if kind is not PeftType.LORA:
            edit(folder, peft_type=kind.value)
            with pytest.raises(UsageError, match=f"an adapter of type {kind.value}; only LORA"):
                card_of(base, folder)


# ---------------------------------------------------------------- configuration and file belong together


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"r": 5}, "matrices of rank 4, and its configuration says 5"),
        ({"rank_pattern": {"q_proj": 3}}, "matrices of rank 4, and its configuration says 3"),
        ({"rank_pattern": {"(a+)+b": 3}}, "names out"),
        ({"rank_pattern": [3]}, "numbers by modules' names"),
        ({"alpha_pattern": {"q_proj": "many"}}, "both must be numbers"),
        ({"lora_alpha": float("inf")}, "both must be numbers"),
    ],
)
def test_a_scaling_that_cannot_be_is_refused(base: Path, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder = saved(base, tmp_path / "own")
    edit(folder, **changes)
    with pytest.raises(UsageError, match=says):
        card_of(base, folder)


def test_another_scaling_is_another_network(base: Path, tmp_path: Path) -> None:
    folder = saved(base, tmp_path / "own")
    first = card_of(base, folder).identity
    edit(folder, alpha_pattern={"q_proj": 3})
    second = card_of(base, folder).identity
    edit(folder, alpha_pattern={"q_proj": 3}, lora_dropout=0.5, peft_version="9")
    assert card_of(base, folder).identity == second != first


def test_maps_that_lie_the_other_way_round_are_as_peft_merges_them(tmp_path: Path, tiny_llama: Path) -> None:
    """GPT-2's, whose weights are (in, out), square ones among them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=32, n_layer=2, n_head=4, n_positions=64)).save_pretrained(
        tmp_path / "gpt2"
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "gpt2" / name).write_bytes((tiny_llama / name).read_bytes())
    folder = saved(
        tmp_path / "gpt2", tmp_path / "own", target_modules=["c_attn", "attn.c_proj", "c_fc"], fan_in_fan_out=True
    )
    assert_as_peft(tmp_path / "gpt2", folder)


def test_a_head_that_is_the_embedding_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    """peft merges into both, which is not what was trained."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, tie_word_embeddings=True)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "tied")
    stored = load_file(tmp_path / "tied" / "model.safetensors")
    save_file(
        stored | {"lm_head.weight": stored["model.embed_tokens.weight"].clone()},
        tmp_path / "tied" / "model.safetensors",
        {"format": "pt"},
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "tied" / name).write_bytes((tiny_llama / name).read_bytes())
    folder = saved(tmp_path / "tied", tmp_path / "own", target_modules=["lm_head"])
    whole = plain(tmp_path / "tied")
    if whole.lm_head.weight is not whole.model.embed_tokens.weight:
        pytest.skip("this transformers ties no weights that the files hold twice")
    with pytest.raises(HarnessError, match="shares its weight with another module"):
        load(card_of(tmp_path / "tied", folder))


def test_an_adapter_that_changes_before_it_is_laid_over_is_refused(base: Path, tmp_path: Path) -> None:
    folder = saved(base, tmp_path / "own")
    card = card_of(base, folder)
    assert load(card), "the control"
    edit(folder, lora_alpha=7)
    with pytest.raises(HarnessError, match="was changed while it was used"):
        load(card)


@pytest.mark.parametrize(
    "spoil", [lambda path: path.unlink(), lambda path: path.rename(path.with_name("adapter_model.bin"))]
)
def test_an_adapter_in_another_file_is_refused(base: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(saved(base, tmp_path / "own") / WEIGHTS)
    with pytest.raises(UsageError, match=r"lacks adapter_model\.safetensors"):
        card_of(base, tmp_path / "own")


def test_what_is_trained_over_an_adapter_of_several_ranks_is_their_sum(base: Path, tmp_path: Path) -> None:
    from harness.models.training.low_rank import LowRank, save_sum

    folder = saved(base, tmp_path / "own", rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 3})
    card = card_of(base, folder)
    name = "model.layers.1.self_attn.q_proj"
    more = LowRank(torch.nn.Parameter(torch.randn(3, 32)), torch.nn.Parameter(torch.randn(32, 3)), 0.5)
    save_sum({name: more}, card.adapter, tmp_path / "sum", "base")
    both = load(msgspec.structs.replace(card, adapter=find_adapter("sum", tmp_path))).model
    wanted = {key: parameter.clone() for key, parameter in load(card).model.named_parameters()}
    wanted[f"{name}.weight"] += 0.5 * more.up @ more.down
    for key, parameter in both.named_parameters():
        assert torch.allclose(parameter, wanted[key], atol=1e-6), key
