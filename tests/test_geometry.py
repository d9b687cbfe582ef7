"""Directions, variances and components against plain numpy and scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from harness import pipeline
from harness.analyses.geometry.components import components
from harness.analyses.geometry.geometry_tables import tables_of
from harness.analyses.geometry.raw_directions import cosines, mean_difference, raw_directions
from harness.analyses.geometry.variance import split
from harness.contracts import Pairs
from harness.contracts.kind import find
from harness.store import Store
from tests.report_tables import full_table

LAYERS, ROWS, WIDTH, SEEDS = 2, 60, 6, 4


def some_pairs(templates: int = 1, seed: int = 0) -> Pairs:
    random = np.random.default_rng(seed)
    states = random.standard_normal((LAYERS, ROWS, 2, WIDTH)) * np.linspace(0.5, 3, WIDTH) + 2.0
    return Pairs(torch.tensor(states, dtype=torch.float32), torch.arange(ROWS) % templates)


def some_weight(seed: int = 1) -> torch.Tensor:
    return torch.randn(SEEDS, LAYERS, 2, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("normalise", ["none", "mean", "burns", "mean_std", "cluster", "leace"])
def test_a_raw_direction_is_the_change_of_the_score(normalise: str) -> None:
    """Against finite differences of the score itself, moving x⁺ and x⁻ apart along each dimension."""
    pairs, weight = some_pairs(), some_weight()
    normaliser = find("normalisations", normalise)().fit(pairs)
    found = raw_directions(weight, normaliser, pairs)

    def score(states: torch.Tensor) -> np.ndarray:
        rows = normaliser(Pairs(states, pairs.template)).states.double()
        return torch.einsum("slkd,lpkd->slp", weight.double(), rows).numpy()

    expected = np.zeros_like(found)
    for d in range(WIDTH):
        step = torch.zeros(2, WIDTH)
        step[0, d], step[1, d] = -0.5, 0.5
        expected[..., d] = (score(pairs.states + step) - score(pairs.states - step)).mean(axis=-1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    plain = (weight[:, :, 1] - weight[:, :, 0]).numpy()
    plain /= np.linalg.norm(plain, axis=-1, keepdims=True)
    if normalise in ("mean_std", "leace"):
        assert not np.allclose(found, plain, atol=0.05), (
            "the control: a scale by dimension, and an erasure, turn directions"
        )
    if normalise in ("none", "mean", "cluster"):
        np.testing.assert_allclose(found, plain, atol=1e-5)


def test_every_template_has_a_say() -> None:
    pairs, weight = some_pairs(templates=2), some_weight()
    scaled = Pairs(torch.where((pairs.template == 1)[:, None, None], 5.0, 1.0) * pairs.states, pairs.template)
    normaliser = find("normalisations", "mean_std")().fit(scaled)
    one = raw_directions(weight, normaliser, Pairs(scaled.states[:, ::2], scaled.template[::2]))
    both = raw_directions(weight, normaliser, scaled)
    assert np.abs((one * both).sum(axis=-1)).min() < 0.9999


def test_cosines_are_those_of_all_pairs_of_seeds() -> None:
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((SEEDS, LAYERS, WIDTH)) for _ in range(2))
    a, b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    for layer in range(LAYERS):
        every = [abs(float(x @ y)) for x in a[:, layer] for y in b[:, layer]]
        np.testing.assert_allclose(cosines(a, b, same=False)[:, layer], every)
        pairs = [abs(float(a[i, layer] @ a[j, layer])) for i in range(SEEDS) for j in range(i + 1, SEEDS)]
        np.testing.assert_allclose(cosines(a, a, same=True)[:, layer], pairs)
    a[0, 0] = 0
    assert np.isnan(cosines(a, b, same=False)[:SEEDS, 0]).all(), "no direction, no angle"
    assert np.isfinite(cosines(a, b, same=False)[SEEDS:]).all()
    assert cosines(a[:1], a[:1], same=True).shape == (0, LAYERS)


def test_the_variance_is_split_as_in_plain_numpy() -> None:
    pairs = some_pairs()
    direction = some_weight()[:, :, 1]
    found = split(torch.stack([-direction, direction], dim=2), pairs.states)
    for seed in range(SEEDS):
        for layer in range(LAYERS):
            no, yes = (
                pairs.states[layer, :, k].double().numpy() @ direction[seed, layer].double().numpy() for k in (0, 1)
            )
            total = (yes - no).var()
            assert found.confidence[seed, layer] == pytest.approx((yes.var() + no.var()) / total, rel=1e-5)
            covariance = ((yes - yes.mean()) * (no - no.mean())).mean()
            assert found.consistency[seed, layer] == pytest.approx(-2 * covariance / total, abs=1e-5)


def test_exact_opposites_are_half_and_half_and_equal_members_have_no_variance() -> None:
    pairs = some_pairs()
    direction = some_weight()[:, :, 1]
    weight = torch.stack([-direction, direction], dim=2)
    against = torch.stack([-pairs.states[:, :, 1], pairs.states[:, :, 1]], dim=2)
    np.testing.assert_allclose(split(weight, against).consistency, 0.5, atol=1e-5)
    alike = pairs.states[:, :, 1:].expand(-1, -1, 2, -1)
    assert np.isnan(split(weight, alike).confidence).all()


def test_components_are_eigenvectors_of_the_covariance() -> None:
    train, test = (Pairs(p.states[:1], p.template) for p in (some_pairs(), some_pairs(seed=5)))
    found = components(train, test)
    fitted, shown = ((p.states[0, :, 1] - p.states[0, :, 0]).double().numpy() for p in (train, test))
    sizes, axes = np.linalg.eigh(np.cov(fitted.T))
    expected = (shown - fitted.mean(axis=0)) @ axes[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(found.share, sizes[::-1][:3] / sizes.sum(), rtol=1e-4)
    assert components(train, train).coordinates.mean(axis=0) == pytest.approx(0, abs=1e-5)


def test_fewer_dimensions_than_components() -> None:
    pairs = some_pairs()
    thin = Pairs(pairs.states[:1, :, :, :2], pairs.template)
    found = components(thin, thin)
    assert found.coordinates.shape == (ROWS, 3)
    assert (found.coordinates[:, 2] == 0).all()


def test_the_mean_difference_and_probes_without_a_direction() -> None:
    pairs = some_pairs()
    labels = np.arange(ROWS) % 2
    difference = (pairs.states[:, :, 1] - pairs.states[:, :, 0]).numpy()
    gap = difference[:, 1::2].mean(axis=1) - difference[:, ::2].mean(axis=1)
    np.testing.assert_allclose(
        mean_difference(pairs, labels)[0], gap / np.linalg.norm(gap, axis=-1, keepdims=True), atol=1e-5
    )
    from harness.readouts.fitted_probes import ThresholdReadout

    assert ThresholdReadout(torch.zeros(1, 1)).pair_weights is None


SPEC = """
harness: 1
name: planted
model: {bed: planted, truth: 2.0, distractor: 5.0, d_model: 16, layers: 3}
data: {limit: 160}
probes: [{kind: ccs, restarts: 3, epochs: 100}, {kind: ccs, name: single, restarts: 1, epochs: 100}, crc_tpc, mean_difference]
seeds: 4
layer: last
geometry: GEOMETRY
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("geometry")
    (folder / "spec.yaml").write_text(SPEC.replace("GEOMETRY", "true"))
    store = Store(folder / "store")
    pipeline.run(folder / "spec.yaml", out=folder, store=store)
    again = pipeline.run(folder / "spec.yaml", out=folder / "again", store=store, page=False)
    assert again.cached
    return folder


