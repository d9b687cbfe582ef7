"""Normalisations against their formulas, worked out by hand on the training rows of each template and answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.contracts import Pairs
from harness.errors import DataError, NumericalError
from harness.kind import find, names

KINDS = names("normalisations")


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
    assert KINDS == ("burns", "mean", "mean_std", "none")


@pytest.mark.parametrize("kind", KINDS)
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
