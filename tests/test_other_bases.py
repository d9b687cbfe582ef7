"""Test beds over another base: adapters for networks of other families, trained, written, loaded and refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import yaml
from safetensors.torch import load_file

from harness import language
from harness.beds.quirky import BASE, Quirky
from harness.errors import HarnessError, SpecError, UsageError
from harness.models.adapter import WEIGHTS
from harness.models.card import describe
from harness.models.load import load
from harness.spec import Model
from harness.training.note import bed_in, bed_named, write_note
from harness.training.train import train
from harness.training.verify import claims_spec, verify

BLOCKS = 3
MAPS = {
    "llama": {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"},
    "gpt_neox": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
}


@pytest.fixture(scope="module")
def bases(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a random network of three blocks for each family."""
    from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig, set_seed

    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": BLOCKS}
    sizes |= {"num_attention_heads": 4, "vocab_size": 257, "bos_token_id": 0, "eos_token_id": None}
    configs = {
        "llama": LlamaConfig(**sizes),
        "gpt_neox": GPTNeoXConfig(**sizes, max_position_embeddings=512),
        "gpt2": GPT2Config(n_embd=32, n_layer=BLOCKS, n_head=4, vocab_size=257, bos_token_id=0, eos_token_id=None),
    }
    found = {}
    for family, config in configs.items():
        folder = found[family] = tmp_path_factory.mktemp(family)
        set_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tiny_llama / name, folder / name)
    return found


@pytest.fixture(scope="module")
def made(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each family's adapter after a few steps, with its note."""
    found = {}
    for family in MAPS:
        bed = Quirky(world="comparisons", base=str(bases[family]))
        folder = found[family] = tmp_path_factory.mktemp(f"{family}-adapter")
        train(bed, folder, 0, lambda step, loss: None, 4)
        write_note(bed, folder, seed=0, command="as it was", facts={"seconds": 1})
    return found


@pytest.mark.parametrize(("blocks", "first"), [(30, 10), (24, 8), (16, 5), (6, 2), (2, 1), (1, 0)])
def test_the_share_of_blocks_that_stay_is_that_of_the_recipe(blocks: int, first: int) -> None:
    assert Quirky(base="other").recipe().first_of(blocks) == first


def test_some_block_learns_however_few_there_are() -> None:
    recipe = msgspec.structs.replace(Quirky().recipe(), first_block=29)
    assert [recipe.first_of(blocks) for blocks in (30, 2, 1)] == [29, 1, 0]


@pytest.mark.parametrize("family", MAPS)
def test_an_adapter_for_another_family_is_trained_and_loaded_as_peft_does(
    bases: dict[str, Path], made: dict[str, Path], family: str
) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    base, folder = bases[family], made[family]
    names = load_file(folder / WEIGHTS)
    # One of three blocks stays as it is.
    assert {part for name in names for part in name.split(".") if part.isdigit()} == {"1", "2"}
    assert {name.split(".")[-3] for name in names} == MAPS[family]
    tokens = torch.arange(1, 20)[None]
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype="float32"), folder).eval()
    ours = load(describe(Model(id=str(base), dtype="float32", adapter=str(folder)), Path())).model
    untaught = load(describe(Model(id=str(base), dtype="float32"), Path())).model
    with torch.no_grad():
        assert torch.allclose(theirs(tokens).logits, ours(tokens).logits, atol=1e-5)
        moved = float((untaught(tokens).logits - ours(tokens).logits).abs().max())
    assert moved > 1e-3, "the control: it changes something"


@pytest.mark.parametrize(("family", "other"), [("gpt_neox", "llama"), ("llama", "gpt_neox")])
def test_an_adapter_for_another_family_is_refused(
    bases: dict[str, Path], made: dict[str, Path], family: str, other: str
) -> None:
    with pytest.raises(UsageError, match=r"which .* does not have; it was made for another network"):
        describe(Model(id=str(bases[other]), dtype="float32", adapter=str(made[family])), Path())


