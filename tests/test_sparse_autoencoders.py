"""Sparse autoencoders: losses against plain loops, dictionaries of which all is known, planted directions that are found, and claims about them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from harness import language, pipeline
from harness.analyses.sparse_autoencoders.on_states import VARIANTS
from harness.analyses.sparse_autoencoders.spliced import recovered, spliced_losses
from harness.checks._autoencoders import middle
from harness.contracts import kind
from harness.errors import CheckError, SpecError, UsageError
from harness.execution.run import Run
from harness.maths.dictionaries import RECOVERED, described, recovered_by_chance
from harness.networks import training_autoencoders
from harness.networks.jump_relu import BANDWIDTH
from harness.networks.sparse_autoencoder import Autoencoder, Variant, activations, decoded, loss
from harness.networks.training_autoencoders import Schedule, _rows, train_autoencoders
from harness.store import Store
from harness.subjects.formula import Formula
from harness.subjects.planted_directions import planted_directions
from harness.worlds.sparse_features import LEVELS
from tests.benchmarks import plain_autoencoder
from tests.test_pipeline import write_text
from tests.test_watched_networks import finding


def bed(**options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", "sparse_features"))


def stacked(*each: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def drawn(variant: Variant, seed: int, width: int = 3, dictionary: int = 5) -> dict[str, torch.Tensor]:
    """Parameters of no meaning, none of which is zero."""
    generator = torch.Generator().manual_seed(seed)
    shapes = Autoencoder(variant=variant, sparsity=1, width=width, dictionary=dictionary).layout().shapes
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


# ---------------------------------------------------------------- losses


def by_loop(variant: Variant, own: dict[str, torch.Tensor], states: torch.Tensor, sparsity: float) -> float:
    """The loss as the papers write it, a state and a feature at a time."""
    total = 0.0
    for state in states:
        centred = state - own["decoder_bias"]
        products = [float(centred @ own["encoder"][:, feature]) for feature in range(own["encoder"].shape[1])]
        gate = [product + float(bias) for product, bias in zip(products, own["encoder_bias"], strict=True)]
        opened = [max(0.0, one) for one in gate]
        found = opened
        if variant == "gated":
            found = [
                max(0.0, math.exp(own["gain"][at]) * product + float(own["gain_bias"][at])) * (gate[at] > 0)
                for at, product in enumerate(products)
            ]
        if variant == "jumprelu":
            found = [one if one > math.exp(own["log_threshold"][at]) else 0.0 for at, one in enumerate(gate)]
        if variant == "top_k":
            kept = sorted(opened, reverse=True)[: int(sparsity)]
            found = [one if one in kept else 0.0 for one in opened]

        def error(features: list[float], state: torch.Tensor = state) -> float:
            back = own["decoder_bias"] + sum(one * own["decoder"][at] for at, one in enumerate(features))
            return float((back - state).square().sum())

        total += error(found)
        counted = {"top_k": 0.0, "jumprelu": float(sum(one > 0 for one in found))}
        total += sparsity * counted.get(variant, sum(opened))
        total += error(opened) if variant == "gated" else 0.0
    return total / len(states)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_is_that_of_a_plain_loop(variant: Variant) -> None:
    states = torch.randn(6, 3, generator=torch.Generator().manual_seed(9))
    sparsities = [2.0, 3.0]
    own = [drawn(variant, seed) for seed in (1, 2)]
    found = loss(variant, stacked(*own), states, torch.tensor(sparsities))
    expected = [by_loop(variant, one, states, sparsity) for one, sparsity in zip(own, sparsities, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_what_opens_a_gate_leaves_the_directions_alone() -> None:
    """The third part of the gated loss holds the decoder fixed (Rajamanoharan et al. 2024, §3.2): where every gate is closed for the other parts, and opened is
    nothing, it has no gradient; where all are open, the decoder's is that of the first part alone."""
    states = torch.randn(6, 3, generator=torch.Generator().manual_seed(9))
    own = {name: tensor[None].requires_grad_() for name, tensor in drawn("gated", 1).items()}
    loss("gated", own, states, torch.tensor([0.0])).sum().backward()
    assert own["decoder"].grad is not None
    alone = {name: tensor.detach().clone().requires_grad_() for name, tensor in own.items()}
    back = decoded(alone, activations("gated", alone, states[None], torch.tensor([0.0])))
    (back - states).square().sum(2).mean(1).sum().backward()
    assert torch.allclose(own["decoder"].grad, alone["decoder"].grad)  # type: ignore[arg-type]
    # The gate's threshold learns from nothing else.
    assert own["encoder_bias"].grad is not None and bool(own["encoder_bias"].grad.any())
    assert not bool(alone["encoder_bias"].grad.any())  # type: ignore[union-attr]


