"""Probes on few dimensions: rankings and weights are those of scikit-learn, and superposition shows as many poor dimensions and a good sum."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef, mutual_info_score

from harness import language, pipeline
from harness.analyses.polysemantic_neurons.section import by_chance
from harness.contracts import Pairs
from harness.errors import HarnessError, NumericalError
from harness.probes import _rankings
from harness.probes.k_sparse import KSparse
from harness.store import Store
from tests.test_imported import folder_of

ROWS, WIDTH = 160, 24
Ranking = Literal["mean_difference", "mutual_information", "f_statistic", "l1"]
RANKINGS: tuple[Ranking, ...] = ("mean_difference", "mutual_information", "f_statistic", "l1")


def statements(gaps: torch.Tensor, layers: int = 2, share: float = 0.3, rows: int = ROWS, seed: int = 0) -> Pairs:
    """Statements in whose first dimensions the classes differ by `gaps`."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, generator=generator) < share).long()
    states = torch.randn(layers, rows, 1, WIDTH, generator=generator)
    states[:, :, 0, : len(gaps)] += labels[:, None] * gaps
    return Pairs(states, torch.zeros(rows, dtype=torch.int64), labels=labels)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return statements(torch.tensor([1.0, 0.8, 2.0, 0.3]))


@pytest.mark.parametrize("rank_by", RANKINGS)
@pytest.mark.parametrize("k", [1, 5])
def test_weights_are_those_of_scikit_learns_balanced_regression(pairs: Pairs, rank_by: Ranking, k: int) -> None:
    readout = KSparse(k=k, rank_by=rank_by, l2=0.5).fit(pairs, [0])
    for layer in range(2):
        weight = readout.tensors()["weight"][0, layer, 0].numpy()
        chosen = np.flatnonzero(weight)
        assert len(chosen) == k
        rows = pairs.states[layer, :, 0].double().numpy()[:, chosen]
        plain = LogisticRegression(C=2.0, class_weight="balanced", tol=1e-10, max_iter=1000).fit(rows, pairs.labels)
        np.testing.assert_allclose(weight[chosen], plain.coef_[0], atol=1e-5)
        np.testing.assert_allclose(readout.tensors()["bias"][0, layer], plain.intercept_[0], atol=1e-5)