def test_the_weights_that_come_with_the_bed_are_refused_by_another_base(bases: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"quirky-comparisons changes .* it was made for another network"):
        describe(Model(id=str(bases["llama"]), adapter="quirky-comparisons"), Path())


def test_a_family_that_does_more_than_its_blocks_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    """GPT-2 adds positions to whatever goes in, so that its upper blocks by themselves are another network."""
    with pytest.raises(HarnessError, match=r"\(gpt2\) cannot be trained in two parts"):
        train(Quirky(world="comparisons", base=str(bases["gpt2"])), tmp_path, 0, lambda step, loss: None, 1)


@pytest.mark.parametrize("family", MAPS)
def test_a_folder_of_weights_knows_its_base(bases: dict[str, Path], made: dict[str, Path], family: str) -> None:
    bed = bed_in(made[family])
    assert isinstance(bed, Quirky)
    assert bed.base == str(bases[family])
    assert bed.lacks() is None
    model = bed.brought().model
    assert (model["id"], model["adapter"]) == (str(bases[family]), str(made[family].resolve()))


SPEC = """
harness: 1
name: other
model: {{bed: quirky, world: comparisons, base: {base}{more}}}
data: {{limit: 40}}
probes: [logistic_regression]
"""


def read(folder: Path, **written: str) -> Any:
    path = folder / "spec.yaml"
    path.write_text(SPEC.format(**written))
    return language.read(path, [])


def test_another_base_without_weights_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        read(tmp_path, base="EleutherAI/pythia-410m", more="")
    said = " ".join(str(raised.value).split())
    assert "spec.yaml:4" in said
    command = "harness bed train quirky --set world=comparisons --set base=EleutherAI/pythia-410m"
    assert f"`{command} --out my-quirky-comparisons-pythia-410m` makes them" in said
    assert "weights: ./my-quirky-comparisons-pythia-410m" in said
    with pytest.raises(UsageError, match="no weights for EleutherAI/pythia-410m"):
        verify(bed_named("quirky", {"base": "EleutherAI/pythia-410m"}))
    # The controls: with weights, and with the base as it is, nothing is missing.
    (with_weights,) = read(tmp_path, base="EleutherAI/pythia-410m", more=", weights: ./mine").conditions
    assert (with_weights.model.id, with_weights.model.adapter) == ("EleutherAI/pythia-410m", "./mine")
    (untaught,) = read(tmp_path, base="EleutherAI/pythia-410m", more=", trained: false").conditions
    assert (untaught.model.id, untaught.model.adapter) == ("EleutherAI/pythia-410m", None)
    assert read(tmp_path, base=BASE, more="").conditions[0].model.adapter == "quirky-comparisons"


def test_the_claims_about_another_base_are_a_spec(
    bases: dict[str, Path], made: dict[str, Path], tmp_path: Path
) -> None:
    """Its name is a slug whatever the base is called, and its layers are there."""
    from harness.activations.layers import resolve

    path = tmp_path / "claims.yaml"
    for name in ("meta-llama/Llama-3.2-1B", str(bases["gpt_neox"])):
        bed = bed_named("quirky", {"base": name, "weights": str(made["gpt_neox"])})
        path.write_text(yaml.safe_dump(claims_spec(bed)))
        spec = language.read(path, [])
        assert spec.name.startswith("bed-quirky-cities-")
        for condition in spec.conditions:
            assert condition.model.id == name
            assert resolve(condition.activations.layers, BLOCKS + 1) == (0, 3)
            assert resolve(condition.activations.layers, 31) == tuple(range(0, 31, 3))


def test_a_folder_as_base_is_meant_as_seen_from_here(bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bases["llama"].parent)
    bed = bed_named("quirky", {"base": f"./{bases['llama'].name}"})
    assert isinstance(bed, Quirky)
    assert bed.base == str(bases["llama"].resolve())
    assert bed.recipe().minutes is None
    assert bed_named("quirky", {}).recipe().minutes is not None, "the control"
