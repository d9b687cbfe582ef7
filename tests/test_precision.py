"""Weights are held as they are stored and give the states of float32; what lower precision does to x⁺ − x⁻ is measured and judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import pipeline
from harness.activations import references
from harness.activations.extract import bank_key, extract
from harness.activations.rows import row_table
from harness.checks.tracks_truth import TracksTruth
from harness.checks.truth_before_opinion import TruthBeforeOpinion
from harness.contracts import Check, Judgement, PromptTable
from harness.errors import HarnessError, SpecError
from harness.language import read
from harness.models import card as card_of_a_network
from harness.models.card import ModelCard, describe
from harness.models.load import load
from harness.models.network import Network
from harness.models.widening import Widening
from harness.scoring.evidence import Evidence
from harness.scoring.noise_floor import BOUND, NoiseFloor
from harness.spec import Activations, Model
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.test_activations import AUTO, VOCAB, config_of, folder_of, table_of
from tests.test_checks import World

EVERYTHING = Activations()
SMALL: dict[str, Any] = {"vocab_size": VOCAB, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@pytest.fixture(autouse=True)
def as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks as tiny as these would be held in float32."""
    monkeypatch.setattr(card_of_a_network, "WIDE", 0)


def stored_in(dtype: torch.dtype, family: str, place: Path) -> Path:
    """A tiny network whose checkpoint is all in one number format."""
    import transformers as t

    llama = config_of("llama").to_diff_dict() | SMALL
    more: dict[str, Callable[[], Any]] = {
        "tied": lambda: t.LlamaConfig(**(llama | {"tie_word_embeddings": True})),
        "mixtral": lambda: t.MixtralConfig(**llama, num_local_experts=4, num_experts_per_tok=2),
        # It computes sines of positions when it is built, which are in no file.
        "marian": lambda: t.MarianConfig(
            **SMALL, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=64, decoder_start_token_id=0,
        ),
        # It rounds what goes into its head to the format of the head's weights.
        "mamba": lambda: t.MambaConfig(**SMALL, hidden_size=32, num_hidden_layers=3, state_size=8),
    }  # fmt: skip
    config = more[family]() if family in more else config_of(family)
    auto = "AutoModelForSeq2SeqLM" if family == "marian" else AUTO.get(family, "AutoModelForCausalLM")
    folder = folder_of(config, auto, place)
    for file in folder.glob("*.safetensors"):
        save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    return folder


def states_of(card: ModelCard, store: Path) -> tuple[torch.Tensor, torch.Tensor | None]:
    table = table_of(6)
    pairs = extract(LanguageModel(card), [table], EVERYTHING, Store(store)).pairs(table, range(6), range(card.layers))
    return pairs.states, pairs.log_odds


def bytes_of(network: Network) -> int:
    return sum(one.numel() * one.element_size() for one in network.model.parameters())


# ---------------------------------------------------------------- weights held as they are stored


@pytest.mark.parametrize(
    ("family", "dtype", "wide"),
    [
        ("llama", torch.bfloat16, False),
        ("llama", torch.float16, False),
        ("tied", torch.bfloat16, False),
        ("gpt2", torch.bfloat16, False),
        # It scales embeddings by a number of its own, in the format of its weights.
        ("gemma3", torch.bfloat16, False),
        ("mixtral", torch.bfloat16, False),
        ("bert", torch.bfloat16, False),
        ("t5", torch.bfloat16, False),
        ("opt", torch.float16, False),
        # Held in float32, for what they compute is not the same otherwise.
        ("marian", torch.bfloat16, True),
        ("mamba", torch.bfloat16, True),
    ],
    ids=str,
)
def test_a_checkpoint_held_as_it_is_stored_gives_the_states_of_float32_to_the_bit(
    family: str, dtype: torch.dtype, wide: bool, tmp_path: Path
) -> None:
    folder = stored_in(dtype, family, tmp_path / "model")
    card = describe(Model(id=str(folder)), folder)
    assert (card.held, card.dtype) == (str(dtype).removeprefix("torch."), "float32")
    in_float32 = msgspec.structs.replace(card, held="float32")
    held, plain = states_of(card, tmp_path / "held"), states_of(in_float32, tmp_path / "plain")
    assert torch.equal(held[0], plain[0])
    assert (held[1] is None) == (plain[1] is None)
    assert held[1] is None or torch.equal(held[1], plain[1])
    # Neither is rounded: the control for a network that computes in its weights' format.
    assert not torch.equal(held[0][-1], held[0][-1].to(dtype).float())
    small, large = bytes_of(load(card)), bytes_of(load(in_float32))
    assert small == large if wide else small < 0.55 * large


