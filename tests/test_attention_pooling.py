"""Attention pooling: against a plain fit in torch, on sequences of which one token tells, and in a run that reads each token."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness.contracts import Pairs
from harness.errors import NumericalError
from harness.probes.attention_pooling import AttentionPooling
from harness.probes.logistic_regression import LogisticRegression
from harness.readouts.attention import AttentionReadout, Sequences
from tests.test_each_token import spec  # noqa: F401

WIDTH = 8


def tokens(count: int, seed: int = 0, marked: float = 6.0, layers: int = 2) -> Pairs:
    """Sequences of 5 to 30 tokens in a mixed order of rows. One token of each is marked by the first dimension, and says the label by
    the second; on all others the second is larger noise. The last layer has no marks."""
    random = np.random.default_rng(seed)
    lengths = random.integers(5, 31, count)
    label = np.arange(count) % 2
    of_row = np.repeat(np.arange(count), lengths)
    states = random.standard_normal((layers, len(of_row), 1, WIDTH))
    states[:, :, 0, 1] *= 3
    told = np.cumsum(lengths) - 1 - random.integers(0, 5, count)
    states[:, told, 0, 1] = 2.0 * label - 1
    states[:-1, told, 0, 0] += marked
    order = random.permutation(len(of_row))
    # The same examples under two templates: even and odd places of four are one example.
    return Pairs(
        torch.tensor(states[:, order], dtype=torch.float32), torch.tensor(of_row[order] // 2 % 2), labels=torch.tensor(label[of_row[order]]),
        example=torch.tensor(of_row[order] // 4 * 2 + of_row[order] % 2), group=torch.tensor(of_row[order] // 4),
    )  # fmt: skip


def by_hand(pairs: Pairs, layer: int) -> list[tuple[torch.Tensor, float]]:
    """The states of each sequence at a layer, (token, d_model), float64, with its label."""
    found: dict[tuple[int, int], list[int]] = {}
    assert pairs.example is not None
    assert pairs.labels is not None
    for row, key in enumerate(zip(pairs.example.tolist(), pairs.template.tolist(), strict=True)):
        found.setdefault(key, []).append(row)
    return [(pairs.states[layer, rows, 0].double(), float(pairs.labels[rows[0]])) for rows in found.values()]


def penalised(sequences: list[tuple[torch.Tensor, float]], l2: float, *parts: torch.Tensor) -> torch.Tensor:
    """Σ log-loss + ½ · l2 · (‖q‖² + ‖v‖²), one sequence after another."""
    query, value, bias = parts
    loss = l2 / 2 * (query.square().sum() + value.square().sum())
    for states, label in sequences:
        logit = torch.softmax(states @ query, dim=0) @ (states @ value) + bias
        loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(label).to(logit))
    return loss


def averaged(pairs: Pairs) -> Pairs:
    """The mean of each sequence as one row."""
    assert pairs.labels is not None
    sequences = Sequences.of(pairs)
    states = sequences.mean(pairs.states[:, :, 0].transpose(1, 2)).transpose(1, 2)[:, :, None]
    template = torch.zeros(len(sequences.place), dtype=torch.int64)
    return Pairs(states, template, labels=sequences.mean(pairs.labels.double()).long())


def fitted(pairs: Pairs, seeds: Any = (0,), **settings: Any) -> AttentionReadout:
    found = AttentionPooling(**settings).fit(pairs, seeds)
    assert isinstance(found, AttentionReadout)
    return found


def auroc(readout: AttentionReadout, pairs: Pairs, layer: int) -> float:
    assert pairs.labels is not None
    score, label = readout.answers(pairs).score[0, layer], Sequences.of(pairs).mean(pairs.labels.float()).numpy()
    ones, zeros = score[label == 1], score[label == 0]
    above: float = (ones[:, None] > zeros).mean() + (ones[:, None] == zeros).mean() / 2
    return above


def test_rows_of_one_example_under_one_template_are_a_sequence() -> None:
    pairs = tokens(12)
    sequences = Sequences.of(pairs)
    assert sequences.there.sum().item() == pairs.states.shape[1]
    expected = by_hand(pairs, 0)
    assert len(expected) == len(sequences.place) == 12
    for (states, _), place, there in zip(expected, sequences.place, sequences.there, strict=True):
        assert torch.equal(pairs.states[0, place[there], 0].double(), states)
    values = torch.arange(float(pairs.states.shape[1]))
    assert torch.equal(sequences.on_rows(values[sequences.place]), values)


def test_it_is_the_minimum_that_a_plain_fit_reaches() -> None:
    """A loop over sequences with torch's own gradient, from the same start. The control: the loss at another point is higher."""
    pairs, l2 = tokens(40, layers=1, marked=3.0), 2.0
    found, sequences = fitted(pairs, [3], l2=l2), by_hand(pairs, 0)
    mean, size = pairs.states[0, :, 0].double().mean(dim=0), 0.0
    size = float((pairs.states[0, :, 0].double() - mean).square().mean().sqrt())
    start = np.random.default_rng([0xA77, 3]).standard_normal(WIDTH) * WIDTH**-0.5 / size
    parts = [torch.tensor(start), torch.zeros(WIDTH, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)]
    for part in parts:
        part.requires_grad_()
    plain = torch.optim.LBFGS(
        parts, max_iter=500, tolerance_grad=1e-9, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        plain.zero_grad()
        loss = penalised(sequences, l2, *parts)
        loss.backward()
        return float(loss.detach())

    plain.step(closure)
    own = [found.query[0, 0].double(), found.value[0, 0].double(), found.bias[0, 0].double()]
    assert float(penalised(sequences, l2, *own)) == pytest.approx(closure(), rel=1e-5)
    for mine, theirs in zip(own, parts, strict=True):
        torch.testing.assert_close(mine, theirs.detach(), atol=2e-3, rtol=2e-3)
    moved = [own[0] + 0.3, *own[1:]]
    assert float(penalised(sequences, l2, *moved)) > closure() + 0.01
    # One score for each sequence, in the order of their first rows.
    logits = [float(torch.softmax(states @ own[0], dim=0) @ (states @ own[1]) + own[2]) for states, _ in sequences]
    np.testing.assert_allclose(found.answers(pairs).score[0, 0], logits, atol=1e-4)


def test_layers_and_seeds_fitted_together_are_those_fitted_alone() -> None:
    pairs = tokens(60)
    together = fitted(pairs, range(3), l2=5.0)
    alone = fitted(pairs.at(layer=1), [2], l2=5.0)
    torch.testing.assert_close(together.query[2, 1], alone.query[0, 0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(together.value[2, 1], alone.value[0, 0], atol=1e-3, rtol=1e-3)
    assert float((together.query[0] - together.query[1]).abs().max()) > 0


@pytest.mark.parametrize("l2", [1.0, "auto"])
def test_it_finds_the_token_that_tells(l2: Any) -> None:
    """A mean over tokens does not, nor does attention where no token is marked, nor on shuffled labels."""
    train, test = tokens(300), tokens(200, seed=1)
    readout = fitted(train, l2=l2)
    assert auroc(readout, test, 0) > 0.97
    assert auroc(readout, test, 1) < 0.75
    order, there = Sequences.of(train), Sequences.of(test)
    mean = LogisticRegression().fit(averaged(train), [0]).answers(averaged(test)).score[0, 0]
    label = there.mean(test.labels.float()).numpy()  # type: ignore[union-attr]
    above = (mean[label == 1][:, None] > mean[label == 0]).mean()
    assert above < 0.75 < auroc(readout, test, 0)
    random = torch.tensor(np.random.default_rng(0).permutation(300) % 2)
    shuffled = msgspec.structs.replace(train, labels=random[order.of_row])
    assert abs(auroc(fitted(shuffled, l2=10.0), test, 0) - 0.5) < 0.15


def test_sequences_of_one_token_are_logistic_regression() -> None:
    pairs = msgspec.structs.replace(tokens(60, layers=1), example=None)
    mine = fitted(pairs, l2=3.0).answers(pairs)
    theirs = LogisticRegression(l2=3.0).fit(pairs, [0]).answers(pairs)
    np.testing.assert_allclose(mine.score, theirs.score, atol=1e-3)


def test_one_group_has_nothing_to_hold_out() -> None:
    pairs = msgspec.structs.replace(tokens(4), group=torch.zeros(tokens(4).states.shape[1], dtype=torch.int64))
    with pytest.raises(NumericalError, match="l2: auto needs two groups"):
        fitted(pairs, l2="auto")