def test_so_many_features_are_kept_of_each_state() -> None:
    own = drawn("top_k", 4, dictionary=20)
    states = torch.randn(40, 3, generator=torch.Generator().manual_seed(2))
    found = activations("top_k", stacked(own, own), states, torch.tensor([2.0, 4.0]))
    whole = activations("l1", stacked(own, own), states, torch.tensor([2.0, 4.0]))
    for network, count in enumerate((2, 4)):
        active = (found[network] > 0).sum(1)
        assert int(active.max()) == count
        assert torch.equal(active, (whole[network] > 0).sum(1).clamp(max=count))
        assert torch.equal(found[network].max(1).values, whole[network].max(1).values)


def test_thresholds_learn_by_the_estimators_of_the_paper() -> None:
    """Equations 11 and 12 of Rajamanoharan et al. 2024b, a state and a feature at a time; without the rectangle a step would teach nothing."""
    states = torch.randn(400, 3, generator=torch.Generator().manual_seed(9))
    own = {name: tensor[None].double() for name, tensor in drawn("jumprelu", 1).items()}
    own["log_threshold"] = own["log_threshold"] / 4 - 1
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in own.items()}
    sparsity = 0.3
    loss("jumprelu", leaves, states.double(), torch.tensor([sparsity], dtype=torch.float64)).sum().backward()
    flat = {name: tensor[0].numpy() for name, tensor in own.items()}
    threshold = np.exp(flat["log_threshold"])
    expected, near = np.zeros(5), 0
    for state in states.double().numpy():
        products = (state - flat["decoder_bias"]) @ flat["encoder"] + flat["encoder_bias"]
        features = np.where(products > threshold, products, 0)
        missed = features @ flat["decoder"] + flat["decoder_bias"] - state
        for at, product in enumerate(products):
            if abs(product - threshold[at]) < BANDWIDTH / 2:
                near += 1
                by_feature = 2 * missed @ flat["decoder"][at]
                # By the logarithm of the threshold.
                expected[at] += (-threshold[at] / BANDWIDTH * by_feature - sparsity / BANDWIDTH) * threshold[at]
    assert near > 20
    np.testing.assert_allclose(leaves["log_threshold"].grad[0], expected / len(states), rtol=1e-9)  # type: ignore[index]
    # Of the encoder it is the slope of the error where features are active, and nothing of the step.
    plain = {name: tensor.clone().requires_grad_() for name, tensor in own.items()}
    gate = (activations("jumprelu", plain, states.double(), torch.tensor([0.0])) > 0).detach()
    back = decoded(plain, ((states.double() - plain["decoder_bias"]) @ plain["encoder"] + plain["encoder_bias"]) * gate)
    (back - states).square().sum(2).mean(1).sum().backward()
    assert torch.allclose(leaves["encoder"].grad, plain["encoder"].grad)  # type: ignore[arg-type]


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("variant", ["l1", "jumprelu"])
def test_training_is_that_of_a_plain_loop_of_torch(variant: Variant) -> None:
    states = torch.randn(200, 16, generator=torch.Generator().manual_seed(3)) / 4
    one = Autoencoder(variant=variant, sparsity=0.3 if variant == "l1" else 0.05, width=16, dictionary=32, seed=1)
    schedule = Schedule(steps=50, batch=16)
    (ours,) = train_autoencoders([one], states, schedule)
    plain = plain_autoencoder.train(one, states, schedule, _rows(1, 0, 200, 16))
    for name, tensor in ours.items():
        assert torch.allclose(tensor, getattr(plain, name), atol=2e-4), name
    begun = one.layout().views(one.initial()[None])
    assert all(float((tensor - begun[name][0]).abs().max()) > 0.01 for name, tensor in ours.items()), "all of it learns"
    assert torch.allclose(ours["decoder"].norm(dim=1), torch.ones(32), atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_autoencoder_has_the_bytes_that_it_has_alone(variant: Variant) -> None:
    states = torch.randn(100, 16, generator=torch.Generator().manual_seed(3))
    every = [
        Autoencoder(variant=variant, sparsity=sparsity, width=16, dictionary=32, seed=seed)
        for sparsity in (1.0, 2.0)
        for seed in range(2)
    ]
    schedule = Schedule(steps=70, batch=16)
    told: list[int] = []
    together = train_autoencoders(every, states, schedule, told.append)
    assert told == [200, 280]
    for one, own in zip(every, together, strict=True):
        (alone,) = train_autoencoders([one], states, schedule)
        assert all(torch.equal(alone[name], own[name]) for name in own)
    assert not torch.equal(together[0]["decoder"], together[1]["decoder"])


class Killed(Exception):
    pass


@pytest.mark.parametrize("kept", ["all", "some"])
def test_what_was_killed_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    states = torch.randn(100, 16, generator=torch.Generator().manual_seed(3))
    asked: tuple[tuple[Variant, float], ...] = (("l1", 0.1), ("jumprelu", 0.05), ("l1", 0.3), ("l1", 0.2))
    every = [Autoencoder(variant=variant, sparsity=sparsity, width=16, dictionary=32) for variant, sparsity in asked]
    schedule = Schedule(steps=220, batch=16)
    whole = train_autoencoders(every, states, schedule, folder=tmp_path / "whole")
    assert not (tmp_path / "whole").exists(), "what takes less than 20 s is not kept"
    monkeypatch.setattr(training_autoencoders, "KEPT_EVERY_S", -1.0)

    def kill(steps: int) -> None:
        if steps >= 150 * len(every):
            raise Killed

    with pytest.raises(Killed):
        train_autoencoders(every, states, schedule, kill, tmp_path / "killed")
    files = sorted((tmp_path / "killed").rglob("state.safetensors"))
    assert len(files) == 2, "one for each variant"
    if kept == "some":
        # One was being written when the run was killed: it begins again, and the other one waits for it.
        files[0].unlink()
    done: list[int] = []
    real = training_autoencoders._trained

    def counted(own: Any, stack: Any, *rest: Any) -> Any:
        done.append(stack.step)
        return real(own, stack, *rest)

    monkeypatch.setattr(training_autoencoders, "_trained", counted)
    again = train_autoencoders(every, states, schedule, folder=tmp_path / "killed")
    assert min(done) == (100 if kept == "all" else 0) and max(done) == 200
    for one, other in zip(whole, again, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_leaves_what_the_next_one_goes_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, store = tmp_path / "dictionaries.yaml", Store(tmp_path / "store")
    path.write_text(SPEC.replace("ASKED", ASKED.replace("steps: 60", "steps: 120")))
    monkeypatch.setattr(training_autoencoders, "KEPT_EVERY_S", -1.0)
    real = training_autoencoders._trained

    def killed(own: Any, stack: Any, *rest: Any) -> Any:
        if stack.step >= 50:
            raise Killed
        return real(own, stack, *rest)

    monkeypatch.setattr(training_autoencoders, "_trained", killed)
    with pytest.raises(Killed):
        pipeline.run(path, out=tmp_path / "reports", store=store, page=False)
    (left,) = (store.root / "sparse_autoencoder").glob("*~underway")
    assert len(list(left.rglob("state.safetensors"))) == 4
    monkeypatch.setattr(training_autoencoders, "_trained", real)
    outcome = pipeline.run(path, out=tmp_path / "reports", store=store, page=False)
    assert not left.exists() and store.keys("sparse_autoencoder")
    table = pl.read_parquet(outcome.folder / "autoencoders.parquet")
    elsewhere = pipeline.run(path, out=tmp_path / "elsewhere", store=Store(tmp_path / "other"), page=False)
    assert pl.read_parquet(elsewhere.folder / "autoencoders.parquet").equals(table)


def test_what_is_drawn_first_is_none_of_the_planted_directions() -> None:
    """Directions that a bed and an autoencoder draw by the same seed are not the same."""
    for seed in range(3):
        planted = bed(world=seed).planted()
        first = Autoencoder(variant="l1", sparsity=1, width=32, dictionary=128, seed=seed)
        begun = first.layout().views(first.initial()[None])["decoder"][0]
        assert float((begun @ planted.T).max()) < 0.85


def test_planted_directions_are_found_and_none_without_training() -> None:
    made = bed(features=16, d_model=16, density=0.1)
    states = made.states(made.load(2000, 0)["tokens_0"].to_list())[0]
    states = (states - states.mean(0)) / (states - states.mean(0)).square().sum(1).mean().sqrt()
    asked: tuple[tuple[Variant, float], ...] = (("l1", 0.2), ("top_k", 2), ("jumprelu", 0.06))
    every = [Autoencoder(variant=variant, sparsity=sparsity, width=16, dictionary=32) for variant, sparsity in asked]
    for steps, found in ((1, False), (1500, True)):
        for one, own in zip(
            every, train_autoencoders(every, states, Schedule(steps=steps, batch=64, learning_rate=1e-2)), strict=True
        ):
            features = activations(one.variant, stacked(own), states[None], torch.tensor([one.sparsity]))
            back = decoded(stacked(own), features)[0]
            told = described(states, back, features[0], own["decoder"], made.planted())
            assert told.recovered is not None
            assert told.recovered >= 0.95 if found else told.recovered <= 0.2


# ---------------------------------------------------------------- measures


def test_measures_of_a_dictionary_that_is_known() -> None:
    directions = torch.eye(2)
    features = torch.tensor([[1.0, 0], [0, 2], [0, 0], [3, 0]])
    states = features @ directions
    whole = described(states, states, features, directions, directions)
    assert (whole.explained, whole.shrinkage, whole.l0, whole.alive, whole.l1) == (1, 1, 0.75, 1, 1.5)
    assert (whole.recovered, whole.angle) == (1, pytest.approx(0, abs=1e-3)) and whole.l1_planted == 1.5
    half = described(states, states / 2, features / 2, directions, directions)
    assert (half.shrinkage, half.explained) == (0.5, 0.75)
    # A feature that is never active finds nothing.
    dead = described(states, states, features * torch.tensor([1.0, 0]), directions, directions)
    assert (dead.recovered, dead.alive) == (0.5, 0.5)
    backwards = described(states, states, features, -directions, directions)
    assert (backwards.recovered, backwards.angle) == (0, pytest.approx(0, abs=1e-3))
    assert described(states, states, features, directions).recovered is None
    oblique = torch.tensor([[1.0, 0], [0.6, 0.8]])
    assert described(states, states, features, directions, oblique).l1_planted is None


def test_a_dictionary_of_which_nothing_is_active_recovers_nothing() -> None:
    states, directions = torch.eye(2), torch.eye(2)
    found = described(states, torch.zeros(2, 2), torch.zeros(2, 2), directions, directions)
    assert (found.recovered, found.by_chance, found.alive, found.l1_planted) == (0, 0, 0, 1)
    assert found.angle is not None and math.isnan(found.angle) and math.isnan(found.shrinkage)
    assert described(states, torch.zeros(2, 2), torch.zeros(2, 2), directions).recovered is None


@pytest.mark.parametrize(("features", "dimensions"), [(1, 2), (4, 2), (32, 5), (20, 1)])
def test_what_chance_recovers_is_what_random_directions_do(features: int, dimensions: int) -> None:
    drawn = torch.randn(20_000, features, dimensions, generator=torch.Generator().manual_seed(1))
    found = (drawn / drawn.norm(dim=2, keepdim=True))[:, :, 0].max(1).values >= RECOVERED
    assert recovered_by_chance(features, dimensions) == pytest.approx(float(found.double().mean()), abs=0.01)
    assert recovered_by_chance(128, 32) < 1e-6


def test_the_diagonals_of_a_square_cost_less_than_its_sides() -> None:
    """Of x even in [−½, ½]²: E|x| + E|y| is ½ along the sides, and E|x + y|/√2 + E|x − y|/√2 = √2/3 along the diagonals."""
    line = (torch.arange(400) + 0.5) / 400 - 0.5
    states = torch.cartesian_prod(line, line)
    turned = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [-1, 1]]) / 2**0.5
    features = (states @ turned.T).relu()
    found = described(states, features @ turned, features, turned, torch.eye(2))
    assert found.explained == pytest.approx(1) and found.shrinkage == pytest.approx(1)
    assert found.angle == pytest.approx(45, abs=1e-3) and found.recovered == 0
    assert (found.l1, found.l1_planted) == (pytest.approx(2**0.5 / 3, abs=1e-4), pytest.approx(0.5, abs=1e-4))


