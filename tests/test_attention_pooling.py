"""Attention pooling: against plain torch fits one at a time, where one token of a sequence tells, and in a run on tokens."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from harness import pipeline
from harness.contracts import Pairs
from harness.errors import NumericalError
from harness.probes.attention_pooling import AttentionPooling, _query
from harness.readouts.attention import Sequences
from harness.store import Store
from tests.report_tables import full_table
from tests.test_each_token import spec  # noqa: F401


def tokens(count: int, seed: int, d_model: int = 8, layers: int = 2, *, flagged: bool = True) -> Pairs:
    """Sequences of 3 to 9 tokens. One token of each tells the label along dimension 0; with `flagged`, it is marked along dimension 1, and all
    others point to one side or the other along dimension 0 by chance, so that the mean says little."""
    random = np.random.default_rng(seed)
    rows, example, labels = [], [], []
    for number in range(count):
        size = int(random.integers(3, 10))
        states = 0.3 * random.standard_normal((layers, size, d_model))
        told = int(random.integers(size))
        states[:, :, 0] += 2.0 * (2 * random.integers(0, 2, size) - 1) * flagged
        states[:, told, 0] = 2.0 * (2 * (number % 2) - 1)
        states[:, told, 1] += 3.0 * flagged
        rows.append(states)
        example += [number] * size
        labels += [number % 2] * size
    return Pairs(
        torch.tensor(np.concatenate(rows, axis=1), dtype=torch.float32)[:, :, None],
        torch.zeros(len(example), dtype=torch.int64),
        labels=torch.tensor(labels),
        example=torch.tensor(example),
        group=torch.tensor(example),
    )


def hits(probe: AttentionPooling, train: Pairs, test: Pairs) -> np.ndarray:
    """Share of tokens whose sequence is answered rightly, (seed, layer)."""
    assert test.labels is not None
    score = probe.fit(train, [0, 1]).answers(msgspec.structs.replace(test, labels=None)).score
    found: np.ndarray = ((score > 0) == test.labels.numpy()).mean(axis=-1)
    return found


def test_sequences_are_the_rows_of_one_example_under_one_template_in_their_order() -> None:
    pairs = Pairs(
        torch.arange(6.0).reshape(1, 6, 1, 1),
        torch.tensor([0, 1, 0, 0, 1, 0]),
        example=torch.tensor([9, 9, 4, 9, 9, 9]),
    )
    found = Sequences.of(pairs)
    assert [row[there].tolist() for row, there in zip(found.place, found.there, strict=True)] == [[0, 3, 5], [1, 4], [2]]
    assert found.of_row.tolist() == [0, 1, 2, 0, 1, 0]
    assert found.mean(torch.arange(6.0)).tolist() == pytest.approx([8 / 3, 2.5, 2])
    weights = found.weights(torch.zeros(6))
    assert weights.sum(dim=-1).tolist() == pytest.approx([1, 1, 1])
    assert found.on_rows(weights).tolist() == pytest.approx([1 / 3, 1 / 2, 1, 1 / 3, 1 / 2, 1 / 3])
    alone = Sequences.of(msgspec.structs.replace(pairs, example=None))
    assert alone.place.tolist() == [[row] for row in range(6)]


def plain(pairs: Pairs, layer: int, labels: torch.Tensor, seed: int, l2: float) -> tuple[np.ndarray, float]:
    """One fit by autograd and torch's own L-BFGS, sequence by sequence: the score of each sequence, and the loss."""
    rows = pairs.states[layer, :, 0].double()
    assert pairs.example is not None
    each = [pairs.example == number for number in pairs.example.unique()]
    size = float((rows - rows.mean(dim=0)).square().mean().sqrt())
    truth = torch.stack([labels[own].double().mean() for own in each])
    query = (_query(seed, rows.shape[1]) / size).requires_grad_()
    value = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([query, value, bias], max_iter=3000, max_eval=6000, tolerance_grad=1e-9, tolerance_change=1e-14, history_size=50, line_search_fn="strong_wolfe")  # fmt: skip

    def scores() -> torch.Tensor:
        found = [((rows[own] @ query).softmax(dim=0) * (rows[own] @ value)).sum() for own in each]
        return torch.stack(found) + bias

    def loss() -> torch.Tensor:
        logits = scores()
        fitted = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum")
        return fitted + l2 / 2 * (query.square().sum() + value.square().sum())

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimizer.step(step)
    return scores().detach().numpy(), float(loss())