@pytest.mark.usefixtures("any_processor")
def test_one_block_is_widened_at_a_time_and_the_plan_knows_it(tmp_path: Path) -> None:
    folder = stored_in(torch.bfloat16, "llama", tmp_path)
    card = describe(Model(id=str(folder)), folder)
    network = load(card)
    wide_at: list[list[int]] = []

    def look(*_: Any) -> None:
        wide = [
            number for number, block in enumerate(network.blocks) if next(block.parameters()).dtype == torch.float32
        ]
        wide_at.append(wide)

    for block in network.blocks:
        block.mlp.register_forward_hook(look)  # type: ignore[union-attr]
    tokens = {"input_ids": torch.tensor([[1, 4, 5, 6]])}
    network.read(tokens, range(card.layers), lambda states: states, torch.tensor([0]))
    assert wide_at == [[0], [1], [2]]
    # What stays, and what a pass needs beside it.
    norms = [one for one in network.model.parameters() if one.dtype == torch.float32]
    assert bytes_of(network) == card.weight_bytes + 2 * sum(one.numel() for one in norms)
    block = sum(one.numel() for one in network.blocks[0].parameters())
    assert card.widened_bytes == pytest.approx(4 * max(block, VOCAB * 32), rel=0.05)
    assert card.weight_bytes == 2 * card.parameters
    # The control: in float32 there is nothing to widen.
    assert msgspec.structs.replace(card, held="float32").widened_bytes == 0


