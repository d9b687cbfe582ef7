"""A feature planted in states: exactly that and nothing else, of the strength asked for, everywhere states are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import language, pipeline
from harness.contracts import Pairs
from harness.errors import SpecError
from harness.fitting.planting import direction, planted, unit
from harness.machine.resources import Resources
from harness.spec import Planting
from harness.spec.plain import spec_content
from harness.store import Store
from tests.report_tables import full_table

LAYERS = (3, 7)


def pairs(seed: int = 0, count: int = 50, width: int = 24) -> Pairs:
    """Two templates with means far apart, dimensions of very different spread, one of them large and nearly constant."""
    random = np.random.default_rng(seed)
    template = np.arange(count) % 2
    spread = np.linspace(0.1, 4.0, width)
    states = random.standard_normal((len(LAYERS), count, 2, width)) * spread
    states += 50.0 * template[:, None, None] + 20.0 * np.array([0, 1])[:, None]
    states[..., 0] += 900.0
    return Pairs(torch.tensor(states, dtype=torch.float32), torch.tensor(template))


@pytest.mark.parametrize("form", ["opposite", "common"])
def test_states_less_what_was_planted_are_the_states_that_they_were(form: Any) -> None:
    before, coin = pairs(), np.random.default_rng(1).integers(0, 2, 50)
    plant = Planting(of="coin", strength=3.0, form=form, seed=5)
    after = planted(plant, before, coin, [2.0, 0.5], LAYERS)
    for place, (layer, size) in enumerate(zip(LAYERS, (2.0, 0.5), strict=True)):
        moved = (after.states[place].double() - before.states[place].double()).numpy()
        for row, value in enumerate(coin):
            for member in (0, 1):
                turned = form == "opposite" and member == 0
                side = (1 if value else -1) * (-1 if turned else 1)
                expected = side * 3.0 * size * direction(plant, layer, 24)
                np.testing.assert_allclose(moved[row, member], expected, atol=1e-4)
    difference = (after.states - before.states).diff(dim=2)
    if form == "common":
        assert difference.abs().max() < 2e-4
    else:
        assert difference.abs().max() > 0.5, "the control"
    assert torch.equal(after.template, before.template)


def test_a_direction_is_of_length_one_and_its_layers_and_seeds_own() -> None:
    plant = Planting(seed=2)
    first = direction(plant, 3, 512)
    assert np.linalg.norm(first) == pytest.approx(1)
    assert np.array_equal(first, direction(Planting(of="word", strength=9, seed=2), 3, 512))
    for other in (direction(plant, 4, 512), direction(Planting(seed=3), 3, 512)):
        assert abs(first @ other) < 0.2


def test_the_unit_is_what_varies_along_a_random_direction() -> None:
    found, rows = unit(pairs(count=400)), pairs(count=400)
    states = rows.states.double().numpy()
    for template in (0, 1):
        own = rows.template.numpy() == template
        states[:, own] -= states[:, own].mean(axis=1, keepdims=True)
    random = np.random.default_rng(0).standard_normal((4000, 24))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    for place in range(len(LAYERS)):
        along = np.square(states[place].reshape(-1, 24) @ random.T).mean()
        assert found[place] == pytest.approx(np.sqrt(along), rel=0.02)
    # The control: means, templates and a constant dimension, which are hundreds, do not count.
    assert (found < 4).all()


def test_nothing_is_planted_with_strength_zero_or_where_states_are_all_the_same() -> None:
    before = pairs()
    assert planted(Planting(strength=0), before, np.zeros(50), [1.0, 1.0], LAYERS) is before
    constant = Pairs(torch.full((1, 10, 2, 8), 3.25), torch.zeros(10, dtype=torch.int64))
    assert unit(constant) == [0.0]


SPEC = """
harness: 1
name: planting
model: {bed: planted, truth: 2.0, layers: 3, answer: 1.0}
data: {limit: 400}
distractors: {coin: coin}
conditions:
  plain: {}
  nothing: {plant: {strength: 0}}
  weak: {plant: {strength: 0.3}}
  strong: {plant: {strength: 6}}
  common: {plant: {strength: 6, form: common}}
  told: {plant: {strength: 6, of: truth}}
plant: {of: coin}
xors: [[truth, coin]]
layer: last
seeds: 6
probes: [crc_tpc, ccs, {kind: logistic_regression, target: coin}, logistic_regression]
metrics: [accuracy]
checks:
  - {kind: tracks_truth, name: stays, probe: crc_tpc, condition: weak, over: coin, expect: pass}
  - {kind: tracks_truth, name: leaves, probe: crc_tpc, condition: strong, over: coin, expect: fail}
  - {kind: tracks_truth, name: unmoved, probe: ccs, condition: common, over: coin, expect: pass}
  - {kind: chance_after_erasure, name: is_the_coin, probe: logistic_regression@coin, condition: strong, of: coin, margin: 0.15, expect: pass}
  - {kind: chance_on_shuffled_labels, probe: logistic_regression, condition: strong, expect: pass}
