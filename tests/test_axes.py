"""Values with named axes: cutting and joining follow from what each class says of its fields."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
import torch

import harness
from harness.contracts import Answers, Pairs
from harness.maths.axes import WithAxes, joined
from harness.maths.estimate import Measured
from harness.readouts.detectors import JointGaussianReadout
from harness.readouts.fitted_probes import ConsistentReadout, LinearReadout
from harness.readouts.normalisers import Chain, Erased, ShiftScale
from harness.scoring.score import Labels, Scored

RANDOM = np.random.default_rng(3)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def tensor(*shape: int) -> torch.Tensor:
    return torch.from_numpy(numbers(*shape))


def pairs(rows: int = 6) -> Pairs:
    return Pairs(
        tensor(3, rows, 2, 4),
        torch.arange(rows) % 2,
        labels=torch.arange(rows) % 2,
        example=torch.arange(rows),
        relations={"negation": torch.tensor([[0, 1], [2, 3], [5, 4]])},
        log_odds=tensor(rows),
    )


def answers(rows: int = 6) -> Answers:
    return Answers(numbers(2, 3, rows), numbers(2, 3, rows), numbers(2, 3, rows, 2))


def scored() -> Scored:
    return Scored(
        fit_on="a",
        tested_on="b",
        probe="ccs",
        layers=(4, 5, 9),
        train=answers(7),
        test=answers(5),
        loss=numbers(2, 3),
        restart_loss=numbers(2, 4, 3),
        restart_targets=("truth", "word"),
        restart_train=numbers(2, 2, 4, 3),
        restart_test=numbers(2, 2, 4, 3),
    )


def normaliser() -> Chain:
    erased = Erased(tensor(3, 1, 4), tensor(3, 1, 4), tensor(3, 2, 4), tensor(3, 2, 4), torch.arange(2))
    return Chain((ShiftScale(tensor(3, 1, 2, 4), tensor(3, 1, 2, 4)), erased))


WHOLE: list[WithAxes] = [
    pairs(),
    answers(),
    scored(),
    Measured(numbers(2, 3), numbers(2, 3, 6), np.arange(6)),
    LinearReadout(tensor(2, 3, 2, 4), tensor(2, 3), calibrated=True),
    ConsistentReadout(tensor(2, 5, 3, 4), tensor(2, 5, 3), tensor(2, 5, 3), torch.zeros(2, 3, dtype=torch.int64)),
    normaliser(),
]


def classes(of: type[WithAxes] = WithAxes) -> Iterator[type[WithAxes]]:
    for own in of.__subclasses__():
        yield own
        yield from classes(own)


def test_every_field_says_which_axes_it_has() -> None:
    for module in pkgutil.walk_packages(harness.__path__, "harness."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = [own for own in classes() if own.__module__.startswith("harness.")]
    assert {Pairs, Answers, Scored, Labels, LinearReadout, Chain} <= set(found)
    for own in found:
        assert tuple(own.shapes) == own.__struct_fields__, f"{own.__name__}.shapes names other fields than it has"
        assert set(own.numbered) <= set(own.shapes)


@pytest.mark.parametrize("whole", WHOLE, ids=lambda one: type(one).__name__)
def test_what_is_cut_by_layers_and_joined_is_the_same(whole: WithAxes) -> None:
    apart = [whole.at(layer=0), whole.at(layer=slice(1, 2)), whole.at(layer=[2])]
    assert same(joined(apart, "layer"), whole)
    # The control: in another order it is another one.
    assert not same(joined(apart[::-1], "layer"), whole)


@pytest.mark.parametrize("whole", [WHOLE[1], WHOLE[2], WHOLE[3], WHOLE[4]], ids=lambda one: type(one).__name__)
def test_what_is_cut_by_seeds_and_joined_is_the_same(whole: WithAxes) -> None:
    assert same(joined([whole.at(seed=0), whole.at(seed=-1)], "seed"), whole)


def test_what_is_cut_by_rows_and_joined_is_the_same() -> None:
    whole = pairs()
    assert same(joined([whole.at(row=slice(0, 2)), whole.at(row=np.arange(6) >= 2)], "row"), whole)


def test_arrays_are_cut_as_numpy_cuts_them() -> None:
    one = scored().at(layer=1)
    whole = scored()
    assert one.layers == (5,)
    assert one.restart_targets == ("truth", "word")
    chosen = WHOLE[2].at(layer=[2, 0])
    assert isinstance(chosen, Scored)
    assert isinstance(WHOLE[2], Scored)
    assert WHOLE[2].restart_test is not None
    assert np.array_equal(chosen.restart_test, WHOLE[2].restart_test[..., [2, 0]])
    assert np.array_equal(chosen.test.score, WHOLE[2].test.score[:, [2, 0]])
    assert chosen.layers == (9, 4)
    assert whole.validation is one.validation is None


def test_a_probe_without_layers_is_its_only_layer() -> None:
    whole = msgspec.structs.replace(scored(), layers=(), loss=None).at(layer=0)
    assert whole.layers == ()
    assert whole.test.score.shape == (2, 1, 5)


def test_labels_of_each_seed_are_cut_by_rows_and_seeds() -> None:
    of_seeds = msgspec.structs.replace(pairs(), labels=torch.arange(12).reshape(2, 6)).at(row=[1, 4], seed=1)
    assert of_seeds.labels is not None
    assert of_seeds.labels.tolist() == [[7, 10]]
    shared = pairs().at(seed=1)
    assert shared.labels is not None
    assert shared.labels.shape == (6,)


def test_laws_hold_only_between_rows_that_are_there() -> None:
    some = pairs().at(row=np.array([1, 2, 4, 5]))
    assert some.relations["negation"].tolist() == [[3, 2]]
    labels = Labels({"truth": np.arange(6) % 2}, np.arange(6), relations={"negation": np.array([[0, 1], [5, 4]])})
    kept = labels.at(row=np.array([4, 5]))
    assert kept.relations["negation"].tolist() == [[1, 0]]
    assert kept.targets["truth"].tolist() == [0, 1]
    again = joined([kept, kept], "row")
    assert again.relations["negation"].tolist() == [[1, 0], [3, 2]]


def test_what_has_no_such_axis_or_has_it_twice_is_not_cut_along_it() -> None:
    with pytest.raises(AssertionError, match="ShiftScale has no row"):
        ShiftScale(tensor(3, 1, 2, 4), tensor(3, 1, 2, 4)).at(row=0)
    with pytest.raises(AssertionError, match="has layer twice"):
        JointGaussianReadout(tensor(1, 3, 2, 4), tensor(1, 3), tensor(1, 3, 3), tensor(1, 3)).at(layer=0)


def same(one: object, other: object) -> bool:
    if isinstance(one, WithAxes):
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in one.shapes)
    if isinstance(one, dict | tuple):
        assert isinstance(other, dict | tuple)
        values = (part.values() if isinstance(part, dict) else part for part in (one, other))
        return all(same(*both) for both in zip(*values, strict=True))
    if isinstance(one, np.ndarray | torch.Tensor):
        return np.array_equal(np.asarray(one), np.asarray(other))
    return one == other
