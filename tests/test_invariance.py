"""VINC against a plain implementation, its special cases, and the worlds in which it must and must not find the truth."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness.beds.planted import Planted
from harness.contracts import Pairs, Probe
from harness.contracts.kind import find
from harness.probes._invariance import _eraser
from tests.test_planted import World, accuracy

TEMPLATES = 3


def asked(count: int, seed: int, per_template: bool, **made: Any) -> tuple[Pairs, dict[str, np.ndarray]]:
    """Examples under three templates, each with an offset of its own; the word is the example's, or drawn for each row."""
    bed = Planted(layers=2, d_model=24, **made)
    random = np.random.default_rng([5, seed])
    truth = np.repeat(random.permutation(np.arange(count) % 2), TEMPLATES)
    word = (
        random.integers(0, 2, count * TEMPLATES) if per_template else np.repeat(random.integers(0, 2, count), TEMPLATES)
    )
    example, template = np.repeat(np.arange(count), TEMPLATES), np.tile(np.arange(TEMPLATES), count)
    keys = [
        [[1000 * (seed + 1) + int(t), int(e), int(y), int(w), member]
         for t, e, y, w in zip(template, example, truth, word, strict=True)]
        for member in (0, 1)
    ]  # fmt: skip
    states = torch.stack([bed.states(tokens) for tokens in keys], dim=2)
    offset = 3 * np.random.default_rng(9).standard_normal((TEMPLATES, 24)).astype(np.float32)
    states = states + torch.from_numpy(offset)[template][:, None]
    pairs = Pairs(states, torch.from_numpy(template), example=torch.from_numpy(example))
    return pairs, {"truth": truth, "word": word}


def scores(probe: Probe, per_template: bool, **made: Any) -> dict[str, float]:
    """Accuracy on other examples of the same world, signs resolved on training rows."""
    train, facts = asked(150, 0, per_template, **made)
    test, test_facts = asked(200, 1, per_template, **made)
    normaliser = find("normalisations", probe.normalise)().fit(train)
    labels = torch.from_numpy(facts["truth"]) if probe.supervised else None
    readout = probe.fit(msgspec.structs.replace(normaliser(train), labels=labels), [0])
    answers = [readout.answers(normaliser(rows)).score[0, 1] > 0 for rows in (train, test)]
    found = {}
    for name in facts:
        value = (answers[1] == test_facts[name]).mean()
        found[name] = float(value if (answers[0] == facts[name]).mean() >= 0.5 else 1 - value)
    return found


def make(kind: str, **settings: Any) -> Any:
    return find("probes", kind)(**settings)


STRONGER = {"truth": 2.5, "distractor": 5.0}


def test_invariance_finds_truth_under_a_stronger_word_that_changes_with_the_template() -> None:
    found = scores(make("vinc"), per_template=True, **STRONGER)
    assert found["truth"] > 0.95
    assert found["word"] < 0.6
    for control in (make("crc_tpc"), make("vinc", invariance=0.0)):
        without = scores(control, per_template=True, **STRONGER)
        assert without["word"] > 0.9, "without invariance the word is found"
        assert without["truth"] < 0.65


def test_invariance_does_not_help_against_a_word_that_is_the_same_in_all_templates() -> None:
    found = scores(make("vinc"), per_template=False, **STRONGER)
    assert found["word"] > 0.95
    assert found["truth"] < 0.6
    labelled = scores(make("vinc_s", supervision=20.0), per_template=False, **STRONGER)
    assert labelled["truth"] > 0.95, "labels tell"
    assert labelled["word"] < 0.65


