"""Softmax regression of eight classes at thirty layers against regression of two classes of the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from harness.contracts import Pairs
from harness.probes.logistic_regression import LogisticRegression
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, costs

LAYERS, ROWS, WIDTH, CLASSES = 30, 600, 576, 8
REPEATS = 3


def lines() -> Iterator[Line]:
    eight, two = statements(CLASSES), statements(2)
    probe = LogisticRegression()
    taken = race({"eight": lambda: probe.fit(eight, [0]), "two": lambda: probe.fit(two, [0])}, REPEATS, warm_up=False)
    what = f"logistic regression of {CLASSES} classes against 2, {LAYERS} layers, {ROWS} rows × {WIDTH}"
    yield costs(what, taken["eight"], taken["two"], CLASSES)


def statements(classes: int) -> Pairs:
    """Rows of which deeper layers know the class better; of two classes, each is half of the eight."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(ROWS) % CLASSES)
    centres = random.standard_normal((CLASSES, WIDTH))
    states = random.standard_normal((LAYERS, ROWS, 1, WIDTH))
    states[:, :, 0] += np.linspace(0, 0.3, LAYERS)[:, None, None] * centres[labels]
    given = torch.tensor(states, dtype=torch.float32), torch.zeros(ROWS, dtype=torch.int64)
    return Pairs(*given, torch.tensor(labels * classes // CLASSES), classes=classes)
