"""Layers together: chosen on validation rows, standardised and joined or averaged, against scikit-learn on states joined by hand."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression as PlainLogistic
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.metrics import roc_auc_score

from harness import language, pipeline
from harness.contracts import Factor, Pairs, Together
from harness.errors import SpecError, UsageError
from harness.fitting.fit import Fitting, score, training_pairs
from harness.probes.crc_tpc import TopPrincipalComponent
from harness.probes.logistic_regression import LogisticRegression
from harness.probes.ridge import Ridge
from harness.readouts import stored_readouts
from harness.scoring.score import Labels, SplitName
from harness.store import Artifact, Store
from tests.report_tables import full_table
from tests.test_imported import folder_of

LAYERS, WIDTH = 6, 8
KNOWN = {1: 0.5, 3: 0.6, 4: 0.55}
"""What layers know of the label, each along a direction of its own."""
PARTS: tuple[SplitName, ...] = ("train", "validation", "test")


def world(views: int, rows: int = 160, number: bool = False) -> tuple[dict[SplitName, Pairs], dict[SplitName, Labels]]:
    """Rows of six layers whose sizes differ by a thousand."""
    states, labels = {}, {}
    for place, part in enumerate(PARTS):
        random = np.random.default_rng([views, place])
        truth = random.permutation(np.arange(rows) % 2)
        values = 2 * truth - 1 + 0.1 * random.standard_normal(rows) * number
        own = random.standard_normal((LAYERS, rows, views, WIDTH))
        for layer, strength in KNOWN.items():
            side = strength * values[:, None] * np.array([-1, 1])[-views:]
            own[layer, :, :, layer] += side
        own *= 10.0 ** np.arange(-1, LAYERS - 1)[:, None, None, None] / 3
        states[part] = Pairs(torch.tensor(own, dtype=torch.float32), torch.zeros(rows, dtype=torch.int64))
        target = values[:, None].astype(np.float32) if number else truth
        factors = {"truth": Factor("truth", kind="number")} if number else {}
        labels[part] = Labels({"truth": target}, np.arange(rows), factors=factors)
    return states, labels


def by_hand(states: dict[SplitName, Pairs], chosen: list[int], by: str) -> dict[str, np.ndarray]:
    """Rows of the chosen layers, centred and divided by their root mean square, side by side or averaged."""
    train = states["train"].states[chosen].double().numpy()
    mean = train.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(train - mean).mean(axis=(1, 2, 3), keepdims=True))
    found = {}
    for part, own in states.items():
        rows = (own.states[chosen].double().numpy() - mean) / size
        rows = rows[:, :, 1] - rows[:, :, 0] if rows.shape[2] == 2 else rows[:, :, 0]
        found[part] = rows.mean(axis=0) if by == "averaged" else np.concatenate(list(rows), axis=1)
    return found


def best_of(states: dict[SplitName, Pairs], labels: dict[SplitName, Labels], count: int) -> list[int]:
    """The layers that scikit-learn's regressions of single ones find best on validation rows."""
    value = []
    for layer in range(LAYERS):
        rows = by_hand(states, [layer], "joined")
        size = np.sqrt(np.square(rows["train"]).mean())
        # Penalties mind the size of the states, and single layers are fitted as they are.
        unit = float(states["train"].states[layer].double().std()) if size else 1.0
        plain = PlainLogistic(C=unit**2, max_iter=5000, tol=1e-8).fit(rows["train"], labels["train"].targets["truth"])
        value.append(roc_auc_score(labels["validation"].targets["truth"], plain.decision_function(rows["validation"])))
    return sorted(np.argsort(-np.array(value), kind="stable")[:count].tolist())


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("by", ["joined", "averaged"])
def test_a_regression_of_layers_together_is_scikit_learns_on_states_joined_by_hand(views: int, by: str) -> None:
    states, labels = world(views)
    probe = LogisticRegression(layers=Together(together=3, by=by))  # type: ignore[arg-type]
    fitting = Fitting({part: states[part] for part in PARTS[:2]}, {part: labels[part] for part in PARTS[:2]})
    readout = probe.fit(training_pairs(probe, fitting), [0])
    found = score(
        readout, probe, fitting, states["test"], labels["test"], fit_on="a", tested_on="a", layers=tuple(range(10, 16))
    )
    chosen = best_of(states, labels, 3)
    assert found.together == tuple(10 + layer for layer in chosen)
    assert set(KNOWN) == set(chosen)
    rows = by_hand(states, chosen, by)
    plain = PlainLogistic(tol=1e-10, max_iter=10_000).fit(rows["train"], labels["train"].targets["truth"])
    assert found.layers == ()
    np.testing.assert_allclose(found.test.score[0, 0], plain.decision_function(rows["test"]), atol=2e-3)


