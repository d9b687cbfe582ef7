"""Erasure takes out what was there, and nothing else: against the library, in planted worlds, and through a whole run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from harness import language, pipeline
from harness.contracts import Erasure, Pairs, Probe
from harness.contracts.kind import find
from harness.errors import DataError, SpecError
from harness.fitting.erasure import fit_erasure
from harness.fitting.fit import Fitting, training_pairs
from harness.maths.leace import shrunk
from harness.readouts import stored_readouts
from harness.scoring.score import Labels
from harness.store import Store
from tests.test_planted import CHANCE, FOUND, World, normalised, world

EVERY = [
    Erasure(),
    Erasure(by="mean_difference"),
    Erasure(by="lda", times=12),
    Erasure(by="logistic_regression", times=12),
]


def gap(pairs: Pairs, bits: np.ndarray) -> torch.Tensor:
    """Distance of the class means of x⁺ − x⁻ at the last layer."""
    difference = (pairs.states[3, :, 1] - pairs.states[3, :, 0]).double()
    one = torch.tensor(bits == 1)
    return (difference[one].mean(dim=0) - difference[~one].mean(dim=0)).norm()


def after(probe: Probe, erasure: Erasure | None, train: World, test: World, target: str) -> np.ndarray:
    """Accuracy on test rows at the last layer, (seed,), the sign resolved on training rows."""
    parts = [normalised(probe.normalise, train, rows) for rows in (train, test)]
    if erasure is not None:
        eraser = fit_erasure(erasure, parts[0], train.factors)
        parts = [eraser(part) for part in parts]
    labels = torch.tensor(train.factors["truth"]) if probe.supervised else None
    readout = probe.fit(msgspec.structs.replace(parts[0], labels=labels), range(3))
    right = [
        ((readout.answers(part).score[:, 3] > 0) == rows.factors[target]).mean(axis=-1)
        for part, rows in zip(parts, (train, test), strict=True)
    ]
    return np.where(right[0] < 0.5, 1 - right[1], right[1])


def test_leace_of_statements_agrees_with_concept_erasure() -> None:
    from concept_erasure import LeaceEraser

    rows, others = world(200, 0, truth=3.0, distractor=2.0), world(50, 1, truth=3.0, distractor=2.0)
    train, test = (normalised("mean", rows, part) for part in (rows, others))
    eraser = fit_erasure(Erasure(), train, rows.factors)
    truth = torch.tensor(rows.factors["truth"])
    statement_is_true = torch.stack([1 - truth, truth], dim=1).flatten()
    for layer in range(1, 4):
        statements = train.states[layer].double().flatten(0, 1)
        oracle = LeaceEraser.fit(statements, statement_is_true, constrain_cov_trace=False, svd_tol=1e-9)
        np.testing.assert_allclose(eraser(test).states[layer], oracle(test.states[layer].double()), atol=1e-4)
        assert (eraser(test).states[layer] - test.states[layer]).abs().max() > 0.1


def test_covariances_shrink_as_in_concept_erasure() -> None:
    from concept_erasure.shrinkage import optimal_linear_shrinkage

    random = np.random.default_rng(0)
    for count in (20, 400):
        rows = torch.tensor(random.standard_normal((count, 30)) * np.linspace(0.1, 3, 30))
        rows = rows - rows.mean(dim=0)
        torch.testing.assert_close(shrunk(rows), optimal_linear_shrinkage(rows.T @ rows / count, count))


@pytest.mark.parametrize("by", ["leace", "mean_difference"])
@pytest.mark.parametrize("of", ["truth", "word"])
def test_class_means_are_equal_afterwards_and_other_factors_stay(by: str, of: str) -> None:
    rows = world(300, 0, truth=4.0, distractor=4.0)
    pairs = normalised("mean", rows, rows)
    erased = fit_erasure(Erasure(of=of, by=by), pairs, rows.factors)(pairs)  # type: ignore[arg-type]
    other = "word" if of == "truth" else "truth"
    assert gap(pairs, rows.factors[of]) > 10
    assert gap(erased, rows.factors[of]) < 1e-4
    assert gap(erased, rows.factors[other]) > 0.9 * gap(pairs, rows.factors[other])


def test_mean_difference_is_a_projection_at_a_right_angle() -> None:
    rows = world(200, 0)
    pairs = normalised("mean", rows, rows)
    erased = fit_erasure(Erasure(by="mean_difference"), pairs, rows.factors)(pairs)
    difference = (pairs.states[3, :, 1] - pairs.states[3, :, 0]).double()
    one = torch.tensor(rows.factors["truth"] == 1)
    direction = difference[one].mean(dim=0) - difference[~one].mean(dim=0)
    direction /= direction.norm()
    by_hand = pairs.states[3].double() - (pairs.states[3].double() @ direction)[..., None] * direction
    np.testing.assert_allclose(erased.states[3], by_hand, atol=1e-4)


def test_directions_erased_in_turn_are_orthogonal() -> None:
    rows = world(200, 0, truth=2.0)
    pairs = normalised("mean", rows, rows)
    for by in ("lda", "logistic_regression"):
        eraser = fit_erasure(Erasure(by=by, times=5), pairs, rows.factors)  # type: ignore[arg-type]
        for basis in eraser.left:
            torch.testing.assert_close(basis @ basis.T, torch.eye(5, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("erasure", EVERY, ids=lambda erasure: erasure.by)
@pytest.mark.parametrize("kind", ["ccs", "crc_tpc", "lda", "logistic_regression", "mean_difference"])
def test_linear_probes_are_at_chance_once_the_truth_is_erased(kind: str, erasure: Erasure) -> None:
    """Roger's finding, where it is known to hold: one direction is all of the truth that there is."""
    train, test = world(300, 0), world(400, 1)
    probe = find("probes", kind)(**({"restarts": 3} if kind == "ccs" else {}))
    assert (after(probe, None, train, test, "truth") >= FOUND).all()
    # Directions taken out one by one leave a trace that class means made equal do not.
    allowed = CHANCE if erasure.times == 1 else 0.12
    assert (abs(after(probe, erasure, train, test, "truth") - 0.5) <= allowed).all()


