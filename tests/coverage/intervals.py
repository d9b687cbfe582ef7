"""How often intervals cover: accuracies and AUROCs of rows in groups, with the true value known, and means and shares of seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import msgspec
import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from harness.contracts import Answers
from harness.maths.estimate import Estimates, over_seeds, per_seed, row_mean, share_of_seeds
from harness.metrics.auroc import Auroc

VALUES = (0.5, 0.7, 0.9, 0.97, 0.99, 0.995, 0.999)
SHAPES = tuple((rows, size) for rows in (20, 50, 160, 400, 4000) for size in (1, 2, 10))
"""Rows, and rows of a group."""


class Coverage(msgspec.Struct, frozen=True):
    """How often the nominal 95 % interval covered in one case; its mean width is NaN where there are too few groups."""

    statistic: str
    case: str
    rows: int
    size: int
    truth: float
    covered: float
    width: float


def within(rng: np.random.Generator, trials: int, group: np.ndarray, rho: float) -> np.ndarray:
    """Standard normal rows, (trial, 1, row), with correlation rho within a group."""
    shared = rng.standard_normal((trials, 1, int(group.max()) + 1))[..., group] if rho else 0.0
    return math.sqrt(rho) * shared + math.sqrt(1 - rho) * rng.standard_normal((trials, 1, len(group)))


@cache
def _laplace(auroc: float) -> float:
    return float(brentq(lambda d: 1 - 0.5 * math.exp(-d) * (1 + d / 2) - auroc, 0, 60))


def normal(noise: np.ndarray, labels: np.ndarray, auroc: float) -> np.ndarray:
    """Both classes normal and alike."""
    return noise + math.sqrt(2) * ndtri(auroc) * labels


def wide(noise: np.ndarray, labels: np.ndarray, auroc: float) -> np.ndarray:
    """One class spreads three times as far."""
    return noise * np.where(labels, 3, 1) + math.sqrt(10) * ndtri(auroc) * labels


def long_tailed(noise: np.ndarray, labels: np.ndarray, auroc: float) -> np.ndarray:
    """Laplace scores: what fails, fails by far."""
    tail = np.log(2 * np.maximum(ndtr(-np.abs(noise)), 1e-300))
    return -np.sign(noise) * tail + _laplace(auroc) * labels


def upside_down(noise: np.ndarray, labels: np.ndarray, auroc: float) -> np.ndarray:
    """Rows of either class that are on the wrong side of all others, as those with a wrong label are."""
    failing = ndtr(noise) < 1 - math.sqrt(auroc)
    return np.where(failing, -3, 1) * (2 * labels - 1) + 1e-3 * noise


SCORES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "normal": normal,
    "wide": wide,
    "long tails": long_tailed,
    "upside down": upside_down,
}


def of_rows(
    trials: int, values: tuple[float, ...] = VALUES, shapes: tuple[tuple[int, int], ...] = SHAPES
) -> Iterator[Coverage]:
    """Accuracy and AUROC; AUROCs of rows in groups with one label and with both."""
    for rows, size in shapes:
        group = np.repeat(np.arange(rows // size), size)
        # Trials with many rows are fewer, for they take longer.
        count = min(trials, 4_000_000 // rows)
        for rho in (0.0, 0.6, 1.0) if size > 1 else (0.0,):
            for truth in values:
                rng = np.random.default_rng([rows, size, int(10 * rho), int(truth * 1000)])
                noise = within(rng, count, group, rho)
                dependence = "" if size == 1 else f", correlation {rho:g}"
                right = (noise < ndtri(truth)).astype(np.float32)
                yield _covered(
                    "accuracy", f"share{dependence}", rows, size, truth, per_seed(row_mean(right, group, 0.0, 1.0))
                )
                for mixed in (True, False) if size > 1 else (True,):
                    labels = (np.arange(rows) if mixed else group) % 2
                    for name, scores in SCORES.items():
                        if name == "upside down" and truth < 0.9:
                            continue
                        # Rows that share all of their noise are tied or apart, unless groups fail as a whole.
                        if rho == 1 and name != "upside down":
                            continue
                        found = Auroc().measure(Answers(scores(noise, labels, truth).astype(np.float32)), labels, group)
                        assert found is not None, "both labels"
                        which = "" if size == 1 else ", both labels in a group" if mixed else ", one label in a group"
                        yield _covered("AUROC", f"{name}{dependence}{which}", rows, size, truth, per_seed(found))


def _covered(statistic: str, case: str, rows: int, size: int, truth: float, found: Estimates) -> Coverage:
    covered = float(((found.low <= truth) & (truth <= found.high)).mean())
    return Coverage(statistic, case, rows, size, truth, covered, float((found.high - found.low).mean()))


def of_seeds(trials: int) -> Iterator[Coverage]:
    """Means over seeds that find something or do not (0.95 or 0.5 of 200 rows), and the share of those that do."""
    for seeds in (3, 10, 50):
        for finding in (0.5, 0.8):
            rng = np.random.default_rng([seeds, int(10 * finding), 67])
            truth = 0.95 * finding + 0.5 * (1 - finding)
            means, shares = [], []
            for _ in range(trials):
                finds = rng.random(seeds) < finding
                rows = rng.random((seeds, 1, 200)) < np.where(finds, 0.95, 0.5)[:, None, None]
                one = over_seeds(row_mean(rows.astype(np.float32), np.arange(200), 0.0, 1.0)).one(0)
                means.append((one.low, one.high))
                share = share_of_seeds(int(finds.sum()), seeds)
                shares.append((share.low, share.high))
            for statistic, ends, value in (("mean over seeds", means, truth), ("share of seeds", shares, finding)):
                low, high = np.array(ends).T
                covered = float(((low <= value) & (value <= high)).mean())
                case = f"{seeds} seeds, {finding:g} of which find it"
                yield Coverage(statistic, case, 200, 1, value, covered, float((high - low).mean()))