def test_ridge_of_layers_together_is_scikit_learns_on_states_joined_by_hand() -> None:
    states, labels = world(1, number=True)
    probe = Ridge(l2=2.0, layers=Together(together=3))
    fitting = Fitting({part: states[part] for part in PARTS[:2]}, {part: labels[part] for part in PARTS[:2]})
    readout = probe.fit(training_pairs(probe, fitting), [0])
    found = readout.answers(fitting.apply(probe, states["test"])).outputs
    assert found is not None
    rows = by_hand(states, sorted(KNOWN), "joined")
    plain = PlainRidge(alpha=2.0).fit(rows["train"], labels["train"].targets["truth"][:, 0])
    np.testing.assert_allclose(found[0, 0, :, 0], plain.predict(rows["test"]), atol=1e-4)


def test_layers_are_chosen_by_validation_rows_alone_also_for_what_needs_no_labels() -> None:
    states, labels = world(2)
    probe = TopPrincipalComponent(layers=Together(together=3))
    loud = {part: replace(own, states=own.states.clone()) for part, own in states.items()}
    for part in PARTS:
        # The largest spread of layers that know the label is along it.
        for layer in KNOWN:
            loud[part].states[layer, :, :, layer] *= 4
    fitting = Fitting({part: loud[part] for part in PARTS[:2]}, {part: labels[part] for part in PARTS[:2]})
    alone = fitting.normaliser(probe).parts[-1].chosen.tolist()  # type: ignore[attr-defined]
    assert alone == sorted(KNOWN)
    # The control: validation rows of which other layers know something choose others.
    other = {**loud, "validation": replace(loud["validation"], states=loud["validation"].states.roll(1, dims=0))}
    chosen = Fitting({part: other[part] for part in PARTS[:2]}, fitting.labels).normaliser(probe).parts[-1].chosen  # type: ignore[attr-defined]
    assert chosen.tolist() != alone


def test_layers_together_are_stored_and_need_validation_rows_only_to_choose(tmp_path: Path) -> None:
    states, labels = world(1)
    probe = LogisticRegression(layers=Together(together=3))
    only = Fitting({"train": states["train"]}, {"train": labels["train"]})
    with pytest.raises(UsageError, match="chosen on validation rows"):
        only.normaliser(probe)
    few = Fitting({"train": states["train"].at(layer=[1, 3])}, {"train": labels["train"]})
    readout, normaliser = probe.fit(training_pairs(probe, few), [0]), few.normaliser(probe)
    stored_readouts.save_fit(readout, normaliser, tmp_path)
    kept = stored_readouts.load_fit(
        Artifact(tmp_path, stored_readouts.fit_about(readout, normaliser), ("fit.safetensors",))
    )
    assert kept[1] is not None
    test = states["test"].at(layer=[1, 3])
    np.testing.assert_array_equal(kept[0].answers(kept[1](test)).score, readout.answers(normaliser(test)).score)


