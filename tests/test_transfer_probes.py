"""Transfers that name their probes: what is fitted where, and what is refused because it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import language, pipeline
from harness.errors import SpecError
from harness.spec.plain import spec_content
from harness.store import Store
from tests.report_tables import full_table

SPEC = """\
harness: 1
name: some
model: {bed: planted, truth: 3.0}
data: {limit: 120}
conditions: {a: {}, b: {data: {seed: 1}}}
probes: [mean_difference, logistic_regression, mahalanobis]
transfer:
  - {fit_on: a, tested_on: [a], probes: [mean_difference, random]}
  - {fit_on: a, tested_on: [a], probes: [mahalanobis]}
  - {fit_on: b, tested_on: [b]}
metrics: [auroc]
"""


def read(folder: Path, text: str) -> object:
    (folder / "some.yaml").write_text(text)
    return language.read(folder / "some.yaml", ())


def problem(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as error:
        read(folder, text)
    (only,) = error.value.problems
    return str(only)


def test_what_is_not_named_is_not_fitted(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text(
        SPEC
        + "geometry: true\nautopsy: [logistic_regression]\nchecks: [{kind: beats_random, probe: mean_difference, condition: a}]\n"
    )
    folder = pipeline.run(tmp_path / "some.yaml", out=tmp_path, page=False).folder
    results = full_table(folder, "results")
    found = {name: set(results.filter(fit_on=name)["probe"]) for name in ("a", "b")}
    assert found["a"] == {"mean_difference", "random", "mahalanobis"}
    # The control: without a list, all are, baselines included.
    assert found["b"] == {"mean_difference", "logistic_regression", "mahalanobis", "random"}
    # What looks at the other conditions passes over what is not there.
    assert set(full_table(folder, "autopsy")["fit_on"]) == {"b"}
    assert set(full_table(folder, "geometry")["condition"]) == {"a", "b"}
    assert "| `logistic_regression` |" in (folder / "report.md").read_text()


def test_keys_do_not_change_where_nothing_is_named(tmp_path: Path) -> None:
    plain = SPEC.replace(", probes: [mean_difference, random]", "").replace(
        "  - {fit_on: a, tested_on: [a], probes: [mahalanobis]}\n", ""
    )
    spec = language.read(_written(tmp_path, plain), ())
    assert all("probes" not in transfer for transfer in spec_content(spec)["transfer"])
    assert "sample_efficiency" not in spec_content(spec)
    whole = pipeline.planned(spec, tmp_path, Store(tmp_path / "store"))
    some = pipeline.planned(language.read(_written(tmp_path, SPEC), ()), tmp_path, Store(tmp_path / "store"))
    for kind in ("fit", "score"):
        fewer, all_ = ({stage.place: stage.key for stage in plan.of(kind)} for plan in (some, whole))
        assert fewer.items() < all_.items()


def _written(folder: Path, text: str) -> Path:
    (folder / "some.yaml").write_text(text)
    return folder / "some.yaml"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[mean_difference, random]", "[mean_diference, random]", 'no probe "mean_diference"; did you mean "mean_difference"?'),
        ("[mean_difference, random]", "[random, random]", 'the probe "random" stands here twice'),
        ("[mean_difference, random]", "[mean_difference, mahalanobis]", "fitted on a and tested on a stands here twice"),
        (", probes: [mahalanobis]", "", "fitted on a and tested on a stands here twice"),
        ("metrics:", "checks: [{kind: beats_random, probe: logistic_regression, condition: a}]\nmetrics:",
         "this needs logistic_regression fitted on a and tested on a, where the `probes` of transfer leave it out"),
        ("metrics:", "checks: [{kind: as_good_as, probe: mean_difference, against: logistic_regression, condition: a}]\nmetrics:",
         "this needs logistic_regression fitted on a and tested on a"),
        ("metrics:", "autopsy: [{probe: logistic_regression, fit_on: a}]\nmetrics:", "logistic_regression is not fitted and tested there"),
        ("metrics:", "sample_efficiency: {probes: [logistic_regression], fit_on: [a]}\nmetrics:",
         "no condition that logistic_regression is fitted and tested on is among these"),
    ],
)  # fmt: skip
def test_what_leans_on_a_probe_that_is_left_out_is_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert read(tmp_path, SPEC)
    assert expected in problem(tmp_path, SPEC.replace(old, new, 1))


def test_a_check_asks_each_probe_only_where_it_looks_at_it(tmp_path: Path) -> None:
    """The floor of a gap is fitted on one condition and the ceiling on another."""
    text = SPEC.replace("mahalanobis]\n", "mahalanobis, {kind: mean_difference, name: floor, target: word}]\n").replace(
        "probes: [mean_difference, random]", "probes: [mean_difference, floor]"
    )
    check = "checks: [{kind: recovers_gap, probe: mean_difference, condition: a, ceiling_on: %s}]\n"
    assert read(tmp_path, text + check % "b")
    assert "this needs logistic_regression fitted on a" in problem(tmp_path, text + check % "a")


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    assert "at least 1" in problem(tmp_path, SPEC.replace("[mean_difference, random]", "[]"))
