"""How often a check passes at its threshold and finds an effect, as simulated: what `harness list checks NAME` says of it."""

from __future__ import annotations

import csv
from importlib import resources


def error_rates(check: str) -> list[str]:
    """Sentences about a check; none for one that was not simulated."""
    with resources.files("harness.checks").joinpath("error_rates.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["check"] == check]
    if not rows:
        return []
    false = [f"{_percent(row['false_pass'])} with {_fits(row)}" for row in rows]
    found = [f"{_percent(row['power'])} with {_fits(row)}" for row in rows if row["power"]]
    runs, effect = max(int(row["runs"]) for row in rows), rows[0]["effect"]
    return [
        f"Where its statistic is at its threshold, it passes by chance ({runs} simulated runs of 150 test rows): {'; '.join(false)}.",
        f"It finds {effect}: {'; '.join(found)}.",
    ]


def _percent(share: str) -> str:
    return f"{100 * float(share):.1f} %"


def _fits(row: dict[str, str]) -> str:
    count = int(row["seeds"])
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    return {"one fit": "a probe that draws nothing", "alike": seeds, "two kinds": f"{seeds} of two kinds"}[row["fits"]]
