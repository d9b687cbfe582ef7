"""Logistic regression at all layers, and on many labellings, against scikit-learn in a loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from harness.contracts import Pairs
from harness.probes.logistic_regression import LogisticRegression
from tests.benchmarks import reviews
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, versus

REPEATS = 3
DEFAULT = 1e-4
"""scikit-learn's tolerance."""
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
EXACT = 1e-3
"""Relative difference below which coefficients are the same."""
LAYER = 20
LABELLINGS = 100

Floats = NDArray[np.float64]


def lines() -> Iterator[Line]:
    every = reviews.training("mean")
    # Without layer 0, where the last token is always the same and scikit-learn's search stumbles over rounding.
    pairs = msgspec.structs.replace(every, states=every.states[1:])
    assert pairs.labels is not None
    rows = (pairs.states[:, :, 1] - pairs.states[:, :, 0]).double().numpy()
    yield from _against(f"{len(rows)} layers, {rows.shape[1]} pairs × {rows.shape[2]}", pairs, list(rows), 8)
    generator = np.random.default_rng(0)
    labels = np.stack([generator.permutation(pairs.labels.numpy()) for _ in range(LABELLINGS)])
    shuffled = msgspec.structs.replace(pairs, states=every.states[LAYER : LAYER + 1], labels=torch.from_numpy(labels))
    yield from _against(f"{LABELLINGS} shuffled labellings at layer {LAYER}", shuffled, [rows[LAYER - 1]] * LABELLINGS)


def _against(what: str, pairs: Pairs, rows: Sequence[Floats], target: float | None = None) -> Iterator[Line]:
    """Ours and scikit-learn's loop, at its own tolerance and at the first that gives the minimum's coefficients."""
    assert pairs.labels is not None
    labels = np.broadcast_to(pairs.labels.numpy(), (len(rows), rows[0].shape[0]))
    reference = loop(rows, labels, 1e-9, solver="newton-cholesky")
    off = difference(ours(pairs), reference)
    enough = next(tol for tol in TOLERANCES if difference(loop(rows, labels, tol), reference) <= EXACT)
    default = difference(loop(rows, labels, DEFAULT), reference)
    taken = race(
        {
            "ours": lambda: ours(pairs),
            "default": lambda: loop(rows, labels, DEFAULT),
            "enough": lambda: loop(rows, labels, enough),
        },
        REPEATS,
        warm_up=False,
    )
    exactly = f"against scikit-learn at tol {enough:g} (coefficients off by {off:.0e} here, ≤ {EXACT:g} there)"
    yield versus(f"{what}, {exactly}", taken["ours"], taken["enough"], target)
    if enough != DEFAULT:
        yield versus(f"{what}, at its tol {DEFAULT:g} (off by {default:.0e} there)", taken["ours"], taken["default"])


def ours(pairs: Pairs) -> Floats:
    """Weights of every layer or labelling, (fit, d_model)."""
    labellings = 1 if pairs.labels is None or pairs.labels.dim() == 1 else len(pairs.labels)
    readout = LogisticRegression().fit(pairs, range(labellings))
    weight = readout.tensors()["weight"]
    return weight[..., 1, :].flatten(0, 1).double().numpy()


def loop(rows: Sequence[Floats], labels: NDArray[np.int64], tolerance: float, solver: str = "lbfgs") -> Floats:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression as Plain

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        for own, answers in zip(rows, labels, strict=True):
            found.append(Plain(tol=tolerance, max_iter=100_000, solver=solver).fit(own, answers).coef_[0])
    return np.stack(found)


def difference(ours: Floats, plain: Floats) -> float:
    """Largest ‖Δ‖ / ‖w‖ of any fit; layers that do not vary have no weights and are left out."""
    norm = np.linalg.norm(plain, axis=1)
    fitted = norm > 1e-9
    return float((np.linalg.norm(ours - plain, axis=1)[fitted] / norm[fitted]).max())