SPEC = """\
harness: 1
name: together
model: {bed: planted, truth: 0.9, layers: 6}
data: {limit: 400, split: {train: 0.4, validation: 0.2, test: 0.4}}
probes:
  - {kind: logistic_regression, name: single}
  - {kind: logistic_regression, name: joined, layers: {together: 3}}
  - {kind: mean_difference, name: averaged, layers: {together: 3, by: averaged}}
baselines: false
layer: validation
metrics: [auroc]
sample_efficiency: {probes: [single, joined], rows: [16, 64], draws: 3}
checks:
  - {kind: chance_on_shuffled_labels, probe: joined, shuffles: 20, margin: 0.1, metric: auroc, expect: pass}
  - {kind: chance_after_erasure, probe: joined, margin: 0.2, expect: pass}
"""


def test_a_run_names_the_layers_and_shows_how_many_rows_they_need(tmp_path: Path) -> None:
    path = tmp_path / "together.yaml"
    path.write_text(SPEC)
    outcome = pipeline.run(path, out=tmp_path, page=False, store=Store(tmp_path / "store"))
    assert not outcome.unexpected, outcome.checks
    report = (outcome.folder / "report.md").read_text()
    assert "layers 3–5 together (`joined`, `averaged`)" in report
    value = {row["probe"]: row for row in full_table(outcome.folder, "results").filter(target="truth").to_dicts()}
    assert value["joined"]["layer"] == value["averaged"]["layer"] == "all"
    samples = full_table(outcome.folder, "samples").filter(target="truth")
    assert samples.filter(probe="joined")["rows"].sort().to_list() == [16, 64, 160]
    curve = dict(samples.filter(probe="joined").select("rows", "value").iter_rows())
    assert curve[16] < curve[160]
    assert abs(curve[160] - value["joined"]["value"]) < 1e-4
    headline = full_table(outcome.folder, "headline")
    assert set(headline["probe"]) == {"single", "joined", "averaged"}
    assert "training sample" in headline.filter(probe="joined")["covers"][0]


SIGNED = """\
harness: 1
name: signed
model: {bed: planted, layers: 8, d_model: 16, truth: 1.5, distractor: 1.5}
data: {limit: 120, split: {train: 0.5, validation: 0.2, test: 0.3}}
baselines: false
seeds: 2
probes: [{kind: crc_tpc, layers: {together: 2}}, {kind: logistic_regression, layers: {together: 2}}]
metrics: [accuracy, auroc]
"""


def test_fits_on_layers_together_stand_in_the_geometry_beside_those_of_one_layer(tmp_path: Path) -> None:
    spec = SIGNED.replace("layers: 8", "layers: 4") + "geometry: true\n"
    spec = spec.replace(
        "{kind: crc_tpc,", "{kind: ccs, name: single, restarts: 2, epochs: 20}, {kind: ccs, restarts: 2, epochs: 20,"
    )
    (tmp_path / "seen.yaml").write_text(spec)
    outcome = pipeline.run(tmp_path / "seen.yaml", out=tmp_path, store=Store(tmp_path / "store"))
    fits = pl.read_parquet(outcome.folder / "fits.parquet").filter(target="truth")
    layers = {probe: set(of["layer"]) for (probe,), of in fits.group_by("probe")}
    # In files nothing stands for all layers.
    assert layers["ccs"] == {None}
    assert layers["single"] <= {0, 1, 2, 3}
    assert fits.filter(probe="ccs").height == 2 * 2


