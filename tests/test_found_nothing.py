"""A fit that found nothing answers 0 for all: for every probe, erasure and detector, and the same in every arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness import pipeline
from harness.contracts import Answers, Erasure, Pairs, Probe
from harness.contracts.kind import find, names
from harness.fitting.erasure import fit_erasure
from harness.fitting.fit import Fitting, score, training_pairs
from harness.metrics.accuracy import Accuracy
from harness.metrics.auroc import Auroc
from harness.report import found_nothing
from harness.scoring.score import Labels, Scored, measure
from tests.test_planted import World, normalised, world

ON_STATES = tuple(
    kind
    for kind in names("probes")
    if "binary" in find("probes", kind).targets and find("probes", kind).reads == "states"
)
BY_CLASS_MEANS: dict[str, dict[str, Any]] = {
    "lda": {},
    "lda of a number": {"shrinkage": 0.3},
    "logistic_regression": {},
    "mean_difference": {},
    "vinc_s": {},
    "mahalanobis_log_odds": {},
}
"""Methods that find what tells the class means apart, and nothing else."""
SHORT: dict[str, dict[str, Any]] = {"mlp": {"epochs": 5}, "isolation_forest": {"trees": 5}, "ccs": {"restarts": 2}}


def noisy(rows: World, seed: int) -> World:
    """As another processor would have the states: each number off by a millionth."""
    noise = torch.randn(rows.states.shape, generator=torch.Generator().manual_seed(seed))
    return rows._replace(states=rows.states * (1 + 1e-6 * noise)) if seed else rows


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def scored(probe: Probe, train: World, test: World) -> Scored:
    """As a run fits and scores it."""
    parts = {
        part: Pairs(rows.states, torch.zeros(rows.states.shape[1], dtype=torch.int64))
        for part, rows in zip(("train", "test"), (train, test), strict=True)
    }
    labels = {
        part: Labels(rows.factors, np.arange(len(rows.factors["truth"])))
        for part, rows in zip(("train", "test"), (train, test), strict=True)
    }
    fitting = Fitting({"train": parts["train"]}, labels)  # type: ignore[dict-item, arg-type]
    readout = probe.fit(training_pairs(probe, fitting), [0, 1])
    layers = tuple(range(len(train.states)))
    return score(readout, probe, fitting, parts["test"], labels["test"], fit_on="main", tested_on="main", layers=layers)


def made(name: str, **settings: Any) -> Probe:
    kind = name.partition(" ")[0]
    probe = find("probes", kind)(**{**SHORT.get(kind, {}), **BY_CLASS_MEANS.get(name, {}), **settings})
    assert isinstance(probe, Probe)
    return probe


def far(rows: World) -> World:
    """The same rows a long way from the origin, as those of language models are: rounding is larger than it looks."""
    return rows._replace(states=rows.states + 300)


@pytest.mark.parametrize("normalise", ["none", "mean", "burns", "mean_std"])
@pytest.mark.parametrize("name", BY_CLASS_MEANS)
def test_what_erasure_leaves_of_the_truth_is_not_found(name: str, normalise: str) -> None:
    train, test = far(world(200, 0)), far(world(400, 1))
    labels = [Labels(rows.factors, np.arange(len(rows.factors["truth"]))) for rows in (train, test)]
    for by in ("leace", "mean_difference"):
        erased = made(name, normalise=normalise, erase=Erasure(by=by))  # type: ignore[arg-type]
        for seed, count in ((0, 1), (0, 2), (1, 1), (2, 2)):
            with threads(count):
                found = scored(erased, noisy(train, seed), noisy(test, seed))
            assert found.nothing.all()
            assert not found.test.score.any()
            for metric in (Auroc(), Accuracy()):
                measured = measure(found, *labels, "truth", metric)
                assert measured is not None
                assert (measured.value == 0.5).all()
    # The controls: before erasure it is found, and with labels that mean nothing, chance is found, not rounding.
    assert not scored(made(name, normalise=normalise), train, test).nothing[:, 1:].any()
    shuffled = dict(train.factors, truth=np.random.default_rng(0).permutation(train.factors["truth"]))
    assert not scored(made(name, normalise=normalise), train._replace(factors=shuffled), test).nothing.any()


@pytest.mark.parametrize("normalise", names("normalisations"))
@pytest.mark.parametrize("kind", ON_STATES)
def test_a_layer_that_varies_by_rounding_alone_says_nothing(kind: str, normalise: str) -> None:
    """As at layer 0, where the last token of all prompts is the same, on whatever processor."""
    train, test = far(world(120, 0)), far(world(80, 1))
    for rows in (train, test):
        rows.states[1] = rows.states[1, 0, 0]
    for seed in (0, 1, 2):
        found = scored(made(kind, normalise=normalise), noisy(train, seed), noisy(test, seed))
        at = slice(None) if find("probes", kind).by_layer else slice(0, 0)
        assert not found.test.score[:, 1][at].any()
        assert found.nothing[:, 1][at].all()
        assert not found.nothing[:, 3].any()


@pytest.mark.parametrize("by", ["leace", "mean_difference", "lda", "logistic_regression"])
def test_nothing_is_erased_where_there_is_nothing(by: str) -> None:
    rows = far(world(200, 0))
    pairs = normalised("none", rows, rows)
    erasure = Erasure(by=by)  # type: ignore[arg-type]
    once = fit_erasure(Erasure(), pairs, rows.factors)(pairs)
    again = fit_erasure(erasure, once, rows.factors)
    assert not again.left.any()
    assert torch.equal(again(once).states, once.states)
    # The control.
    assert fit_erasure(erasure, pairs, rows.factors).left.any()


def test_vinc_finds_nothing_where_templates_and_answers_are_all_that_there_is() -> None:
    random = np.random.default_rng(0)
    cells = torch.tensor(random.standard_normal((2, 2, 16)) * 3, dtype=torch.float32)
    template = torch.arange(60) % 2
    noise = torch.tensor(random.standard_normal((60, 2, 16)), dtype=torch.float32)
    still, lively = (cells[template] * (1 + 1e-6 * noise) + share * noise for share in (0.0, 1.0))
    pairs = Pairs(torch.stack([still, lively]), template)
    found = find("probes", "vinc")().fit(pairs, [0])
    assert not found.answers(pairs).score[:, 0].any()
    assert found.answers(pairs).score[:, 1].any()


def test_the_report_says_what_found_nothing_and_where() -> None:
    def one(probe: str, score: np.ndarray) -> Scored:
        answers = Answers(score.astype(np.float32))
        return Scored(fit_on="plain", tested_on="plain", probe=probe, layers=(0, 5, 9), train=answers, test=answers)

    lively = np.ones((4, 3, 6))
    first, mixed = lively.copy(), lively.copy()
    first[:, 0] = 0
    mixed[:, 0] = 0
    mixed[1, 2] = 0
    parts = [
        one("lda", first),
        one("ccs", mixed),
        one("crc_tpc", lively),
        msgspec.structs.replace(one("lda", first), tested_on="word"),
    ]
    why = "there they answer 0 for all, because what could be gone by is no larger than rounding, or the fit no better than a constant, and score chance."
    assert found_nothing.sentences(parts) == [
        f"Fitted on plain, lda and ccs found nothing at layer 0: {why}",
        f"Fitted on plain, ccs found nothing at layer 9 with 1 of 4 seeds: {why}",
    ]
    elsewhere = [msgspec.structs.replace(part, fit_on="word") for part in parts[:2]]
    assert (
        found_nothing.sentences([*parts, *elsewhere])[0]
        == f"Fitted on plain and word, lda and ccs found nothing at layer 0: {why}"
    )
    assert found_nothing.sentences(parts[2:3]) == []


def test_a_run_says_it(tmp_path: Path) -> None:
    path = tmp_path / "erased.yaml"
    path.write_text(
        "harness: 1\nname: erased\nmodel: {bed: planted, d_model: 16, layers: 2}\ndata: {limit: 200}\n"
        "probes: [mean_difference, {kind: mean_difference, name: erased, erase: {of: truth}}]\nlayer: last\n"
    )
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    text = (outcome.folder / "report.md").read_text()
    assert "Fitted on main, erased found nothing at layer" in text
    assert "mean_difference found nothing" not in text.replace("erased found", "")


def test_a_check_may_look_where_nothing_varies(tmp_path: Path, tiny_llama: Path) -> None:
    rows = "".join(f"{n} is {'even' if n % 3 else 'odd'}.,{'true' if n % 2 else 'false'}\n" for n in range(60))
    (tmp_path / "mine.csv").write_text("text,label\n" + rows)
    path = tmp_path / "still.yaml"
    # The last token is the same in all prompts: at layer 0 so is its state.
    path.write_text(
        f"harness: 1\nname: still\nmodel: {tiny_llama}\ndata: {{source: {{file: mine.csv}}}}\n"
        "prompt: {template: '{{ text }} {{ answer }}.', answers: ['false', 'true']}\n"
        "probes: [logistic_regression, {kind: ccs, optimizer: lbfgs}, random]\nseeds: 6\nlayer: 0\nchecks:\n"
        "  - {kind: beats_random, probe: logistic_regression}\n"
        "  - {kind: beats_random, probe: ccs}\n"
        "  - {kind: chance_on_shuffled_labels, probe: logistic_regression}\n"
        "  - {kind: chance_after_erasure, probe: logistic_regression}\n"
    )
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    assert not set(outcome.checks["finding"][:2]) & {"pass"}
    assert outcome.checks["value"].abs().max() < 1e-6