def test_what_is_weaker_is_found_when_the_stronger_is_erased() -> None:
    train, test = (world(rows, seed, truth=2.0, distractor=5.0) for rows, seed in ((300, 0), (400, 1)))
    for kind in ("ccs", "crc_tpc"):
        probe = find("probes", kind)()
        assert (abs(after(probe, None, train, test, "truth") - 0.5) <= CHANCE).all()
        assert (after(probe, Erasure(of="word"), train, test, "truth") >= FOUND).all()


def test_what_is_no_linear_function_survives_erasure() -> None:
    """The truth is word ⊕ XOR: LEACE finds no class means to make equal, and the network computes it all the same."""
    train, test = (world(rows, seed, truth=0.0, distractor=3.0, xor=5.0) for rows, seed in ((300, 0), (400, 1)))
    assert (after(find("probes", "mlp")(), Erasure(), train, test, "truth") >= FOUND).all()
    assert (abs(after(find("probes", "mlp")(), Erasure(of="word"), train, test, "truth") - 0.5) <= 0.15).all()


def test_rows_that_do_not_vary_are_left_alone() -> None:
    rows = world(60, 0)
    pairs = normalised("mean", rows, rows)
    states = pairs.states.clone()
    states[1] = 0
    pairs = msgspec.structs.replace(pairs, states=states)
    for erasure in EVERY:
        erased = fit_erasure(erasure, pairs, rows.factors)(pairs).states
        assert erased.isfinite().all()
        assert not erased[1].any()


def test_an_unknown_factor_is_refused() -> None:
    rows = world(60, 0)
    with pytest.raises(DataError, match='no factor "colour" with two classes; they have truth, word, xor'):
        fit_erasure(Erasure(of="colour"), normalised("mean", rows, rows), rows.factors)


def test_more_directions_than_there_are_are_refused() -> None:
    rows = world(20, 0)
    pairs = normalised("mean", rows, rows)
    with pytest.raises(DataError, match=r"19 times would leave nothing of 20 training pairs .* fewer than 19"):
        fit_erasure(Erasure(by="lda", times=19), pairs, rows.factors)
    assert fit_erasure(Erasure(by="lda", times=18), pairs, rows.factors).left.shape[1] == 18


def test_the_eraser_is_fitted_on_training_rows_alone_and_kept_with_the_probe(tmp_path: Path) -> None:
    rows, others = world(120, 0), world(80, 1)
    template = torch.zeros(120, dtype=torch.int64)
    train = Pairs(rows.states, template)
    labels = {"train": Labels(rows.factors, np.arange(120))}
    fitting = Fitting({"train": train}, labels)  # type: ignore[arg-type, dict-item]
    plain = find("probes", "crc_tpc")()
    probe = msgspec.structs.replace(plain, erase=Erasure())
    test = Pairs(others.states, template[:80])
    whole = fitting.apply(probe, test).states
    assert torch.equal(fitting.apply(probe, Pairs(others.states[:, :5], template[:5])).states, whole[:, :5])
    assert not torch.allclose(fitting.apply(plain, test).states, whole, atol=0.1)
    store = Store(tmp_path)
    readout, learnt = probe.fit(training_pairs(probe, fitting), range(1)), fitting.normaliser(probe)
    with store.write("fit", "key", stored_readouts.fit_about(readout, learnt)) as folder:
        stored_readouts.save_fit(readout, learnt, folder)
    artifact = store.open("fit", "key")
    assert artifact is not None
    again, normaliser = stored_readouts.load_fit(artifact)
    assert normaliser is not None
    assert torch.equal(normaliser(test).states, whole)
    np.testing.assert_array_equal(
        again.answers(normaliser(test)).score, readout.answers(whole_pairs(test, whole)).score
    )