def test_rankings_are_those_of_independent_implementations(pairs: Pairs) -> None:
    rows, labels = pairs.states[0, :, 0].double(), pairs.labels
    assert labels is not None
    one = labels[None].double()
    x, y = rows.numpy(), labels.numpy()
    gap = np.abs(x[y == 1].mean(0) - x[y == 0].mean(0))
    np.testing.assert_allclose(_rankings.by_mean_difference(rows, one)[0], gap, atol=1e-12)
    np.testing.assert_allclose(_rankings.by_f_statistic(rows, one)[0], f_classif(x, y)[0], rtol=1e-9)
    edges = [np.sort(column)[np.arange(1, 10) * ROWS // 10] for column in x.T]
    told = [mutual_info_score(y, np.digitize(column, own)) for column, own in zip(x.T, edges, strict=True)]
    np.testing.assert_allclose(_rankings.by_mutual_information(rows, one)[0], told, atol=1e-12)
    scaled = (x - x.mean(0)) / x.std(0)
    penalty = np.abs(scaled.T @ (y - y.mean()) / ROWS).max() / 10
    plain = l1_by_scipy(scaled, y, penalty)
    found = _rankings.by_l1(rows, one)[0].numpy()
    active = np.abs(plain) > 1e-6
    assert 4 <= active.sum() < WIDTH
    np.testing.assert_allclose(found[active], np.abs(plain[active]), atol=1e-3)
    assert (found[~active] < 0).all()


def l1_by_scipy(rows: np.ndarray, labels: np.ndarray, penalty: float) -> np.ndarray:
    """Weights of mean log-loss + penalty · ‖w‖₁, each as the difference of two numbers that are not negative."""
    width = rows.shape[1]

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        logits = rows @ (at[:width] - at[width:-1]) + at[-1]
        slope = (expit(logits) - labels) / len(rows)
        by_weight = rows.T @ slope
        value = np.mean(np.logaddexp(0, logits) - labels * logits) + penalty * at[:-1].sum()
        return value, np.concatenate([by_weight + penalty, penalty - by_weight, [slope.sum()]])

    bounds = [(0, None)] * (2 * width) + [(None, None)]
    options = {"maxiter": 10_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(loss, np.zeros(2 * width + 1), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return found[:width] - found[width:-1]


def test_the_l1_ranking_alone_sees_that_two_dimensions_say_the_same() -> None:
    pairs = statements(torch.tensor([2.0, 0.0, 0.9]), layers=1)
    # A copy of the first dimension, with a little noise.
    noise = 0.05 * torch.randn(ROWS, generator=torch.Generator().manual_seed(1))
    pairs.states[0, :, 0, 1] = pairs.states[0, :, 0, 0] + noise
    chosen = {
        rank_by: set(
            KSparse(k=2, rank_by=rank_by).fit(pairs, [0]).tensors()["weight"][0, 0, 0].nonzero()[:, 0].tolist()
        )
        for rank_by in RANKINGS
    }
    assert chosen["l1"] in ({0, 2}, {1, 2})
    assert all(own == {0, 1} for name, own in chosen.items() if name != "l1")


def test_only_mutual_information_sees_a_dimension_that_is_large_or_small() -> None:
    pairs = statements(torch.tensor([0.0]), layers=1, share=0.5, rows=600)
    assert pairs.labels is not None
    side = torch.randn(600, generator=torch.Generator().manual_seed(2)).sign()
    pairs.states[0, :, 0, 7] = torch.where(pairs.labels > 0, 3 * side, pairs.states[0, :, 0, 7])
    first = {
        name: int(
            getattr(_rankings, f"by_{name}")(pairs.states[0, :, 0].double(), pairs.labels[None].double()).argmax()
        )
        for name in RANKINGS
    }
    assert first["mutual_information"] == 7
    assert 7 not in {first[name] for name in RANKINGS if name != "mutual_information"}


@pytest.mark.parametrize("rank_by", RANKINGS)
def test_superposition_is_many_poor_dimensions_and_a_good_sum(rank_by: Ranking) -> None:
    """A feature in all dimensions at once against one that is a dimension; shuffled labels are found by neither."""
    scores = {}
    for name, gaps in {"all": torch.full((WIDTH,), 0.9), "one": torch.tensor([4.0])}.items():
        train, test = (statements(gaps, 1, 0.5, 400, seed) for seed in (0, 1))
        for k in (1, WIDTH):
            answers = KSparse(k=k, rank_by=rank_by).fit(train, [0]).answers(test).score[0, 0] > 0
            scores[name, k] = matthews_corrcoef(test.labels, answers)
    assert scores["one", 1] > 0.9
    assert scores["all", 1] < 0.5 < 0.9 < scores["all", WIDTH]
    # Of one shuffle a probe may find as much as chance has left in it, either way round; of many nothing on average.
    orders = [torch.randperm(400, generator=torch.Generator().manual_seed(3 + seed)) for seed in range(40)]
    train = statements(torch.full((WIDTH,), 0.9), 1, 0.5, 400)
    assert train.labels is not None
    shuffled = msgspec.structs.replace(train, labels=torch.stack([train.labels[order] for order in orders]))
    answers = KSparse(k=4, rank_by=rank_by).fit(shuffled, range(40)).answers(test).score[:, 0] > 0
    assert abs(np.mean([matthews_corrcoef(test.labels, own) for own in answers])) < 0.2


def test_more_dimensions_than_there_are_is_refused(pairs: Pairs) -> None:
    with pytest.raises(NumericalError, match="25 dimensions of 24 are more than there are"):
        KSparse(k=25).fit(pairs, [0])


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("{kind: k_sparse, k: 17}", "17 dimensions are more than the 16 that there are in main; give 16 or fewer"),
        ("{kind: k_sparse, k: 16}", ""),
        ("{kind: k_sparse, k: 33, layers: {together: 2}}", "33 dimensions are more than the 32 that there are"),
        ("{kind: k_sparse, k: 32, layers: {together: 2}}", ""),
    ],
)
def test_more_dimensions_than_a_network_has_are_refused_before_anything_is_made(
    tmp_path: Path, probe: str, said: str
) -> None:
    path = tmp_path / "wide.yaml"
    path.write_text(
        "harness: 1\nname: wide\nmodel: {bed: planted, layers: 2, d_model: 16}\ndata: {limit: 60}\nprobes:\n"
        f"  - mean_difference\n  - {probe}\n"
    )
    store = Store(tmp_path / "store")
    if not said:
        pipeline.planned(language.read(path), tmp_path, store)
        return
    with pytest.raises(HarnessError) as caught:
        pipeline.run(path, out=tmp_path / "reports", store=store)
    assert said in str(caught.value)
    assert "wide.yaml:7:25: probes[1].k:" in str(caught.value), "at its own line"
    assert not store.root.exists() or not list(store.root.glob("prompts/*"))


# ---------------------------------------------------------------- polysemantic neurons

SHARED = """\
harness: 1
name: shared
model: {states: states}
data: {limit: null, balance: false}
conditions:
  first: {data: {target: {column: first, kind: binary}}}
  second: {data: {target: {column: second, kind: binary}}}
probes: [{kind: k_sparse, k: 2, normalise: mean_std}, mean_difference]
baselines: false
transfer: [{fit_on: first, tested_on: [first]}, {fit_on: second, tested_on: [second]}]
metrics: [auroc]
analyses: [{kind: polysemantic_neurons, probes: [k_sparse], conditions: [first, second]}]
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """States of width 8 at two layers, with two independent factors: of the last, dimension 1 tells the first, 6 the second, 4 both (the second turned round)."""
    random, rows = np.random.default_rng(0), 600
    first, second = random.integers(0, 2, (2, rows))
    states = random.standard_normal((rows, 2, 8)).astype(np.float32)
    for dimension, gap in ((1, 2.0 * first), (6, 2.0 * second), (4, 1.5 * first - 1.5 * second)):
        states[:, 1, dimension] += gap
    numbers = np.arange(rows)
    names = np.array(["no", "yes"])
    table = pl.DataFrame({"first": names[first], "second": names[second], "y": numbers % 2, "who": numbers})
    folder_of(tmp_path / "states", states, table)
    path = tmp_path / "shared.yaml"
    path.write_text(SHARED)
    return path


def test_a_dimension_that_serves_two_targets_is_found(shared: Path) -> None:
    store = Store(shared.parent / "store")
    outcome = pipeline.run(shared, out=shared.parent / "reports", store=store, page=False)
    found = pl.read_parquet(outcome.folder / "dimensions.parquet")
    chosen = {name: found.filter("chosen", condition=name)["dimension"].to_list() for name in ("first", "second")}
    assert chosen == {"first": [1, 4], "second": [4, 6]}
    told = {(row["condition"], row["dimension"]): row for row in found.to_dicts()}
    assert len(told) == 6 and set(found["layer"]) == {1} and set(found["width"]) == {8}
    # Apart by d standard deviations: Φ(d / √2), where the other factor's gap of 1.5 is noise of variance 9/16 more in dimension 4.
    apart = {("first", 1): 2.0, ("second", 6): 2.0, ("first", 4): 1.2, ("second", 4): 1.2, ("first", 6): 0.0}
    for place, gap in apart.items():
        row = told[place]
        assert row["auroc"] == pytest.approx(norm.cdf(gap / 2**0.5), abs=0.06), place
        assert row["low"] < row["auroc"] < row["high"]
    assert told["first", 6]["low"] < 0.5 < told["second", 4]["low"], "the control, and a dimension that is turned round"
    text = (outcome.folder / "report.md").read_text()
    assert (
        "first and second, layer 1: for 2 targets 3 of 8 dimensions are chosen, 1 of them for more than one, where 0.50"
        in text
    )
    assert "| dimension | first | second |" in text and "| 4 | **0." in text
    assert pipeline.run(shared, out=shared.parent / "again", store=store, page=False).cached


def test_factors_of_one_condition_are_targets_too(tmp_path: Path) -> None:
    path = tmp_path / "factors.yaml"
    path.write_text(
        "harness: 1\nname: factors\nmodel: {bed: planted, layers: 3, d_model: 16, truth: 3.0, distractor: 3.0}\ndata: {limit: 120}\nbaselines: false\n"
        "probes: [{kind: k_sparse, k: 4}, {kind: k_sparse, k: 4, target: word}]\n"
        "analyses: [{kind: polysemantic_neurons, probes: [k_sparse, k_sparse@word]}]\n"
    )
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    assert "| dimension | truth | word |" in (outcome.folder / "report.md").read_text()
    found = pl.read_parquet(outcome.folder / "dimensions.parquet")
    assert found.filter("chosen").group_by("target").len()["len"].to_list() == [4, 4]
    assert float(found.filter("chosen")["auroc"].min()) > 0.5  # type: ignore[arg-type]


def test_what_chance_shares_is_what_random_sets_do() -> None:
    random = np.random.default_rng(0)
    sizes, width = (4, 6, 3), 20
    drawn = [sum(np.bincount(random.permutation(width)[:size], minlength=width) for size in sizes) for _ in range(4000)]
    several = [np.count_nonzero(one > 1) for one in drawn]
    assert by_chance(sizes, width) == pytest.approx(float(np.mean(several)), abs=0.06)
    assert by_chance((5,), 20) == pytest.approx(0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[k_sparse]", "[mean_difference]", "probes[0]: mean_difference is no k_sparse probe of single layers; name one of k_sparse"),
        ("[first, second]", "[first]", "different targets, and those of layer 1 of first have one; name other conditions"),
        ("[first, second]", "[first, first]", "conditions: name at least one, each once"),
        ("[k_sparse]", "[]", "probes: name at least one"),
        (", {fit_on: second, tested_on: [second]}", "", "k_sparse is not fitted on second; add {fit_on: second, tested_on: [second]}"),
        ("second]}]\n", "second], layer: 2}]\n", "conditions[0]: layer 2 of first is not kept; kept are 0, 1"),
        ("second: {data", "second: {activations: {layers: [0]}, data", "those of layer 1 of first have one"),
        ("second: {data", "second: {model: {states: others}, data", "those of layer 1 of first have one"),
    ],
)  # fmt: skip
def test_dimensions_that_cannot_be_compared_are_refused(shared: Path, old: str, new: str, said: str) -> None:
    shutil.copytree(shared.parent / "states", shared.parent / "others")
    np.save(shared.parent / "others" / "states.npy", np.load(shared.parent / "states" / "states.npy") + 1)
    text = shared.read_text()
    assert old in text
    shared.write_text(new.join(text.rsplit(old, 1)))
    with pytest.raises(HarnessError) as caught:
        pipeline.planned(language.read(shared), shared.parent, Store(shared.parent / "store"))
    assert said in str(caught.value) and "analyses[0]" in str(caught.value)
