"""Normalisations against their formulas, worked out by hand on the training rows of each template and answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contracts import Pairs
from harness.contracts.kind import find, names
from harness.errors import DataError, NumericalError, StoreError
from harness.readouts import normalisers

KINDS = names("normalisations")
BY_TEMPLATE = ("burns", "mean", "mean_std", "none")
"""Those that are a shift and a scale, the same for all rows of a template and answer."""


def make_pairs(rows: int = 30, templates: int = 3, seed: int = 0) -> Pairs:
    """States whose mean and spread differ by template, answer and dimension."""
    random = np.random.default_rng(seed)
    template = np.arange(rows) % templates
    states = random.standard_normal((2, rows, 2, 5)) * np.array([1, 2, 5, 0.1, 30])
    states += 3 * template[:, None, None] - 7 * np.array([0, 1])[:, None]
    return Pairs(torch.tensor(states, dtype=torch.float32), torch.tensor(template))


def by_hand(kind: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, ones = rows.mean(axis=0), np.ones(rows.shape[1])
    if kind == "none":
        return 0 * ones, ones
    if kind == "mean":
        return mean, ones
    if kind == "mean_std":
        return mean, 1 / rows.std(axis=0)
    norms = np.sqrt(((rows - mean) ** 2).sum(axis=1))
    return mean, ones * np.sqrt(rows.shape[1]) / norms.mean()


def test_the_table_names_every_normalisation() -> None:
    assert set(KINDS) == {*BY_TEMPLATE, "cluster", "leace"}


@pytest.mark.parametrize("kind", BY_TEMPLATE)
@pytest.mark.parametrize("templates", [1, 3])
def test_agrees_with_the_formula_on_other_rows(kind: str, templates: int) -> None:
    train, test = make_pairs(templates=templates), make_pairs(12, templates, seed=1)
    result = find("normalisations", kind)().fit(train)(test).states.numpy()
    for layer in range(2):
        for template in range(templates):
            for answer in (0, 1):
                own = train.states[layer, train.template == template, answer].numpy().astype(np.float64)
                shift, scale = by_hand(kind, own)
                at = (test.template == template).numpy()
                expected = (test.states[layer, at, answer].numpy() - shift) * scale
                np.testing.assert_allclose(result[layer, at, answer], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_test_rows_leave_the_statistics_alone(kind: str) -> None:
    train, test = make_pairs(), make_pairs(12, seed=1)
    normaliser = find("normalisations", kind)().fit(train)
    alone = normaliser(Pairs(test.states[:, :3], test.template[:3])).states
    assert torch.equal(alone, normaliser(test).states[:, :3])
    # Control: statistics of the test rows would have given something else.
    leaked = find("normalisations", kind)().fit(test)(test).states[:, :3]
    assert torch.equal(alone, leaked) == (kind == "none")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_do_not_vary_become_exactly_zero(kind: str) -> None:
    value = torch.tensor([0.1, -1234.567, 1e-7, 3e5, 1 / 3])
    states = make_pairs(templates=1).states.clone()
    states[0] = value
    pairs = Pairs(states, torch.zeros(30, dtype=torch.int64))
    result = find("normalisations", kind)().fit(pairs)(pairs).states
    assert result.isfinite().all()
    assert bool((result[0] == 0).all()) == (kind != "none")
    assert (result[1] != 0).any()


@pytest.mark.parametrize("kind", KINDS)
def test_normalisers_survive_keeping(kind: str) -> None:
    train, test = make_pairs(), make_pairs(12, seed=1)
    normaliser = find("normalisations", kind)().fit(train)
    again = normalisers.restore(normalisers.form_of(normaliser), normaliser.tensors())
    assert torch.equal(normaliser(test).states, again(test).states)
    unseen = Pairs(test.states, test.template + 7)
    if kind != "none":
        with pytest.raises(DataError, match="no training rows"):
            again(unseen)
    tensors = dict(normaliser.tensors())
    tensors.popitem()
    with pytest.raises(StoreError, match="but needs"):
        normalisers.restore(normalisers.form_of(normaliser), tensors)


def test_a_chain_survives_keeping_and_is_one_after_the_other() -> None:
    train = make_pairs()
    parts = [find("normalisations", "burns")().fit(train)]
    parts.append(find("normalisations", "leace")().fit(parts[0](train)))
    chain = normalisers.Chain(tuple(parts))
    assert normalisers.form_of(chain) == "shift_scale_by_template+erased"
    again = normalisers.restore(normalisers.form_of(chain), chain.tensors())
    assert torch.equal(again(train).states, parts[1](parts[0](train)).states)
    with pytest.raises(StoreError, match='unknown form "warped"'):
        normalisers.restore("warped", {})


def blobs(seed: int, rows: int = 60) -> tuple[Pairs, np.ndarray]:
    """One template, two tight heaps of midpoints with different means of x⁺ and of x⁻, and two far outliers."""
    random = np.random.default_rng(seed)
    heap = np.arange(rows) % 2
    states = 0.1 * random.standard_normal((1, rows, 2, 5))
    states += np.where(heap, 4.0, -4.0)[:, None, None]
    states[0, :, 1, 0] += np.where(heap, 1.5, -1.5)
    states[0, :2, :, 2] += np.array([90.0, -90.0])[:, None]
    return Pairs(torch.tensor(states, dtype=torch.float32), torch.zeros(rows, dtype=torch.int64)), heap


def test_cluster_subtracts_the_means_of_the_clusters_that_scikit_learn_finds() -> None:
    from sklearn.cluster import HDBSCAN

    train, heap = blobs(0)
    states = train.states[0].double().numpy()
    found = HDBSCAN(min_cluster_size=5, copy=True).fit_predict(states.mean(axis=1))
    assert set(found[2:]) == {0, 1} and set(found[:2]) == {-1}
    normaliser = find("normalisations", "cluster")().fit(train)
    result = normaliser(train).states[0].numpy()
    for number in (0, 1):
        own = states[found == number]
        np.testing.assert_allclose(result[found == number], own - own.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(result[:2], (states - states.mean(axis=0))[:2], atol=1e-4)
    # New rows go where the nearest training row is: a heap's to its heap, one far away to the outliers.
    test, other = blobs(1)
    moved = normaliser(test).states[0].numpy()
    for side in (0, 1):
        own = states[2:][heap[2:] == side].mean(axis=0)
        np.testing.assert_allclose(moved[2:][other[2:] == side], test.states[0, 2:][other[2:] == side] - own, atol=1e-5)
    np.testing.assert_allclose(moved[:2], test.states[0, :2] - states.mean(axis=0), atol=1e-4)
    # Control: the feature that tells the heaps apart is gone, and `mean` leaves it.
    gap = abs(result[2:][heap[2:] == 1, 1, 0].mean() - result[2:][heap[2:] == 0, 1, 0].mean())
    plain = find("normalisations", "mean")().fit(train)(train).states[0].numpy()
    assert gap < 1e-4 < abs(plain[2:][heap[2:] == 1, 1, 0].mean() - plain[2:][heap[2:] == 0, 1, 0].mean())


@pytest.mark.parametrize("templates", [1, 3])
def test_leace_agrees_with_concept_erasure_and_leaves_no_cell_apart(templates: int) -> None:
    from concept_erasure import LeaceEraser

    train, test = make_pairs(90, templates), make_pairs(12, templates, seed=1)
    normaliser = find("normalisations", "leace")().fit(train)
    result = normaliser(train).states
    cells = torch.stack([2 * train.template, 2 * train.template + 1], dim=1)
    for layer in range(2):
        rows = train.states[layer].double()
        concept = torch.nn.functional.one_hot(cells.flatten()).double()
        oracle = LeaceEraser.fit(rows.flatten(0, 1), concept, constrain_cov_trace=False, svd_tol=1e-9)
        mean = rows.mean(dim=(0, 1))
        for pairs in (train, test):
            expected = oracle(pairs.states[layer].double()) - mean
            np.testing.assert_allclose(normaliser(pairs).states[layer], expected, atol=2e-4)
        means = torch.stack([result[layer][cells == cell].mean(dim=0) for cell in cells.unique()])
        assert means.abs().max() < 1e-4
        # Control: before, the cells lay apart.
        before = torch.stack([train.states[layer][cells == cell].mean(dim=0) for cell in cells.unique()])
        assert (before - mean).abs().max() > 1


def test_a_dimension_that_only_rounds_is_not_blown_up() -> None:
    states = make_pairs(templates=1).states.clone()
    states[..., 2] = 1000.0
    states[:, 0, :, 2] += 1e-4
    pairs = Pairs(states, torch.zeros(30, dtype=torch.int64))
    result = find("normalisations", "mean_std")().fit(pairs)(pairs).states
    assert result[..., 2].abs().max() < 1e-3
    np.testing.assert_allclose(result[..., 0].std(dim=1, correction=0), 1, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
@pytest.mark.parametrize("unseen", [1, 7])
def test_an_unseen_template_is_an_error(kind: str, unseen: int) -> None:
    train = make_pairs(templates=3)
    seen = train.template != 1
    normaliser = find("normalisations", kind)().fit(Pairs(train.states[:, seen], train.template[seen]))
    normaliser(Pairs(train.states[:, seen], train.template[seen]))
    with pytest.raises(DataError, match=f"template {unseen} has no training rows"):
        normaliser(Pairs(train.states, torch.where(seen, train.template, unseen)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_no_rows_is_an_error(kind: str) -> None:
    empty = Pairs(torch.zeros(2, 0, 2, 5), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(NumericalError, match="no training rows"):
        find("normalisations", kind)().fit(empty)


@pytest.mark.parametrize("templates", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_statements_are_normalised_as_what_they_are(kind: str, templates: int) -> None:
    """A statement has one view before and after, and of its template's mean nothing is left, whatever the kind, but where all is left."""
    pairs = make_pairs(templates=templates)
    train = Pairs(pairs.states[:, :, 1:], pairs.template)
    result = find("normalisations", kind)().fit(train)(train).states
    assert result.shape == train.states.shape
    means = torch.stack([result[:, train.template == template, 0].mean(dim=1) for template in range(templates)])
    left = 0.05 if kind == "cluster" else 1e-4
    assert torch.equal(result, train.states) if kind == "none" else float(means.abs().max()) < left * 30
    # The control: of a pair, x⁺ by itself is normalised as the statement is, by those that look at one answer at a time.
    if kind in BY_TEMPLATE:
        torch.testing.assert_close(find("normalisations", kind)().fit(pairs)(pairs).states[:, :, 1:], result)
