"""Anomaly detectors: what each must find and must miss in planted worlds, and agreement with plain implementations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from harness import pipeline
from harness.contracts import Answers, Pairs, Probe
from harness.contracts.kind import find, names
from harness.errors import DataError, NumericalError
from harness.metrics.auroc import Auroc
from harness.probes._detector import PARTS
from harness.probes._gaussian import fit_gaussian, ledoit_wolf
from harness.scoring.layer_choice import choose_layer
from harness.scoring.score import Labels, Scored, measure
from tests.report_tables import full_table
from tests.test_planted import World, world

OF_STATES = ("isolation_forest", "local_outlier_factor", "mahalanobis")
FOUND, CHANCE = 0.9, 0.1
"""AUROC that counts as found; distance from one half that counts as chance with 400 rows."""


def where(rows: World, factor: str, value: int) -> World:
    """The rows whose factor has a value."""
    kept = np.flatnonzero(rows.factors[factor] == value)
    return World(rows.states[:, kept], {name: bits[kept] for name, bits in rows.factors.items()})


def pairs_of(rows: World, normalise: str, train: World) -> Pairs:
    both = [Pairs(w.states, torch.zeros(w.states.shape[1], dtype=torch.int64)) for w in (train, rows)]
    return find("normalisations", normalise)().fit(both[0])(both[1])


def scores(probe: Probe, train: World, test: World) -> np.ndarray:
    """What a detector that was fitted on some rows says of others, (layer, row)."""
    pairs = pairs_of(train, probe.normalise, train)
    if probe.supervised:
        pairs = msgspec.structs.replace(pairs, labels=torch.tensor(train.factors["truth"]))
    return probe.fit(pairs, [0]).answers(pairs_of(test, probe.normalise, train)).score[0]


def aurocs(probe: Probe, made: dict[str, Any], unusual: dict[str, Any] | None = None) -> np.ndarray:
    """AUROC of each layer for rows with the second word, fitted on rows with the first; `unusual` are made in another way."""
    train = where(world(600, 0, **made), "word", 0)
    test = world(400, 1, **made)
    if unusual is not None:
        states, other = test.states.clone(), world(400, 1, **made | unusual).states
        states[:, test.factors["word"] == 1] = other[:, test.factors["word"] == 1]
        test = World(states, test.factors)
    found = scores(probe, train, test)
    return np.array([roc_auc_score(test.factors["word"], of_layer) for of_layer in found])


class Row(NamedTuple):
    """One line of the theory."""

    made: dict[str, Any]
    unusual: dict[str, Any] | None
    features: str
    find: tuple[str, ...]
    miss: tuple[str, ...]
    why: str


SMALL = {"d_model": 16}
THEORY = [
    Row({**SMALL, "common": 3.0}, None, "midpoint", OF_STATES, (), "the context is another one"),
    Row({**SMALL, "common": 3.0}, None, "difference", (), OF_STATES, "both members have the context alike"),
    Row({**SMALL, "distractor": 3.0}, None, "difference", OF_STATES, (), "the answers differ in another way"),
    Row({**SMALL, "distractor": 3.0}, None, "midpoint", (), OF_STATES, "the midpoint has no contrast"),
    Row({**SMALL}, None, "both", (), OF_STATES, "nothing is unusual"),
    Row(
        {"d_model": 6, "truth": 6.0, "xor": 6.0},
        None,
        "difference",
        OF_STATES,
        (),
        "each feature is usual, and the two together are not",
    ),
    Row(
        {"d_model": 6, "truth": 8.0},
        {"truth": 0.0},
        "difference",
        ("local_outlier_factor",),
        ("mahalanobis",),
        "unusual rows lie between two clumps, at the mean of all",
    ),
]


@pytest.mark.parametrize(
    ("row", "kind"),
    [pytest.param(row, kind, id=f"{kind}: {row.why}") for row in THEORY for kind in row.find + row.miss],
)
def test_theory(row: Row, kind: str) -> None:
    found = aurocs(find("probes", kind)(features=row.features), row.made, row.unusual)
    if kind in row.find:
        assert found[3] >= FOUND, found
    else:
        assert found[3] < 0.5 + CHANCE, found
    if row.unusual is None:
        assert abs(found[0] - 0.5) < CHANCE, "layer 0 holds the answer only"


def flipped_late(count: int, seed: int, at: int = 3) -> World:
    """Rows with the second word contradict themselves from a layer on: the members change places there."""
    rows = world(count, seed, truth=3.0, answer=0.0, d_model=16)
    states = rows.states.clone()
    second = rows.factors["word"] == 1
    states[at:, second] = states[at:, second].flip(2)
    return World(states, rows.factors)


def test_log_odds_of_all_layers_show_where_answers_part() -> None:
    train, test = where(flipped_late(600, 0), "word", 0), flipped_late(400, 1)
    found = scores(find("probes", "mahalanobis_log_odds")(), train, test)
    by_layer = [roc_auc_score(test.factors["word"], of_layer) for of_layer in found]
    assert by_layer[3] > FOUND
    # Controls: before they part, and where they never do.
    assert all(abs(value - 0.5) < CHANCE for value in by_layer[:3])
    honest = scores(find("probes", "mahalanobis_log_odds")(), train, world(400, 1, truth=3.0, answer=0.0, d_model=16))
    assert abs(roc_auc_score(test.factors["word"], honest[3]) - 0.5) < CHANCE
    # One layer by itself sees nothing: a row that was turned round looks like one with the other truth.
    alone = scores(find("probes", "mahalanobis")(features="difference"), train, test)
    assert abs(roc_auc_score(test.factors["word"], alone[3]) - 0.5) < CHANCE


def alarms(kind: str, width: int, **options: Any) -> float:
    """Share of new rows like the fitted ones that are called unusual."""
    train, test = (world(count, seed, truth=1.0, d_model=width) for count, seed in ((150, 0), (1000, 1)))
    return float((scores(find("probes", kind)(**options), train, test)[3] > 0).mean())


@pytest.mark.parametrize("kind", OF_STATES)
@pytest.mark.parametrize("width", [16, 200])
def test_the_threshold_lies_where_it_says(kind: str, width: int) -> None:
    """Also with more dimensions than rows, where every fitted row lies nearer than any new one."""
    for share in (0.05, 0.3):
        assert abs(alarms(kind, width, false_alarms=share) - share) < 0.1


def test_the_threshold_of_log_odds_is_about_right_with_folds_and_useless_without() -> None:
    assert abs(alarms("mahalanobis_log_odds", 16) - 0.05) < 0.1
    # A probe of fewer rows is another probe: with as many rows as dimensions, folds do not set everything right.
    assert alarms("mahalanobis_log_odds", 200) < 0.3
    assert alarms("mahalanobis_log_odds", 200, folds=None) > 0.6


# The sign.


def test_the_sign_is_never_resolved_and_no_layer_chosen_by_the_score() -> None:
    rng = np.random.default_rng(0)
    train = Labels({"truth": np.arange(60) % 2, "word": np.zeros(60, dtype=np.int64)}, np.arange(60))
    test = Labels({"truth": np.arange(80) % 2, "word": np.arange(80) // 2 % 2}, np.arange(80) + 100)
    unusual = (rng.standard_normal((1, 3, 80)) + 4.0 * test.targets["word"]).astype(np.float32)
    # Most training rows score above the threshold: a sign that was resolved against a constant column would be turned.
    one = Scored(
        fit_on="normal",
        tested_on="mixed",
        probe="mahalanobis",
        layers=(0, 1, 2),
        train=Answers(abs(rng.standard_normal((1, 3, 60))).astype(np.float32)),
        test=Answers(unusual),
        detects=True,
    )
    found = measure(one, train, test, "word", Auroc())
    assert found is not None
    assert (found.value > 0.95).all()
    other = measure(msgspec.structs.replace(one, detects=False), train, test, "word", Auroc())
    assert other is not None
    assert (other.value < 0.05).all(), "the control: a probe's sign would have been turned"
    for rule in ("validation", "earliest_informative"):
        assert "seen nothing unusual" in choose_layer(one, rule, train, None).rule
    assert choose_layer(one, "last", train, None).layer == 2


# Agreement with plain implementations.


def some_pairs(count: int, width: int, seed: int = 0) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator)
    states = torch.randn(2, count, 2, width, generator=generator) @ mixed + 1.0
    return Pairs(states, torch.zeros(count, dtype=torch.int64))


def features_of(pairs: Pairs, features: str, layer: int) -> np.ndarray:
    parts = [no * pairs.states[layer, :, 0] + yes * pairs.states[layer, :, 1] for no, yes in PARTS[features]]
    return torch.cat(parts, dim=1).double().numpy()


@pytest.mark.parametrize("features", list(PARTS))
@pytest.mark.parametrize("count", [15, 90])
def test_mahalanobis_is_the_textbooks(features: str, count: int) -> None:
    pairs, new = some_pairs(count, 12), some_pairs(40, 12, seed=1)
    probe = find("probes", "mahalanobis")(features=features, shrinkage=0.3)
    readout = probe.fit(pairs, [0])
    for layer in (0, 1):
        rows = features_of(pairs, features, layer)
        covariance = np.cov(rows.T)
        covariance = 0.7 * covariance + 0.3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        gap = features_of(new, features, layer) - rows.mean(axis=0)
        expected = 0.5 * np.einsum("ri,ij,rj->r", gap, np.linalg.inv(covariance), gap)
        found = readout.answers(new).score[0, layer] - readout.bias[0, layer].item()
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("count", "width"), [(12, 30), (60, 5)])
def test_a_row_left_out_is_where_the_gaussian_of_the_others_puts_it(count: int, width: int) -> None:
    rows = torch.tensor(np.random.default_rng(0).standard_normal((count, width)) * np.linspace(1, 3, width))
    fit = fit_gaussian(rows, 0.4, "test")
    size = 0.4 * float(torch.trace(torch.cov(rows.T))) / width
    expected = []
    for left in range(count):
        others = np.delete(rows.numpy(), left, axis=0)
        gap = rows[left].numpy() - others.mean(axis=0)
        # The same shrinkage and scale: only mean and scatter are without the row.
        scatter = np.cov(others.T, ddof=1) * (count - 2) / (count - 1)
        covariance = 0.6 * scatter + size * np.eye(width)
        expected.append(gap @ np.linalg.solve(covariance, gap))
    np.testing.assert_allclose(fit.left_out(rows), expected, rtol=1e-6)
    assert (fit.left_out(rows) > fit.squared_distance(rows)).all()


@pytest.mark.parametrize(("count", "width"), [(12, 30), (60, 5), (400, 20)])
def test_the_shrinkage_is_ledoit_and_wolfs(count: int, width: int) -> None:
    rows = np.random.default_rng(1).standard_normal((count, width)) * np.linspace(1, 3, width)
    centred = torch.tensor(rows - rows.mean(axis=0))
    assert ledoit_wolf(centred) == pytest.approx(ledoit_wolf_shrinkage(rows), rel=1e-9)


def test_a_covariance_that_cannot_be_inverted_is_refused() -> None:
    with pytest.raises(NumericalError, match="cannot be inverted; use `shrinkage: auto`"):
        find("probes", "mahalanobis")(shrinkage=0.0).fit(some_pairs(10, 12), [0])
    find("probes", "mahalanobis")(shrinkage=0.0).fit(some_pairs(60, 12), [0])


@pytest.mark.parametrize("features", list(PARTS))
def test_local_outlier_factor_is_scikit_learns(features: str) -> None:
    pairs, new = some_pairs(80, 12), some_pairs(30, 12, seed=1)
    readout = find("probes", "local_outlier_factor")(features=features, neighbours=7).fit(pairs, [0])
    for layer in (0, 1):
        plain = LocalOutlierFactor(n_neighbors=7, novelty=True).fit(features_of(pairs, features, layer))
        found = readout.answers(new).score[0, layer] - readout.bias[0, layer].item()
        expected = -plain.score_samples(features_of(new, features, layer)) - 1
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(NumericalError, match="more than `neighbours`"):
        find("probes", "local_outlier_factor")().fit(some_pairs(20, 12), [0])


@pytest.mark.parametrize(("features", "samples"), [("both", 150), ("midpoint", 20), ("difference", 2)])
def test_isolation_forest_is_scikit_learns(features: str, samples: int) -> None:
    pairs, new = some_pairs(300, 12), some_pairs(60, 12, seed=1)
    readout = find("probes", "isolation_forest")(features=features, samples=samples, trees=30).fit(pairs, [4, 5])
    for number, seed in enumerate((4, 5)):
        for layer in (0, 1):
            rows = [features_of(own, features, layer).astype(np.float32) for own in (pairs, new)]
            plain = IsolationForest(n_estimators=30, max_samples=samples, random_state=seed).fit(rows[0])
            found = readout.answers(new).score[number, layer] - readout.bias[number, layer].item()
            np.testing.assert_allclose(found, -plain.score_samples(rows[1]), rtol=1e-5)


def test_the_likelihood_ratio_is_quadratic_discriminant_analysis() -> None:
    pairs, new = some_pairs(200, 6), some_pairs(50, 6, seed=1)
    labels = np.random.default_rng(0).permutation(np.arange(200) % 3 == 0).astype(np.int64)
    probe = find("probes", "gaussian_likelihood_ratio")(features="both", shrinkage=0.0)
    found = probe.fit(msgspec.structs.replace(pairs, labels=torch.tensor(labels)), [0]).answers(new).score[0]
    for layer in (0, 1):
        rows, others = (features_of(own, "both", layer) for own in (pairs, new))
        zero, one = (
            multivariate_normal(rows[labels == own].mean(axis=0), np.cov(rows[labels == own].T)).logpdf(others)
            for own in (0, 1)
        )
        np.testing.assert_allclose(found[layer], one - zero + np.log(67 / 133), rtol=1e-3, atol=1e-2)


def test_joint_log_odds_are_those_of_the_probes_of_each_layer() -> None:
    rows, new = (world(count, seed, truth=1.0, d_model=16) for count, seed in ((200, 0), (60, 1)))
    pairs = msgspec.structs.replace(pairs_of(rows, "mean", rows), labels=torch.tensor(rows.factors["truth"]))
    new_pairs = pairs_of(new, "mean", rows)
    readout = find("probes", "mahalanobis_log_odds")(folds=None, shrinkage=0.2).fit(pairs, [0])
    single = find("probes", "logistic_regression")().fit(pairs, [0])
    train, test = (single.answers(own).score[0].astype(np.float64) for own in (pairs, new_pairs))
    covariance = np.cov(train, ddof=0)
    covariance = np.where(np.eye(4, dtype=bool), covariance, 0.8 * covariance)
    gap = (test - train.mean(axis=1)[:, None]).T
    found = readout.answers(new_pairs).score[0] - readout.bias[0, :, None].numpy()
    for layer in range(4):
        kept = slice(layer + 1)
        expected = 0.5 * np.einsum("ri,ij,rj->r", gap[:, kept], np.linalg.inv(covariance[kept, kept]), gap[:, kept])
        np.testing.assert_allclose(found[layer], expected, rtol=2e-3, atol=1e-3)


def test_folds_that_leave_one_label_are_refused() -> None:
    rows = world(6, 0, d_model=16)
    pairs = msgspec.structs.replace(pairs_of(rows, "mean", rows), labels=torch.tensor([1, 0, 0, 0, 0, 0]))
    with pytest.raises(NumericalError, match="lower `folds`"):
        find("probes", "mahalanobis_log_odds")().fit(pairs, [0])


def test_every_detector_has_a_world_here() -> None:
    detectors = {kind for kind in names("probes") if find("probes", kind).detects}
    assert detectors == {*OF_STATES, "mahalanobis_log_odds"}


SPEC = """
harness: 1
name: unusual
model: {{id: {model}, dtype: float32}}
data: {{source: {{kind: quirky, world: comparisons}}, limit: 160}}
conditions:
  normal: {{data: {{where: {{who: Alice}}}}}}
  mixed: {{data: {{where: {{}}}}}}