# ---------------------------------------------------------------- the bed


def test_states_are_sums_along_known_directions() -> None:
    made = bed(features=6, d_model=4, density=0.3)
    table = made.load(50, 0)
    expected = torch.tensor(table["features"].to_list()).double() @ made.planted().double()
    assert torch.allclose(made.states(table["tokens_0"].to_list())[0].double(), expected, atol=1e-6)
    assert torch.allclose(made.planted().norm(dim=1), torch.ones(6))
    assert not torch.equal(made.planted(), bed(features=6, d_model=4, world=1).planted())
    axes = bed(features=3, d_model=4, directions="axes")
    rows = axes.load(5, 0)["tokens_0"].to_list()
    assert torch.allclose(axes.states(rows)[0, :, :3], torch.tensor(rows) / LEVELS)
    assert planted_directions(Formula(axes)) is not None
    for options, said in (
        ({"features": 5, "d_model": 4, "directions": "axes"}, "no axes of their own"),
        ({"features": 5, "pairing": "correlated"}, "no pairs"),
    ):
        with pytest.raises(msgspec.ValidationError, match=said):
            bed(**options)


# ---------------------------------------------------------------- claims


class Known:
    """Evidence of autoencoders and of nothing else."""

    def __init__(self, *rows: dict[str, Any]):
        self.rows = pl.DataFrame([{"layer": 0, **row} for row in rows])

    def told(self, analysis: str, condition: str) -> pl.DataFrame:
        assert (analysis, condition) == ("sparse_autoencoders", "main")
        return self.rows


