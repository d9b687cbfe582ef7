"""Simulates how often intervals cover and how often checks pass: `python -m tests.coverage`, or with some of rows, targets, seeds,
procedure, looks, checks named; `--check NAME` for one check. With `--write`, the tables of specs/INTERVALS.md and what
`harness list checks NAME` says are made anew.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.coverage import procedure
from tests.coverage.cases import CASES
from tests.coverage.intervals import SHAPES, VALUES, Coverage, of_rows, of_seeds
from tests.coverage.rates import rates
from tests.coverage.targets import CORRELATIONS, covered
from tests.coverage.targets import SHAPES as SHAPES_OF_TARGETS

HOUSE = Path(__file__).parents[2]
PAGE = HOUSE / "specs" / "INTERVALS.md"
RATES = HOUSE / "harness" / "checks" / "error_rates.csv"
PARTS = ("rows", "targets", "seeds", "procedure", "looks", "checks")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--trials", type=int, default=2000, help="of each interval")
    parser.add_argument("--draws", type=int, default=500, help="of sample, split, fit and score")
    parser.add_argument("--runs", type=int, default=1000, help="of each check")
    parser.add_argument(
        "--check", action="append", choices=list(CASES), help="leave the others as they are", default=[]
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="into the page and the package")
    given = parser.parse_args()
    for part in given.parts:
        start = time.monotonic()
        if part == "rows":
            lines = list(_rows(given.trials, given.processes))
        elif part == "targets":
            lines = list(_targets(given.trials, given.processes))
        elif part == "seeds":
            lines = list(_seeds(of_seeds(given.trials)))
        elif part == "procedure":
            lines = list(_procedure(given.draws, given.processes))
        elif part == "looks":
            lines = list(_looks(given.trials))
        else:
            found = _rates(given.check or list(CASES), given.runs, given.processes)
            lines = list(_checks(found))
            if given.write:
                kept = [row for row in told() if row["check"] not in given.check] if given.check else []
                found = sorted(kept + found, key=lambda row: list(CASES).index(row["check"]))
                _write_rates(found)
        print("\n".join(lines), f"\n({part}: {time.monotonic() - start:.0f} s)\n", flush=True)
        if given.write:
            _write_page(part, list(_checks(found)) if part == "checks" else lines)


def _of_shape(shape: tuple[int, int], trials: int) -> list[Coverage]:
    return list(of_rows(trials, shapes=(shape,)))


def _rows(trials: int, processes: int) -> Iterator[str]:
    # The longest first, so that both processes end together.
    shapes = sorted(SHAPES, reverse=True)
    with ProcessPoolExecutor(processes) as pool:
        found = [one for several in pool.map(_of_shape, shapes, [trials] * len(shapes)) for one in several]
    yield f"| nominal 95 % is, in % | {' | '.join(f'{value:g}' for value in VALUES)} |"
    yield "| --- |" + " --- |" * len(VALUES)
    for statistic in ("accuracy", "AUROC"):
        for rows, size in SHAPES:
            cells = []
            for value in VALUES:
                own = [
                    100 * one.covered
                    for one in found
                    if (one.statistic, one.rows, one.size, one.truth) == (statistic, rows, size, value)
                    and not math.isnan(one.width)
                ]
                cells.append(_span(own))
            groups = "" if size == 1 else f" in groups of {size}"
            yield f"| {statistic}, {rows} rows{groups} | {' | '.join(cells)} |"


def _targets(trials: int, processes: int) -> Iterator[str]:
    cases = [(*shape, rho) for shape in SHAPES_OF_TARGETS for rho in (CORRELATIONS if shape[1] > 1 else (0.0,))]
    with ProcessPoolExecutor(processes) as pool:
        found = dict(zip(cases, pool.map(covered, [trials] * len(cases), *zip(*cases, strict=True)), strict=True))
    heads = [f"{rows} rows" + (f" in groups of {size}" if size > 1 else "") for rows, size in SHAPES_OF_TARGETS]
    yield f"| nominal 95 % is, in % | {' | '.join(heads)} |"
    yield "| --- |" + " --- |" * len(heads)
    for statistic in found[cases[0]]:
        cells = [
            _span([100 * share[statistic] for case, share in found.items() if case[:2] == shape])
            for shape in SHAPES_OF_TARGETS
        ]
        yield f"| {statistic} | {' | '.join(cells)} |"


def _span(shares: list[float]) -> str:
    """The lowest and the highest; where there is no interval, why."""
    if all(math.isnan(share) for share in shares):
        return "too few"
    low, high = round(min(shares)), round(max(shares))
    return f"{low}" if low == high else f"{low}–{high}"


def _seeds(found: Iterable[Coverage]) -> Iterator[str]:
    yield "| statistic | seeds | nominal 95 % is, in % | mean width |"
    yield "| --- | --- | --- | --- |"
    for one in found:
        yield f"| {one.statistic} | {one.case} | {100 * one.covered:.0f} | {one.width:.2f} |"


def _rates(names: list[str], runs: int, processes: int) -> list[dict[str, str]]:
    """Rows of the table of rates."""
    found = rates(names, runs, processes)
    return [
        {
            "check": name,
            "fits": fits,
            "seeds": f"{seeds}",
            "false_pass": f"{rate:.4f}",
            "power": "" if (power := found.get((name, fits, seeds, True))) is None else f"{power[0]:.4f}",
            "effect": CASES[name].effect,
            "runs": f"{count}",
        }
        for (name, fits, seeds, effect), (rate, count) in found.items()
        if not effect
    ]


def told() -> list[dict[str, str]]:
    """The rows that `harness list checks NAME` speaks of."""
    with RATES.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _procedure(draws: int, processes: int) -> Iterator[str]:
    yield (
        "| method | on | mean of all runs | standard deviation | covers, in %: rows and seeds | training sample, too "
        "| two runs apart, in %: rows and seeds | training sample, too |"
    )
    yield "| --- |" + " --- |" * 7
    with ProcessPoolExecutor(processes) as pool:
        for several in pool.map(procedure.of_probe, procedure.PROBES, [draws] * len(procedure.PROBES)):
            for one in several:
                shares = " | ".join(f"{100 * share:.1f}" for share in (*one.covered, *one.apart))
                yield f"| `{one.probe}` | {', '.join(one.row)} | {one.mean:.2f} | {one.spread:.3f} | {shares} |"


def _looks(times: int) -> Iterator[str]:
    plain, controlled = procedure.discovered(40)
    yield "| what is looked at | false among what is found, in % | changes that are found, in % |"
    yield "| --- | --- | --- |"
    yield f"| two runs of which nothing differs, intervals of rows and seeds, each row by itself | {100 * plain:.1f} | – |"
    yield f"| the same, with the training sample, false discoveries controlled | {100 * controlled:.1f} | – |"
    for rows, changed, correlation in (
        (1, 1, 0),
        (100, 0, 0),
        (100, 0, 0.7),
        (100, 10, 0),
        (100, 10, 0.7),
        (100, 99, 0.7),
    ):
        false, power = procedure.found_among(rows, changed, correlation, 3.0, times)
        kept = "–" if changed == 0 else f"{100 * power:.1f}"
        what = f"{rows} row{'s' * (rows > 1)}, {changed} changed by 3 standard errors, correlated by {correlation:g}"
        yield f"| {what} | {100 * false:.1f} | {kept} |"


def _checks(rows: list[dict[str, str]]) -> Iterator[str]:
    columns = [("one fit", "1"), ("alike", "10"), ("alike", "50"), ("two kinds", "10"), ("two kinds", "50")]
    heads = [f"{fits}" if fits == "one fit" else f"{seeds} seeds {fits}" for fits, seeds in columns]
    yield f"| check | passes at its threshold, in %: {' | '.join(heads)} | power, in %: {' | '.join(heads[:3])} | effect |"
    yield "| --- |" + " --- |" * 9
    by_setting = {(row["check"], row["fits"], row["seeds"]): row for row in rows}
    for name in dict.fromkeys(row["check"] for row in rows):
        cells = [
            f"{100 * float(row[which]):.1f}" if (row := by_setting.get((name, *column))) and row[which] else "–"
            for which, some in (("false_pass", columns), ("power", columns[:3]))
            for column in some
        ]
        yield f"| `{name}` | {' | '.join(cells)} | {CASES[name].effect} |"


def _write_page(part: str, lines: list[str]) -> None:
    marks = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    text = PAGE.read_text(encoding="utf-8")
    made = re.sub(f"{marks[0]}.*?{marks[1]}", lambda _: marks[0] + "\n".join(lines) + "\n" + marks[1], text, flags=re.S)
    PAGE.write_text(made, encoding="utf-8")


def _write_rates(rows: list[dict[str, str]]) -> None:
    with RATES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