activations: {{token: mean}}
probes:
  - mahalanobis
  - {{kind: isolation_forest, trees: 20}}
  - {{kind: local_outlier_factor, features: difference}}
  - {{kind: mahalanobis_log_odds, folds: 3}}
  - {{kind: gaussian_likelihood_ratio, target: who, features: midpoint}}
transfer:
  - {{fit_on: normal, tested_on: [mixed]}}
  - {{fit_on: mixed, tested_on: [mixed]}}
seeds: 2
layer: last
metrics: [auroc]
geometry: [normal]
checks:
  - {{kind: detects_anomaly, probe: mahalanobis, condition: mixed, fit_on: normal, target: who, expect: pass}}
  - {{kind: detects_anomaly, probe: gaussian_likelihood_ratio@who, condition: mixed, target: who, expect: pass}}
  - {{kind: detects_anomaly, name: no_lie, probe: mahalanobis, condition: mixed, fit_on: normal, target: truth, least: 0.9, expect: fail}}
"""


def test_a_spec_fits_detectors_on_one_condition_and_scores_them_on_anothers_column(
    tiny_llama: Path, tmp_path: Path
) -> None:
    text = SPEC.format(model=tiny_llama)
    # Labels of who is asked need a condition with both: Alice's rows have one value only.
    (tmp_path / "spec.yaml").write_text(text.replace("  - {fit_on: mixed, tested_on: [mixed]}\n", ""))
    with pytest.raises(DataError, match="no two values"):
        pipeline.run(tmp_path / "spec.yaml", out=tmp_path, page=False)
    alice = text.replace("  - {kind: gaussian_likelihood_ratio, target: who, features: midpoint}\n", "")
    alice = alice.replace("  - {fit_on: mixed, tested_on: [mixed]}\n", "")
    alice = "\n".join(line for line in alice.splitlines() if "ratio@who" not in line)
    (tmp_path / "spec.yaml").write_text(alice)
    outcome = pipeline.run(tmp_path / "spec.yaml", out=tmp_path, page=False)
    assert not outcome.unexpected, outcome.checks
    results = full_table(outcome.folder, "results").filter(layer="2")
    found = {(row["probe"], row["target"]): row["value"] for row in results.iter_rows(named=True)}
    # Who is asked stands in the prompt, and a mean over its tokens has it.
    assert found["mahalanobis", "who"] > 0.9
    assert {probe for probe, target in found if target == "who"} >= {*OF_STATES, "mahalanobis_log_odds"}
    mixed = text.replace("  - {fit_on: normal, tested_on: [mixed]}\n", "").replace("geometry: [normal]", "")
    mixed = "\n".join(line for line in mixed.splitlines() if "fit_on: normal" not in line)
    (tmp_path / "spec.yaml").write_text(mixed)
    outcome = pipeline.run(tmp_path / "spec.yaml", out=tmp_path, page=False)
    assert not outcome.unexpected, outcome.checks


def test_the_first_value_may_be_the_unusual_one() -> None:
    """What is found for one value of a column is found for the other the other way round, interval and all."""
    from harness.checks.detects_anomaly import DetectsAnomaly
    from harness.contracts import LayerChoice

    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    scores = (rng.standard_normal((1, 1, 200)) - 1.5 * labels).astype(np.float32)

    class Seen:
        layer = LayerChoice(0, 2, "named in the spec")

        def of(self, probe: str, condition: str, **_: object) -> Seen:
            assert (probe, condition) == ("mahalanobis", "mixed")
            return self

        def measure(self, **_: object) -> object:
            return Auroc().measure(Answers(scores), labels, np.arange(200))

    found = {
        side: DetectsAnomaly(probe="mahalanobis", condition="mixed", target="truth", unusual=side).decide(Seen())  # type: ignore[arg-type]
        for side in ("first", "second")
    }
    assert (found["first"].finding, found["second"].finding) == ("pass", "fail")
    first, second = found["first"].estimate, found["second"].estimate
    assert first.value == pytest.approx(1 - second.value)
    assert (first.low, first.high) == pytest.approx((1 - second.high, 1 - second.low))
    assert "on truth, its first value" in found["first"].why
    assert "first value" not in found["second"].why
