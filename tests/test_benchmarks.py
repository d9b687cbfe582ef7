"""The baselines of the benchmarks are fair: they give what the fast ways give. And the arithmetic of the table is right."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from harness.activations.extract import extract
from harness.contracts import Pairs, PromptTable
from harness.models.card import describe
from harness.networks.recipe import Recipe
from harness.networks.training_together import train_together
from harness.networks.transformer import Transformer
from harness.spec import Activations, Model
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from harness.worlds.modular_arithmetic import ModularArithmetic
from tests.benchmarks import ccs, gpu, logistic, plain_ccs, plain_forward, plain_transformer, transcripts
from tests.benchmarks.extraction import model_flops
from tests.benchmarks.growth import exponent
from tests.benchmarks.race import Taken, race
from tests.benchmarks.table import at_most, costs, markdown, versus


def prompt_table(pairs: int) -> PromptTable:
    """Pairs that share ten to thirty tokens and differ in the last two."""
    generator = np.random.default_rng(0)
    lines = []
    for pair in range(pairs):
        shared = generator.integers(1, 250, generator.integers(10, 30)).tolist()
        for answer in range(2):
            tokens = [*shared, answer + 1, 9]
            lines.append(
                {
                    "pair": pair,
                    "example": str(pair),
                    "answer": answer,
                    "template": "t",
                    "tokens": tokens,
                    "answer_start": len(shared),
                    "answer_end": len(shared) + 1,
                }
            )
    return PromptTable(pl.DataFrame(lines), (), ("t",))


def test_plain_forwards_give_our_states_and_a_seen_neighbour_does_not(tiny_llama: Path, own_store: Path) -> None:
    model = Model(id=str(tiny_llama), dtype="float32")
    card, table = describe(model, tiny_llama), prompt_table(20)
    ours = extract(LanguageModel(card), [table], Activations(), Store(own_store)).pairs(table, range(20), range(3))
    states = ours.states.flatten(1, 2)
    plain, prompts = plain_forward.model_of(card), plain_forward.prompts_of([table])
    whole = plain_forward.whole(plain, prompts)
    assert plain_forward.difference(states, whole) < 1e-4
    assert plain_forward.difference(states, plain_forward.cached(plain, prompts)) < 1e-4
    assert plain_forward.difference(states, whole.roll(1, dims=1)) > 1e-2


def test_a_plain_pass_of_whole_transcripts_gives_our_means_and_the_plan_shares_what_they_begin_with(
    tiny_llama: Path, own_store: Path
) -> None:
    card = describe(Model(id=str(tiny_llama), dtype="float32"), tiny_llama)
    generator = np.random.default_rng(1)
    lines = []
    for row in range(12):
        tokens = [*range(1, 40), row + 50, *generator.integers(1, 250, generator.integers(10, 20)).tolist()]
        ends = {"answer_start": 45, "answer_end": len(tokens), "read_at": [45, len(tokens)]}
        lines.append({"pair": row, "example": str(row), "answer": 0, "template": "t", "tokens": tokens, **ends})
    table = PromptTable(pl.DataFrame(lines), (), ("t",), views=1)
    states = extract(LanguageModel(card), [table], [transcripts.READ], Store(own_store)).pairs(table, range(12), range(3)).states[:, :, 0]  # fmt: skip
    plain = plain_forward.pooled(plain_forward.model_of(card), table.frame["tokens"].to_list(), table.frame["read_at"].to_list())  # fmt: skip
    assert plain_forward.difference(states, plain) < 1e-4
    assert plain_forward.difference(states, plain.roll(1, dims=1)) > 1e-2
    planned = transcripts.planned(card, table)
    whole = sum(map(len, table.frame["tokens"]))
    assert planned.reached and (planned.ours, planned.plain) == (f"{whole - 11 * 39:,}", f"{whole:,}")


def test_a_plain_transformer_is_trained_to_what_ours_is(tmp_path: Path) -> None:
    made = Transformer(d_model=16, heads=2, d_mlp=32)
    recipe = Recipe(world=ModularArithmetic(prime=7), network=made, fraction=0.5, learning_rate=5e-3, warm_up=0)
    ours = train_together([recipe], (0, 10), tmp_path)
    plain = plain_transformer.train(recipe, 10, ours.parameters(0)[0])
    questions = recipe.world.questions()
    found = {
        step: made.logits(made.layout(recipe.sizes).views(ours.parameters(step)), questions[None])[0]
        for step in (0, 10)
    }
    torch.testing.assert_close(plain(questions), found[10], atol=1e-4, rtol=0)
    assert (found[10] - found[0]).abs().max() > 0.05


def test_flops_count_each_distinct_token_once(tiny_llama: Path) -> None:
    card = describe(Model(id=str(tiny_llama), dtype="float32"), tiny_llama)
    table = prompt_table(1)
    length = len(table.frame["tokens"][0])
    depths = [*range(1, length + 1), length - 1, length]
    attention = 4 * 2 * 32 * sum(depths)
    head = 2 * card.shape.vocab * 32
    assert model_flops(card, [table]) == 2 * card.body_parameters * (length + 2) + attention + head
    assert model_flops(card, [table, table]) == model_flops(card, [table])


def planted(truth: float) -> Pairs:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 80, 2, 12, generator=generator)
    labels = torch.randint(0, 2, (80,), generator=generator)
    states[:, :, 1, 0] += truth * (2 * labels - 1)
    states[:, :, 0, 0] -= truth * (2 * labels - 1)
    return Pairs(states, torch.zeros(80, dtype=torch.int64), labels)


def test_the_recipes_loop_finds_the_losses_that_ours_finds() -> None:
    pairs = planted(4.0)
    loop = torch.tensor(plain_ccs.losses(pairs.states[0, :, 0], pairs.states[0, :, 1], tries=2))
    assert float(ccs.fit(pairs, "adamw")[0, :, 0].min()) == pytest.approx(float(loop.min()), abs=5e-3)
    noise = planted(0.0)
    assert float(ccs.fit(noise, "adamw")[0, :, 0].min()) > float(loop.min()) + 0.02


def test_scikit_learns_loop_finds_our_weights_and_other_labels_others() -> None:
    pairs = planted(0.5)
    assert pairs.labels is not None
    rows = (pairs.states[:, :, 1] - pairs.states[:, :, 0]).double().numpy()
    labels = np.stack([pairs.labels.numpy()] * 2)
    exact = logistic.loop(list(rows), labels, 1e-10)
    assert logistic.difference(logistic.ours(pairs), exact) < 1e-3
    assert logistic.difference(logistic.ours(pairs), logistic.loop(list(rows), 1 - labels, 1e-10)) > 0.5


def test_the_gpu_part_runs_on_a_processor_too(tmp_path: Path) -> None:
    small = {
        "vocab_size": 200,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    forward, utilisation = gpu.forward(gpu.ONE_BILLION | small, "float32", 8)
    assert float(forward.ratio) > 0
    assert 0 <= float(utilisation.ours) < 1
    assert len(list(gpu.fits(2, 16, 1, "cpu", 40))) == 2


def test_exponents_ratios_and_targets() -> None:
    assert exponent([1, 2, 4, 8], [3 * size**1.5 for size in (1, 2, 4, 8)]) == pytest.approx(1.5)
    line = versus("x", Taken(1, 2), Taken(3, 2), at_least=5, scale=2)
    assert (line.ratio, line.cpu, line.reached) == ("6×", "2×", True)
    assert versus("x", Taken(1, 2), Taken(3, 2), at_least=5).reached is False
    more = costs("x", Taken(3, 2), Taken(2, 2), 1.4)
    assert (more.ratio, more.cpu, more.reached) == ("1.5×", "1×", False)
    assert costs("x", Taken(3, 2), Taken(2, 2), 1.5).reached is True
    assert at_most("x", 0.5, 0.4, "s").reached is False
    assert "| x |" in markdown([line])


def test_contenders_take_turns() -> None:
    order: list[str] = []
    taken = race({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)  # type: ignore[misc]
    assert "".join(order) == "ababab"
    assert all(0 <= one.wall_s < math.inf for one in taken.values())


def test_plain_replies_are_ours(tiny_llama: Path) -> None:
    from harness.models.asking import Asking
    from harness.models.card import describe
    from harness.models.generation import Writer
    from harness.models.load import load
    from harness.spec import Model
    from tests.benchmarks.replies import generated

    network = load(describe(Model(id=str(tiny_llama)), tiny_llama))
    asked = [Asking(tuple(range(1 + n % 7, 20 + n)), 16, n) for n in range(70)]
    assert generated(network, asked, [100, 200]) == Writer(network, [100, 200]).write(asked)


def test_every_part_is_offered() -> None:
    from tests.benchmarks.__main__ import PARTS

    assert set(PARTS) == {
        *("extraction", "positions", "replies", "imported", "ccs", "logistic", "multinomial"),
        *("runs", "startup", "growth", "out_of_core", "networks", "autoencoders", "gpu", "transcripts"),
    }
