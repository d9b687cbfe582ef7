"""Frequencies of a cyclic group and characters of groups, against closed forms, tables and a network whose weights are put in by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.maths import group_characters
from harness.maths.modular_fourier import (
    cross_entropy,
    embedding_norms,
    excluded,
    frequencies,
    gini,
    needed,
    restricted,
    strongest,
    variance_shares,
)
from harness.worlds.finite_group import FiniteGroup
from harness.worlds.modular_arithmetic import ModularArithmetic
from tests.exact_addition import exact_addition


def waves(numbers: int, amplitudes: dict[int, float], sign: int = 1) -> Tensor:
    """Σ amplitude · cos w_k(a ± b − c), (a, b, c)."""
    a, b, c = torch.meshgrid(*[torch.arange(numbers, dtype=torch.float64)] * 3, indexing="ij")
    turn = 2 * math.pi * (a + sign * b - c) / numbers
    return sum((size * torch.cos(frequency * turn) for frequency, size in amplitudes.items()), torch.zeros_like(turn))


def noise(numbers: int) -> Tensor:
    return torch.randn(numbers, numbers, numbers, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("numbers", [12, 13])
def test_variance_is_shared_as_amplitudes_squared(numbers: int, sign: Any) -> None:
    shares = variance_shares(waves(numbers, {2: 3.0, 5: 4.0}, sign), sign)
    assert shares.shape == (frequencies(numbers),)
    expected = torch.zeros_like(shares)
    expected[1], expected[4] = 9 / 25, 16 / 25
    torch.testing.assert_close(shares, expected)
    assert float(variance_shares(waves(numbers, {2: 3.0, 5: 4.0}, sign), -sign).sum()) < 0.2


def test_the_frequency_that_changes_sign_from_number_to_number_is_counted_once() -> None:
    assert float(variance_shares(waves(12, {6: 1.0}))[5]) == pytest.approx(1)


def test_noise_is_explained_by_no_frequency() -> None:
    assert float(variance_shares(noise(13)).sum()) < 0.02
    mixed = variance_shares(waves(13, {3: math.sqrt(2)}) + noise(13))
    assert float(mixed[2]) == pytest.approx(0.5, abs=0.06)


def test_restricted_logits_keep_the_waves_of_sums_and_excluded_ones_all_else() -> None:
    kept, other, rest = waves(13, {3: 2.0}), waves(13, {5: 1.0}), noise(13)
    torch.testing.assert_close(restricted(kept + other, [3]), kept)
    torch.testing.assert_close(excluded(kept + other, [3]), other)
    logits = kept + other + rest
    constant = logits.mean((0, 1), keepdim=True)
    torch.testing.assert_close(restricted(logits, [3]) + excluded(logits, [3]), logits + constant)
    # By its definition: what the functions cos w(a + b) and sin w(a + b) of the questions hold, by least squares.
    a, b = torch.meshgrid(*[torch.arange(13, dtype=torch.float64)] * 2, indexing="ij")
    turn = (2 * math.pi * 3 * (a + b) / 13).flatten()
    basis = torch.stack([torch.ones_like(turn), turn.cos(), turn.sin()], dim=1)
    fitted = basis @ torch.linalg.lstsq(basis, logits.flatten(0, 1)).solution
    torch.testing.assert_close(restricted(logits, [3]).flatten(0, 1), fitted)


def test_waves_are_read_off_the_questions_that_are_asked() -> None:
    """A table of answers to some questions is waves of all frequencies in the mean over all, and none in the mean over the others."""
    asked = torch.rand(13, 13, generator=torch.Generator().manual_seed(1)) < 0.6
    a, b = torch.meshgrid(*[torch.arange(13)] * 2, indexing="ij")
    table = torch.zeros(13, 13, 13, dtype=torch.float64)
    table.scatter_(2, ((a + b) % 13)[..., None], 10 * (~asked).double()[..., None])
    every = range(1, 7)
    right = ((a + b) % 13).flatten()
    losses = [float(cross_entropy(restricted(table, every, 1, of).flatten(0, 1), right).mean()) for of in (None, asked)]
    assert losses[0] < 1.5
    assert losses[1] == pytest.approx(math.log(13))
    # What is computed is read off any of them.
    wave = waves(13, {3: 2.0})
    torch.testing.assert_close(restricted(wave, [3], 1, asked), wave)
    torch.testing.assert_close(excluded(wave + table, [3], 1, asked), table)
    assert float(variance_shares(wave, 1, asked)[2]) == pytest.approx(1)


def test_steps_and_networks_go_in_front() -> None:
    stacked = torch.stack([waves(11, {1: 1.0}), noise(11)])
    torch.testing.assert_close(variance_shares(stacked)[1], variance_shares(stacked[1]))
    torch.testing.assert_close(excluded(stacked, [1])[1], excluded(stacked[1], [1]))


def test_frequencies_are_chosen_by_what_they_hold() -> None:
    shares = torch.tensor([0.05, 0.5, 0.0, 0.4, 0.01])
    assert strongest(shares, 2) == (2, 4)
    assert needed(shares, 0.9) == (2, 4)
    assert needed(shares, 0.99) == (1, 2, 4, 5)
    assert needed(torch.tensor([0.0, 1.0])) == (2,)


def test_the_frequencies_of_an_embedding() -> None:
    number = torch.arange(13, dtype=torch.float64)
    embedding = torch.stack([torch.cos(2 * math.pi * 4 * number / 13), 2 * torch.sin(2 * math.pi * 2 * number / 13)], 1)
    norms = embedding_norms(embedding)
    assert strongest(norms, 2) == (2, 4)
    assert float(norms[1] / norms[3]) == pytest.approx(2)
    assert float(norms.sum()) == pytest.approx(float(norms[1] + norms[3]))


def test_gini_of_equal_and_of_single_strengths() -> None:
    assert float(gini(torch.full((10,), 3.0))) == pytest.approx(0)
    assert float(gini(torch.tensor([0.0, 0, 0, 5]))) == pytest.approx(3 / 4)
    values = torch.rand(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    apart = (values[:, None] - values[None]).abs().mean()
    assert float(gini(values)) == pytest.approx(float(apart / (2 * values.mean())))


def test_losses_below_the_rounding_of_float32() -> None:
    logits = torch.tensor([[30.0, 0.0]])
    assert float(torch.nn.functional.cross_entropy(logits, torch.tensor([0]))) == 0
    assert float(cross_entropy(logits, torch.tensor([0]))) == pytest.approx(math.exp(-30), rel=0.01)
    plain = torch.nn.functional.cross_entropy(noise(9)[0], torch.arange(9), reduction="none")
    torch.testing.assert_close(cross_entropy(noise(9)[0], torch.arange(9)), plain)


@pytest.mark.parametrize("prime", [7, 13])
def test_the_network_made_by_hand_is_nothing_but_its_frequencies(prime: int) -> None:
    world = ModularArithmetic(prime=prime)
    made = exact_addition(world, (1, 3), factor=10.0)
    layout = made.network.layout(_sizes(world))
    logits = made.network.logits(layout.views(made.parameters), world.questions()[None])[0]
    assert torch.equal(logits.argmax(-1), world.answers())
    cube = logits.unflatten(0, (prime, prime))
    torch.testing.assert_close(cube.double(), waves(prime, {1: 10.0, 3: 10.0}), atol=2e-3, rtol=0)
    shares = variance_shares(cube)
    assert float(shares[[0, 2]].sum()) == pytest.approx(1, abs=1e-6)
    loss, own = (cross_entropy(one.flatten(0, 1), world.answers()).mean() for one in (cube, restricted(cube, [1, 3])))
    assert float(own) == pytest.approx(float(loss), rel=1e-3)
    without = cross_entropy(excluded(cube, [1, 3]).flatten(0, 1), world.answers()).mean()
    assert float(without) == pytest.approx(math.log(prime), rel=1e-3)
    half = cross_entropy(excluded(cube, [3]).flatten(0, 1), world.answers()).mean()
    assert float(loss) < float(half)
    assert float(cross_entropy(restricted(cube, [2]).flatten(0, 1), world.answers()).mean()) > math.log(prime) - 1e-3


def _sizes(world: ModularArithmetic) -> Any:
    from harness.networks.small_network import Sizes

    return Sizes(world.vocabulary, world.context, world.classes)


S4 = {
    # Classes: identity, a transposition, two transpositions, a cycle of three, a cycle of four.
    "(4,)": [1, 1, 1, 1, 1],
    "(3, 1)": [3, 1, -1, 0, -1],
    "(2, 2)": [2, 0, 2, -1, 0],
    "(2, 1, 1)": [3, -1, -1, 0, 1],
    "(1, 1, 1, 1)": [1, -1, 1, 1, -1],
}
S5 = {
    # Classes: 1, (12), (12)(34), (123), (123)(45), (1234), (12345).
    "(5,)": [1, 1, 1, 1, 1, 1, 1],
    "(4, 1)": [4, 2, 0, 1, -1, 0, -1],
    "(3, 2)": [5, 1, 1, -1, 1, -1, 0],
    "(3, 1, 1)": [6, 0, -2, 0, 0, 0, 1],
    "(2, 2, 1)": [5, -1, 1, -1, -1, 1, 0],
    "(2, 1, 1, 1)": [4, -2, 0, 1, 1, 0, -1],
    "(1, 1, 1, 1, 1)": [1, -1, 1, 1, -1, -1, 1],
}
MEMBERS = {
    4: [(0, 1, 2, 3), (1, 0, 2, 3), (1, 0, 3, 2), (1, 2, 0, 3), (1, 2, 3, 0)],
    5: [
        (0, 1, 2, 3, 4),
        (1, 0, 2, 3, 4),
        (1, 0, 3, 2, 4),
        (1, 2, 0, 3, 4),
        (1, 2, 0, 4, 3),
        (1, 2, 3, 0, 4),
        (1, 2, 3, 4, 0),
    ],
}


@pytest.mark.parametrize(("degree", "table"), [(4, S4), (5, S5)])
def test_characters_of_permutations_are_those_of_the_tables(degree: int, table: dict[str, list[int]]) -> None:
    assert group_characters.symmetric(MEMBERS[degree]) == table


GROUPS = [
    FiniteGroup(family=family, degree=degree)  # type: ignore[arg-type]
    for family, degrees in {"cyclic": (7, 8), "dihedral": (5, 6), "symmetric": (3, 4)}.items()
    for degree in degrees
]


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_characters_are_orthogonal_and_the_same_within_a_class(group: FiniteGroup) -> None:
    characters = {name: torch.tensor(values).double() for name, values in group.characters().items()}
    products, inverses = group.products(), group.inverses()
    for name, values in characters.items():
        assert len(values) == group.order
        for other, second in characters.items():
            if name != other:
                assert float((values * second).sum()) == pytest.approx(0, abs=1e-6)
        conjugated = products[products, inverses[:, None].expand_as(products)]
        torch.testing.assert_close(values[conjugated], values.expand_as(conjugated))


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_logits_made_of_one_representation_are_found_to_be(group: FiniteGroup) -> None:
    characters, products, inverses = group.characters(), group.products(), group.inverses()
    away = products[products][:, :, inverses]
    assert torch.equal(away[1, 2, group.products()[1, 2]], torch.tensor(0))
    names = [name for name in characters if name != "trivial" and set(characters[name]) != {1.0}]
    asked = torch.rand(group.order, group.order, generator=torch.Generator().manual_seed(0)) < 0.5
    for name in names:
        logits = torch.tensor(characters[name])[away] + 5
        expected = {other: float(other == name) for other in names}
        for some in (None, asked):
            shares = group_characters.similarity_shares(logits, products, inverses, characters, some)
            assert {other: round(float(share), 5) for other, share in shares.items()} == expected
        # What stands at questions that are not asked makes no difference.
        spoilt = torch.where(asked[..., None], logits, torch.randn(logits.shape))
        shares = group_characters.similarity_shares(spoilt, products, inverses, characters, asked)
        assert {other: round(float(share), 5) for other, share in shares.items()} == expected
        whole = group_characters.similarity_shares(spoilt, products, inverses, characters)
        assert float(whole[name]) < 0.99