def test_the_report_has_the_geometry_of_a_planted_world(run: Path) -> None:
    frame = full_table(run / "planted", "geometry")

    def mean(measure: str, a: str, b: str | None) -> float:
        other = pl.col("b").is_null() if b is None else pl.col("b") == b
        return float(frame.filter((pl.col("measure") == measure) & (pl.col("a") == a) & other & (pl.col("layer") == "2"))["mean"][0])  # fmt: skip

    assert mean("cosine", "crc_tpc", "mean of word") > 0.95
    assert mean("cosine", "mean_difference", "mean of truth") > 0.99
    assert mean("cosine", "crc_tpc", "mean of truth") < 0.5
    assert mean("cosine", "ccs", "ccs") > 0.75
    assert mean("cosine", "random", "random") < 0.5
    assert mean("confidence", "crc_tpc", None) + mean("consistency", "crc_tpc", None) == pytest.approx(1, abs=2e-4)
    assert mean("consistency", "crc_tpc", None) > 0.4, "the word stands in both members, turned round"
    fits = full_table(run / "planted", "fits")
    assert fits.filter(probe="ccs", target="truth").height == 12
    assert fits.filter(probe="single", target="truth").height == 4
    states = full_table(run / "planted", "states")
    assert states.height == 64
    apart = states.group_by("factor_word").agg(pl.col("pc1").mean())["pc1"]
    assert abs(apart[0] - apart[1]) > 4 * states["pc1"].std() / 2**1.5, "the first component is the word"
    text = (run / "planted" / "report.md").read_text()
    assert "How the directions lie to each other" in text
    assert "figures/losses.svg" in text
    page = (run / "planted" / "report.html").read_text()
    assert "Where the states lie" in page and '"clouds":[{' in page


def test_the_same_bytes_from_the_store(run: Path) -> None:
    for name in (
        "geometry.parquet",
        "states.parquet",
        "fits.parquet",
        "report.md",
        "figures/losses.svg",
    ):
        assert (run / "planted" / name).read_bytes() == (run / "again" / "planted" / name).read_bytes()


def test_a_run_without_it_leaves_none_of_its_files(run: Path) -> None:
    (run / "spec.yaml").write_text(SPEC.replace("GEOMETRY", "false"))
    outcome = pipeline.run(run / "spec.yaml", out=run / "again", store=Store(run / "store"), page=False)
    assert not any((outcome.folder / name).exists() for name in ("geometry.parquet", "states.parquet", "fits.parquet"))
    assert "geometry" not in (outcome.folder / "report.md").read_text()


def test_told_by_condition_and_layer() -> None:
    row = {
        "condition": "main",
        "layer": "2",
        "a": "ccs",
        "b": "ccs",
        "mean": 0.5,
        "p50": 0.5,
        "p10": 0.25,
        "p90": 0.75,
        "n": 6,
    }
    (one,) = tables_of(
        [{**row, "measure": "cosine"}, {**row, "measure": "cosine", "layer": "1", "mean": 0.9}], {"main": "2"}
    )
    assert one.title == "main, layer 2"
    assert one.cosines == [["", "ccs"], ["ccs", "0.50 [0.25, 0.75]"]]