def whole_pairs(pairs: Pairs, states: torch.Tensor) -> Pairs:
    return msgspec.structs.replace(pairs, states=states)


SPEC = """
harness: 1
name: erasure
about: Is one direction all of the truth?
model: {{bed: planted, truth: {truth}, distractor: {distractor}, xor: {xor}, d_model: 32, layers: 2}}
data: {{limit: 500}}
probes:
  - {{kind: ccs, restarts: 3, normalise: mean_std}}
  - logistic_regression
  - {{kind: mlp, hidden: 64}}
  - {{kind: crc_tpc, name: without_word, erase: {{of: word}}}}
  - {{kind: crc_tpc, name: without_truth, erase: {{by: logistic_regression, times: 4}}}}
seeds: 8
layer: last
checks:
  - {{kind: chance_after_erasure, probe: logistic_regression, margin: 0.2}}
  - {{kind: chance_after_erasure, probe: ccs, by: mean_difference, margin: 0.2, name: roger}}
  - {{kind: chance_after_erasure, probe: mlp, margin: 0.2, name: mlp}}
  - {{kind: selective, probe: logistic_regression}}
  - {{kind: selective, probe: mlp, name: mlp-selective}}
  - {{kind: agrees_with_supervised, probe: ccs}}
  - {{kind: tracks_truth, probe: without_word, over: word}}
  - {{kind: tracks_truth, probe: without_truth, over: word, name: without}}
"""


def findings(folder: Path, without: str = "", **strengths: float) -> list[str]:
    """What the checks find; probes and checks that name `without` are left out."""
    path = folder / "erasure.yaml"
    lines = SPEC.format(**strengths).splitlines()
    path.write_text("\n".join(line for line in lines if not without or without not in line))
    return pipeline.run(path, out=folder / "reports", page=False).checks["finding"].to_list()


@pytest.mark.slow
def test_a_whole_run_erases_and_judges(tmp_path: Path) -> None:
    # The truth is one direction, weaker than the word: erasure reaches all of it, and the network, which could hold labels
    # that mean nothing better than it tells the truth, finds no more than the linear probe.
    assert findings(tmp_path, truth=1.5, distractor=6.0, xor=0.0) == [
        *("pass", "pass", "pass"),
        *("pass", "fail", "fail"),
        *("pass", "fail"),
    ]
    # The truth is the XOR of two features: there is nothing linear to erase, and only the network finds it.
    assert findings(tmp_path, truth=0.0, distractor=3.0, xor=5.0) == [
        *("pass", "pass", "fail"),
        *("fail", "inconclusive", "fail"),
        *("inconclusive", "inconclusive"),
    ]
    # Without a distractor CCS answers as the supervised probe does.
    assert findings(tmp_path, "mlp", truth=4.0, distractor=0.0, xor=0.0)[3] == "pass"


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ("{kind: ccs, erase: {of: wrod}}", 'erase.of: no target "wrod"; did you mean "word"?'),
        ("{kind: ccs, erase: {by: leece}}", 'erase.by: no by "leece"; did you mean "leace"?'),
        (
            "{kind: ccs, erase: {times: 3}}",
            "after leace the class means are equal, so that a second time finds nothing",
        ),
        ("{kind: ccs, erase: {of: truth^word}}", 'no target "truth^word"; add [truth, word] to `xors`'),
        ("{kind: ccs, erase: {off: truth}}", 'no "off"; did you mean "of"?'),
        ("{kind: zero_shot, erase: {}}", "reads the model's own answer, where nothing can be erased"),
    ],
)
def test_mistakes_are_said_with_their_place(probe: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"harness: 1\nname: wrong\nmodel: {{bed: planted}}\nprobes:\n  - {probe}\n")
    with pytest.raises(SpecError) as caught:
        language.read(path)
    assert message in str(caught.value)
    assert "wrong.yaml:5:" in str(caught.value)
    path.write_text(path.read_text().replace(probe, "{kind: ccs, erase: {of: word, by: lda, times: 2}}"))
    assert language.read(path).probes[0].erase == Erasure(of="word", by="lda", times=2)
