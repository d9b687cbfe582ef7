"""Every probe in the folder keeps the contract, and the methods agree with independent plain implementations."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.contracts import Pairs, Probe
from harness.contracts.kind import find, names, options
from harness.errors import NumericalError, StoreError, UsageError
from harness.probes._components import descend_from_components
from harness.probes._consistency import FLOOR, Consistency
from harness.probes._descent import AdamW, _descend_group, descend, nothing
from harness.probes._quasi_newton import minimise
from harness.probes._start import starts
from harness.probes._symmetrised import SymmetrisedConsistency
from harness.probes.crc_bss import GAUSSIAN, Salience
from harness.probes.kmeans import Clusters
from harness.readouts import fitted_probes, stored_readouts
from harness.store import Artifact
from tests.test_planted import accuracy, normalised, world

KINDS = tuple(kind for kind in names("probes") if "binary" in find("probes", kind).targets)
"""Those that say which answer is right; tests/test_target_probes.py has those of numbers."""
ON_STATES = tuple(kind for kind in KINDS if find("probes", kind).reads == "states")
SUPERVISED = tuple(kind for kind in KINDS if find("probes", kind).supervised)
UNTRAINED = ("random",)
"""By theory these find nothing on their own."""
DETECTORS = tuple(kind for kind in KINDS if find("probes", kind).detects)
"""They look for what is unusual, and have worlds of their own (tests/test_detectors.py)."""
BY_LAYER = tuple(kind for kind in ON_STATES if find("probes", kind).by_layer)
SHORT: dict[str, dict[str, Any]] = {"rccs": {"epochs": 15}}
"""Where fits made in other batches are compared: with more steps on few rows, weights grow without bound and L-BFGS makes
something large of what rounding differs by."""


def make(kind: str, **settings: Any) -> Probe:
    probe = find("probes", kind)(**settings)
    assert isinstance(probe, Probe)
    return probe


def planted_pairs(kind: str, count: int = 120, seed: int = 0, **made: Any) -> Pairs:
    """Normalised training pairs of a planted world with everything that a probe may ask for."""
    rows = world(count, seed, **made)
    pairs = normalised(find("probes", kind)().normalise, rows, rows)
    truth = torch.tensor(rows.factors["truth"])
    odds = (2.0 * truth - 1) + torch.tensor(np.random.default_rng(seed).standard_normal(count), dtype=torch.float32)
    return msgspec.structs.replace(
        pairs, labels=truth if find("probes", kind).supervised else None, log_odds=odds.float()
    )


# The contract of every probe.


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_documented_and_the_source_named(kind: str) -> None:
    probe = find("probes", kind)
    assert probe.__doc__
    assert probe.source
    assert all(option.doc for option in options(probe))


def test_kinds_are_listed_without_importing_torch() -> None:
    code = (
        "import sys\nfrom harness.contracts.kind import find, names\n"
        "for folder in ('probes', 'normalisations', 'beds'): [find(folder, name) for name in names(folder)]\n"
        "print(sorted({'torch', 'scipy', 'sklearn', 'polars', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", [kind for kind in ON_STATES if kind not in (*UNTRAINED, *DETECTORS)])
def test_finds_planted_truth_and_chance_without_it(kind: str) -> None:
    train, test = world(200, 0), world(400, 1)
    found = accuracy(make(kind), train, test, seeds=[0, 1])["truth"]
    assert (found[:, 3] > 0.95).all()
    assert (abs(found[:, 0] - 0.5) < 0.08).all()


@pytest.mark.parametrize("kind", [kind for kind in ON_STATES if kind in SUPERVISED and kind not in DETECTORS])
def test_shuffled_labels_score_chance_each_as_if_alone(kind: str) -> None:
    train, test = world(200, 0, d_model=16), world(400, 1, d_model=16)
    random = np.random.default_rng(0)
    shuffled = torch.tensor(np.stack([random.permutation(train.factors["truth"]) for _ in range(40)]))
    shuffled[3] = torch.tensor(train.factors["truth"])
    # No sign is resolved here: on shuffled labels the fitted sign is as random as the rest.
    pairs = msgspec.structs.replace(normalised("mean", train, train), labels=shuffled)
    readout = make(kind).fit(pairs, range(40))
    score = readout.answers(normalised("mean", train, test)).score[:, 3]
    hits = ((score > 0) == test.factors["truth"]).mean(axis=-1)
    assert hits[3] > 0.95
    # Chance is a statement about the mean: a fit on few dimensions that really vary is right or wrong about all rows.
    assert abs(np.delete(hits, 3).mean() - 0.5) < 3 * 0.5 / len(shuffled) ** 0.5
    for number in (0, 3):
        alone = make(kind).fit(msgspec.structs.replace(pairs, labels=shuffled[number]), [number])
        np.testing.assert_allclose(
            alone.answers(normalised("mean", train, test)).score[0, 3], score[number], atol=1e-3, rtol=1e-3
        )


@pytest.mark.parametrize("kind", KINDS)
def test_same_input_same_bytes(kind: str) -> None:
    pairs = planted_pairs(kind)
    first, second = (make(kind).fit(pairs, [3, 4]).tensors() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = make(kind).fit(planted_pairs(kind, seed=1), [3, 4]).tensors()
    if kind not in (*UNTRAINED, "zero_shot"):
        assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind: str) -> None:
    pairs = planted_pairs(kind)
    readout = make(kind).fit(pairs, [5, 6, 7])
    answers = readout.answers(pairs)
    layers = 1 if find("probes", kind).reads == "log_odds" else 4
    assert answers.score.shape == (3, layers, 120)
    assert answers.score.dtype == np.float32
    if answers.probability is not None:
        assert answers.probability.shape == answers.score.shape
        assert ((answers.probability > 0.5) == (answers.score > 0))[abs(answers.score) > 1e-6].all()
    if answers.members is not None:
        assert answers.members.shape == (3, layers, 120, 2)
        half = (answers.members[..., 1] + 1 - answers.members[..., 0]) / 2
        np.testing.assert_allclose(half, answers.probability, atol=1e-6)
        np.testing.assert_allclose(half - 0.5, answers.score, atol=1e-6)
    assert readout.loss is None or readout.loss.shape == (3, layers)


@pytest.mark.parametrize("kind", BY_LAYER)
def test_other_seeds_and_layers_change_nothing(kind: str) -> None:
    pairs = planted_pairs(kind)
    probe = make(kind, **SHORT.get(kind, {}))
    both = probe.fit(pairs, [0, 1]).answers(pairs).score
    alone = probe.fit(pairs, [1]).answers(pairs).score
    np.testing.assert_allclose(both[1:], alone, rtol=1e-3, atol=1e-4)
    last = msgspec.structs.replace(pairs, states=pairs.states[3:])
    np.testing.assert_allclose(probe.fit(last, [1]).answers(last).score, alone[:, 3:], rtol=1e-3, atol=1e-4)
    if find("probes", kind).seeded and kind != "kmeans":
        assert not np.allclose(both[0], both[1])
    if not find("probes", kind).seeded:
        np.testing.assert_array_equal(both[0], both[1])


@pytest.mark.parametrize("kind", ON_STATES)
def test_bad_states_are_refused(kind: str) -> None:
    pairs = planted_pairs(kind)
    one = msgspec.structs.replace(
        pairs,
        states=pairs.states[:, :1],
        template=pairs.template[:1],
        labels=None if pairs.labels is None else pairs.labels[:1],
    )
    broken = pairs.states.clone()
    broken[2, 5, 1, 0] = torch.nan
    endless = pairs.states.clone()
    endless[1, 7, 0, 3] = -torch.inf
    cases = [
        (msgspec.structs.replace(pairs, states=broken), "pair 5 at layer index 2 is not finite"),
        (msgspec.structs.replace(pairs, states=endless), "pair 7 at layer index 1 is not finite"),
        (msgspec.structs.replace(pairs, states=torch.zeros_like(pairs.states)), "constant"),
        (msgspec.structs.replace(pairs, states=torch.full_like(pairs.states, 3.7)), "constant"),
        (one, "two training pairs|both classes"),
    ]
    for bad, message in cases:
        with pytest.raises(NumericalError, match=message):
            make(kind).fit(bad, [0])
    make(kind).fit(pairs, [0])


@pytest.mark.parametrize("kind", BY_LAYER)
def test_a_layer_that_does_not_vary_scores_nothing_among_others(kind: str) -> None:
    pairs = planted_pairs(kind)
    states = pairs.states.clone()
    states[1] = 0
    answers = (
        make(kind)
        .fit(msgspec.structs.replace(pairs, states=states), [0])
        .answers(msgspec.structs.replace(pairs, states=states))
    )
    assert abs(answers.score[:, 1]).max() < 1e-6
    # Small, because some detectors score by shares.
    assert abs(answers.score[:, 3]).max() > 0.01


@pytest.mark.parametrize("kind", SUPERVISED)
def test_one_class_is_refused(kind: str) -> None:
    pairs = planted_pairs(kind)
    for label in (0, 1):
        with pytest.raises(NumericalError, match=f"all {label}"):
            make(kind).fit(msgspec.structs.replace(pairs, labels=torch.full((120,), label)), [0])


# Agreement with independent implementations.


def differences_of(pairs: Pairs) -> np.ndarray:
    return (pairs.states[:, :, 1] - pairs.states[:, :, 0]).numpy().astype(np.float64)


@pytest.mark.parametrize("count", [40, 200])
@pytest.mark.parametrize("features", ["difference", "concat"])
@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_logistic_regression_agrees_with_scikit_learn(count: int, features: str, l2: float) -> None:
    from sklearn.linear_model import LogisticRegression

    pairs = planted_pairs("logistic_regression", count, truth=1.0)
    labels = torch.stack([pairs.labels, pairs.labels.roll(1)])
    readout = make("logistic_regression", features=features, l2=l2).fit(
        msgspec.structs.replace(pairs, labels=labels), [0, 1]
    )
    weight, bias = readout.tensors()["weight"].numpy(), readout.tensors()["bias"].numpy()
    for layer in range(4):
        x = (
            differences_of(pairs)[layer]
            if features == "difference"
            else pairs.states[layer].flatten(1).double().numpy()
        )
        for number in (0, 1):
            oracle = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=20_000).fit(x, labels[number].numpy())
            own = weight[number, layer, 1] if features == "difference" else weight[number, layer].ravel()
            np.testing.assert_allclose(own, oracle.coef_[0], atol=1e-3 * abs(oracle.coef_).max())
            np.testing.assert_allclose(bias[number, layer], oracle.intercept_[0], atol=1e-3)
    np.testing.assert_array_equal(weight[..., 0, :] == -weight[..., 1, :], features == "difference")


@pytest.mark.parametrize("count", [30, 200])
@pytest.mark.parametrize("shrinkage", [0.2, 0.9])
def test_lda_agrees_with_scikit_learn(count: int, shrinkage: float) -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    pairs = planted_pairs("lda", count, truth=1.0)
    labels = pairs.labels.clone()
    labels[: count // 5] = 1
    readout = make("lda", shrinkage=shrinkage).fit(msgspec.structs.replace(pairs, labels=labels), [0]).tensors()
    for layer in range(4):
        oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        oracle.fit(differences_of(pairs)[layer], labels.numpy())
        np.testing.assert_allclose(readout["weight"][0, layer, 1], oracle.coef_[0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(readout["bias"][0, layer], oracle.intercept_[0], rtol=1e-4, atol=1e-5)


def quadratic(rows: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's quadratic-inverse shrinkage, step by step over all of the sample's eigenvalues: (feature, feature)."""
    n, p = len(rows) - 1, rows.shape[1]
    value, vectors = np.linalg.eigh(rows.T @ rows / n)
    kept = value[max(0, p - n) :]
    c, h = p / n, min((p / n) ** 2, (n / p) ** 2) ** 0.35 / p**0.35
    found = []
    for at in 1 / kept:
        ratios = [
            (one * (one - at) / near, one * one * h / near)
            for one in 1 / kept
            for near in [(one - at) ** 2 + (one * h) ** 2]
        ]
        theta, conjugate = np.mean(ratios, axis=0)
        squared = theta**2 + conjugate**2
        found.append(
            1 / (at * ((1 - c) ** 2 + 2 * c * (1 - c) * theta + c**2 * squared)) if p <= n else 1 / (at * squared)
        )
    whole = np.array([1 / ((c - 1) * np.mean(1 / kept))] * max(0, p - n) + found)
    whole *= kept.sum() / whole.sum()
    return (vectors * whole) @ vectors.T