def seeds(variant: str, sparsity: float, **measures: Any) -> list[dict[str, Any]]:
    return [{"variant": variant, "sparsity": sparsity, "seed": seed, **measures} for seed in range(6)]


def test_claims_about_autoencoders() -> None:
    found = {"explained": 0.9, "recovered": 1.0, "shrinkage": 0.8, "angle": 40.0, "l1": 0.9, "l1_planted": 1.2}
    missed = {"explained": 0.99, "recovered": 0.0, "shrinkage": 0.97, "angle": 3.0, "l1": 1.0, "l1_planted": 1.2}
    gated = {**found, "shrinkage": 1.02}
    own: Any = Known(
        *seeds("l1", 0.2, **found),
        *seeds("l1", 0.03, **missed),
        *seeds("gated", 0.8, **gated),
        *seeds("gated", 0.3, **found),
    )
    assert finding("sae_recovers_features", own) == "pass"
    assert finding("sae_recovers_features", own, sparsity=0.03) == "fail"
    assert finding("gated_does_not_shrink", own) == "pass"
    assert finding("gated_does_not_shrink", own, l1_penalty=0.03) == "fail"
    assert finding("gated_does_not_shrink", own, sparsity=0.3) == "fail"
    # At full size, .9 / .8 is less than 1.2.
    assert finding("sae_finds_principal_axes", own) == "pass"
    assert finding("sae_finds_principal_axes", own, sparsity=0.03) == "fail"
    dearer: Any = Known(*seeds("l1", 0.2, **{**found, "l1": 1.0}))
    assert finding("sae_finds_principal_axes", dearer) == "fail"
    with pytest.raises(
        CheckError, match=r"no top_k autoencoders of sparsity 0.2 .* trained were l1 0.2, l1 0.03, gated 0.8, gated 0.3"
    ):
        finding("sae_recovers_features", own, variant="top_k")
    unknown: Any = Known(*seeds("l1", 0.2, **{**found, "recovered": None}))
    with pytest.raises(CheckError, match="nobody knows the directions"):
        finding("sae_recovers_features", unknown)
    unmade: Any = Known(*seeds("l1", 0.2, **dict.fromkeys(found)))
    with pytest.raises(CheckError, match="nobody knows the directions"):
        finding("sae_finds_principal_axes", unmade)
    oblique: Any = Known(*seeds("l1", 0.2, **{**found, "l1_planted": None}))
    with pytest.raises(CheckError, match=r"known, but not orthogonal, .* `directions: axes`"):
        finding("sae_finds_principal_axes", oblique)


