"""Probes of classes, numbers and vectors against scikit-learn, each with its control."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression as PlainLogistic
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

from harness.contracts import Pairs, Probe
from harness.errors import NumericalError
from harness.probes._cross_validation import candidates, folds, logistic_l2, principal, ridge_l2
from harness.probes.crc_tpc import TopPrincipalComponent
from harness.probes.kmeans import TwoMeans
from harness.probes.lda import LinearDiscriminant
from harness.probes.logistic_regression import LogisticRegression
from harness.probes.mean_difference import MeanDifference
from harness.probes.mlp import HiddenLayer
from harness.probes.ridge import Ridge
from harness.readouts import stored_readouts

CLASSES = 5


def statements(rows: int = 200, width: int = 20, seed: int = 0, apart: float = 1.0) -> Pairs:
    """Statements of five classes at two layers; at the second nothing is known of them."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(rows) % CLASSES)
    centres = np.random.default_rng(7).standard_normal((CLASSES, width))
    states = random.standard_normal((2, rows, 1, width))
    states[0, :, 0] += apart * centres[labels]
    return Pairs(
        torch.tensor(states, dtype=torch.float32),
        torch.zeros(rows, dtype=torch.int64),
        torch.tensor(labels),
        classes=CLASSES,
    )


def numbers(rows: int = 200, width: int = 20, seed: int = 0, components: int = 3) -> Pairs:
    """Statements with numbers that are linear in the states of the first layer, up to noise."""
    random = np.random.default_rng(seed)
    states = random.standard_normal((2, rows, 1, width)).astype(np.float32)
    along = np.random.default_rng(8).standard_normal((width, components))
    values = states[0, :, 0] @ along + random.standard_normal((rows, components))
    return Pairs(
        torch.tensor(states), torch.zeros(rows, dtype=torch.int64), values=torch.tensor(values, dtype=torch.float32)
    )


def at(pairs: Pairs, layer: int = 0) -> np.ndarray:
    return pairs.states[layer, :, 0].double().numpy()


@pytest.mark.parametrize(("rows", "width"), [(200, 20), (60, 100)])
@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_softmax_regression_agrees_with_scikit_learn(rows: int, width: int, l2: float) -> None:
    pairs = statements(rows, width)
    assert pairs.labels is not None
    found = LogisticRegression(l2=l2).fit(pairs, [0]).answers(pairs)
    assert found.outputs is not None
    for layer in (0, 1):
        plain = PlainLogistic(C=1 / l2, tol=1e-10, max_iter=10_000).fit(at(pairs, layer), pairs.labels.numpy())
        np.testing.assert_allclose(found.outputs[0, layer], plain.predict_log_proba(at(pairs, layer)), atol=1e-3)


@pytest.mark.parametrize("rows", [60, 300])
@pytest.mark.parametrize("shrinkage", [0.2, 0.9])
def test_lda_of_classes_agrees_with_scikit_learn(rows: int, shrinkage: float) -> None:
    pairs = statements(rows, 40)
    assert pairs.labels is not None
    found = LinearDiscriminant(shrinkage=shrinkage).fit(pairs, [0]).answers(pairs)
    assert found.outputs is not None
    plain = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(at(pairs), pairs.labels.numpy())
    np.testing.assert_allclose(found.outputs[0, 0], plain.predict_log_proba(at(pairs)), atol=1e-3)


@pytest.mark.parametrize(("rows", "width"), [(200, 20), (60, 100)])
@pytest.mark.parametrize("components", [1, 3])
def test_ridge_agrees_with_scikit_learn(rows: int, width: int, components: int) -> None:
    pairs = numbers(rows, width, components=components)
    assert pairs.values is not None
    found = Ridge(l2=3.0).fit(pairs, [0, 1]).answers(pairs)
    assert found.outputs is not None
    for layer in (0, 1):
        plain = PlainRidge(alpha=3.0).fit(at(pairs, layer), pairs.values.double().numpy())
        expected = plain.predict(at(pairs, layer)).reshape(rows, components)
        np.testing.assert_allclose(found.outputs[1, layer], expected, atol=1e-4)


