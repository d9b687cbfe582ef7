"""The layer that summaries and checks look at, by a rule. No rule sees a test row; equal layers: the earliest wins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import numpy as np

from harness.contracts import Answers, LayerChoice, Metric
from harness.errors import UsageError
from harness.maths.depth import first_informative
from harness.maths.estimate import CONFIDENCE, over_seeds
from harness.metrics.auroc import Auroc
from harness.metrics.r2 import DeterminationCoefficient
from harness.scoring.score import TRUTH, Labels, Scored, for_target
from harness.spec import LayerRule

METRICS: Mapping[str, Metric] = {"auroc": Auroc(), "r2": DeterminationCoefficient()}
"""What layers are chosen by; a kind of target says by which (`TargetKind.metric`)."""


def choose_layer(scored: Scored, rule: LayerRule | int | str, train: Labels, validation: Labels | None) -> LayerChoice:
    """The layer of a probe under a rule of the spec, or a layer's number (negative: from the last kept one).

    `train` and `validation` are the labels of the rows of `scored.fit_on`. Raises UsageError for a layer that is not
    kept, and for `validation` without validation rows.
    """
    if not scored.layers:
        together = f"layers {_ranges(scored.together)} together" if scored.together else "it has no layers"
        return LayerChoice(0, None, together)
    if isinstance(rule, int):
        return _numbered(scored, rule)
    if rule == "middle":
        return _at(scored, len(scored.layers) // 2, "the middle layer")
    if rule == "last":
        return _at(scored, len(scored.layers) - 1, "the last layer")
    if rule == "lowest_loss":
        return _lowest_loss(scored)
    if scored.detects and rule in ("validation", "earliest_informative"):
        middle = len(scored.layers) // 2
        return _at(scored, middle, "the middle layer, because a detector has seen nothing unusual to choose by")
    if rule == "validation":
        return _best_on_validation(scored, train, validation)
    if rule == "earliest_informative":
        return _earliest_informative(scored, train, validation)
    raise UsageError(f'layer: no rule "{rule}"; a number, or one of {", ".join(get_args(LayerRule))}')


def _at(scored: Scored, index: int, rule: str) -> LayerChoice:
    return LayerChoice(index, scored.layers[index], rule)


def _numbered(scored: Scored, number: int) -> LayerChoice:
    kept = scored.layers
    if number in kept:
        return _at(scored, kept.index(number), "named in the spec")
    if -len(kept) <= number < 0:
        return _at(scored, len(kept) + number, f"{number}, counted from the last")
    if len(kept) == 1:
        return _at(scored, 0, "the only one kept")
    raise UsageError(
        f"layer: {number} is not among the layers kept of {scored.fit_on}: {_ranges(kept)}; "
        "choose one of them, or add it to activations.layers"
    )


def _lowest_loss(scored: Scored) -> LayerChoice:
    if scored.loss is None or not np.isfinite(scored.loss).any():
        return _at(scored, len(scored.layers) // 2, "the middle layer, because the probe has no loss")
    loss = scored.loss.mean(axis=0, dtype=np.float64)
    return _at(scored, int(np.argmin(np.where(np.isfinite(loss), loss, np.inf))), "lowest training loss")


def _best_on_validation(scored: Scored, train: Labels, validation: Labels | None) -> LayerChoice:
    if scored.validation is None or validation is None:
        raise UsageError(
            f"layer: validation needs validation rows, and {scored.fit_on} has none; give data.split a share such as "
            "{train: 0.5, validation: 0.1, test: 0.4}, or choose another rule"
        )
    found = on_validation(scored, train, validation)
    if found is None:
        raise UsageError(
            f"layer: the validation rows of {scored.fit_on} have one label only, so that no layer can be chosen by them; "
            "raise data.limit or data.split.validation"
        )
    if not np.isfinite(found).any():
        raise UsageError(
            f"layer: {scored.probe} has no score on the validation rows of {scored.fit_on} at any layer, because not all of its answers are "
            "numbers; choose another rule, or leave the probe out"
        )
    name = {"auroc": "AUROC", "r2": "R²"}[train.kind_of(scored.target).metric]
    return _at(scored, int(np.argmax(found)), f"best validation {name}{_of(scored)}")


def on_validation(scored: Scored, train: Labels, validation: Labels) -> np.ndarray | None:
    """How well a probe does on validation rows at each layer, (layer,): what layers are chosen by, larger is better, −inf at one without a
    number. None where the rows have one label only."""
    assert scored.validation is not None, "there are validation rows"
    found = _found(scored, train, scored.validation, validation)
    return None if found is None else _or_worst(found[0])


def _earliest_informative(scored: Scored, train: Labels, validation: Labels | None) -> LayerChoice:
    answers, labels, rows = scored.train, train, "training"
    if scored.validation is not None and validation is not None:
        answers, labels, rows = scored.validation, validation, "validation"
    middle = len(scored.layers) // 2
    found = _found(scored, train, answers, labels)
    if found is None:
        return _at(scored, middle, f"the middle layer, because the {rows} rows have one label only")
    value, low = (_or_worst(each) for each in found)
    if not low.max() > 0.5:
        return _at(scored, middle, f"the middle layer, because none is informative on {rows} rows")
    return _at(scored, int(first_informative(value)), f"earliest informative{_of(scored)} on {rows} rows")


def _found(scored: Scored, train: Labels, answers: Answers, labels: Labels) -> tuple[np.ndarray, np.ndarray] | None:
    """AUROC on what the probe was fitted on, as a rule the truth, and the lower end of its interval, each (layer,), mean over seeds; of a
    number or a vector R² + ½, so that ½ is chance.

    The interval is corrected for the number of layers (Bonferroni), so that one of many is not informative by luck.
    """
    train, labels = train.of(scored), labels.of(scored)
    metric = METRICS[train.kind_of(scored.target).metric]
    turned = for_target(scored, answers, train, scored.target)
    found = metric.measure(turned, labels.targets[scored.target], labels.group)
    if found is None:
        return None
    mean = over_seeds(found, confidence=1 - (1 - CONFIDENCE) / len(scored.layers))
    above = 0.5 - (metric.chance or 0.0)
    return mean.value + above, mean.low + above


def _or_worst(value: np.ndarray) -> np.ndarray:
    """The values, −inf where one is no number: R² is below any finite one."""
    return np.where(np.isfinite(value), value, -np.inf)


def _of(scored: Scored) -> str:
    return "" if scored.target == TRUTH else f" on {scored.target}"


def _ranges(numbers: tuple[int, ...]) -> str:
    """`0–12, 20, 30`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in parts)
