"""Small networks: what a stack computes is what a plain network computes, alone and in any company, in one go and after a kill."""

from __future__ import annotations

import hashlib
import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from harness.errors import StoreError, UsageError
from harness.networks.checkpoints import Checkpoints
from harness.networks.circuits import answer_logits, efficiencies, norms_at
from harness.networks.perceptron import Perceptron
from harness.networks.recipe import Recipe
from harness.networks.small_network import Sizes, SmallNetwork
from harness.networks.stacked import losses
from harness.networks.training_together import train_together
from harness.networks.transformer import Transformer
from harness.worlds.modular_arithmetic import ModularArithmetic

SIZES = Sizes(vocabulary=12, context=3, classes=11)
WORLD = ModularArithmetic(prime=11)
SMALL = Transformer(d_model=16, heads=2, d_mlp=32)
NETWORKS: list[SmallNetwork] = [
    SMALL,
    Transformer(blocks=2, d_model=16, heads=4, d_mlp=0),
    Transformer(blocks=2, d_model=16, heads=1, d_mlp=24, layer_norm=True),
    Perceptron(widths=(24,)),
    Perceptron(widths=(16, 8)),
]


def stack(network: SmallNetwork, seeds: int, sizes: Sizes = SIZES) -> Tensor:
    return torch.stack([network.initial(sizes, seed) + 0.01 for seed in range(seeds)])