def test_what_gives_nothing_back_does_not_hold() -> None:
    """Neither as what does not shrink, nor as what does, nor as what turns away."""
    full, small = {"shrinkage": 1.02}, {"shrinkage": 0.8}
    nothing = {"shrinkage": math.nan}
    own: Any = Known(*seeds("gated", 0.8, **full), *seeds("l1", 0.2, **small))
    assert finding("gated_does_not_shrink", own) == "pass"
    for gated, l1 in ((nothing, small), (full, nothing)):
        dead: Any = Known(*seeds("gated", 0.8, **gated), *seeds("l1", 0.2, **l1))
        assert finding("gated_does_not_shrink", dead) == "fail"
    turned = {"recovered": 0.0, "angle": math.nan, "l1": 0.0, "l1_planted": 1.2, **nothing}
    unturned: Any = Known(*seeds("l1", 0.2, **turned))
    assert finding("sae_finds_principal_axes", unturned) == "fail"
    values = np.array([0.5, math.nan, 0.7])
    assert (middle(values), middle(values[:1]), middle(values[1:2])) == ("0.600 in 2 of 3", "0.500", "none")


def test_autoencoders_that_are_no_pairs_are_not_compared() -> None:
    gated, l1 = seeds("gated", 0.8, shrinkage=1.02), seeds("l1", 0.2, shrinkage=0.8)
    fewer: Any = Known(*gated, *l1[:4])
    with pytest.raises(
        CheckError, match=r"6 gated .* on layer 0 of main and 4 l1 ones .* are no pairs; train both in one block"
    ):
        finding("gated_does_not_shrink", fewer)
    elsewhere: Any = Known(*gated, *({**row, "layer": 1} for row in l1))
    with pytest.raises(CheckError, match=r"on layer 0 of main .* on layer 1 are no pairs"):
        finding("gated_does_not_shrink", elsewhere)