@pytest.mark.parametrize(
    ("model", "layers", "fine"),
    [
        ("{bed: planted, layers: 3}", "all", True),
        ("{bed: planted, layers: 4}", "all", False),
        ("{bed: planted, layers: 9}", "{from: 2, to: 4}", True),
        ("{bed: planted, layers: 9}", "{from: -3}", True),
        ("{bed: planted, layers: 9}", "{from: 1, to: 8, step: 3}", True),
        ("{bed: planted, layers: 9}", "{from: 1, to: 8, step: 2}", False),
        ("{states: s}", "all", True),
        ("{states: divided}", "all", True),
        ("{states: deep}", "all", False),
    ],
)
def test_layers_need_rows_to_choose_them_by_only_where_there_are_more(
    model: str, layers: str, fine: bool, tmp_path: Path
) -> None:
    parts = pl.DataFrame(
        {"y": [0, 1] * 6, "who": list("abcdefghijkl"), "part": ["train"] * 4 + ["validation"] * 4 + ["test"] * 4}
    )
    for name, depth, split in (("s", 3, {}), ("deep", 4, {}), ("divided", 4, {"split": "part"})):
        states = np.random.default_rng(0).standard_normal((12, depth, 4)).astype(np.float32)
        folder_of(tmp_path / name, states, parts, columns={"label": "y", "group": "who", **split})
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"harness: 1\nname: spec\nmodel: {model}\nactivations: {{layers: {layers}}}\nbaselines: false\nprobes: [{{kind: lda, layers: {{together: 3}}}}]\n"
    )
    said = r"6:30: probes\[0\].layers: condition main has no validation rows to choose 3 (of 4 )?layers by"
    with nullcontext() if fine else pytest.raises(SpecError, match=said), language.placing(path):
        pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))


def test_what_resolves_signs_chooses_layers_so_that_fits_are_not_shared(tmp_path: Path) -> None:
    """In a store that has the fits of another `data.sign_on`, the numbers are those of a fresh one."""
    spec = tmp_path / "signed.yaml"

    def numbers(store: str, data: str) -> pl.DataFrame:
        spec.write_text(SIGNED.replace("limit: 120", f"limit: 120{data}"))
        outcome = pipeline.run(spec, store=Store(tmp_path / store), out=tmp_path / "reports", page=False)
        return full_table(outcome.folder, "results").drop("run", strict=False)

    plain = numbers("shared", "")
    assert numbers("shared", ", sign_on: word").equals(numbers("fresh", ", sign_on: word"))
    assert numbers("shared", "").equals(plain)


def test_a_stored_readout_goes_with_the_map_that_it_was_fitted_under() -> None:
    """However the map would be learnt again."""
    states, labels = world(2)
    probe = TopPrincipalComponent(layers=Together(together=2))
    fitting = Fitting(states, labels)
    other = Fitting({part: pairs.at(layer=[0, 2, 5]) for part, pairs in states.items()}, labels)
    kept = fitting.normaliser(probe)
    other.keep(probe, kept)
    assert other.normaliser(probe) is kept
    assert torch.equal(fitting.apply(probe, states["test"]).states, other.apply(probe, states["test"]).states)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("{kind: lda, layers: {together: 3}}", "probes[0].layers: condition main has no validation rows to choose 3"),
        ("{kind: lda, layers: {together: 1}}", "probes[0].layers.together: "),
        (
            "{kind: lda, layers: {together: 3, by: added}}",
            'probes[0].layers.by: no by "added"; known: averaged, joined',
        ),
        ("{kind: mahalanobis_log_odds, layers: {together: 3}}", "takes all layers as it is; take `layers` out"),
        ("{kind: mahalanobis, layers: {together: 3}}", "has seen nothing unusual that layers could be chosen by"),
        ("{kind: random, layers: {together: 3}}", "draws its direction, so that no layer is better for it"),
    ],
)
def test_what_cannot_be_put_together_is_said_where_it_stands(tmp_path: Path, more: str, expected: str) -> None:
    path = tmp_path / "spec.yaml"
    text = f"harness: 1\nname: spec\nmodel: {{bed: planted}}\ndata: {{limit: 60, split: SPLIT}}\nprobes: [{more}]\n"
    path.write_text(text.replace("SPLIT", "{train: 0.5, test: 0.5}"))
    with pytest.raises(SpecError) as caught:
        language.read(path)
    assert expected in str(caught.value)
    if "condition main" in expected:
        path.write_text(text.replace("SPLIT", "{train: 0.4, validation: 0.1, test: 0.5}"))
        assert language.read(path).probes[0].layers == Together(together=3)