def plain(network: SmallNetwork, weights: dict[str, Tensor], question: list[int]) -> Tensor:
    """The logits of one network for one question, written as the formulas stand in papers; at each position for a transformer."""
    if isinstance(network, Perceptron):
        vocabulary = len(weights["in"]) // len(question)
        one_hot = torch.zeros(len(weights["in"]))
        for position, token in enumerate(question):
            one_hot[position * vocabulary + token] = 1
        states = (one_hot @ weights["in"] + weights["in_bias"]).relu()
        for number in range(1, len(network.widths)):
            states = (states @ weights[f"{number}.weight"] + weights[f"{number}.bias"]).relu()
        return states @ weights["out"]
    assert isinstance(network, Transformer)

    def normed(states: Tensor) -> Tensor:
        if not network.layer_norm:
            return states
        return (states - states.mean(-1, keepdim=True)) / (states.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()

    states = weights["embed"][question] + weights["position"][: len(question)]
    width = network.d_model // network.heads
    for block in range(1, network.blocks + 1):
        read, written = normed(states), []
        for head in range(network.heads):
            own = slice(head * width, (head + 1) * width)
            query, key, value = (read @ weights[f"{block}.{name}"][:, own] for name in ("query", "key", "value"))
            scores = query @ key.T / width**0.5
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
            written.append(scores.softmax(-1) @ value)
        states = states + torch.cat(written, dim=-1) @ weights[f"{block}.output"]
        if network.d_mlp:
            hidden = (normed(states) @ weights[f"{block}.in"] + weights[f"{block}.in_bias"]).relu()
            states = states + hidden @ weights[f"{block}.out"] + weights[f"{block}.out_bias"]
    return normed(states) @ weights["unembed"]


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_a_stack_computes_what_plain_formulas_give(network: SmallNetwork) -> None:
    flat, layout = stack(network, 3), network.layout(SIZES)
    questions = torch.randint(0, 12, (3, 5, 3), generator=torch.Generator().manual_seed(0))
    logits = network.logits(layout.views(flat), questions)
    assert logits.shape == (3, 5, 11)
    for one, row in itertools.product(range(3), range(5)):
        weights = {name: view[one] for name, view in layout.views(flat).items()}
        expected = plain(network, weights, questions[one, row].tolist())
        torch.testing.assert_close(
            logits[one, row], expected[-1] if expected.ndim == 2 else expected, rtol=1e-4, atol=1e-5
        )
    shared = network.logits(layout.views(flat), questions[:1])
    torch.testing.assert_close(shared[0], logits[0])


@pytest.mark.parametrize("context", [5, 12])
def test_a_transformer_answers_at_each_position_and_reads_long_questions(context: int) -> None:
    """Long and short questions take different ways through attention."""
    sizes = Sizes(vocabulary=6, context=context, classes=6)
    network = Transformer(blocks=2, d_model=16, heads=2, d_mlp=16, layer_norm=True, answers="each")
    flat, layout = stack(network, 2, sizes), network.layout(sizes)
    questions = torch.randint(0, 6, (2, 4, context), generator=torch.Generator().manual_seed(0))
    logits = network.logits(layout.views(flat), questions)
    for one, row in itertools.product(range(2), range(4)):
        weights = {name: view[one] for name, view in layout.views(flat).items()}
        torch.testing.assert_close(
            logits[one, row], plain(network, weights, questions[one, row].tolist()), rtol=1e-4, atol=1e-5
        )
    at_last = msgspec.structs.replace(network, answers="last").logits(layout.views(flat), questions)
    torch.testing.assert_close(at_last, logits[:, :, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_states_are_read_and_altered_at_every_place(network: SmallNetwork) -> None:
    flat, layout = stack(network, 2), network.layout(SIZES)
    questions = torch.randint(0, 12, (2, 5, 3), generator=torch.Generator().manual_seed(0))
    seen: list[str] = []

    def read(place: str, states: Tensor) -> Tensor:
        seen.append(place)
        assert states.shape[:2] == (2, 5)
        return states

    untouched = network.logits(layout.views(flat), questions, read)
    assert tuple(seen) == network.places()
    assert torch.equal(untouched, network.logits(layout.views(flat), questions))
    for place in network.places():
        altered = network.logits(layout.views(flat), questions, lambda at, states, place=place: states * (at != place))  # type: ignore[misc]
        assert not torch.allclose(altered, untouched), place


def test_parameters_begin_where_recipes_say() -> None:
    network = Transformer(d_model=64, heads=4, d_mlp=256)
    sizes = Sizes(vocabulary=54, context=3, classes=53)
    views = network.layout(sizes).views(network.initial(sizes, 0)[None])
    assert float(views["embed"].std()) == pytest.approx(64**-0.5, rel=0.05)
    assert float(views["unembed"].std()) == pytest.approx(53**-0.5, rel=0.05)
    assert not views["1.in_bias"].any()
    assert network.layout(sizes).parameters == sum(view.numel() for view in views.values())
    assert torch.equal(network.initial(sizes, 0, 3.0), 3 * network.initial(sizes, 0))
    assert not torch.equal(network.initial(sizes, 1), network.initial(sizes, 0))


SWEEP = [
    Recipe(
        world=WORLD,
        network=SMALL,
        seed=seed,
        fraction=fraction,
        weight_decay=decay,
        learning_rate=rate,
        initial_scale=scale,
    )
    for seed, fraction, decay, rate, scale in [
        (0, 0.4, 1.0, 5e-3, 1.0),
        (1, 0.4, 0.0, 5e-3, 1.0),
        (2, 0.8, 1.0, 2e-3, 2.0),
        (0, 0.8, 3.0, 5e-3, 0.5),
        (4, 0.4, 1.0, 5e-3, 1.0),
    ]
]


@pytest.mark.parametrize("network", [SMALL, Perceptron(widths=(32,))], ids=repr)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_is_the_same_bytes_in_any_company(network: SmallNetwork, threads: int, tmp_path: Path) -> None:
    sweep = [msgspec.structs.replace(one, network=network) for one in SWEEP]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = train_together(sweep, [60], tmp_path / "all").parameters(60)
        alone = [train_together([one], [60], tmp_path / str(at)).parameters(60)[0] for at, one in enumerate(sweep)]
    finally:
        torch.set_num_threads(before)
    for at, single in enumerate(alone):
        assert torch.equal(together[at], single), at
    assert len({hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in together}) == len(sweep)


def test_training_is_torchs_adamw_on_the_plain_formulas(tmp_path: Path) -> None:
    for at, recipe in enumerate(SWEEP[:3]):
        layout = recipe.network.layout(recipe.sizes)
        views = layout.views(recipe.network.initial(recipe.sizes, recipe.seed, recipe.initial_scale)[None])
        weights = {name: view[0].clone().requires_grad_() for name, view in views.items()}
        optimizer = torch.optim.AdamW(
            weights.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=recipe.betas
        )
        rows = WORLD.training_rows(recipe.fraction, recipe.order)
        questions, answers = WORLD.questions()[rows].tolist(), WORLD.answers()[rows]
        for step in range(1, 16):
            optimizer.param_groups[0]["lr"] = recipe.learning_rate * min(1.0, step / recipe.warm_up)
            optimizer.zero_grad()
            logits = torch.stack([plain(SMALL, weights, question)[-1] for question in questions])
            torch.nn.functional.cross_entropy(logits, answers).backward()
            optimizer.step()
        found = layout.views(train_together([recipe], [15], tmp_path / str(at)).parameters(15))
        for name, expected in weights.items():
            torch.testing.assert_close(found[name][0], expected.detach(), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("margin", [5.0, 20.0, 25.0])
def test_what_is_known_almost_surely_still_pulls_on_both_sides(margin: float) -> None:
    """The gradient at the right class is the others' with the other sign; in float32 it is 0 from a margin of 18 on."""
    logits = torch.zeros(1, 1, 53)
    logits[..., 7] = margin
    logits.requires_grad_()
    losses(logits, torch.tensor([[7]]), torch.ones(1, 1)).sum().backward()
    assert logits.grad is not None
    pulled = logits.grad.flatten().double()
    others = 52 / (52 + math.exp(margin))
    assert float(pulled[7]) == pytest.approx(-others, rel=1e-5)
    assert float(pulled.sum()) == pytest.approx(0, abs=1e-5 * others)


def test_a_network_learns_its_questions_and_decay_keeps_it_small(tmp_path: Path) -> None:
    kept = train_together(SWEEP, [0, 300], tmp_path)
    layout = SMALL.layout(SIZES)
    answers = [(WORLD.training_rows(one.fraction, one.order), WORLD.answers()) for one in SWEEP]

    def right(step: int) -> list[float]:
        logits = SMALL.logits(layout.views(kept.parameters(step)), WORLD.questions()[None])
        return [
            float((row[rows].argmax(-1) == true[rows]).float().mean())
            for row, (rows, true) in zip(logits, answers, strict=True)
        ]

    assert max(right(0)) < 0.5
    assert min(right(300)[:2]) > 0.99
    norms = kept.parameters(300).norm(dim=1)
    assert norms[0] < norms[1] and norms[4] < norms[1]


class Killed(Exception):
    pass


def test_killed_and_resumed_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = train_together(SWEEP[:3], [0, 20, 120, 170], tmp_path / "whole")

    def kill(done: int) -> None:
        if done >= 3 * 120:
            raise Killed

    with pytest.raises(Killed):
        train_together(SWEEP[:3], [0, 20, 120, 170], tmp_path / "cut", kill)
    told: list[int] = []
    cut = train_together(SWEEP[:3], [0, 20, 120, 170], tmp_path / "cut", told.append)
    # Of the stretch in which it was killed nothing was kept, and all before it was.
    assert told[0] == 3 * 70 and told[-1] == 3 * 170
    assert cut.steps == whole.steps == (0, 20, 120, 170)
    for step in whole.steps:
        assert torch.equal(cut.parameters(step), whole.parameters(step))
    assert not list((tmp_path / "cut").glob("*.part"))


def test_a_training_goes_on_to_later_steps_and_begins_anew_for_earlier_ones(tmp_path: Path) -> None:
    told: list[int] = []
    train_together(SWEEP[:1], [40], tmp_path, told.append)
    train_together(SWEEP[:1], [40, 60], tmp_path, told.append)
    assert told == [40, 60]
    again = train_together(SWEEP[:1], [10, 60], tmp_path, told.append)
    assert told == [40, 60, 10, 60]
    assert torch.equal(again.parameters(60), train_together(SWEEP[:1], [60], tmp_path / "other").parameters(60))


def test_a_network_is_trained_on_from_where_another_was(tmp_path: Path) -> None:
    """On fewer questions, with new moments: ungrokking begins so."""
    first = train_together(SWEEP[:2], [50], tmp_path / "first").parameters(50)
    fewer = [msgspec.structs.replace(one, fraction=0.2) for one in SWEEP[:2]]
    kept = train_together(fewer, [0, 30], tmp_path / "on", start=first)
    assert torch.equal(kept.parameters(0), first)
    assert not torch.equal(kept.parameters(30), first)
    with pytest.raises(UsageError, match="another recipe"):
        train_together(fewer, [30], tmp_path / "on", start=first + 1)
    with pytest.raises(UsageError, match="start: parameters of shape"):
        train_together(fewer, [30], tmp_path / "on", start=first[:1])


def test_what_is_not_stored_is_named(tmp_path: Path) -> None:
    kept = train_together(SWEEP[:1], [5, 10], tmp_path)
    with pytest.raises(UsageError, match="step: 7 was not stored; stored are 5, 10"):
        kept.parameters(7)
    with pytest.raises(UsageError, match="is a checkpoint of another recipe"):
        train_together(SWEEP[1:2], [5], tmp_path)
    with pytest.raises(UsageError, match="is a checkpoint of another recipe"):
        Checkpoints(tmp_path, "other").parameters(5)
    (tmp_path / "00000005.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(StoreError, match="cannot be read"):
        kept.parameters(5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Recipe(world=WORLD, network=SMALL, fraction=0.0), "fraction: 0.0 is out of range; give a share"),
        (lambda: Recipe(world=WORLD, network=SMALL, fraction=1.0), "fraction: 1.0 is out of range"),
        (lambda: Recipe(world=WORLD, network=SMALL, fraction=float("nan")), "fraction: nan is out of range"),
        (lambda: Recipe(world=WORLD, network=SMALL, learning_rate=0.0), "learning_rate: 0.0"),
        (lambda: Recipe(world=WORLD, network=SMALL, weight_decay=-1.0), "weight_decay: -1.0"),
        (lambda: Recipe(world=WORLD, network=SMALL, betas=(0.9, 1.0)), "betas: "),
        (lambda: Recipe(world=WORLD, network=SMALL, warm_up=-1), "warm_up: -1"),
        (lambda: Recipe(world=WORLD, network=SMALL, initial_scale=0.0), "initial_scale: 0.0"),
        (lambda: Transformer(d_model=16, heads=3), "heads: 3 heads cannot share a width of 16"),
        (lambda: Transformer(blocks=0), "blocks: 0 is less than 1"),
        (lambda: Perceptron(widths=()), "widths: .* names no layers"),
    ],
)
def test_what_makes_no_recipe_is_refused(make: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


@pytest.mark.parametrize(
    ("recipes", "steps", "says"),
    [
        ([], [1], "networks: there is none"),
        (SWEEP[:1], [], "steps: "),
        (SWEEP[:1], [-1], "steps: "),
        (
            [SWEEP[0], msgspec.structs.replace(SWEEP[0], network=Perceptron())],
            [1],
            "networks: some differ in kind or size",
        ),
        ([SWEEP[0]] * 10**6, [1], r"networks: 1,000,000 of 2,\d+ parameters do not fit"),
    ],
)
def test_what_cannot_be_trained_is_refused(recipes: Any, steps: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        train_together(recipes, steps, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def by_heart(rows: int, size: float) -> tuple[Tensor, Any, Tensor]:
    """Each of so many rows has a unit of its own, of input weights u at its two tokens and a bias −u, and an output weight u: u² at the answer."""
    network = Perceptron(widths=(rows,))
    layout = network.layout(Sizes(vocabulary=rows, context=2, classes=5))
    parameters = torch.zeros(1, layout.size)
    views = layout.views(parameters)
    row, answers = torch.arange(rows), torch.arange(rows) % 5
    views["in"][0, row, row] = views["in"][0, rows + row, row] = views["out"][0, row, answers] = size
    views["in_bias"][0] = -size
    questions = torch.stack([row, row], dim=1)[None]
    return parameters, lambda flat: network.logits(layout.views(flat), questions), answers


def test_the_efficiency_at_a_logit_is_the_same_however_large_the_weights_are() -> None:
    """To give u²(1 − 1/k) = o, u is √(o / (1 − 1/k)), and the norm u √(4 D)."""
    norms = {}
    for rows, size in ((4, 3.0), (4, 0.2), (16, 3.0)):
        flat, logits, answers = by_heart(rows, size)
        (found,) = norms_at(10.0, lambda flat, of=logits, to=answers: answer_logits(of(flat), to), flat)  # type: ignore[misc]
        assert float(found) == pytest.approx(math.sqrt(10 / (1 - 1 / 5)) * math.sqrt(4 * rows), rel=1e-4)
        norms[rows, size] = float(found)
    # At the weights that a network has, the smaller ones looked less efficient.
    assert norms[4, 0.2] == pytest.approx(norms[4, 3.0], rel=1e-4)
    flat, logits, answers = by_heart(4, 3.0)
    never = norms_at(10.0, lambda flat: -answer_logits(logits(flat), answers), flat)
    assert never.isnan().all()


def test_the_efficiency_of_circuits_that_were_put_in_by_hand() -> None:
    """Logits are u² of k classes; the norm is u √(4 D), for it has two input weights, a bias and an output weight a row."""
    found, size = {}, 3.0
    for rows in (4, 16):
        parameters, logits, answers = by_heart(rows, size)
        found[rows] = float(efficiencies(logits(parameters), answers, parameters))
        assert found[rows] == pytest.approx(size**2 * (1 - 1 / 5) / (size * math.sqrt(4 * rows)))
    # Learning by heart is half as efficient on four times as many rows.
    assert found[16] == pytest.approx(found[4] / 2)
    assert float(answer_logits(torch.ones(1, 3, 4), torch.tensor([0, 1, 2]))) == 0