# ---------------------------------------------------------------- from end to end

SPEC = """\
harness: 1
name: dictionaries
model: {bed: sparse_features, features: 8, d_model: 16, density: 0.1}
data: {limit: 300, target: {column: features, kind: vector}}
probes: [ridge]
metrics: [r2]
analyses: [{kind: sparse_autoencoders, on: [ASKED]}]
checks: [{kind: sae_recovers_features, sparsity: 0.2, least: 0.01}]
"""
ASKED = "{l1: [0.2], gated: [0.5], top_k: [2], jumprelu: [0.05], dictionary: 16, steps: 60, batch: 32}"


def test_a_spec_trains_them_and_its_report_says_what_they_find(tmp_path: Path) -> None:
    path = tmp_path / "dictionaries.yaml"
    path.write_text(SPEC.replace("ASKED", ASKED))
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"))
    assert outcome.checks["finding"].to_list()[0] in ("pass", "fail", "inconclusive")
    table = pl.read_parquet(outcome.folder / "autoencoders.parquet")
    assert table.height == 24 and set(table["variant"]) == set(VARIANTS)
    assert table["recovered"].null_count() == 0
    assert "## Sparse autoencoders" in (outcome.folder / "report.md").read_text()
    # What is stored is what is read again.
    again = pipeline.run(path, out=tmp_path / "again", store=Store(tmp_path / "store"))
    assert again.cached and pl.read_parquet(again.folder / "autoencoders.parquet").equals(table)


