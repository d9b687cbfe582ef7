"""Toy models of superposition: how directions share a space in closed form, features that are drawn, and networks that give them back."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from harness import pipeline
from harness.analyses.measurements import by_density
from harness.contracts import Watch, kind
from harness.errors import UsageError
from harness.maths.superposition import dimensionality, dimensions_per_feature, pair_cosine, represented
from harness.networks import reconstructing
from harness.networks.checkpoints import Checkpoints
from harness.networks.recipe import Recipe
from harness.networks.reconstructing import reconstruct_together
from harness.networks.stacked import Stacked
from harness.networks.toy_model import ToyModel
from harness.networks.watched import Watched
from harness.store import Store
from harness.subjects.small_networks import SmallNetworks
from harness.worlds.sparse_features import LEVELS, Pairing, SparseFeatures
from tests.test_watched_networks import Watches, finding, planned, problems

TURNS = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
PENTAGON = torch.stack([TURNS.cos(), TURNS.sin()], dim=1)
PAIRS = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
TETRAHEDRON = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
ALONE = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])


def bed(**options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", "superposition"))


# ---------------------------------------------------------------- directions


@pytest.mark.parametrize(
    ("directions", "each"),
    [(PENTAGON, 2 / 5), (PAIRS, 1 / 2), (TETRAHEDRON, 3 / 4), (3 * TETRAHEDRON, 3 / 4)],
)
def test_directions_of_known_figures_have_the_dimensions_of_the_paper(directions: torch.Tensor, each: float) -> None:
    assert dimensionality(directions).numpy() == pytest.approx(np.full(len(directions), each))
    norms = float(directions.square().sum()) / len(directions)
    assert float(dimensions_per_feature(directions)) == pytest.approx(
        directions.shape[1] / len(directions) / norms, rel=1e-6
    )


def test_a_feature_without_a_direction_has_no_dimension() -> None:
    assert dimensionality(ALONE).tolist() == [1, 1, 1, 0]
    assert float(dimensions_per_feature(ALONE)) == 1
    assert represented(ALONE).tolist() == [True, True, True, False]
    assert not represented(ALONE * 0.7).any()


def test_mixtures_use_as_many_dimensions_and_represent_nothing() -> None:
    """A projection on five of twenty dimensions, turned: what a network of dense features that all count alike may end with."""
    turned = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)).double()).Q[:, :5]
    assert float(dimensions_per_feature(turned)) == pytest.approx(1)
    assert float(dimensionality(turned).max()) < 0.7
    assert int(represented(turned).sum()) <= 5


def test_pairs_are_told_by_their_angle() -> None:
    assert float(pair_cosine(PAIRS)) == pytest.approx(-1)
    assert float(pair_cosine(ALONE)) == 0
    assert float(pair_cosine(PAIRS.repeat_interleave(2, dim=0)[[0, 1, 4, 5]])) == pytest.approx(1)
    # A pair that is hardly represented hardly counts.
    faint = torch.tensor([[1.0, 0], [-1, 0], [0, 1e-3], [0, 1e-3]])
    assert float(pair_cosine(faint)) == pytest.approx(-1, abs=1e-4)


# ---------------------------------------------------------------- features


@pytest.mark.parametrize("pairing", ["independent", "correlated", "anticorrelated"])
def test_features_are_drawn_as_often_as_they_say(pairing: Pairing) -> None:
    world = SparseFeatures(features=6, density=0.3, pairing=pairing)
    drawn = world.drawn(20_000, 1)
    active = drawn > 0
    assert active.double().mean(0).numpy() == pytest.approx(np.full(6, 0.3), abs=0.02)
    both = (active[:, 0] & active[:, 1]).double().mean()
    assert float(both) == pytest.approx(
        {"independent": 0.09, "correlated": 0.3, "anticorrelated": 0.0}[pairing], abs=0.01
    )
    assert float((active[:, 1] & active[:, 2]).double().mean()) == pytest.approx(0.09, abs=0.01)
    values = drawn[active].double()
    assert int(values.min()) == 1 and int(values.max()) == LEVELS
    assert float(values.mean()) == pytest.approx((LEVELS + 1) / 2, rel=0.01)
    assert (drawn.double() / LEVELS).var(0).numpy() == pytest.approx(world.variances().numpy(), rel=0.05)
    assert torch.equal(world.drawn(50, 3), world.drawn(50, 3))
    assert not torch.equal(world.drawn(50, 3), world.drawn(50, 4))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": 5, "pairing": "correlated"}, "no pairs"),
        ({"density": 0.6, "pairing": "anticorrelated"}, "at most 0.5"),
        ({"density": 0.0}, "no probability"),
        ({"importance": 0.0}, "importance"),
        ({"features": 0}, "features"),
    ],
)
def test_features_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        SparseFeatures(**options)


# ---------------------------------------------------------------- networks


def by_hand(folder: Path, weight: torch.Tensor, world: SparseFeatures) -> Watched:
    network = ToyModel(d_model=weight.shape[1])
    recipe = Recipe(world=world, network=network, drawn=16)
    flat = network.layout(recipe.sizes).flat({"weight": weight, "bias": torch.zeros(len(weight))})
    kept = Checkpoints(folder, "by hand")
    kept.keep(Stacked.begun(flat[None]), checkpoint=True)
    return Watched([recipe], kept, 0)


def measured(watched: Watched, name: str, **options: Any) -> float:
    (found,) = kind.find("measurements", name)(**options).measure(watched)  # type: ignore[attr-defined]
    return float(found)


def test_opposite_features_that_are_never_active_together_are_given_back_whole(tmp_path: Path) -> None:
    apart = SparseFeatures(features=4, density=0.4, pairing="anticorrelated")
    watched = by_hand(tmp_path / "apart", PAIRS, apart)
    assert measured(watched, "features_explained") == pytest.approx(1, abs=1e-9)
    assert measured(watched, "features_explained", by="alone") == pytest.approx(0.5)
    assert measured(watched, "dimensions_per_feature") == 0.5
    assert measured(watched, "dimensions_per_feature", counted="directions") == pytest.approx(0.5)
    assert measured(watched, "features_represented") == 4
    assert measured(watched, "pair_cosine") == pytest.approx(-1)
    # Where both may be active, the smaller of the two is lost, and the larger one too small.
    for pairing in ("independent", "correlated"):
        other = SparseFeatures(features=4, density=0.4, pairing=pairing)
        assert measured(by_hand(tmp_path / pairing, PAIRS, other), "features_explained") < 0.9


def test_importance_weighs_what_is_explained(tmp_path: Path) -> None:
    world = SparseFeatures(features=4, density=0.3, importance=0.5)
    watched = by_hand(tmp_path, ALONE, world)
    # What is never given back costs its square, which is more than its variance.
    given = 1 + 0.5 + 0.25
    assert measured(watched, "features_explained", by="alone") == pytest.approx(given / 1.875)
    assert measured(watched, "features_explained") < given / 1.875
    assert measured(watched, "features_explained") == pytest.approx(given / 1.875, abs=0.06)


def test_its_loss_is_that_of_a_plain_loop(tmp_path: Path) -> None:
    recipe = Recipe(
        world=SparseFeatures(features=4, density=0.5, importance=0.7), network=ToyModel(d_model=2), drawn=16, seed=3
    )
    flat = recipe.network.initial(recipe.sizes, 3)
    parameters = recipe.network.layout(recipe.sizes).views(flat[None])
    found = reconstructing.reconstruction_losses([recipe])(parameters, 60)
    world = recipe.world
    assert isinstance(world, SparseFeatures)
    # Step 60 is the eleventh of the second stretch.
    samples = world.drawn(50 * 16, 1_000_003 * 4 + 1)[10 * 16 : 11 * 16].double() / LEVELS
    weight, bias = parameters["weight"][0].double(), parameters["bias"][0].double()
    total = 0.0
    for sample in samples:
        for feature in range(4):
            back = float(torch.relu(weight[feature] @ (weight.T @ sample) + bias[feature]))
            total += 0.7**feature * (float(sample[feature]) - back) ** 2
    assert float(found) == pytest.approx(total / 64, rel=1e-5)


def recipes(count: int) -> list[Recipe]:
    world = SparseFeatures(features=6, density=0.2)
    return [
        Recipe(world=world, network=ToyModel(d_model=3), seed=seed, drawn=32, weight_decay=0, learning_rate=1e-2)
        for seed in range(count)
    ]


def test_a_network_has_the_bytes_that_it_has_alone(tmp_path: Path) -> None:
    together = reconstruct_together(recipes(5), [0, 70], tmp_path / "all").parameters(70)
    for place, one in enumerate(recipes(5)):
        alone = reconstruct_together([one], [0, 70], tmp_path / str(place)).parameters(70)
        assert torch.equal(alone[0], together[place])
    assert not torch.equal(together[0], together[1])


def test_what_was_killed_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole = reconstruct_together(recipes(2), [0, 40, 80], tmp_path / "whole").parameters(80)
    reconstruct_together(recipes(2), [0, 40], tmp_path / "killed")
    again = reconstruct_together(recipes(2), [0, 40, 80], tmp_path / "killed")
    assert torch.equal(again.parameters(80), whole)


def test_dense_features_have_a_dimension_each_and_sparse_ones_share(tmp_path: Path) -> None:
    found = {}
    for density in (1.0, 0.02):
        made = bed(
            features=8, d_model=2, density=density, importance=0.8, train={"networks": 2, "steps": 600, "batch": 256}
        )
        kept = reconstruct_together(made.recipes, [0, 600], tmp_path / str(density))
        watched = Watched(made.recipes, kept, 600)
        found[density] = {
            name: kind.find("measurements", name)().measure(watched)  # type: ignore[attr-defined]
            for name in ("dimensions_per_feature", "features_represented", "features_explained")
        }
    assert (found[1.0]["dimensions_per_feature"] > 0.9).all() and (found[1.0]["features_represented"] <= 2).all()
    assert (found[0.02]["dimensions_per_feature"] < 0.6).all() and (found[0.02]["features_represented"] >= 4).all()
    # Two of eight, weighted by importance, are .43 of the variance.
    assert (found[0.02]["features_explained"] > 0.5).all() > (found[1.0]["features_explained"] > 0.5).any()


# ---------------------------------------------------------------- the bed


def test_rows_are_different_samples_with_their_features_and_the_largest_of_them() -> None:
    made = bed(features=6, density=0.3)
    table = made.load(300, 1)
    assert table["example"].n_unique() == table.height == 300
    values = np.array(table["features"].to_list())
    assert (values.max(1) > 0).all()
    assert table["label"].to_list() == values.argmax(1).tolist()
    assert np.array(table["tokens_0"].to_list()) == pytest.approx(values * LEVELS)
    assert made.load(100, 1).equals(table[:100])
    assert not made.load(100, 2).equals(table[:100])
    # There are no more where features take few values together.
    assert 0 < bed(features=2, density=0.001, d_model=1).load(5, 0).height <= 5


def test_states_are_the_dimensions(tmp_path: Path) -> None:
    made = bed(features=6, d_model=3, train={"networks": 2, "steps": 50, "every": 50})
    kept = reconstruct_together(made.recipes, made.steps, tmp_path)
    made = msgspec.structs.replace(made, which=1)
    subject = SmallNetworks(made, "", kept)
    rows = made.load(20, 0)["tokens_0"].to_list()
    weight = made.made.layout(made.recipes[0].sizes).views(kept.parameters(50))["weight"][1]
    expected = torch.tensor(rows).float() / LEVELS @ weight
    assert (subject.layers, subject.d_model) == (1, 3)
    assert subject.states(rows, [0])[0].numpy() == pytest.approx(expected.numpy(), abs=1e-6)


SPEC = """\
harness: 1
name: features
model: {bed: superposition, features: 6, d_model: 2, train: {networks: 6, steps: 40, every: 20, batch: 32}}
data: {limit: 200, target: {column: features, kind: vector}}
conditions:
  sparse: {model: {density: 0.05}}
  dense: {model: {density: 1}}
