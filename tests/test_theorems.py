"""Theorems 1 and 2: they hold, they say what they say, and not more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.beds.planted import Planted
from harness.contracts import Pairs
from harness.contracts.kind import find
from harness.maths.theorems import answers, loss, probe_of, relabelled, soft_xor
from harness.probes._consistency import Consistency


def members(rows: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((3, rows, 2))


def test_soft_xor_is_xor_on_bits_and_an_involution_by_bits() -> None:
    bits = np.array([0.0, 1.0])
    np.testing.assert_array_equal(soft_xor(bits[:, None], bits), [[0, 1], [1, 0]])
    p = members()
    np.testing.assert_allclose(soft_xor(soft_xor(p, np.float64(1)), np.float64(1)), p)
    np.testing.assert_allclose(soft_xor(p, np.float64(0.5)), 0.5)


@pytest.mark.parametrize("confidence", ["symmetrised", "min"])
def test_theorem_1_any_labelling_has_no_loss(confidence: str) -> None:
    for seed in range(5):
        labelling = np.random.default_rng(seed).integers(2, size=100)
        made = probe_of(labelling)
        assert loss(made, confidence) == 0  # type: ignore[arg-type]
        np.testing.assert_array_equal(answers(made), labelling)
    # Control: other probabilities do have a loss, also the best of those that always say the same.
    assert (loss(members(), confidence) > 0.1).all()  # type: ignore[arg-type]
    assert loss(np.full((10, 2), 0.4), "min") == pytest.approx(0.2)


def test_theorem_2_equal_loss_and_the_labelling_is_answered() -> None:
    p = members()
    for seed in range(10):
        labelling = np.random.default_rng(seed).integers(2, size=p.shape[1])
        other = relabelled(p, labelling)
        np.testing.assert_allclose(loss(other), loss(p), atol=1e-12)
        np.testing.assert_array_equal(answers(other), np.broadcast_to(labelling, p.shape[:2]))
        # Controls: it is another probe, and Burns's own confidence is not symmetric, so that its loss moves.
        assert not np.allclose(other, p)
        assert np.abs(loss(other, "min") - loss(p, "min")).max() > 1e-3


def test_the_loss_is_that_of_ccs() -> None:
    """`min` against the loss that the method itself descends."""
    random = torch.Generator().manual_seed(0)
    states = torch.randn(1, 50, 2, 8, generator=random)
    theta = torch.randn(1, 4, 8, generator=random)
    p = (states[0] @ theta[0].T).sigmoid().permute(2, 0, 1).double().numpy()
    np.testing.assert_allclose(loss(p, "min"), Consistency(states, bias=False).loss(theta)[0].numpy(), rtol=1e-5)


def test_a_fitted_probe_on_states_of_a_planted_world() -> None:
    """CCS finds the planted truth; a probe with the very same symmetrised loss answers whatever one likes."""
    bed = Planted(truth=4.0)
    table = bed.load(300, seed=0)
    states = torch.stack([bed.states(table[f"tokens_{k}"].to_list()) for k in (0, 1)], dim=2)[3:]
    pairs = Pairs(states, torch.zeros(300, dtype=torch.int64))
    ccs = find("probes", "ccs")(restarts=2, epochs=200)
    pairs = find("normalisations", ccs.normalise)().fit(pairs)(pairs)
    found = ccs.fit(pairs, range(2)).answers(pairs).members
    assert found is not None
    p = found[:, 0].astype(np.float64)
    truth = table["label"].to_numpy()
    accuracy = (answers(p) == truth).mean(axis=-1)
    assert (np.maximum(accuracy, 1 - accuracy) > 0.9).all(), "the control: the probe found the truth"
    labelling = np.random.default_rng(0).integers(2, size=300)
    other = relabelled(p, labelling)
    np.testing.assert_allclose(loss(other), loss(p), atol=1e-12)
    assert (answers(other) == labelling).all()
    assert abs((answers(other) == truth).mean() - 0.5) < 0.1