def test_states_of_a_language_model_serve_as_well(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_text(tmp_path, tiny_llama)
    options = "l1: [0.1], dictionary: 32, steps: 40, batch: 16, seeds: 2"
    asked = ", ".join(f"{{condition: plain, layer: {layer}, {options}}}" for layer in (1, 2))
    path.write_text(f"{path.read_text()}analyses: [{{kind: sparse_autoencoders, on: [{asked}]}}]\n")
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"))
    table = pl.read_parquet(outcome.folder / "autoencoders.parquet")
    assert table["layer"].to_list() == [1, 1, 2, 2] and table["recovered"].null_count() == 4
    assert bool(table["explained"].is_finite().all())
    assert "recovered |" not in (outcome.folder / "report.md").read_text()


def test_loss_recovered_is_that_of_plain_hooks(tmp_path: Path, tiny_llama: Path) -> None:
    """Each text by the library's own pass, with a hook that replaces what comes out of a block; and zeros and the states themselves as controls."""
    path = write_text(tmp_path, tiny_llama)
    options = "layer: 2, l1: [0.1], top_k: [4], dictionary: 32, steps: 60, batch: 16, seeds: 1, texts: 5"
    path.write_text(
        f"{path.read_text()}analyses: [{{kind: sparse_autoencoders, on: [{{condition: plain, {options}}}]}}]\n"
    )
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"))
    table = pl.read_parquet(outcome.folder / "autoencoders.parquet")
    assert "loss recovered |" in (outcome.folder / "report.md").read_text()
    plan = pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))
    run = Run(plan, Store(tmp_path / "store"))
    (stage,) = plan.of("sparse_autoencoder")
    made, network = run.get(stage), run.networks.load(plan.subjects["plain"].card)  # type: ignore[attr-defined]
    frame = run.conditions.table("plain").frame.filter(answer=0, split="test")
    texts = frame["tokens"].to_list()[:5]

    def loss(change: Any) -> float:
        total, count = 0.0, 0

        def hook(_: Any, args: Any, output: Any) -> Any:
            states = output[0] if isinstance(output, tuple) else output
            altered = torch.cat([states[:, :1], change(states[0, 1:])[None]], dim=1)
            return (altered, *output[1:]) if isinstance(output, tuple) else altered

        handle = network.blocks[1].register_forward_hook(hook)
        try:
            for text in texts:
                tokens = torch.tensor([text])
                with torch.no_grad():
                    logits = network.model(tokens).logits[0]
                total += float(torch.nn.functional.cross_entropy(logits[1:-1], tokens[0, 2:], reduction="sum"))
                count += len(text) - 2
        finally:
            handle.remove()
        return total / count

    plain, zero = loss(lambda states: states), loss(torch.zeros_like)
    np.testing.assert_allclose(table["loss_plain"], plain, rtol=1e-5)
    np.testing.assert_allclose(table["loss_zero"], zero, rtol=1e-5)
    assert abs(zero - plain) > 1e-3
    for number, row in enumerate(table.iter_rows(named=True)):
        own = made.parameters[number]

        def given_back(states: torch.Tensor, own: Any = own, row: Any = row) -> torch.Tensor:
            rows = (states - made.shift) * made.scale
            products = ((rows - own["decoder_bias"]) @ own["encoder"] + own["encoder_bias"]).relu()
            if row["variant"] == "top_k":
                products = products * (products >= products.sort(dim=1).values[:, -4, None])
            return (products @ own["decoder"] + own["decoder_bias"]) / made.scale + made.shift

        assert row["loss"] == pytest.approx(loss(given_back), rel=1e-5)
        if zero > plain:
            assert row["loss_recovered"] == pytest.approx(1 - (row["loss"] - plain) / (zero - plain), abs=1e-3)
    # The states themselves recover all of it, and zeros nothing.
    sums = spliced_losses(network, 2, texts, [lambda states: states, torch.zeros_like])
    np.testing.assert_allclose(sums[2], sums[0])
    np.testing.assert_allclose(sums[3], sums[1])