def loss_of(pairs: Pairs, labels: torch.Tensor, score: np.ndarray, query: torch.Tensor, value: torch.Tensor, l2: float) -> float:  # fmt: skip
    """The loss at a fit that was found: the first token of each sequence has its score and label."""
    assert pairs.example is not None
    first = np.unique(pairs.example.numpy(), return_index=True)[1]
    logits = score[first].astype(np.float64)
    fitted = (np.logaddexp(0, logits) - labels.numpy()[first] * logits).sum()
    return float(fitted + l2 / 2 * (query.double().square().sum() + value.double().square().sum()))


@pytest.mark.parametrize("l2", [0.3, 3.0])
def test_fits_of_all_layers_and_seeds_are_those_of_plain_torch_one_at_a_time(l2: float) -> None:
    pairs = tokens(60, 0)
    assert pairs.labels is not None and pairs.example is not None
    readout = AttentionPooling(l2=l2).fit(pairs, [0, 1, 2])
    score = readout.answers(pairs).score
    parts = readout.tensors()
    alike = 0
    for seed in range(3):
        for layer in range(2):
            expected, least = plain(pairs, layer, pairs.labels, seed, l2)
            at = score[seed, layer]
            own = loss_of(pairs, pairs.labels, at, parts["query"][seed, layer], parts["value"][seed, layer], l2)
            # The loss has several minima, into the better of which either may fall; most fits are one and the same.
            assert own < least * 1.05
            first = np.unique(pairs.example.numpy(), return_index=True)[1]
            alike += np.allclose(at[first], expected, atol=2e-3)
    assert alike >= 5


def test_one_token_of_each_sequence_tells_and_the_mean_does_not() -> None:
    train, test = tokens(200, 0), tokens(300, 1)
    assert (hits(AttentionPooling(l2=1.0), train, test) > 0.95).all()
    # The controls: queries without weight, which leaves means; and labels that mean nothing.
    assert (hits(AttentionPooling(l2=1e3), train, test) < 0.85).all()
    assert train.example is not None
    by_chance = torch.tensor(np.random.default_rng(0).integers(0, 2, 200))[train.example]
    assert abs(hits(AttentionPooling(l2=1.0), msgspec.structs.replace(train, labels=by_chance), test) - 0.5).max() < 0.2


def test_a_strong_penalty_leaves_logistic_regression_on_means() -> None:
    from sklearn.linear_model import LogisticRegression

    pairs = tokens(80, 0, flagged=False)
    assert pairs.labels is not None and pairs.example is not None
    readout = AttentionPooling(l2=300.0).fit(pairs, [0])
    sequences = Sequences.of(pairs)
    first = sequences.place[:, 0]
    means = sequences.mean(pairs.states[1, :, 0].double().T).T.numpy()
    oracle = LogisticRegression(C=1 / 300, tol=1e-10, max_iter=10_000).fit(means, pairs.labels[first].numpy())
    assert float(readout.tensors()["query"].abs().max()) < 1e-2
    np.testing.assert_allclose(readout.answers(pairs).score[0, 1][first], oracle.decision_function(means), atol=1e-3)


def test_a_chosen_penalty_does_as_well_as_the_best_of_some() -> None:
    train, test = tokens(100, 0), tokens(300, 1)
    given = {l2: hits(AttentionPooling(l2=l2), train, test).mean() for l2 in (0.1, 1.0, 10.0, 1e3)}
    assert given[1e3] < max(given.values()) - 0.1
    assert hits(AttentionPooling(l2="auto"), train, test).mean() > max(given.values()) - 0.05
    one_group = msgspec.structs.replace(train, group=torch.zeros(len(train.template), dtype=torch.int64))
    with pytest.raises(NumericalError, match="l2: auto needs two groups"):
        AttentionPooling(l2="auto").fit(one_group, [0])


def test_a_run_gives_each_token_the_score_of_its_sequence(spec: Path, tmp_path: Path) -> None:  # noqa: F811
    spec.write_text(spec.read_text().replace("{kind: mean_difference, normalise: none}", "attention_pooling"))
    store = Store(tmp_path / "store")
    outcome = pipeline.run(spec, out=tmp_path / "reports", store=store, page=False)
    rows = full_table(outcome.folder, "rows").filter(probe="attention_pooling")
    by_word = rows.filter(tested_on="tokens").group_by("example").agg("score")
    assert all(len(set(scores)) == 1 for scores in by_word["score"].to_list())
    assert by_word["score"].list.first().n_unique() > 10
    again = pipeline.run(spec, out=tmp_path / "again", store=store, page=False)
    assert full_table(again.folder, "rows").equals(full_table(outcome.folder, "rows"))