@pytest.mark.parametrize(
    "probe", [LogisticRegression(), LogisticRegression(l2="auto"), LinearDiscriminant()], ids=["fixed", "auto", "lda"]
)
def test_classes_are_found_where_they_are_and_nowhere_else(probe: Probe) -> None:
    train, test = statements(), statements(400, seed=1)
    assert train.labels is not None
    assert test.labels is not None
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.stack([train.labels, *(train.labels[torch.randperm(200, generator=generator)] for _ in range(12))])
    readout = probe.fit(Pairs(train.states, train.template, shuffled, classes=CLASSES), range(13))
    found = readout.answers(test)
    assert found.outputs is not None
    right = (found.outputs.argmax(-1) == test.labels.numpy()).mean(-1)
    assert right[0, 0] > 0.8
    assert abs(right[0, 1] - 0.2) < 0.06
    assert abs(right[1:].mean() - 0.2) < 0.03, (
        "of shuffled labels nothing is known on average, though each shuffle has a few centres"
    )
    np.testing.assert_allclose(np.exp(found.outputs).sum(-1), 1, atol=1e-5)
    assert (found.score >= 0).all()
    kept = stored_readouts.restore(stored_readouts.form_of(readout), readout.tensors()).answers(test)
    np.testing.assert_array_equal(kept.outputs, found.outputs)


def test_numbers_are_found_where_they_are_and_nowhere_else() -> None:
    train, test = numbers(), numbers(400, seed=1)
    assert train.values is not None
    assert test.values is not None
    readout = Ridge().fit(train, [0])
    found = readout.answers(test)
    assert found.outputs is not None
    explained = [r2_score(test.values, found.outputs[0, k], multioutput="variance_weighted") for k in (0, 1)]
    assert explained[0] > 0.85
    assert abs(explained[1]) < 0.1
    kept = stored_readouts.restore(stored_readouts.form_of(readout), readout.tensors()).answers(test)
    np.testing.assert_array_equal(kept.outputs, found.outputs)


@pytest.mark.parametrize(("rows", "width"), [(100, 20), (60, 100)])
def test_ridges_strength_is_that_of_plain_cross_validation(rows: int, width: int) -> None:
    pairs = numbers(rows, width)
    assert pairs.values is not None
    states, values = at(pairs), pairs.values.double().numpy()
    fold = folds(pairs, pairs.values[:, 0])
    losses = {
        l2: sum(
            float(
                np.square(PlainRidge(alpha=l2).fit(states[own], values[own]).predict(states[~own]) - values[~own]).sum()
            )
            for own in (fold.numpy() != one for one in range(5))
        )
        for l2 in candidates(float(principal(pairs.states[0, :, 0])[0][-1]))
    }
    chosen = ridge_l2(pairs.states[0, :, 0], pairs.values[None].double(), fold)
    assert chosen == [min(losses, key=losses.__getitem__)]


RARE: dict[str, tuple[int, int, int]] = {
    # How many classes, how many rows the last of them has, and in how many groups.
    "every class in many groups": (5, 30, 30),
    "a class with one member": (4, 1, 1),
    "a class in one group": (4, 12, 1),
    "one of two classes in one group": (2, 12, 1),
    "a class in two groups": (4, 12, 2),
}


@pytest.mark.parametrize("kind", RARE)
def test_logistic_strength_loses_hardly_more_than_that_of_plain_cross_validation(kind: str) -> None:
    """Rows of a class that a fit has not seen are not counted: what it says of them has no lower end."""
    classes, rows, groups = RARE[kind]
    many = statements(150, 30, apart=0.6)
    assert many.labels is not None
    own = torch.cat([(many.labels < classes - 1).nonzero()[:, 0], (many.labels == classes - 1).nonzero()[:rows, 0]])
    group = torch.arange(len(own))
    group[-rows:] = group[-rows:] // -(-rows // groups) + len(own)
    pairs = replace(many.at(row=own.tolist()), classes=classes, group=group)
    assert pairs.labels is not None
    states, labels = at(pairs), pairs.labels.numpy()
    fold = folds(pairs, pairs.labels)
    losses = {}
    for l2 in candidates(float(principal(pairs.states[0, :, 0])[0][-1])):
        losses[l2] = 0.0
        for seen in (fold.numpy() != one for one in range(5)):
            known = np.unique(labels[seen])
            held = ~seen & np.isin(labels, known)
            if len(known) > 1:
                plain = PlainLogistic(C=1 / l2, max_iter=5000).fit(states[seen], labels[seen])
                said = plain.predict_log_proba(states[held])
                losses[l2] -= float(said[np.arange(held.sum()), np.searchsorted(known, labels[held])].sum())
    member = torch.nn.functional.one_hot(pairs.labels, classes).T.double()
    assert losses[logistic_l2(pairs.states[0, :, 0], member, fold)] < 1.02 * min(losses.values())