@pytest.mark.parametrize("count", [80, 200])
def test_lda_auto_shrinks_each_class_by_the_quadratic_formula(count: int) -> None:
    pairs = planted_pairs("lda", count, truth=1.0)
    truth = pairs.labels.numpy()
    readout = make("lda").fit(pairs, [0]).tensors()
    for layer, x in enumerate(differences_of(pairs)):
        means = np.stack([x[truth == label].mean(axis=0) for label in (0, 1)])
        residuals = x - means[truth]
        deviation = np.sqrt((residuals**2).mean(axis=0))
        covariance = sum(
            (truth == label).mean() * quadratic((residuals / deviation)[truth == label]) for label in (0, 1)
        )
        expected = np.linalg.solve(covariance, (means[1] - means[0]) / deviation) / deviation
        np.testing.assert_allclose(readout["weight"][0, layer, 1], expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_lda_of_few_rows_shrinks_as_ledoit_and_wolf() -> None:
    from sklearn.covariance import ledoit_wolf

    pairs = planted_pairs("lda", 30, truth=1.0)
    truth = pairs.labels.numpy()
    readout = make("lda").fit(pairs, [0]).tensors()
    for layer, x in enumerate(differences_of(pairs)):
        means = np.stack([x[truth == label].mean(axis=0) for label in (0, 1)])
        residuals = x - means[truth]
        deviation = np.sqrt((residuals**2).mean(axis=0))
        covariance = 0
        for label in (0, 1):
            own = (residuals / deviation)[truth == label]
            # The share is that of the covariance with ÷ n; here it is ÷ n − 1, as the quadratic formula has it.
            _, share = ledoit_wolf(own, assume_centered=True)
            sample = own.T @ own / (len(own) - 1)
            target = np.trace(sample) / sample.shape[0] * np.eye(sample.shape[0])
            covariance = covariance + (truth == label).mean() * ((1 - share) * sample + share * target)
        expected = np.linalg.solve(covariance, (means[1] - means[0]) / deviation) / deviation
        np.testing.assert_allclose(readout["weight"][0, layer, 1], expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


SPECTRA = {
    "flat": lambda d: np.ones(d),
    "power": lambda d: np.arange(1, d + 1) ** -1.0,
    "steep": lambda d: np.arange(1, d + 1) ** -2.0 + 1e-4,
    "spikes": lambda d: np.r_[np.full(3, 100.0), np.ones(d - 3)],
}


def classes(
    spectrum: str, d: int, count: int, seed: int, distractor: float, uneven: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two Gaussians two standard deviations apart in a random direction, beside a bit that has nothing to do with them: training
    rows and labels, test rows and labels."""
    random = np.random.default_rng(seed)
    variance = SPECTRA[spectrum](d)
    basis = np.linalg.qr(random.standard_normal((d, d)))[0]
    apart, other = (one / np.linalg.norm(one) for one in random.standard_normal((2, d)))
    scale = np.exp(random.standard_normal(d)) if uneven else np.ones(d)

    def draw(rows: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(rows) % 2
        bit = 2 * random.integers(0, 2, rows) - 1
        noise = random.standard_normal((rows, d)) * np.sqrt(variance)
        states = noise @ basis.T + np.outer(2 * labels - 1, basis @ (np.sqrt(variance) * apart))
        return (states + distractor * np.sqrt(variance.mean()) * np.outer(bit, other)) * scale, labels

    return *draw(count), *draw(1500)


def test_lda_is_at_least_as_good_as_scikit_learns_shrinkages_and_better_beside_a_distractor() -> None:
    """Mean AUROC on new rows over 4 spectra, 2 numbers of rows, 2 of dimensions, with dimensions on one scale or on many: 32 cells
    without a distractor, 32 with one of eight standard deviations."""
    from sklearn.covariance import OAS
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import roc_auc_score

    theirs = {
        "auto": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "oas": LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=OAS()),
        "pseudo-inverse": LinearDiscriminantAnalysis(solver="svd"),
    }
    means = {}
    for distractor in (0.0, 8.0):
        found: dict[str, list[float]] = {name: [] for name in ("ours", *theirs)}
        cells = [(s, n, d, u) for s in SPECTRA for n in (70, 160) for d in (30, 120) for u in (False, True)]
        for seed, (spectrum, count, d, uneven) in enumerate(cells):
            x, y, new, truth = classes(spectrum, d, count, seed, distractor, uneven)
            states = torch.tensor(x, dtype=torch.float32)
            pairs = Pairs(
                torch.stack([0 * states, states], dim=1)[None],
                torch.zeros(count, dtype=torch.int64),
                labels=torch.tensor(y),
            )
            own = make("lda").fit(pairs, [0]).tensors()["weight"][0, 0, 1].double().numpy()
            found["ours"].append(roc_auc_score(truth, new @ own))
            for name, method in theirs.items():
                found[name].append(roc_auc_score(truth, method.fit(x, y).decision_function(new)))
        means[distractor] = {name: float(np.mean(scores)) for name, scores in found.items()}
    best = {distractor: max(mean[name] for name in theirs) for distractor, mean in means.items()}
    assert means[0.0]["ours"] > best[0.0]
    assert means[8.0]["ours"] > best[8.0] + 0.005


def test_lda_without_shrinkage_refuses_more_dimensions_than_rows() -> None:
    with pytest.raises(NumericalError, match="shrinkage: auto"):
        make("lda", shrinkage=0.0).fit(planted_pairs("lda", 40), [0])
    make("lda", shrinkage=0.0).fit(planted_pairs("lda", 300), [0])


def test_mean_difference_is_the_difference_of_means() -> None:
    pairs = planted_pairs("mean_difference")
    readout = make("mean_difference").fit(pairs, [0])
    truth = pairs.labels.numpy()
    for layer, x in enumerate(differences_of(pairs)):
        one, zero = x[truth == 1].mean(axis=0), x[truth == 0].mean(axis=0)
        weight = (one - zero) / np.linalg.norm(one - zero)
        score = x @ weight - weight @ (one + zero) / 2
        np.testing.assert_allclose(readout.answers(pairs).score[0, layer], score, atol=1e-4)


@pytest.mark.parametrize("count", [30, 200])
def test_crc_tpc_is_the_first_singular_vector(count: int) -> None:
    pairs = planted_pairs("crc_tpc", count)
    weight = make("crc_tpc").fit(pairs, [0]).tensors()["weight"][0, :, 1].numpy()
    for layer, x in enumerate(differences_of(pairs)):
        top = np.linalg.svd(x - x.mean(axis=0))[2][0]
        top *= np.sign(top[abs(top).argmax()])
        np.testing.assert_allclose(weight[layer], top, atol=1e-3)


def test_kmeans_is_as_good_a_clustering_as_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    pairs = planted_pairs("kmeans", 200, truth=1.0)
    answers = make("kmeans").fit(pairs, [0, 1]).answers(pairs).score > 0
    for layer, x in enumerate(differences_of(pairs)):
        oracle = KMeans(2, n_init=10, random_state=0).fit(x)
        for own in answers[:, layer]:
            centres = np.stack([x[own == side].mean(axis=0) for side in (False, True)])
            inertia = ((x - centres[own.astype(int)]) ** 2).sum()
            assert inertia <= oracle.inertia_ * 1.005
            # It is a fixed point: the plane half-way between the means of both sides is the one that made the sides.
            nearer_one = ((x - centres[1]) ** 2).sum(axis=1) < ((x - centres[0]) ** 2).sum(axis=1)
            np.testing.assert_array_equal(nearer_one, own)
            counted = Clusters(torch.tensor(x - x.mean(axis=0))).within(torch.tensor(own[None], dtype=torch.float64))
            np.testing.assert_allclose(counted, inertia, rtol=1e-6)


def plain_ccs(states: torch.Tensor, start: torch.Tensor, rule: AdamW) -> tuple[torch.Tensor, float]:
    """The recipe's loop for one probe at one layer: autograd and torch.optim. Parameter (d_model + 1,), and the loss."""
    theta = start.clone().requires_grad_()
    ones = torch.ones(len(states), 1)
    no, yes = (torch.cat([states[:, member], ones], dim=1) for member in (0, 1))
    optimiser = torch.optim.AdamW([theta], lr=rule.learning_rate, weight_decay=rule.weight_decay)

    def loss() -> torch.Tensor:
        p_no, p_yes = torch.sigmoid(no @ theta), torch.sigmoid(yes @ theta)
        return ((p_yes - (1 - p_no)) ** 2).mean() + (torch.min(p_yes, p_no) ** 2).mean()

    for _ in range(rule.epochs):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    return theta.detach(), loss().item()


@pytest.mark.parametrize(("decay", "count"), [(0.01, 40), (0.0, 150)])
def test_ccs_follows_the_plain_loop(decay: float, count: int) -> None:
    states = planted_pairs("ccs", count, truth=1.0).states[1:3]
    rule = AdamW(learning_rate=0.01, weight_decay=decay, epochs=250, tolerance=0.0)
    start = starts([7], 3, 64, "sphere", bias=True)[0]
    fits = descend(states, partial(Consistency, bias=True), start, rule)
    for layer in range(2):
        for fit in range(3):
            theta, loss = plain_ccs(states[layer], start[fit], rule)
            assert abs(float(fits.loss[layer, fit]) - loss) < 1e-5
            assert float(torch.cosine_similarity(theta, fits.theta[layer, fit], dim=0)) > 0.9999
            assert abs(float(theta[-1] - fits.theta[layer, fit, -1])) < 1e-3
    assert not torch.allclose(fits.theta[0, 0], fits.theta[0, 1], atol=0.01)


@pytest.mark.parametrize("bias", [True, False])
def test_ccs_gradient_is_autograds(bias: bool) -> None:
    objective = Consistency(planted_pairs("ccs").states, bias)
    theta = starts(range(5), 1, 64, "normal", bias).transpose(0, 1).expand(4, 5, 64 + bias).clone().requires_grad_()
    no, yes = torch.sigmoid(theta @ objective.rows.transpose(1, 2)).split(120, dim=-1)
    loss = ((yes + no - 1) ** 2).mean(-1) + (torch.minimum(yes, no) ** 2).mean(-1)
    loss.sum().backward()
    torch.testing.assert_close(objective.gradient(theta.detach()), theta.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(objective.loss(theta.detach()), loss.detach())
    torch.testing.assert_close(objective.loss_and_gradient(theta.detach())[0], loss.detach())
    torch.testing.assert_close(objective.loss_and_gradient(theta.detach())[1], theta.grad, atol=1e-6, rtol=1e-4)


def plain_symmetrised(states: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Theorem 2's loss of one probe at one layer, (pair, answer, d_model)."""
    p = torch.sigmoid(states @ theta[:-1] + theta[-1])
    certain = torch.stack([p[:, 1], p[:, 0], 1 - p[:, 1], 1 - p[:, 0]]).amin(dim=0)
    return ((p[:, 1] - (1 - p[:, 0])) ** 2).mean() + (certain**2).mean()


def test_symmetrised_loss_and_gradient_are_those_of_theorem_two() -> None:
    states = planted_pairs("ccs").states
    objective = SymmetrisedConsistency(states, bias=True)
    theta = 0.4 * starts(range(5), 1, 64, "normal", bias=True).transpose(0, 1).expand(4, 5, 65).clone()
    theta[..., -1] = torch.linspace(-2, 2, 5)
    loss, gradient = objective.loss_and_gradient(theta)
    for layer in range(4):
        for fit in range(5):
            own = theta[layer, fit].clone().requires_grad_()
            oracle = plain_symmetrised(states[layer], own)
            oracle.backward()
            torch.testing.assert_close(loss[layer, fit], oracle.detach(), atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(gradient[layer, fit], own.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(objective.only(torch.tensor([2])).gradient(theta[2:3]), gradient[2:3])
    assert not torch.allclose(Consistency(states, bias=True).loss(theta), loss, atol=1e-3)


def test_symmetrised_ccs_follows_the_plain_loop() -> None:
    pairs = planted_pairs("ccs", 60, truth=1.0)
    probe = make("ccs", confidence="symmetrised", restarts=2, epochs=150, tolerance=0.0, weight_decay=0.0)
    readout = probe.fit(pairs, [7])
    for restart in range(2):
        theta = starts([7], 2, 64, "sphere", bias=True)[0, restart].clone().requires_grad_()
        optimiser = torch.optim.AdamW([theta], lr=0.01, weight_decay=0.0)
        for _ in range(150):
            optimiser.zero_grad()
            plain_symmetrised(pairs.states[2], theta).backward()
            optimiser.step()
        own = readout.restart_direction[0, restart, 2]
        assert float(torch.cosine_similarity(theta.detach()[:-1], own, dim=0)) > 0.9999
        loss = float(plain_symmetrised(pairs.states[2], theta.detach()))
        assert float(readout.restart_loss[0, restart, 2]) == pytest.approx(loss, abs=1e-5)


def test_the_two_confidences_are_one_where_answers_are_consistent() -> None:
    """x⁻ = −x⁺ and no bias: p⁻ = 1 − p⁺, whatever the probe."""
    half = planted_pairs("ccs").states[:, :, :1]
    states = torch.cat([-half, half], dim=2)
    theta = starts(range(5), 1, 64, "normal", bias=False).transpose(0, 1).expand(4, 5, 64).clone()
    torch.testing.assert_close(
        SymmetrisedConsistency(states, bias=False).loss(theta), Consistency(states, bias=False).loss(theta)
    )


def test_ccs_can_begin_at_principal_components() -> None:
    pairs = planted_pairs("ccs", 80)
    rule = AdamW(learning_rate=1e-9, weight_decay=0.0, epochs=1, tolerance=0.0)
    objective = partial(Consistency, bias=True)
    fits = descend_from_components(pairs, objective, 2, 4, bias=True, rule=rule, constant=1e9)
    for layer, x in enumerate(differences_of(pairs)):
        components = np.linalg.svd(x - x.mean(axis=0))[2][:4]
        own = fits.theta[layer, :, :64].unflatten(0, (2, 4)).numpy()
        np.testing.assert_allclose(abs((own * components).sum(axis=-1)), 1, atol=1e-4)
    readout = make("ccs", init="pca", restarts=4).fit(pairs, [0, 1])
    assert torch.equal(readout.restart_direction[0], readout.restart_direction[1])
    with pytest.raises(UsageError, match="has 9 components to begin at"):
        make("ccs", init="pca", restarts=10).fit(planted_pairs("ccs", 10), [0])


@pytest.mark.parametrize("count", [40, 200])
def test_ccs_eigen_agrees_with_scipy(count: int) -> None:
    from scipy.linalg import eigh

    pairs = planted_pairs("ccs_eigen", count, truth=1.0)
    fits = {
        contrast: make("ccs_eigen", contrast=contrast, **({"ridge": 0.3} if contrast == "ratio" else {}))
        .fit(pairs, [0])
        .tensors()["weight"][0, :, 1]
        .numpy()
        for contrast in ("ratio", "difference")
    }
    for layer in range(4):
        no, yes = (pairs.states[layer, :, member].numpy().astype(np.float64) for member in (0, 1))
        confidence = np.cov(yes.T, bias=True) + np.cov(no.T, bias=True)
        both = np.cov(yes.T, no.T, bias=True)[:64, 64:]
        consistency = both + both.T
        contrast, inconsistency = confidence - consistency, confidence + consistency
        ridge = 0.3 * np.trace(inconsistency) / 64 * np.eye(64)
        oracle = {
            "ratio": eigh(contrast, inconsistency + ridge)[1][:, -1],
            "difference": eigh(-consistency)[1][:, -1],
        }
        for name, direction in oracle.items():
            direction = direction / np.linalg.norm(direction)
            assert abs(fits[name][layer] @ direction) == pytest.approx(1, abs=1e-5), name
        # By the definition: no other direction does better.
        others = np.random.default_rng(0).standard_normal((200, 64))
        for name, top, bottom in (
            ("ratio", contrast, inconsistency + ridge),
            ("difference", -consistency, np.eye(64)),
        ):
            tried = np.concatenate([fits[name][layer][None].astype(np.float64), others])
            worth = ((tried @ top) * tried).sum(axis=-1) / ((tried @ bottom) * tried).sum(axis=-1)
            assert worth[0] > worth[1:].max()


def test_ccs_eigen_is_consistency_against_confidence_and_crc_tpc_in_the_limit() -> None:
    from scipy.linalg import eigh

    pairs = planted_pairs("ccs_eigen", 200, truth=1.0)
    free = make("ccs_eigen", ridge=1e-9).fit(pairs, [0]).tensors()["weight"][0, 3, 1].numpy()
    no, yes = (pairs.states[3, :, member].numpy().astype(np.float64) for member in (0, 1))
    both = np.cov(yes.T, no.T, bias=True)[:64, 64:]
    top = eigh(-(both + both.T), np.cov(yes.T, bias=True) + np.cov(no.T, bias=True))[1][:, -1]
    assert abs(free @ top) / np.linalg.norm(top) == pytest.approx(1, abs=1e-4)
    stiff = make("ccs_eigen", ridge=1e9).fit(pairs, [0]).answers(pairs).score
    np.testing.assert_allclose(stiff, make("crc_tpc").fit(pairs, [0]).answers(pairs).score, atol=1e-3)
    assert abs(float(torch.tensor(free) @ make("crc_tpc").fit(pairs, [0]).tensors()["weight"][0, 3, 1])) < 0.999


def plain_salience(rows: np.ndarray, direction: np.ndarray) -> float:
    """Variance within each sign over the total variance of the projection of centred rows."""
    value = rows @ direction
    return float((value[value > 0].var() + value[value < 0].var()) / value.var())


def test_crc_bss_minimises_what_the_paper_says() -> None:
    pairs = planted_pairs("crc_bss", 100, truth=1.0)
    x = differences_of(pairs)
    x -= x.mean(axis=1, keepdims=True)
    objective = Salience(torch.tensor(x)[:, :, None])
    theta = starts(range(3), 1, 64, "sphere", bias=False).transpose(0, 1).expand(4, 3, 64).double()
    loss, gradient = objective.loss_and_gradient(theta)
    nudge = torch.tensor(np.random.default_rng(0).standard_normal((4, 3, 64)))
    for layer in range(4):
        for fit in range(3):
            own, way = theta[layer, fit].numpy(), nudge[layer, fit].numpy()
            assert float(loss[layer, fit]) == pytest.approx(plain_salience(x[layer], own), rel=1e-9)
            ends = [plain_salience(x[layer], own + step * way) for step in (1e-7, -1e-7)]
            slope = float((gradient[layer, fit] * nudge[layer, fit]).sum())
            assert slope == pytest.approx((ends[0] - ends[1]) / 2e-7, rel=1e-3, abs=1e-6)
    readout = make("crc_bss", restarts=6).fit(pairs, [0, 1])
    assert readout.restart_loss.shape == (2, 6, 4)
    torch.testing.assert_close(readout.loss, readout.restart_loss.amin(dim=1))
    for layer in range(4):
        for seed in (0, 1):
            found = readout.direction[seed, layer].double().numpy()
            assert float(readout.loss[seed, layer]) == pytest.approx(plain_salience(x[layer], found), abs=1e-4)
            random = np.random.default_rng(1).standard_normal((300, 64))
            assert plain_salience(x[layer], found) < min(plain_salience(x[layer], other) for other in random)
    # A normal distribution's loss, which a direction of noise has before the search.
    many = np.random.default_rng(0).standard_normal((200_000, 1))
    assert plain_salience(many, np.ones(1)) == pytest.approx(GAUSSIAN, abs=0.01)


def test_rccs_begins_as_ccs_and_never_repeats_a_direction() -> None:
    pairs = planted_pairs("rccs", truth=1.0)
    plain = make("ccs", optimizer="lbfgs", restarts=3, weight_decay=0.0, **SHORT["rccs"]).fit(pairs, [0, 1])
    first = make("rccs", nth=1, **SHORT["rccs"]).fit(pairs, [0, 1])
    torch.testing.assert_close(first.restart_loss, plain.restart_loss, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(first.restart_direction, plain.restart_direction, atol=1e-3, rtol=1e-3)
    row = [make("rccs", nth=nth).fit(pairs, [0, 1]) for nth in (1, 2, 3, 4)]
    directions = torch.stack([one.direction / one.direction.norm(dim=-1, keepdim=True) for one in row], dim=2).double()
    products = directions @ directions.transpose(-1, -2)
    torch.testing.assert_close(products, torch.eye(4).double().expand_as(products), atol=1e-5, rtol=0)
    # The loss is that of the direction that is kept, on the states as they are.
    theta = torch.cat([row[3].direction, row[3].bias[..., None]], dim=-1).transpose(0, 1)
    torch.testing.assert_close(Consistency(pairs.states, bias=True).loss(theta).T, row[3].loss, atol=1e-5, rtol=1e-4)
    with pytest.raises(UsageError, match="no 65 directions of 64 dimensions"):
        make("rccs", nth=65).fit(pairs, [0])


@pytest.mark.parametrize("features", ["difference", "concat"])
def test_mlp_follows_a_plain_network(features: str) -> None:
    pairs = planted_pairs("mlp", 60, truth=1.0)
    probe = make("mlp", features=features, hidden=8, epochs=40)
    score = probe.fit(pairs, [3]).answers(pairs).score[0, 2]
    states = pairs.states[2]
    x = states[:, 1] - states[:, 0] if features == "difference" else states.flatten(1)
    x = (x - x.mean(dim=0)) / (x - x.mean(dim=0)).square().mean().sqrt()
    network = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    first = torch.tensor(np.random.default_rng([0x317B, 3]).standard_normal((8, x.shape[1])) * (2 / x.shape[1]) ** 0.5)
    with torch.no_grad():
        network[0].weight.copy_(first)
        network[2].weight.copy_(first[:, 0].sign()[None] * 8**-0.5)
        network[0].bias.zero_()
        network[2].bias.zero_()
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=0.1)
    start = network(x)[:, 0].detach()
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(x)[:, 0], pairs.labels.float()).backward()
        optimiser.step()
    np.testing.assert_allclose(score, network(x)[:, 0].detach(), atol=2e-3)
    assert abs(start.numpy() - score).max() > 0.1


def test_mlp_memorises_what_a_mean_difference_cannot() -> None:
    """The reason for the check `selective`."""
    rows = world(200, 0, truth=0.0, d_model=32)
    noise = torch.tensor(np.random.default_rng(0).permutation(200) % 2)
    held = {}
    for kind in ("mlp", "mean_difference"):
        pairs = msgspec.structs.replace(normalised(make(kind).normalise, rows, rows), labels=noise)
        held[kind] = ((make(kind).fit(pairs, [0]).answers(pairs).score[0, 3] > 0) == noise.numpy()).mean()
    assert held["mlp"] > 0.95 > 0.85 > held["mean_difference"]


def test_a_constant_ccs_probe_has_at_best_the_floor() -> None:
    objective = Consistency(planted_pairs("ccs").states, bias=True)
    theta = torch.zeros(4, 19, 65)
    theta[..., -1] = torch.logit(torch.linspace(0.05, 0.95, 19))
    loss = objective.loss(theta)
    assert float(loss.min()) == pytest.approx(FLOOR, abs=1e-6)
    assert float(theta[0, loss[0].argmin(), -1].sigmoid()) == pytest.approx(0.4)


def test_fits_that_settle_leave_the_others_alone() -> None:
    """Three layers: one that is at rest from the start, one that settles, one that goes on."""
    states = planted_pairs("ccs", truth=1.0).states[:3].clone()
    states[0] = 0
    rule = AdamW(learning_rate=0.01, weight_decay=0.0, epochs=600, tolerance=1e-6)
    start = starts(range(4), 1, 64, "sphere", bias=True)[:, 0]
    objective = partial(Consistency, bias=True)
    together = descend(states, objective, start, rule)
    batch = _descend_group(Consistency(states, True), start.expand(3, -1, -1), rule)
    for fits in (together, batch):
        assert (fits.steps[0] < 600).all()
        assert (fits.steps[2] == 600).all()
        np.testing.assert_allclose(fits.loss[0], FLOOR, atol=1e-5)
        recomputed = Consistency(states, True).loss(fits.theta)
        torch.testing.assert_close(recomputed, fits.loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(together.loss, batch.loss, atol=1e-5, rtol=1e-3)


def test_threads_change_nothing_and_are_given_back() -> None:
    states = planted_pairs("ccs", truth=1.0).states
    start = starts(range(4), 1, 64, "sphere", bias=True)[:, 0]
    rule = AdamW(learning_rate=0.01, weight_decay=0.0, epochs=100, tolerance=0.0)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(descend(states, partial(Consistency, bias=True), start, rule))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0].theta, results[1].theta)


@pytest.mark.parametrize("made", [{"truth": 1.0}, {"truth": 0.0}])
def test_ccs_stopping_early_changes_the_loss_by_less_than_it_says(made: dict[str, float]) -> None:
    pairs = planted_pairs("ccs", **made)
    early, whole = (make("ccs", **settings).fit(pairs, [0, 1]) for settings in ({}, {"tolerance": 0.0}))
    assert (early.restart_loss - whole.restart_loss).abs().max() < 1e-5
    assert not torch.equal(early.restart_loss, whole.restart_loss)
    np.testing.assert_array_less(abs(early.answers(pairs).score - whole.answers(pairs).score).mean(), 0.02)


@pytest.mark.parametrize("made", [{"truth": 4.0}, {"truth": 0.5}, {"truth": 0.0}])
def test_lbfgs_reaches_losses_as_low_in_a_tenth_of_the_evaluations(made: dict[str, float]) -> None:
    pairs = planted_pairs("ccs", **made)
    slow, fast = (make("ccs", optimizer=name, weight_decay=0.0).fit(pairs, [0, 1]) for name in ("adamw", "lbfgs"))
    assert float(fast.restart_loss.median()) <= float(slow.restart_loss.median()) + 2e-3
    few = make("ccs", epochs=100, weight_decay=0.0).fit(pairs, [0, 1])
    assert float(fast.restart_loss.median()) < float(few.restart_loss.median())


def test_lbfgs_stays_finite_where_losses_reach_zero() -> None:
    rows = world(60, 0, truth=8.0, d_model=128)
    readout = make("ccs", optimizer="lbfgs", epochs=400, weight_decay=0.0).fit(
        normalised("burns", rows, rows), range(5)
    )
    assert all(tensor.isfinite().all() for tensor in readout.tensors().values())
    assert float(readout.loss[:, 3].max()) < 1e-3


def saturating(scale: float) -> Pairs:
    """Rows in which a feature that both members share dwarfs the rest: a first step towards it saturates every probability."""
    rows = world(200, 0, truth=2.0)
    way = torch.tensor(np.random.default_rng(9).standard_normal(64), dtype=torch.float32)
    side = torch.tensor(2 * rows.factors["word"] - 1, dtype=torch.float32)
    made = rows._replace(states=scale * (rows.states + 16 * side[:, None, None] * way))
    return normalised("mean", made, made)


STUCK = AdamW(learning_rate=0.01, weight_decay=0.01, epochs=1000, tolerance=0.0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 1.24, 1.47, 10.0, 300.0])
@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_no_fit_hangs_on_the_scale_of_the_states(scale: float, optimizer: str) -> None:
    readout = make("ccs", normalise="mean", optimizer=optimizer, restarts=5).fit(saturating(scale), range(2))
    assert float(readout.restart_loss[..., 3].max()) < nothing(FLOOR)
    assert bool(readout.restart_direction[..., 3, :].any(dim=-1).all())


def test_without_beginning_again_fits_stay_where_probabilities_saturate() -> None:
    """The control: the recipe by itself. What does not stay there is the same to the last bit."""
    states = saturating(1.0).states[3:]
    start = starts(range(10), 1, 64, "sphere", bias=True)[:, 0]
    alone, again = (
        descend(states, partial(Consistency, bias=True), start, STUCK, constant) for constant in (None, FLOOR)
    )
    stuck = alone.loss >= nothing(FLOOR)
    assert bool(stuck.any())
    assert not bool(stuck.all())
    assert float(alone.loss.max()) > 1.4
    assert float(again.loss.max()) < nothing(FLOOR)
    assert torch.equal(alone.theta[~stuck], again.theta[~stuck])


def test_a_fit_that_stays_no_better_than_a_constant_answers_nothing() -> None:
    """One step leads nowhere: the loss is said, and the answer is 0."""
    pairs = saturating(10.0)
    readout = make("ccs", normalise="mean", epochs=1, learning_rate=1e-9).fit(pairs, [0])
    assert float(readout.loss.min()) >= nothing(FLOOR)
    assert not readout.answers(pairs).score.any()


def test_no_fit_settles_on_a_plateau() -> None:
    states = saturating(1.0).states[3:]
    start = starts(range(40), 1, 64, "sphere", bias=True)[:, 0]
    objective = partial(Consistency, bias=True)
    hasty, early, whole = (
        descend(states, objective, start, msgspec.structs.replace(STUCK, tolerance=tolerance), constant)
        for tolerance, constant in ((1e-6, None), (1e-6, FLOOR), (0.0, FLOOR))
    )
    # The control: with nothing known of a constant probe, plateaus are taken for the end.
    assert float(hasty.loss[hasty.steps < 1000].max()) > 1
    assert float((early.loss - whole.loss).abs().max()) < 1e-4


def test_weight_decay_of_lbfgs_is_a_term_of_what_is_minimised() -> None:
    from scipy.optimize import minimize

    pairs = planted_pairs("ccs", 150, truth=1.0, d_model=16)
    for decay in (0.003, 0.03):
        readout = make("ccs", optimizer="lbfgs", weight_decay=decay, epochs=400, restarts=1).fit(pairs, [3])
        start = starts([3], 1, 16, "sphere", bias=True)[0, 0].double().numpy()
        states = pairs.states[3].double().numpy()

        def penalised(theta: np.ndarray, states: np.ndarray = states, decay: float = decay) -> float:
            p = 1 / (1 + np.exp(-(states @ theta[:-1] + theta[-1])))
            return float(((p.sum(axis=1) - 1) ** 2 + p.min(axis=1) ** 2).mean() + decay / 2 * theta @ theta)

        oracle = minimize(penalised, start, method="L-BFGS-B", options={"maxiter": 2000})
        own = np.append(readout.direction[0, 3].double().numpy(), float(readout.bias[0, 3]))
        assert penalised(own) <= oracle.fun + 1e-4
        # The loss that is kept is without the term.
        assert float(readout.loss[0, 3]) == pytest.approx(penalised(own, decay=0.0), abs=1e-5)
    free = make("ccs", optimizer="lbfgs", weight_decay=0.0, epochs=400, restarts=1).fit(pairs, [3])
    assert float(free.direction[0, 3].norm()) > float(readout.direction[0, 3].norm())
    assert float(free.loss[0, 3]) < float(readout.loss[0, 3])


def test_ccs_keeps_every_restart_and_chooses_the_lowest_loss() -> None:
    pairs = planted_pairs("ccs", truth=0.5)
    readout = make("ccs", restarts=6).fit(pairs, [0, 1])
    assert readout.restart_loss.shape == (2, 6, 4)
    torch.testing.assert_close(readout.loss, readout.restart_loss.amin(dim=1))
    every = readout.restarts(pairs)
    assert every.score.shape == (12, 4, 120)
    for seed in (0, 1):
        for layer in range(4):
            best = int(readout.chosen[seed, layer])
            np.testing.assert_allclose(
                every.score[6 * seed + best, layer], readout.answers(pairs).score[seed, layer], atol=1e-6
            )
    fewer = make("ccs", restarts=3).fit(pairs, [1])
    torch.testing.assert_close(fewer.restart_loss[0], readout.restart_loss[1, :3], atol=1e-5, rtol=1e-3)
    assert (readout.restart_loss.std(dim=1) > 0).all()


def test_ccs_options_do_something() -> None:
    pairs = planted_pairs("ccs", 60)
    plain = make("ccs", epochs=50).fit(pairs, [0])
    changed: list[dict[str, Any]] = [
        {"init": "truncated_normal"}, {"init": "normal"}, {"bias": False}, {"learning_rate": 0.003},
        {"weight_decay": 1.0}, {"epochs": 20}, {"optimizer": "lbfgs"}, {"init": "uniform"}, {"init": "pca"},
        {"confidence": "symmetrised", "init": "normal"},
    ]  # fmt: skip
    for settings in changed:
        other = make("ccs", **{"epochs": 50, **settings}).fit(pairs, [0])
        assert not torch.allclose(plain.direction, other.direction, atol=1e-4), settings
    assert not make("ccs", bias=False).fit(pairs, [0]).bias.any()


def test_starts_are_as_the_papers_say() -> None:
    sphere = starts(range(200), 2, 50, "sphere", bias=True)
    assert sphere.shape == (200, 2, 51)
    torch.testing.assert_close(sphere.norm(dim=-1), torch.ones(200, 2))
    assert abs(float(sphere[..., -1].square().mean()) - 1 / 51) < 0.004
    cut = starts(range(200), 2, 50, "truncated_normal", bias=True)
    assert float(cut.abs().max()) <= 2 / 50**0.5
    assert not cut[..., -1].any()
    free = starts(range(200), 2, 50, "normal", bias=False)
    assert free.shape == (200, 2, 50)
    assert float(free.abs().max()) > 3 / 50**0.5
    assert abs(float(free.std()) - 50**-0.5) < 0.01
    assert torch.equal(starts([17], 1, 50, "sphere", bias=True)[0, 0], sphere[17, 0])


def test_quasi_newton_solves_every_row_of_a_batch() -> None:
    """Rosenbrock's valley and quadratics of very different scale, side by side."""
    scale = torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64)

    class Valleys:
        alone = None

        def __init__(self, scale: torch.Tensor):
            self.scale = scale

        def loss_and_gradient(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = x.detach().requires_grad_()
            loss = ((1 - x[:, 0]) ** 2 + 100 * (x[:, 1] - x[:, 0] ** 2) ** 2) * self.scale
            (gradient,) = torch.autograd.grad(loss.sum(), x)
            return loss.detach(), gradient

        def finished(self, x: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
            return gradient.norm(dim=1) < 1e-9

        def only(self, on: torch.Tensor) -> Valleys:
            return Valleys(self.scale[on])

    start = torch.tensor([[-1.2, 1.0], [3.0, -2.0], [0.5, 0.5]], dtype=torch.float64)
    found = minimise(Valleys(scale), start, 500)
    assert found.converged.all()
    torch.testing.assert_close(found.parameters, torch.ones(3, 2, dtype=torch.float64), atol=1e-5, rtol=0)
    few = minimise(Valleys(scale), start, 3)
    assert not few.converged.any()
    assert few.evaluations.tolist() == [3, 3, 3]


# The model's own answer.


def test_zero_shot_is_the_models_answer_and_calibration_balances_it() -> None:
    odds = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    pairs = Pairs(torch.zeros(1, 6, 2, 4), torch.zeros(6, dtype=torch.int64), log_odds=odds)
    plain = make("zero_shot").fit(pairs, [0, 1]).answers(pairs)
    np.testing.assert_array_equal(plain.score, np.broadcast_to(odds, (2, 1, 6)))
    balanced = make("zero_shot", calibrated=True).fit(pairs, [0]).answers(pairs)
    assert (balanced.score > 0).sum() == 3
    np.testing.assert_allclose(balanced.probability, 1 / (1 + np.exp(-balanced.score)), rtol=1e-5)


def asked(rows: list[tuple[int, int, float]]) -> Pairs:
    """Rows of (example, template, log-odds)."""
    example, template, odds = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Pairs(torch.zeros(1, len(rows), 2, 1), template, example=example, log_odds=odds)


def test_a_prompt_ensemble_is_the_mean_over_the_templates_of_an_example() -> None:
    # The second template invites "yes" by 10, and is right more often.
    train = asked([(n, t, (1 if n % 2 else -1) * (1 + t) + 10.0 * t) for n in range(6) for t in (0, 1)])
    test = asked([(7, 0, -0.5), (7, 1, 13.0), (8, 1, 9.0), (8, 0, 0.4)])
    found = make("prompt_ensemble").fit(train, [0]).answers(test)
    np.testing.assert_allclose(found.score[0, 0], [1.25, 1.25, -0.3, -0.3], atol=1e-6)
    np.testing.assert_allclose(found.probability[0, 0], 1 / (1 + np.exp(-found.score[0, 0])), atol=1e-6)  # type: ignore[index]
    plain = make("prompt_ensemble", calibrated=False).fit(train, [0]).answers(test)
    np.testing.assert_allclose(plain.score[0, 0], [6.25, 6.25, 4.7, 4.7], atol=1e-6)
    votes = make("prompt_ensemble", of="answers").fit(train, [0]).answers(test)
    np.testing.assert_allclose(votes.probability[0, 0], [0.5, 0.5, 0.5, 0.5])  # type: ignore[index]
    agreed = make("prompt_ensemble", of="answers").fit(train, [0]).answers(asked([(1, 0, 2.0), (1, 1, 11.0)]))
    np.testing.assert_allclose(agreed.score[0, 0], [0.5, 0.5])


def test_with_one_template_an_ensemble_is_zero_shot() -> None:
    pairs = msgspec.structs.replace(planted_pairs("zero_shot"), example=torch.arange(120))
    for calibrated in (True, False):
        one, other = (make(kind, calibrated=calibrated).fit(pairs, [0, 1]) for kind in ("zero_shot", "prompt_ensemble"))
        np.testing.assert_allclose(one.answers(pairs).score, other.answers(pairs).score, atol=1e-6)


def test_an_ensemble_answers_better_than_its_templates_where_their_errors_are_their_own() -> None:
    rng = np.random.default_rng(0)

    def world(common: float) -> tuple[float, float]:
        truth, shared = rng.permutation(np.arange(400) % 2), rng.standard_normal(400)
        odds = (2 * truth - 1)[:, None] + 2 * (common * shared[:, None] + (1 - common) * rng.standard_normal((400, 8)))
        pairs = asked([(n, t, float(odds[n, t])) for n in range(400) for t in range(8)])
        right = [
            (make(kind).fit(pairs, [0]).answers(pairs).score[0, 0] > 0) == truth.repeat(8)
            for kind in ("prompt_ensemble", "zero_shot")
        ]
        return float(right[0].mean()), float(right[1].mean())

    ensemble, single = world(common=0.0)
    assert ensemble > single + 0.15
    # The control: where every wording has the same error, more of them help nothing.
    ensemble, single = world(common=1.0)
    assert abs(ensemble - single) < 0.05


def test_an_ensemble_refuses_what_it_cannot_do() -> None:
    train = asked([(n, t, float(n)) for n in range(4) for t in (0, 2)])
    readout = make("prompt_ensemble").fit(train, [0])
    with pytest.raises(UsageError, match="not fitted on"):
        readout.answers(asked([(1, 1, 0.0)]))
    with pytest.raises(UsageError, match="not fitted on"):
        readout.answers(asked([(1, 3, 0.0)]))
    with pytest.raises(NumericalError, match="two training pairs of every template"):
        make("prompt_ensemble").fit(asked([(0, 0, 1.0), (1, 0, 2.0), (1, 1, 2.0)]), [0])
    with pytest.raises(NumericalError, match="training pair 1 are not finite"):
        make("prompt_ensemble").fit(asked([(0, 0, 1.0), (1, 0, float("nan"))]), [0])


def test_zero_shot_needs_finite_log_odds() -> None:
    pairs = Pairs(torch.zeros(1, 3, 2, 4), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UsageError, match="language-model head"):
        make("zero_shot").fit(pairs, [0])
    with pytest.raises(NumericalError, match="pair 1 are not finite"):
        make("zero_shot").fit(msgspec.structs.replace(pairs, log_odds=torch.tensor([0.0, torch.inf, 1.0])), [0])


# Readouts.


@pytest.mark.parametrize("kind", KINDS)
def test_readouts_survive_keeping(kind: str, tmp_path: Path) -> None:
    """To the bit, wherever in the file a tensor begins: a header is some multiple of 8 bytes long, and products of what begins at no
    multiple of 16 sum in another order."""
    pairs = planted_pairs(kind)
    readout = make(kind).fit(pairs, [0, 1])
    before = readout.answers(pairs)
    stored_readouts.save_fit(readout, None, tmp_path)
    tensors = load_file(tmp_path / "fit.safetensors")
    for length in (0, 8):
        save_file(tensors, tmp_path / "fit.safetensors", metadata={"longer": "-" * length})
        artifact = Artifact(tmp_path, stored_readouts.fit_about(readout, None), ("fit.safetensors",))
        again, _ = stored_readouts.load_fit(artifact)
        after = again.answers(pairs)
        np.testing.assert_array_equal(before.score, after.score)
        assert (before.probability is None) == (after.probability is None)
        assert all(tensor.data_ptr() % 16 == 0 for tensor in again.tensors().values() if tensor.numel() > 1)
    assert all(tensor.is_contiguous() for tensor in readout.tensors().values())


Damage = Callable[[dict[str, torch.Tensor]], Any]


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        ("lda", lambda t: t.pop("bias"), "needs weight, bias"),
        ("lda", lambda t: t.update(extra=torch.zeros(1)), "extra"),
        ("lda", lambda t: t.update(weight=t["weight"].double()), "should be float32"),
        ("lda", lambda t: t.update(weight=t["weight"][:, :, 0]), "should be float32"),
        ("lda", lambda t: t.update(weight=torch.cat([t["weight"], t["weight"][:, :, :1]], dim=2)), "should be float32"),
        ("lda", lambda t: t.update(bias=t["bias"][:, :2].clone()), "seed, layer"),
        ("lda", lambda t: t["bias"].fill_(torch.nan), "not finite"),
        ("ccs", lambda t: t["chosen"].fill_(99), "restart that it does not have"),
        ("ccs", lambda t: t["chosen"].fill_(-1), "restart that it does not have"),
        ("ccs", lambda t: t.pop("restart_loss"), "restart_loss"),
        ("zero_shot", lambda t: t.update(threshold=torch.zeros(0, 1)), "should be float32"),
    ],
)
def test_damaged_readouts_are_refused(kind: str, damage: Damage, message: str) -> None:
    readout = make(kind, **({"epochs": 5} if kind == "ccs" else {})).fit(planted_pairs(kind, 20), [0])
    tensors = {name: tensor.clone() for name, tensor in readout.tensors().items()}
    stored_readouts.restore(stored_readouts.form_of(readout), tensors)
    damage(tensors)
    with pytest.raises(StoreError, match=message):
        stored_readouts.restore(stored_readouts.form_of(readout), tensors)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(
        StoreError,
        match='"quadratic"; known: linear, consistent, contrast, hidden, linear_outputs, hidden_outputs, ',
    ):
        stored_readouts.restore("quadratic", {})


def test_a_probe_of_other_layers_is_refused() -> None:
    pairs = planted_pairs("crc_tpc")
    readout = make("crc_tpc").fit(pairs, [0])
    with pytest.raises(UsageError, match="fitted on 4 layers of width 64 but is applied to 2 layers"):
        readout.answers(msgspec.structs.replace(pairs, states=pairs.states[:2]))


def test_saturated_probabilities_keep_their_side() -> None:
    direction = torch.ones(1, 1, 1, 1)
    readout = fitted_probes.ConsistentReadout(
        direction, torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), torch.zeros(1, 1, dtype=torch.int64)
    )
    members = torch.tensor([[30.0, 40.0], [40.0, 30.0], [300.0, 400.0], [5.0, 5.0], [-300.0, -301.0]])
    score = readout.answers(Pairs(members[None, :, :, None], torch.zeros(5, dtype=torch.int64))).score[0, 0]
    np.testing.assert_array_equal(np.sign(score), [1, -1, 1, 0, -1])
    plain = 0.5 * (torch.sigmoid(members[:, 1]) - torch.sigmoid(members[:, 0]))
    assert (plain[:3] == 0).any()
    easy = torch.tensor([[0.3, -1.2], [2.0, 2.5]])
    score = readout.answers(Pairs(easy[None, :, :, None], torch.zeros(2, dtype=torch.int64))).score[0, 0]
    np.testing.assert_allclose(score, 0.5 * (easy[:, 1].sigmoid() - easy[:, 0].sigmoid()), rtol=1e-5)


def test_logistic_regression_of_a_label_that_has_nothing_to_do_with_the_rows_has_no_weights() -> None:
    """As at layer 0, where the last token is one of two words: the best weights are zero, up to rounding."""
    random = np.random.default_rng(0)
    words = random.standard_normal((2, 2, 16)) * 0.1
    states = torch.tensor(words[np.arange(480) % 2], dtype=torch.float32)[None]
    template = torch.zeros(480, dtype=torch.int64)
    balanced, word = torch.tensor(np.arange(480) // 2 % 2), torch.tensor(np.arange(480) % 2)
    probe = find("probes", "logistic_regression")(features="concat")
    none = probe.fit(Pairs(states, template, labels=balanced), range(1))
    assert float(none.weight.abs().max()) < 1e-9
    # The control: the word itself has weights.
    assert float(probe.fit(Pairs(states, template, labels=word), range(1)).weight.abs().max()) > 0.1


def test_logistic_regression_of_classes_that_lie_far_apart_is_scikit_learns() -> None:
    """As where a word at the end of the prompt is the label: most rows are certain, and curvature is nearly that of l2 alone."""
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    words = random.standard_normal((2, 2, 48)) * 30
    word = np.arange(200) % 2
    states = words[word] + random.standard_normal((200, 2, 48)) * np.geomspace(0.1, 40, 48)
    given = torch.tensor(states, dtype=torch.float32)[None]
    pairs = Pairs(given, torch.zeros(200, dtype=torch.int64), labels=torch.tensor(word))
    found = find("probes", "logistic_regression")(features="concat").fit(pairs, range(1))
    theirs = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(given[0].flatten(1).double().numpy(), word)
    mine = found.weight[0, 0].flatten().numpy()
    np.testing.assert_allclose(mine, theirs.coef_[0], atol=1e-4 * np.linalg.norm(theirs.coef_))