probes: [ridge]
layer: 0
metrics: [r2]
measurements: [MEASURED]
"""


def test_measurements_of_questions_and_of_features_are_told_apart(tmp_path: Path) -> None:
    assert planned(tmp_path, SPEC.replace("MEASURED", "features_represented, weight_norm")).of("network")
    for name, of in (("train_loss", "questions"), ("excess_loss", "sequences")):
        (said,) = problems(tmp_path, SPEC.replace("MEASURED", name))
        assert f"{name} is of {of}, and the networks of superposition learn features" in said
    other = SPEC.replace("bed: superposition, features: 6, d_model: 2,", "bed: sparse_parity, count: 100,")
    other = other.replace(", batch: 32", "").replace(", target: {column: features, kind: vector}", "")
    other = other.replace("{model: {density: 0.05}}", "{}").replace("{model: {density: 1}}", "{model: {step: 0}}")
    other = other.replace("MEASURED", "pair_cosine").replace("[ridge]", "[lda]").replace("[r2]", "[accuracy]")
    assert any(
        "pair_cosine is of features, and the networks of sparse_parity learn questions" in one
        for one in problems(tmp_path, other)
    )
    odd = SPEC.replace("features: 6", "features: 5").replace("MEASURED", "pair_cosine")
    assert any("5 features are no pairs" in one for one in problems(tmp_path, odd))
    assert any("heads" in one for one in problems(tmp_path, SPEC.replace("d_model: 2", "heads: 2, d_model: 2")))


def test_superposition_is_claimed_of_many_features_that_give_back_more_than_dedicated_dimensions() -> None:
    def watch(features: float, dimensions: float, explained: float) -> Watch:
        values = {
            "features_represented": features,
            "dimensions_per_feature": dimensions,
            "features_explained": explained,
            "explained_alone": 0.25,
        }
        return Watch((0, 10), {title: np.full((6, 2), value) for title, value in values.items()}, {})

    assert finding("features_superposed", Watches(main=watch(20, 0.2, 0.7)), least=20) == "pass"
    for features, dimensions, explained in ((19, 0.2, 0.7), (20, 0.8, 0.7), (20, 0.2, 0.2)):
        assert finding("features_superposed", Watches(main=watch(features, dimensions, explained)), least=20) == "fail"


# ---------------------------------------------------------------- by density


def test_densities_are_a_figure_where_nothing_else_differs(tmp_path: Path) -> None:
    path = tmp_path / "features.yaml"
    more = (
        "  half: {model: {density: 0.5}}\n  half_again: {model: {density: 0.5, step: 0}}\n  pairs: {model: {density: 0.3, pairing: correlated}}\n"
        "  never: {model: {density: 0.2, pairing: anticorrelated}}\n  unequal: {model: {density: 0.4, importance: 0.5}}\n"
    )
    text = SPEC.replace("MEASURED", "dimensions_per_feature, pair_cosine").replace("probes:", f"{more}probes:")
    path.write_text(text + "transfer: [{fit_on: sparse, tested_on: [sparse]}]\n")
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    table = pl.read_parquet(outcome.folder / "measurements.parquet")
    assert table.unique("condition", maintain_order=True)["density"].to_list() == [0.05, 1, 0.5, 0.3, 0.2, 0.4]
    figure = (outcome.folder / "figures" / "density.svg").read_text()
    means = (
        table.filter(measurement="dimensions_per_feature", step=40).group_by("condition").agg(pl.col("value").mean())
    )
    ends = dict(means.rows())
    title = f"dimensions_per_feature: {ends['sparse']:.2f} at a density of 0.05, {ends['dense']:.2f} at 1"
    assert (
        title in figure
        and ">0.5<" in figure
        and ">0.3<" not in figure
        and ">0.2<" not in figure
        and ">0.4<" not in figure
    )
    # For each of two measurements a line for each network and an interval at each of three densities.
    assert len(re.findall(r'class="l ', figure)) == 2 * (6 + 3)
    assert "By the density of features" in (outcome.folder / "report.md").read_text()
    assert by_density.draw(table.filter(pl.col("condition") != "half")) is None
    assert by_density.draw(table.with_columns(pl.lit(None, pl.Float64).alias("density"))) is None