@pytest.mark.parametrize("layer", [0, 1])
def test_a_pass_that_ends_early_leaves_the_weights_as_they_are_held(layer: int, tmp_path: Path) -> None:
    folder = stored_in(torch.bfloat16, "tied", tmp_path)
    network = load(describe(Model(id=str(folder)), folder))
    before = {name: (one.data_ptr(), one.dtype) for name, one in network.model.named_parameters()}
    tokens = {"input_ids": torch.tensor([[1, 4, 5, 6]])}
    network.read(tokens, (layer,), lambda states: states)
    assert {name: (one.data_ptr(), one.dtype) for name, one in network.model.named_parameters()} == before

    def broken(states: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("broken")

    with pytest.raises(HarnessError, match="broken"):
        network.read(tokens, (layer,), broken)
    with pytest.raises(HarnessError):
        network.read({"input_ids": torch.tensor([[1, VOCAB + 7]])}, (layer,), lambda states: states)
    assert {name: (one.data_ptr(), one.dtype) for name, one in network.model.named_parameters()} == before


def test_a_network_that_rounds_by_itself_is_held_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    folder = stored_in(torch.bfloat16, "llama", tmp_path)
    card = describe(Model(id=str(folder)), folder)
    given_up: list[Widening] = []
    give_up, forward = Widening.give_up, LlamaDecoderLayer.forward
    monkeypatch.setattr(Widening, "give_up", lambda self: (given_up.append(self), give_up(self)))
    load(card)
    assert not given_up

    def rounding(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """An architecture that passes on the stream in the number format of the network's configuration."""
        out: torch.Tensor = forward(self, *args, **kwargs)
        return out.to(self.held).float() if self.held != torch.float32 else out

    monkeypatch.setattr(LlamaDecoderLayer, "held", torch.bfloat16, raising=False)
    monkeypatch.setattr(LlamaDecoderLayer, "forward", rounding)
    assert all(one.dtype == torch.float32 for one in load(card).model.parameters())
    assert len(given_up) == 1


def test_an_adapter_lies_over_weights_that_are_held_as_stored(tmp_path: Path) -> None:
    folder = stored_in(torch.bfloat16, "llama", tmp_path / "model")
    over = tmp_path / "adapter"
    over.mkdir()
    torch.manual_seed(0)
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_"
    save_file(
        {f"{name}A.weight": torch.randn(2, 32), f"{name}B.weight": torch.randn(32, 2)},
        over / "adapter_model.safetensors",
    )
    said = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": str(folder),
    }
    (over / "adapter_config.json").write_text(json.dumps(said))
    bare = describe(Model(id=str(folder)), folder)
    card = describe(Model(id=str(folder), adapter=str(over)), folder)
    held, plain = (
        states_of(one, tmp_path / str(number))[0]
        for number, one in enumerate((card, msgspec.structs.replace(card, held="float32")))
    )
    assert torch.equal(held, plain)
    assert not torch.equal(held, states_of(bare, tmp_path / "bare")[0])
    # The sum has more digits than the base's format, and is float32.
    assert load(card).blocks[1].self_attn.q_proj.weight.dtype == torch.float32  # type: ignore[union-attr]
    assert card.weight_bytes == bare.weight_bytes + 2 * 32 * 32


def test_what_is_trained_is_all_in_float32(tmp_path: Path) -> None:
    folder = stored_in(torch.bfloat16, "llama", tmp_path)
    card = describe(Model(id=str(folder)), folder)
    network = load(card.for_training())
    assert all(one.dtype == torch.float32 for one in network.model.parameters())
    assert not any(one._forward_pre_hooks for one in network.model.modules())
    assert any(one._forward_pre_hooks for one in load(card).model.modules())


def test_files_of_several_formats_are_held_in_what_holds_them_all(tmp_path: Path) -> None:
    folder = stored_in(torch.bfloat16, "llama", tmp_path)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    # What is no weight does not count.
    save_file({**tensors, "positions": torch.arange(4)}, file, {"format": "pt"})
    assert describe(Model(id=str(folder)), folder).held == "bfloat16"
    save_file(tensors | {"model.norm.weight": tensors["model.norm.weight"].float()}, file, {"format": "pt"})
    assert describe(Model(id=str(folder)), folder).held == "float32"
    assert describe(Model(id=str(folder), weights="random"), folder).held == "float32"


@pytest.mark.usefixtures("any_processor")
def test_a_small_network_is_held_in_float32_where_its_products_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stored_in(torch.bfloat16, "llama", tmp_path)
    model = Model(id=str(folder))
    count = describe(model, folder).parameters
    for room, held in ((4 * count, "float32"), (4 * count - 1, "bfloat16")):
        monkeypatch.setattr(card_of_a_network, "WIDE", room)
        card = describe(model, folder)
        assert (card.held, card.dtype) == (held, "float32")
        assert card.weight_bytes == count * (4 if held == "float32" else 2)
        # Where products round, nothing is widened but what is no product.
        rounding = msgspec.structs.replace(model, precision="fast", dtype="bfloat16")
        assert describe(rounding, folder).held == "bfloat16"


# ---------------------------------------------------------------- what a spec says


def test_lower_precision_is_chosen_and_never_assumed(tmp_path: Path, any_processor: bool) -> None:
    folder = stored_in(torch.bfloat16, "llama", tmp_path)

    def card(**options: Any) -> ModelCard:
        return describe(Model(id=str(folder), **options), folder)

    assert card().dtype == card(dtype="float32").dtype == "float32"
    assert card(precision="fast").dtype == ("bfloat16" if any_processor else "float32")
    assert card(precision="fast", dtype="float16").dtype == "float16"
    keys = {bank_key(LanguageModel(card(precision="fast", dtype=name))) for name in ("bfloat16", "float16")}
    assert len(keys | {bank_key(LanguageModel(card()))}) == 3
    with pytest.raises(ValueError, match="products in bfloat16 are not exact; add `precision: fast`"):
        Model(id="x", dtype="bfloat16")
    with pytest.raises(ValueError, match="products in float32 are exact"):
        Model(id="x", dtype="float32", precision="fast")


def test_what_does_not_go_together_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("harness: 1\nname: x\nmodel: {id: a, dtype: bfloat16}\ndata: {source: cities}\nprobes: [ccs]\n")
    with pytest.raises(SpecError, match=r"spec.yaml:3:\d+: model.*add `precision: fast`"):
        read(path)
    (condition,) = read(path, ["model.precision=fast"]).conditions
    assert (condition.model.precision, condition.model.dtype) == ("fast", "bfloat16")  # type: ignore[union-attr]


def test_fast_rounds_products_and_not_the_stream(tmp_path: Path) -> None:
    folder = stored_in(torch.float32, "llama", tmp_path)
    card = describe(Model(id=str(folder), precision="fast", dtype="bfloat16"), folder)
    network = load(card)
    seen: dict[str, torch.dtype] = {}
    network.blocks[1].mlp.up_proj.register_forward_hook(lambda m, a, out: seen.update(product=out.dtype))  # type: ignore[union-attr]
    tokens = {"input_ids": torch.tensor([[1, 4, 5, 6]])}
    fast = network.read(tokens, range(card.layers), lambda states: states).states
    assert (seen["product"], fast.dtype) == (torch.bfloat16, torch.float32)
    with network.exactly():
        exact = network.read(tokens, range(card.layers), lambda states: states).states
    assert torch.equal(
        exact, load(describe(Model(id=str(folder)), folder)).read(tokens, range(card.layers), lambda x: x).states
    )
    apart = (fast - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert 1e-4 < float(apart[-1].max()) < 5e-2


# ---------------------------------------------------------------- the noise floor


def alike(folder: Path) -> Path:
    """Makes the answers of contrast pairs, tokens 5 and 6, nearly the same word: their states differ little."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    rows = tensors["model.embed_tokens.weight"]
    torch.manual_seed(1)
    rows[6] = rows[5] + 0.004 * torch.randn_like(rows[5])
    save_file(tensors, file, {"format": "pt"})
    return folder


def like_pairs(count: int) -> PromptTable:
    lines = []
    for pair in range(count):
        text = np.random.default_rng(pair).integers(8, VOCAB, size=9).tolist()
        for answer in (0, 1):
            line = {"pair": pair, "example": f"e{pair}", "template": "main", "answer": answer}
            lines.append(line | {"tokens": [1, *text, 5 + answer, 7], "answer_start": 10, "answer_end": 11})
    frame = pl.DataFrame(lines, schema_overrides={"tokens": pl.List(pl.UInt32), "pair": pl.UInt32})
    return PromptTable(frame, (), ("main",))


@pytest.mark.usefixtures("any_processor")
def test_the_noise_floor_is_the_error_of_the_difference(tmp_path: Path) -> None:
    folder = alike(stored_in(torch.float32, "llama", tmp_path / "model"))
    table = like_pairs(12)
    found: dict[str, list[float]] = {}
    states: dict[str, torch.Tensor] = {}
    for options in ({}, {"precision": "fast", "dtype": "float16"}, {"precision": "fast", "dtype": "bfloat16"}):
        card = describe(Model(id=str(folder), **options), folder)  # type: ignore[arg-type]
        extracted = extract(LanguageModel(card), [table], EVERYTHING, Store(tmp_path / "store"))
        found[card.dtype] = [*extracted.noise(table).values()]
        states[card.dtype] = extracted.pairs(table, range(12), range(card.layers)).states
    assert max(found["float32"]) < 1e-3
    assert max(found["bfloat16"]) > BOUND
    assert max(found["float32"]) < max(found["float16"]) < 0.4 * max(found["bfloat16"])
    # States say nothing of it.
    apart = (states["bfloat16"] - states["float32"]).norm(dim=-1) / states["float32"].norm(dim=-1)
    assert float(apart.max()) < 0.03
    # A few pairs tell what all do.
    whole = references.relative_error(states["bfloat16"], states["float32"])
    assert torch.tensor(found["bfloat16"])[1:] == pytest.approx(whole[1:].float(), rel=0.5)


def test_where_nothing_differs_there_is_no_noise() -> None:
    torch.manual_seed(0)
    exact = torch.randn(2, 40, 1, 64, dtype=torch.float64).repeat(1, 1, 2, 1)
    # At the first layer all pairs differ in the same way, of which nothing can be learnt.
    exact[:, :, 1] += 1
    exact[1, :, 1] += torch.randn(40, 64)
    assert references.relative_error(exact, exact).tolist() == [0, 0]
    # What is added to all alike is taken out with the mean; what is added to each is not.
    alike, apart = exact + 7, exact.clone()
    alike[:, :, 1] += 3
    apart[:, :, 0] += 0.25 * torch.randn(2, 40, 64)
    assert references.relative_error(alike, exact)[1] < 1e-12
    assert references.relative_error(apart, exact)[1] == pytest.approx(0.25, rel=0.1)


def test_pairs_are_chosen_by_content(tmp_path: Path) -> None:
    folder = stored_in(torch.float32, "llama", tmp_path / "model")
    subject = LanguageModel(describe(Model(id=str(folder)), folder))

    def chosen(*tables: PromptTable) -> set[str]:
        rows = row_table(tables, EVERYTHING)
        return {rows.keys[row] for pair in references.sampled(rows, len(tables) - 1) for row in pair}

    one, other = table_of(9), table_of(9, words=True)
    backwards = PromptTable(
        one.frame.with_columns((8 - pl.col("pair").cast(pl.Int64)).cast(pl.UInt32).alias("pair")).sort(
            "pair", "answer"
        ),
        (),
        ("main",),
    )
    assert chosen(one) == chosen(other, one) == chosen(backwards)
    assert len(chosen(one)) == 2 * references.PAIRS
    # Made for two tables, it is there for each of them, and for no network is it made again.
    store = Store(tmp_path / "store")
    both = extract(subject, [one, other], EVERYTHING, store)
    again = extract(subject, [one], EVERYTHING, store)
    assert (again.done.rows, again.noise(one)) == (0, both.noise(one))


SPEC = """
harness: 1
name: alike
model: {id: MODEL, precision: fast, dtype: bfloat16}
data: {source: {file: rows.csv}, limit: 60}
prompt: {template: "t1 {{ text }} {{ answer }} t7", answers: [t5, t6]}
activations: {layers: [0, 2]}
probes: [mean_difference]
layer: 2
checks: [{kind: beats_random, probe: mean_difference}]
"""


@pytest.mark.usefixtures("any_processor")
def test_a_check_on_rounding_is_inconclusive_and_the_report_says_why(tmp_path: Path) -> None:
    folder = alike(stored_in(torch.float32, "llama", tmp_path / "model"))
    rows = [f"t{8 + n % 20} t{9 + n % 2} t{8 + n % 7},{n % 2}" for n in range(60)]
    (tmp_path / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("MODEL", str(folder)))
    out, store = tmp_path / "reports", Store(tmp_path / "store")

    def told(*sets: str) -> tuple[dict[str, Any], str]:
        outcome = pipeline.run(path, sets=sets, out=out, store=store, page=False)
        (check,) = outcome.checks.to_dicts()
        return check, (outcome.folder / "report.md").read_text()

    check, report = told()
    assert check["finding"] == "inconclusive"
    assert "Not decided: arithmetic moves x⁺ − x⁻ of main by " in check["why"]
    assert "at layer 2, more than 10 %" in check["why"]
    assert "## Noise floor" in report and "| noise at layer | 2 |" in report
    # A run that computes nothing changes no byte.
    before = {one: one.read_bytes() for one in sorted(out.rglob("*")) if one.is_file()}
    assert pipeline.run(path, out=out, store=store, page=False).cached
    assert {one: one.read_bytes() for one in sorted(out.rglob("*")) if one.is_file()} == before
    # The control: the same question in float32.
    check, report = told("model.precision=exact", "model.dtype=float32")
    assert "Not decided" not in check["why"]
    assert "by under 0.1 % at every layer" in report and "| noise at layer |" not in report


def test_noise_counts_where_a_check_looks() -> None:
    world = World().add("ccs", truth=2.0)
    world.add("ccs", truth=2.0, condition="other", fit_on="main")

    def judged(check: Check, noise: Mapping[tuple[str, int], float]) -> Judgement:
        parts = (world.spec, world.scored, world.labels, world.refit, world.erased, world.redraw, world.steered)
        return Evidence(*parts, NoiseFloor(noise)).judge(check)

    def finding(check: Check, noise: Mapping[tuple[str, int], float]) -> str:
        return judged(check, noise).finding

    here = TracksTruth(probe="ccs", over="word")
    assert finding(here, {}) == finding(here, {("main", 7): BOUND, ("main", 3): 9.0, ("other", 7): 9.0}) == "pass"
    assert finding(here, {("main", 7): BOUND + 0.01}) == "inconclusive"
    # What a probe was fitted on counts as what it is tested on.
    there = TracksTruth(probe="ccs", over="word", condition="other", fit_on="main")
    assert finding(there, {}) == "pass"
    assert finding(there, {("main", 7): 9.0}) == finding(there, {("other", 7): 9.0}) == "inconclusive"
    # A depth is read off all layers.
    curve = TruthBeforeOpinion(probe="ccs", over="word")
    assert "Not decided" in judged(curve, {("main", 3): 9.0}).why
    assert "Not decided" not in judged(here, {("main", 3): 9.0}).why