def numpy_vinc(pairs: Pairs, layer: int, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """Straight from the definition: concept-erasure for LEACE, a loop over examples, numpy.cov."""
    from concept_erasure import LeaceFitter

    states = pairs.states[layer].double().numpy()
    template, example = pairs.template.numpy(), pairs.example.numpy()  # type: ignore[union-attr]
    kinds = (2 * template[:, None] + np.arange(2)).ravel()
    rows = torch.from_numpy(states.reshape(-1, states.shape[-1]))
    fitter = LeaceFitter.fit(rows, torch.eye(2 * TEMPLATES, dtype=torch.float64)[kinds], shrinkage=False)
    erased = fitter.eraser(rows).numpy().reshape(states.shape)
    no, yes = (np.stack([erased[example == e, a].mean(0) for e in np.unique(example)]) for a in (0, 1))
    width, n = states.shape[-1], len(no)
    joint = np.cov(np.hstack([no, yes]).T, bias=True)
    conf = joint[:width, :width] + joint[width:, width:]
    cons = -joint[:width, width:] - joint[width:, :width]
    inv = np.zeros((width, width))
    for e in np.unique(example):
        for answer in (0, 1):
            inv -= np.cov(erased[example == e, answer].T, bias=True) / n
    top: np.ndarray = np.linalg.eigh(alpha * conf + beta * inv + gamma * cons)[1][:, -1]
    weight: np.ndarray = fitter.eraser.P.numpy().T @ top
    return weight


@pytest.mark.parametrize(
    ("alpha", "beta", "gamma"), [(1.0, 1.0, 1.0), (1.0, 0.5, 2.0), (0.0, 1.0, 1.0), (2.0, 0.0, 0.5)]
)
def test_vinc_agrees_with_a_plain_implementation(alpha: float, beta: float, gamma: float) -> None:
    pairs, _ = asked(60, 0, True, **STRONGER)
    readout = make("vinc", confidence=alpha, invariance=beta, consistency=gamma).fit(pairs, [0])
    for layer in (0, 1):
        expected = numpy_vinc(pairs, layer, alpha, beta, gamma)
        own = readout.weight[0, layer, 1].numpy()
        np.testing.assert_allclose(own * np.sign(own @ expected), expected, atol=1e-4)
        # The threshold is where the training rows are centred.
        difference = (pairs.states[layer, :, 1] - pairs.states[layer, :, 0]).numpy()
        assert (difference @ own).mean() + readout.bias[0, layer] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("templates", [1, TEMPLATES])
def test_without_invariance_it_is_the_top_component_of_the_examples_means(templates: int) -> None:
    pairs, _ = asked(100, 0, True, **STRONGER)
    if templates == 1:
        kept = pairs.template == 0
        pairs = msgspec.structs.replace(
            pairs, states=pairs.states[:, kept], template=pairs.template[kept], example=None
        )
    pairs = find("normalisations", "mean")().fit(pairs)(pairs)
    count = pairs.states.shape[1] // templates
    means = pairs.states.unflatten(1, (count, templates)).mean(dim=2)
    oracle = make("crc_tpc").fit(Pairs(means, torch.zeros(count, dtype=torch.int64)), [0]).weight
    for leace in (True, False):
        own = make("vinc", invariance=0.0, leace=leace).fit(pairs, [0]).weight
        torch.testing.assert_close(own, oracle, atol=1e-4, rtol=1e-3)
    held_back = make("vinc", invariance=1.0).fit(pairs, [0]).weight
    assert torch.allclose(held_back, oracle, atol=1e-3) == (templates == 1), "the control"


def test_with_supervision_only_it_is_the_difference_in_means_and_without_it_is_vinc() -> None:
    pairs, facts = asked(100, 0, False, truth=2.0, distractor=3.0)
    pairs = find("normalisations", "mean")().fit(pairs)(pairs)
    labels = torch.from_numpy(facts["truth"])
    labelled = msgspec.structs.replace(pairs, labels=torch.stack([labels, labels.roll(7)]))
    nothing = {"confidence": 0.0, "invariance": 0.0, "consistency": 0.0}
    own = make("vinc_s", **nothing).fit(labelled, [0, 1]).weight
    means = make("mean_difference").fit(labelled, [0, 1]).weight
    torch.testing.assert_close(own, means, atol=1e-5, rtol=1e-3)
    plain = make("vinc").fit(pairs, [0]).weight[0]
    zero = make("vinc_s", supervision=0.0).fit(labelled, [0, 1]).weight[0]
    for layer in (0, 1):
        sign = torch.sign((plain[layer] * zero[layer]).sum())
        torch.testing.assert_close(sign * zero[layer], plain[layer], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [100, 7])
def test_erasure_is_that_of_the_library_also_with_fewer_rows_than_dimensions(count: int) -> None:
    from concept_erasure import LeaceFitter

    pairs, _ = asked(count, 0, False, truth=2.0)
    states = pairs.states[1].double()
    taken = _eraser(states, pairs.template)
    assert taken is not None
    rows = states.flatten(0, 1)
    kinds = (2 * pairs.template[:, None] + torch.arange(2)).flatten()
    fitter = LeaceFitter.fit(rows, torch.eye(2 * TEMPLATES, dtype=torch.float64)[kinds], shrinkage=False)
    mean = rows.mean(dim=0)
    erased = mean + (rows - mean) @ taken.T
    torch.testing.assert_close(erased, fitter.eraser(rows), atol=1e-5, rtol=1e-5)

    def spread(of: torch.Tensor) -> float:
        return float(torch.stack([of[kinds == kind].mean(dim=0) for kind in range(2 * TEMPLATES)]).std(dim=0).max())

    assert spread(rows) > 1, "before it, answers and templates could be told apart"
    assert spread(erased) < 1e-6


def test_one_template_and_one_example_each_find_planted_truth() -> None:
    """The smallest case, through the tool that all probes are tested with."""
    bed = Planted(truth=4.0)

    def rows(seed: int) -> World:
        table = bed.load(200, seed)
        states = torch.stack([bed.states(table[f"tokens_{member}"].to_list()) for member in (0, 1)], dim=2)
        return World(states, {"truth": table["label"].to_numpy()})

    for kind in ("vinc", "vinc_s"):
        assert (accuracy(make(kind), rows(0), rows(1), [0])["truth"][:, 3] > 0.95).all()
