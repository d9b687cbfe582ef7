"""Options mean what they say: each changes what a probe does, beside every choice of the others, or is refused there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from msgspec import inspect

from harness.contracts import Pairs, Probe
from harness.contracts.kind import Option, find, names, options
from harness.errors import NumericalError, UsageError
from harness.fitting.fit import Fitting, training_pairs
from harness.maths.laws import LAWS
from harness.scoring.score import Labels
from tests.test_planted import world

KINDS = tuple(kind for kind in names("probes") if "binary" in find("probes", kind).targets)
OF_SPECS = ("name", "target", "erase", "layers")
"""Options that mean the same for all probes; what a spec may say of them is tested in tests/test_targets.py and tests/test_erasure.py."""
QUICK: dict[str, dict[str, Any]] = {
    "ccs": {"epochs": 260, "restarts": 1},
    "consistency": {"epochs": 260, "restarts": 1},
    "crc_bss": {"epochs": 300, "restarts": 2},
    "rccs": {"epochs": 20, "restarts": 2},
    "mlp": {"epochs": 20},
    "isolation_forest": {"trees": 10},
}


def choices(option: Option) -> list[Any]:
    """All values of an option that has few, the default first; none for one that is a number or a text."""
    kind = inspect.type_info(option.type)
    if isinstance(kind, inspect.BoolType):
        found = [True, False]
    elif isinstance(kind, inspect.LiteralType):
        found = list(kind.values)
    else:
        return []
    return sorted(found, key=lambda value: value != option.default)


def others(option: Option) -> Iterator[Any]:
    """Values of an option that are not its default, as far apart as its type allows."""
    if option.name == "normalise":
        yield from (name for name in ("mean_std", "burns") if name != option.default)
    kind = inspect.type_info(option.type)
    for one in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        if isinstance(one, inspect.NoneType):
            values: list[Any] = [None]
        elif isinstance(one, inspect.BoolType):
            values = [True, False]
        elif isinstance(one, inspect.LiteralType):
            values = list(one.values)
        elif isinstance(one, inspect.IntType):
            values = [one.ge, (option.default or 0) + 2]
        elif isinstance(one, inspect.FloatType):
            values = [0.5, 3 * option.default if isinstance(option.default, float) else 0.003, 0.0]
        else:
            continue
        for value in values:
            if value != option.default and _allowed(option.type, value):
                yield value


def _allowed(kind: Any, value: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def fitting() -> Fitting:
    """Rows that no method finds easy, under two templates, of statements that all laws tie together."""
    rows = world(72, 0, truth=1.5, distractor=1.0, d_model=12, layers=2)
    random = np.random.default_rng(0)
    # Dimensions of very different scale, and templates that differ.
    scale = torch.tensor(np.exp(random.standard_normal(12)), dtype=torch.float32)
    template = torch.arange(72) % 2
    states = (
        rows.states + torch.tensor(random.standard_normal((2, 2, 12)), dtype=torch.float32)[template][None]
    ) * scale
    relations = {
        law: torch.tensor(random.permutation(72)[: 8 * len(bounds[0].weights)].reshape(8, -1))
        for law, bounds in LAWS.items()
    }
    odds = torch.tensor(random.standard_normal(72) + 0.3 * template.numpy(), dtype=torch.float32)
    train = Pairs(states, template, example=torch.arange(72) // 2, relations=relations, log_odds=odds)
    return Fitting({"train": train}, {"train": Labels(rows.factors, np.arange(72))})  # type: ignore[dict-item]


def outcome(probe: Probe, own: Fitting) -> list[np.ndarray]:
    """All that can be seen of a fitted probe."""
    pairs = training_pairs(probe, own)
    readout = probe.fit(pairs, [0, 1])
    answers = readout.answers(own.apply(probe, own.states["train"]))
    return [answers.score, *(tensor.numpy() for tensor in readout.tensors().values())]


def same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_changes_something_or_is_refused(kind: str) -> None:
    cls = find("probes", kind)
    own = [option for option in options(cls) if option.name not in OF_SPECS]
    # A kind that is another with more options is tried beside the choices that are its own.
    inherited = {
        option.name
        for base in cls.__mro__[1:]
        if base in map(partial(find, "probes"), KINDS)
        for option in options(base)
    }
    chosen_from = [option for option in own if option.name not in inherited]
    rows, idle = fitting(), []
    for beside in [{}, *({option.name: value} for option in chosen_from for value in choices(option)[1:])]:
        chosen = {**QUICK.get(kind, {}), **beside}
        base = outcome(cls(**chosen), rows)
        for option in own:
            acts = option.name in beside
            for value in others(option):
                if acts or value == chosen.get(option.name, option.default):
                    continue
                try:
                    acts = not same(base, outcome(cls(**{**chosen, option.name: value}), rows))
                except (ValueError, NumericalError, UsageError):
                    acts = True
            if not acts:
                idle.append(f"{option.name} beside {chosen}")
    assert not idle


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("ccs", {"optimizer": "lbfgs", "learning_rate": 0.1}, "learning_rate is AdamW's"),
        ("ccs", {"optimizer": "lbfgs", "tolerance": 0.0}, "tolerance is AdamW's"),
        ("consistency", {"optimizer": "lbfgs", "learning_rate": 0.01}, "learning_rate is AdamW's"),
        ("ccs_eigen", {"contrast": "difference", "ridge": 0.1}, "ridge is of `contrast: ratio`"),
        ("zero_shot", {"normalise": "mean"}, "nothing to normalise"),
        ("prompt_ensemble", {"normalise": "burns"}, "nothing to normalise"),
        ("vinc", {"confidence": 0.0, "invariance": 0.0, "consistency": 0.0}, "all weights are 0"),
        ("vinc_s", {"confidence": 0.0, "invariance": 0.0, "consistency": 0.0, "supervision": 0.0}, "all weights are 0"),
    ],
)
def test_an_option_that_means_nothing_is_refused(kind: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find("probes", kind)(**settings)
