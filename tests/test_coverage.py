"""Intervals cover and checks do not pass by chance: less of what `python -m tests.coverage` simulates, and its tables."""

from __future__ import annotations

import re

import pytest
from scipy.stats import binom

from harness.commands.error_rates import error_rates
from harness.contracts import Check, kind
from tests.coverage import procedure
from tests.coverage.__main__ import PAGE, told
from tests.coverage.cases import CASES, EXACT, Draw, Fits, decide
from tests.coverage.intervals import SHAPES, VALUES, of_rows, of_seeds
from tests.coverage.rates import passing, settings
from tests.coverage.targets import SHAPES as TARGET_SHAPES
from tests.coverage.targets import covered

ALLOWED = 0.025
RUNS = 40


@pytest.mark.parametrize(("rows", "size"), [(20, 1), (160, 1), (160, 2), (400, 10)])
def test_intervals_of_rows_cover(rows: int, size: int) -> None:
    found = list(of_rows(400, values=(0.5, 0.9, 0.99, 0.999), shapes=((rows, size),)))
    assert {one.statistic for one in found} == {"accuracy", "AUROC"}
    for one in found:
        assert one.covered >= binom.ppf(0.001, 400, 0.93) / 400, one
    # The control: an interval that covers always says nothing.
    assert min(one.width for one in found) < 0.3
    assert all(one.covered <= 0.999 for one in found if one.truth == 0.5 and rows == 160 and size == 1)


@pytest.mark.parametrize("probe", ["mean_difference", "crc_tpc"])
def test_the_procedure_done_again_is_covered_once_the_training_sample_counts(probe: str) -> None:
    found = {one.row: one for one in procedure.of_probe(probe, 12)}
    on_truth = found["truth", "auroc"]
    assert on_truth.covered[0] <= on_truth.covered[1] and on_truth.covered[1] >= 0.9
    assert on_truth.apart[1] <= on_truth.apart[0] and on_truth.apart[1] < 0.1
    if probe == "mean_difference":
        assert on_truth.covered[0] < 0.7, "by test rows alone it would not be"


def test_nothing_is_found_among_runs_of_which_nothing_differs() -> None:
    without, controlled = procedure.discovered(5, ("mean_difference",))
    assert controlled == 0 < without


def test_intervals_of_seeds_cover() -> None:
    for one in of_seeds(300):
        # Ten seeds of which eight find it are all alike one time in nine, and their mean then looks certain.
        least = 0.8 if one.statistic == "mean over seeds" and one.case.startswith("10") else 0.91
        assert one.covered >= least, one


@pytest.mark.parametrize("name", CASES)
def test_checks_pass_by_chance_one_time_in_forty_at_most_and_find_an_effect(name: str) -> None:
    most = binom.ppf(0.9995, RUNS, ALLOWED) / RUNS
    powers = {(row["fits"], int(row["seeds"])): float(row["power"] or 0) for row in told() if row["check"] == name}
    assert max(powers.values()) > 0.5
    for check, fits, seeds, effect in settings([name]):
        if seeds == 50 or (fits != "one fit" and seeds < 6):
            continue
        rate = passing((check, fits, seeds, effect), RUNS if not effect else 20)
        least = binom.ppf(0.0005, 20, powers[fits, seeds]) / 20
        assert rate <= most if not effect else rate >= least, (fits, seeds, effect)


@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.seeded and name != "chance_on_shuffled_labels"]
)
def test_a_few_seeds_of_a_method_that_draws_decide_nothing(name: str, seeds: int) -> None:
    fits: tuple[Fits, ...] = ("alike", "two kinds")
    for one in fits:
        assert {decide(name, Draw(seed, one, seeds, effect)) for seed in range(4) for effect in (False, True)} <= {
            "inconclusive",
            # What has few solutions or disagreements among few seeds has them among many.
            *(["fail"] if name in ("single_solution", "stable_across_seeds") else []),
        }


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.seeded])
def test_a_check_says_whether_few_seeds_leave_it_inconclusive(name: str) -> None:
    """What is warned of before a run is what comes of it."""
    found = {decide(name, Draw(seed, "alike", 3, True)) for seed in range(4)}
    if name != "lower_loss_is_truer":  # It counts fits, and here a seed has one.
        assert (found == {"inconclusive"}) == CASES[name].check.of_seeds


def test_every_check_is_simulated_and_says_its_rates() -> None:
    # Claims about networks are of shares of networks, whose interval is exact, or of means over them.
    of_probes = {name for name in kind.names("checks") if issubclass(kind.find("checks", name), Check)}
    assert {*CASES, *EXACT} == of_probes
    rows = told()
    assert {(row["check"], row["fits"], int(row["seeds"])) for row in rows} == {
        (name, fits, seeds) for name, fits, seeds, _ in settings()
    }
    for row in rows:
        assert float(row["false_pass"]) <= ALLOWED, row
        assert row["effect"] == CASES[row["check"]].effect
    for name in CASES:
        said = " ".join(error_rates(name))
        assert "passes by chance" in said
        assert CASES[name].effect in said
    assert error_rates("of_another_package") == []


def test_the_page_has_the_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for rows, size in SHAPES:
        groups = "" if size == 1 else f" in groups of {size}"
        for statistic in ("accuracy", "AUROC"):
            line = next(line for line in page.splitlines() if line.startswith(f"| {statistic}, {rows} rows{groups} |"))
            cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
            assert len(cells) == len(VALUES)
            assert all(int(re.split("–", cell)[0]) >= 93 for cell in cells)
    assert all(f"| `{name}` |" in page for name in CASES)
    for statistic in covered(2, *TARGET_SHAPES[0]):
        cells = next(line for line in page.splitlines() if line.startswith(f"| {statistic} |")).split("|")[2:-1]
        assert len(cells) == len(TARGET_SHAPES)
        assert all(cell.strip() == "too few" or int(re.split("–", cell)[0]) >= 93 for cell in cells), statistic