"""


def written(folder: Path, text: str = SPEC) -> Path:
    # `plain` has nothing planted: what stands at the top would be planted there, too.
    text = text.replace("  plain: {}", "  plain: {plant: {strength: 0}}")
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planting")
    outcome = pipeline.run(written(folder), out=folder, store=Store(folder / "store"), page=False)
    assert not outcome.unexpected, outcome.checks.select("check", "finding", "why").to_dicts()
    return outcome.folder


def score(results: Path, condition: str, probe: str, target: str) -> float:
    rows = full_table(results, "results")
    found = rows.filter(fit_on=condition, tested_on=condition, probe=probe, target=target, layer="2")
    return float(found["value"][0])


def test_a_probe_goes_from_chance_to_one_as_strength_grows(results: Path) -> None:
    found = [score(results, name, "logistic_regression@coin", "coin") for name in ("plain", "weak", "strong")]
    assert abs(found[0] - 0.5) < 0.12
    assert found == sorted(found)
    assert found[2] > 0.99
    # Without labels the strong one is found, and the truth is not; weak or in both members alike, the truth is.
    assert score(results, "strong", "crc_tpc", "coin") > 0.99
    assert abs(score(results, "strong", "crc_tpc", "truth") - 0.5) < 0.12
    assert score(results, "common", "crc_tpc", "truth") > 0.9
    # With labels of the truth it is found in any case, and what is planted may be the truth itself.
    assert score(results, "strong", "logistic_regression", "truth") > 0.9
    assert score(results, "told", "logistic_regression", "truth") > 0.999
    assert score(results, "told", "random", "truth") > score(results, "plain", "random", "truth") + 0.1


def test_what_is_planted_stands_in_the_report(results: Path) -> None:
    text = (results / "report.md").read_text()
    assert "planted in the states of strong" in text
    assert "± 6 standard deviations" in text
    assert "planted in the states of nothing" not in text


def test_strength_zero_gives_the_bytes_of_no_planting(results: Path, tmp_path: Path) -> None:
    rows = full_table(results, "results")
    columns = [name for name in rows.columns if name not in ("fit_on", "tested_on")]
    plain, nothing = (rows.filter(fit_on=name).select(columns) for name in ("plain", "nothing"))
    assert plain.equals(nothing)
    assert not plain.equals(rows.filter(fit_on="weak").select(columns)), "the control"
    with_it = pipeline.planned(language.read(written(tmp_path)), tmp_path, Store(tmp_path / "store"))
    # All of them are the same rows, forwarded together.
    (states,) = with_it.of("activations")
    assert states.key_of("plain") == states.key_of("nothing")
    assert len({states.key_of(name) for name in ("plain", "weak", "strong", "common", "told")}) == 5
    assert len({stage.key for stage in with_it.of("prompts")}) == 1


def test_a_spec_without_planting_is_the_spec_that_it_was(tmp_path: Path) -> None:
    text = SPEC.replace("plant: {of: coin}\n", "").replace("  plain: {}", "  other: {}")
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    content = {one["name"]: one for one in spec_content(language.read(path))["conditions"]}
    assert "plant" not in content["other"]
    assert content["strong"]["plant"]["strength"] == 6


@pytest.mark.slow
def test_layers_one_at_a_time_are_planted_alike(results: Path, tmp_path: Path) -> None:
    outcome = pipeline.run(
        written(tmp_path),
        out=tmp_path,
        store=Store(tmp_path / "store"),
        page=False,
        resources=Resources(memory_bytes=1),
    )
    for name in ("results.csv", "seeds.parquet", "checks.csv"):
        assert (outcome.folder / name).read_bytes() == (results / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("plant: {of: coins}", '14:13: plant.of: no target "coins"; did you mean "coin"?'),
        ("plant: {of: coin, strenght: 2}", 'has no "strenght"; did you mean "strength"?'),
        ("plant: {of: coin, strength: -1}", "plant.strength: -1 is out of range"),
        ("plant: {of: coin, form: both}", 'no form "both"; known: common, opposite'),
        ("plant: {of: truth^word}", 'no target "truth^word"'),
        ("plant: coin", "plant: "),
    ],
)
def test_mistakes_are_told_where_they_are(tmp_path: Path, change: str, said: str) -> None:
    path = written(tmp_path)
    assert language.read(path), "the control"
    path.write_text(path.read_text().replace("plant: {of: coin}\n", change + "\n"))
    with pytest.raises(SpecError) as raised:
        language.read(path)
    assert said in str(raised.value)