def test_the_interval_of_what_is_recovered_covers() -> None:
    """A ratio of means over texts, against a thousand draws of which the true value is known."""
    random, held = np.random.default_rng(0), []
    for _ in range(1000):
        size = random.uniform(1, 5, 60)
        plain = size * random.normal(3, 0.2, 60)
        zero, own = plain + size * random.normal(5, 1, 60), plain + size * random.normal(1, 0.5, 60)
        _, low, high = recovered(own, plain, zero)
        held.append(low <= 0.8 <= high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_states_of_a_site_have_their_own_width(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_text(tmp_path, tiny_llama)
    site = "activations: {site: neurons, layers: [1, 2]}\n"
    asked = "{condition: plain, l1: [0.1], dictionary: 32, steps: 20, batch: 16, seeds: 1}"
    path.write_text(f"{path.read_text()}{site}analyses: [{{kind: sparse_autoencoders, on: [{asked}]}}]\n")
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"))
    assert pl.read_parquet(outcome.folder / "autoencoders.parquet")["layer"].to_list() == [2]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("{l1: [0.2], condition: mine}", 'no condition "mine"'),
        ("{l1: [0.2], layer: 3}", "layer 3 of main is not kept"),
        ("{l1: [0.2], layer: -2}", "layer -2 of main is not kept"),
        ("{l1: [0.2], texts: 5}", "texts: main is no language model as it was published; take `texts` out"),
        ("{}", "there is none to train"),
        ("{top_k: [20], dictionary: 16}", "more than there are"),
        ("{l1: [0]}", "it must be above 0"),
        ("{l1: [0.2, 0.1, 0.20]}", "l1: 0.2 stands there more than once"),
        ("{gated: [0.5, 0.5]}", "gated: 0.5 stands there more than once"),
        ("{top_k: [2, 2]}", "top_k: 2 stands there more than once"),
        ("{l1: [0.2]}, {gated: [0.5], layer: 0}", "on[1]: on[0] has autoencoders on layer 0 of main already"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, asked: str, said: str) -> None:
    path = tmp_path / "dictionaries.yaml"
    path.write_text(SPEC.replace("ASKED", asked))
    with pytest.raises((UsageError, SpecError)) as caught:
        pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))
    told = [str(one) for one in getattr(caught.value, "problems", [])] or [str(caught.value)]
    assert any(said in one for one in told), told


def test_no_check_asks_for_what_nobody_trains(tmp_path: Path) -> None:
    path = tmp_path / "dictionaries.yaml"
    text = SPEC.replace("ASKED", ASKED)
    path.write_text(text[: text.index("analyses:")] + text[text.index("checks:") :])
    with pytest.raises(
        SpecError, match="this is about what `sparse_autoencoders` finds, which the spec does not ask for"
    ):
        pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"))