def test_a_strength_is_chosen_only_where_a_class_can_be_held_out() -> None:
    pairs = statements(40)
    labels = torch.arange(40) % 2
    alone = replace(pairs, labels=labels, classes=2, group=labels)
    with pytest.raises(NumericalError, match="a class with rows in two groups"):
        LogisticRegression(l2="auto").fit(alone, [0])
    LogisticRegression(l2="auto").fit(replace(alone, group=torch.arange(40) % 4), [0])


def test_rows_of_a_group_are_held_out_together_and_kinds_dealt_evenly() -> None:
    labels = torch.arange(40) // 2 % 2
    pairs = Pairs(torch.zeros(1, 40, 1, 3), torch.zeros(40, dtype=torch.int64), labels, group=torch.arange(40) // 2)
    fold = folds(pairs, labels)
    assert (fold[::2] == fold[1::2]).all()
    for one in range(5):
        assert labels[fold == one].double().mean() == 0.5
    lone = Pairs(pairs.states, pairs.template, labels, group=torch.zeros(40, dtype=torch.int64))
    with pytest.raises(NumericalError, match="two groups of training rows"):
        folds(lone, labels)


def test_whitened_mean_difference_is_the_plain_formula_where_rows_are_many() -> None:
    random = np.random.default_rng(0)
    mix = random.standard_normal((6, 6))
    labels = np.arange(6000) % 2
    states = (random.standard_normal((6000, 6)) + 0.5 * labels[:, None]) @ mix
    pairs = Pairs(
        torch.tensor(states[None, :, None], dtype=torch.float32),
        torch.zeros(6000, dtype=torch.int64),
        torch.tensor(labels),
    )
    gap = states[labels == 1].mean(0) - states[labels == 0].mean(0)
    left = np.concatenate([states[labels == k] - states[labels == k].mean(0) for k in (0, 1)])
    expected = np.linalg.solve(np.cov(left.T), gap)
    found = MeanDifference(whitened=True).fit(pairs, [0]).pair_weights
    plain = MeanDifference().fit(pairs, [0]).pair_weights
    assert found is not None
    assert plain is not None
    np.testing.assert_allclose(found[0, 0, 0], expected, rtol=0.03, atol=0.03 * np.abs(expected).max())
    cosine = np.dot(plain[0, 0, 0].numpy(), expected) / np.linalg.norm(expected)
    assert cosine < 0.9, "where dimensions do not vary alike, the plain direction is another"


@pytest.mark.parametrize("probe", [TwoMeans(), TopPrincipalComponent()], ids=["kmeans", "crc_tpc"])
def test_what_needs_no_labels_takes_statements(probe: Probe) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(100) % 2
    states = random.standard_normal((1, 100, 1, 10)) + 3 * labels[None, :, None, None]
    pairs = Pairs(torch.tensor(states, dtype=torch.float32), torch.zeros(100, dtype=torch.int64))
    right = ((probe.fit(pairs, [0]).answers(pairs).score[0, 0] > 0) == labels).mean()
    assert max(right, 1 - right) > 0.95


@pytest.mark.parametrize("probe", [LogisticRegression(), LinearDiscriminant()], ids=["logistic", "lda"])
def test_one_class_or_one_value_is_refused(probe: Probe) -> None:
    pairs = statements()
    with pytest.raises(NumericalError, match="needs two classes"):
        probe.fit(Pairs(pairs.states, pairs.template, torch.ones(200, dtype=torch.int64), classes=CLASSES), [0])
    with pytest.raises(NumericalError, match="have one value"):
        Ridge().fit(Pairs(pairs.states, pairs.template, values=torch.ones(200, 1)), [0])
    with pytest.raises(NumericalError, match="value of training row 3 is not finite"):
        broken = torch.randn(200, 1)
        broken[3] = float("nan")
        Ridge().fit(Pairs(pairs.states, pairs.template, values=broken), [0])


def bent(kind: str, rows: int = 500, width: int = 8, seed: int = 0) -> Pairs:
    """Statements of which something is known that no linear map finds, at the first of two layers: how far a direction is from zero, as a
    class of three or as a number, or both signs of a pair of them as a vector."""
    random = np.random.default_rng(seed)
    states = random.standard_normal((2, rows, 1, width)).astype(np.float32)
    far = np.abs(states[0, :, 0, :2])
    given = torch.tensor(states), torch.zeros(rows, dtype=torch.int64)
    if kind == "classes":
        labels = np.digitize(far[:, 0], [0.43, 0.97])
        return Pairs(*given, torch.tensor(labels), classes=3)
    values = far if kind == "vector" else far[:, :1]
    return Pairs(*given, values=torch.tensor(5 * values + 100))


def known_of(kind: str, pairs: Pairs, outputs: np.ndarray) -> float:
    """Share of the classes, or of the variance of the values, that outputs (row, output) have right."""
    if kind == "classes":
        assert pairs.labels is not None
        return float((outputs.argmax(-1) == pairs.labels.numpy()).mean())
    assert pairs.values is not None
    return float(r2_score(pairs.values, outputs))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("kind", "linear"), [("classes", LogisticRegression()), ("number", Ridge()), ("vector", Ridge())]
)
def test_a_hidden_layer_finds_what_no_linear_probe_does_as_well_as_scikit_learns(kind: str, linear: Probe) -> None:
    train, test, chance = bent(kind), bent(kind, seed=1), 1 / 3 if kind == "classes" else 0.0
    readout = HiddenLayer().fit(train, range(3))
    found = readout.answers(test).outputs
    assert found is not None
    known = np.array([[known_of(kind, test, found[seed, layer]) for layer in (0, 1)] for seed in range(3)])
    assert known[:, 0].min() > 0.75
    assert known[:, 1].max() < chance + 0.1, "at the second layer nothing is known"
    missed = linear.fit(train, [0]).answers(test).outputs
    assert missed is not None
    assert known_of(kind, test, missed[0, 0]) < chance + 0.1
    learnt = train.labels if train.values is None else (train.values - 100) / 5
    assert learnt is not None
    plain = []
    for seed in range(3):
        model = MLPClassifier if kind == "classes" else MLPRegressor
        fitted = model(
            hidden_layer_sizes=(32,), alpha=0, batch_size=500, learning_rate_init=0.003, max_iter=300, random_state=seed
        )
        fitted.fit(at(train), learnt.numpy().squeeze())
        said = fitted.predict_proba(at(test)) if kind == "classes" else 5 * fitted.predict(at(test)) + 100
        plain.append(known_of(kind, test, said))
    assert abs(known[:, 0].mean() - np.mean(plain)) < 0.06
    kept = stored_readouts.restore(stored_readouts.form_of(readout), readout.tensors()).answers(test)
    np.testing.assert_array_equal(kept.outputs, found)


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_a_hidden_layer_finds_nothing_of_shuffled_labels(kind: str) -> None:
    train, test = bent(kind), bent(kind, seed=1)
    orders = torch.stack([torch.randperm(500, generator=torch.Generator().manual_seed(k)) for k in range(3)])
    if train.labels is None:
        assert train.values is not None
        mixed = Pairs(train.states, train.template, values=train.values[orders])
    else:
        mixed = Pairs(train.states, train.template, train.labels[orders], classes=3)
    found = HiddenLayer().fit(mixed, range(3)).answers(test).outputs
    assert found is not None
    for own in found[:, 0]:
        assert known_of(kind, test, own) < (1 / 3 if kind == "classes" else 0) + 0.1


def test_a_hidden_layers_fit_of_one_seed_and_layer_is_that_among_others() -> None:
    train = bent("vector")
    one = HiddenLayer(epochs=20).fit(train.at(layer=0), [1]).answers(train.at(layer=0)).outputs
    many = HiddenLayer(epochs=20).fit(train, [0, 1]).answers(train).outputs
    assert one is not None
    assert many is not None
    np.testing.assert_array_equal(one[0, 0], many[1, 0])


def test_a_hidden_layer_says_the_mean_where_states_do_not_vary() -> None:
    train = bent("number")
    train.states[0] = 3.0
    found = HiddenLayer(epochs=5).fit(train, [0]).answers(train)
    assert found.outputs is not None
    assert train.values is not None
    np.testing.assert_allclose(found.outputs[0, 0], float(train.values.mean()), rtol=1e-5)
    assert not found.score[0, 0].any()
