"""Rolling means of token scores: against scikit-learn and a loop, and on sequences of which a short run tells."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from harness.contracts import Pairs
from harness.probes.rolling_mean import RollingMean
from harness.readouts.attention import Sequences
from harness.readouts.rolling import RollingReadout, largest_mean

WIDTH = 6


def streams(count: int, seed: int = 0) -> Pairs:
    """Sequences of 20 to 60 tokens of noise in the order of their tokens. Those of label 1 have a run of 6 that says so, and one
    other token that says the contrary nearly as loud as all of them."""
    random = np.random.default_rng(seed)
    lengths, label = random.integers(20, 61, count), np.arange(count) % 2
    states = []
    for length, own in zip(lengths, label, strict=True):
        tokens = random.standard_normal((length, WIDTH))
        if own:
            start = random.integers(1, length - 6)
            tokens[start : start + 6, 0] += 3
            tokens[0, 0] -= 14
        states.append(tokens)
    of_row = torch.tensor(np.repeat(np.arange(count), lengths))
    return Pairs(
        torch.tensor(np.concatenate(states), dtype=torch.float32)[None, :, None], torch.zeros_like(of_row),
        labels=torch.tensor(label)[of_row], example=of_row, group=of_row,
    )  # fmt: skip


def by_hand(values: np.ndarray, window: int) -> float:
    size = min(window, len(values))
    return float(max(values[start : start + size].mean() for start in range(len(values) - size + 1)))


@pytest.mark.parametrize("window", [1, 7, 35, 1000])
def test_the_largest_mean_is_that_of_a_loop(window: int) -> None:
    pairs = streams(30)
    values = np.random.default_rng(1).standard_normal((2, pairs.states.shape[1]))
    found = largest_mean(torch.tensor(values), Sequences.of(pairs), window)
    for number in range(30):
        own = (pairs.example == number).numpy()  # type: ignore[union-attr]
        expected = [by_hand(line[own], window) for line in values]
        np.testing.assert_allclose(found[:, number], expected, atol=1e-12)


def test_it_is_scikit_learns_regression_of_tokens_then_of_sequences() -> None:
    train, test = streams(40), streams(20, seed=1)
    readout = RollingMean(window=6, l2=2.0).fit(train, [0, 1])
    assert isinstance(readout, RollingReadout)
    score = readout.answers(test).score
    assert score.shape == (2, 1, 20)

    def plain(pairs: Pairs) -> np.ndarray:
        rows, example = pairs.states[0, :, 0].double().numpy(), pairs.example.numpy()  # type: ignore[union-attr]
        given = rows @ tokens.coef_[0]
        return np.array([by_hand(given[example == number], 6) for number in range(example.max() + 1)])

    rows, labels = train.states[0, :, 0].double().numpy(), train.labels.numpy()  # type: ignore[union-attr]
    tokens = LogisticRegression(C=1 / 2.0, tol=1e-10, max_iter=1000).fit(rows, labels)
    most = plain(train)
    sequences = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000)
    sequences.fit(((most - most.mean()) / most.std())[:, None], np.arange(40) % 2)
    expected = sequences.decision_function(((plain(test) - most.mean()) / most.std())[:, None])
    np.testing.assert_allclose(score[0, 0], expected, atol=1e-3)


def test_a_short_run_is_found_where_a_mean_over_all_sees_nothing() -> None:
    train, test = streams(300), streams(200, seed=1)
    right = {}
    for window in (6, 1000):
        readout = RollingMean(window=window, l2=10.0).fit(train, [0])
        right[window] = ((readout.answers(test).score[0, 0] > 0) == np.arange(200) % 2).mean()
    assert right[6] > 0.9
    assert right[1000] < 0.75


def test_on_shuffled_labels_it_is_at_chance() -> None:
    """On the mean of forty shuffles: a line that has nothing to do with the labels still finds runs, on one side or the other."""
    train, test = streams(200), streams(100, seed=1)
    random = np.random.default_rng(0)
    drawn = torch.tensor(np.stack([random.permutation(200) % 2 for _ in range(40)]))
    shuffled = msgspec.structs.replace(train, labels=drawn[:, train.example])
    score = RollingMean(window=6).fit(shuffled, range(40)).answers(test).score[:, 0]
    label = np.arange(100) % 2
    ones, zeros = (score[:, label == one] for one in (1, 0))
    above = [(own[:, None] > other).mean() for own, other in zip(ones, zeros, strict=True)]
    assert abs(np.mean(above) - 0.5) < 0.12


def test_the_penalty_is_chosen() -> None:
    train = streams(100)
    chosen, given = (RollingMean(l2=l2).fit(train, [0]).answers(train).score for l2 in ("auto", 1e-6))
    assert np.abs(chosen - given).max() > 0
    assert (RollingMean(l2="auto").fit(train, [0]).answers(train).score == chosen).all()
