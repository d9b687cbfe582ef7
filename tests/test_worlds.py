"""Worlds: every question has the answer that plain arithmetic gives, and a smaller share of questions lies in a larger one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch

from harness.errors import UsageError
from harness.worlds.finite_group import FiniteGroup
from harness.worlds.hidden_markov import HiddenMarkov, mess3, rrxor
from harness.worlds.modular_arithmetic import ModularArithmetic
from harness.worlds.nested_brackets import NestedBrackets
from harness.worlds.othello import Othello
from harness.worlds.repeated_text import RepeatedText
from harness.worlds.repeated_tokens import RepeatedTokens
from harness.worlds.sequences import Sequences
from harness.worlds.sparse_features import SparseFeatures
from harness.worlds.sparse_parity import SparseParity
from harness.worlds.world import World
from tests.planted_reviews import planted

WORLDS = [
    *(ModularArithmetic(prime=7, operation=operation) for operation in ("add", "subtract", "multiply")),
    *(FiniteGroup(family=family, degree=4) for family in ("cyclic", "dihedral", "symmetric")),
    SparseParity(bits=6, relevant=2, count=40),
    SparseParity(bits=40, relevant=3, count=50),
    HiddenMarkov(transitions=mess3(), length=4),
    HiddenMarkov(transitions=rrxor(), length=6),
    RepeatedTokens(tokens=16, used=6, length=10),
    RepeatedText(words=24, stretch=4, length=20),
    NestedBrackets(kinds=3, depth=3, length=24),
    Othello(side=4),
    # Dense enough that no sample comes twice.
    SparseFeatures(features=20, density=0.5),
    SparseFeatures(features=24, density=0.5, pairing="anticorrelated"),
]


@pytest.fixture(autouse=True, scope="module")
def reviews() -> Iterator[None]:
    with planted():
        yield


def test_there_is_a_world_of_every_kind() -> None:
    kinds = {*World.__subclasses__(), *Sequences.__subclasses__()} - {Sequences}
    assert {type(world) for world in WORLDS} == {world for world in kinds if world.__module__.startswith("harness.")}


@pytest.mark.parametrize("world", WORLDS, ids=repr)
def test_a_world_is_what_it_says(world: World) -> None:
    questions, answers = world.questions(), world.answers()
    assert questions.shape == (world.rows, world.context) and answers.shape == (world.rows,)
    assert questions.dtype == answers.dtype == torch.int64
    assert int(questions.min()) >= 0 and int(questions.max()) < world.vocabulary
    assert int(answers.min()) >= 0 and int(answers.max()) < world.classes
    assert len(set(map(tuple, questions.tolist()))) == world.rows
    assert torch.equal(world.questions(), questions)


@pytest.mark.parametrize("world", WORLDS, ids=repr)
def test_smaller_fractions_lie_in_larger_ones_of_the_same_order(world: World) -> None:
    small, large = (set(world.training_rows(fraction, 3).tolist()) for fraction in (0.2, 0.6))
    assert small < large
    assert not small <= set(world.training_rows(0.6, 4).tolist())
    rest = set(world.testing_rows(0.6, 3).tolist())
    assert rest | large == set(range(world.rows)) and not rest & large


@pytest.mark.parametrize("world", WORLDS, ids=repr)
def test_shuffled_answers_are_the_same_ones_elsewhere(world: World) -> None:
    shuffled = world.shuffled_answers(1)
    assert torch.equal(shuffled.sort().values, world.answers().sort().values)
    assert not torch.equal(shuffled, world.answers())
    assert not torch.equal(shuffled, world.shuffled_answers(2))


@pytest.mark.parametrize("fraction", [-1.0, 0.0, 0.001, 0.999, 1.0])
def test_a_fraction_leaves_rows_on_both_sides(fraction: float) -> None:
    with pytest.raises(UsageError, match=r"fraction: .*leaves none to t"):
        ModularArithmetic(prime=7).training_rows(fraction, 0)


@pytest.mark.parametrize(("operation", "plain"), [("add", "+"), ("subtract", "-"), ("multiply", "*")])
def test_arithmetic(operation: Any, plain: str) -> None:
    world = ModularArithmetic(prime=11, operation=operation)
    for (a, b, equals), answer in zip(world.questions().tolist(), world.answers().tolist(), strict=True):
        assert equals == 11 and answer == eval(f"({a} {plain} {b}) % 11")


def test_products_are_sums_of_places() -> None:
    world = ModularArithmetic(prime=13, operation="multiply")
    order = world.in_group_order().tolist()
    assert sorted(order) == list(world.numbers)
    for first, second in product(range(12), repeat=2):
        assert order[first] * order[second] % 13 == order[(first + second) % 12]


@pytest.mark.parametrize(("family", "degree", "order"), [("cyclic", 9, 9), ("dihedral", 5, 10), ("symmetric", 4, 24)])
def test_groups(family: Any, degree: int, order: int) -> None:
    group = FiniteGroup(family=family, degree=degree)
    elements, products, inverses = group.elements(), group.products(), group.inverses()
    assert len(set(elements)) == order and elements[0] == tuple(range(degree))
    for a, b in product(range(order), repeat=2):
        after = tuple(elements[a][corner] for corner in elements[b])
        assert elements[products[a, b]] == after
    assert torch.equal(products[torch.arange(order), inverses], torch.zeros(order, dtype=torch.int64))


def test_the_largest_groups_have_numbers_for_all_products() -> None:
    for group in (FiniteGroup(family="cyclic", degree=720), FiniteGroup(family="dihedral", degree=360)):
        assert torch.equal(group.products().sort(1).values[5], torch.arange(720))


def test_parity_is_of_the_bits_that_count() -> None:
    world = SparseParity(bits=12, relevant=3, count=300)
    for question, answer in zip(world.questions().tolist(), world.answers().tolist(), strict=True):
        assert set(question) <= {0, 1} and answer == question[0] ^ question[1] ^ question[2]
    assert SparseParity(bits=4, count=100).rows == 16


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ModularArithmetic(prime=55), "prime: 55 is no odd prime up to 1009; give one, such as 53 or 59"),
        (lambda: ModularArithmetic(prime=-3), "give one, such as 3 or 5"),
        (lambda: ModularArithmetic(prime=10**7), "such as 997 or 1009"),
        (lambda: FiniteGroup(family="symmetric", degree=9), "degree: 9 is not between 2 and 5"),
        (lambda: FiniteGroup(family="dihedral", degree=2), "degree: 2 is not between 3 and 360"),
        (lambda: SparseParity(bits=3, relevant=4), "relevant: 4 of 3 bits"),
        (lambda: SparseParity(bits=63), "bits: 63 is not between 1 and 62"),
        (lambda: SparseParity(count=10**9), "count: 1000000000 questions"),
    ],
)
def test_what_makes_no_world_is_refused(make: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()
