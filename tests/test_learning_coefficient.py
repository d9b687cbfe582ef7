"""The local learning coefficient, against quadratics, normal crossings, sums over a grid and, where it is installed, devinterp."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from harness.errors import NumericalError, UsageError
from harness.maths.learning_coefficient import Sampling, learning_coefficients
from harness.networks.perceptron import Perceptron
from harness.networks.recipe import Recipe
from harness.networks.training_together import train_together
from harness.worlds.modular_arithmetic import ModularArithmetic

ROWS = 100_000
HOW = Sampling(rows=ROWS, step_size=3e-6, chains=100, burn_in=800, draws=1000, localisation=1.0)


def regular(width: int) -> Callable[[Tensor, int], Tensor]:
    curvature = torch.linspace(1, 3, width, dtype=torch.float64)
    return lambda place, step: (place.square() * curvature).sum(1) / 2


def crossing(*powers: int) -> Callable[[Tensor, int], Tensor]:
    """Π w_i^(2 k_i), for which λ is the least of 1 / (2 k_i)."""
    return lambda place, step: torch.stack([place[:, at] ** (2 * power) for at, power in enumerate(powers)]).prod(0)


def zeros(networks: int, width: int) -> Tensor:
    return torch.zeros(networks, width, dtype=torch.float64)


@pytest.mark.parametrize("width", [1, 4, 10])
def test_a_regular_model_has_half_of_its_parameters(width: int) -> None:
    (found,) = learning_coefficients(regular(width), zeros(1, width), HOW)
    assert found.value == pytest.approx(width / 2, rel=0.06)
    assert found.low < found.value < found.high and found.n == 100_000


CROSSINGS = [(1,), (2,), (1, 2), (1, 1)]


@pytest.mark.parametrize("powers", CROSSINGS)
def test_normal_crossings(powers: tuple[int, ...]) -> None:
    """The tempered posterior is summed over a grid: what the dynamics sample, without sampling."""
    how = Sampling(rows=1000, step_size=2e-4, chains=1000, burn_in=3000, draws=3000, localisation=4.0)
    (found,) = learning_coefficients(crossing(*powers), zeros(1, len(powers)), how)
    exact = on_grid(powers, how)
    assert found.value == pytest.approx(exact, rel=0.08)
    # Other crossings are further off than that.
    others = [on_grid(other, how) for other in CROSSINGS if other != powers]
    assert min(abs(found.value / other - 1) for other in others) > 0.08


@pytest.mark.parametrize("powers", [(1,), (2,), (1, 2)])
def test_the_grids_own_value_is_the_known_one_where_rows_are_many(powers: tuple[int, ...]) -> None:
    known = min(1 / (2 * power) for power in powers)
    how = Sampling(rows=10**6, step_size=1.0, localisation=0.1)
    assert on_grid(powers, how) == pytest.approx(known, rel=0.06)
    few = Sampling(rows=100, step_size=1.0, localisation=100.0)
    assert on_grid(powers, few) < 0.9 * known


def on_grid(powers: tuple[int, ...], how: Sampling) -> float:
    """n β times the mean loss under exp(−n β L(w) − γ/2 |w|²). Points lie denser near zero, where the posterior is narrow."""
    even = torch.linspace(-1, 1, 1401, dtype=torch.float64)
    axis, room = 8 / math.sqrt(how.localisation) * even**3, (3 * even**2).log()
    places = torch.cartesian_prod(*[axis] * len(powers)).view(-1, len(powers))
    rooms = torch.cartesian_prod(*[room] * len(powers)).view(-1, len(powers)).sum(1)
    loss = crossing(*powers)(places, 0)
    weight = (rooms - how.temperature * loss - how.localisation / 2 * places.square().sum(1)).softmax(0)
    return how.temperature * float((weight * loss).sum())


def test_a_deeper_valley_is_more_singular() -> None:
    how = msgspec.structs.replace(HOW, step_size=1e-5)
    flat, steep = (learning_coefficients(crossing(power), zeros(1, 1), how)[0] for power in (3, 1))
    assert flat.high < steep.low


def test_some_weights_vary_and_the_others_stay() -> None:
    chosen = torch.tensor([True, True, False, False, False])
    (found,) = learning_coefficients(regular(5), zeros(1, 5), HOW, chosen)
    assert found.value == pytest.approx(1, rel=0.06)
    (none,) = learning_coefficients(regular(5), zeros(1, 5), HOW, torch.zeros(5, dtype=torch.bool))
    assert none.value == 0


def test_a_network_has_its_estimate_in_any_company() -> None:
    how = msgspec.structs.replace(HOW, chains=5, burn_in=20, draws=20)
    at = torch.tensor([[0.0, 0.0], [0.3, -0.2], [1.0, 1.0]], dtype=torch.float64)
    together = learning_coefficients(regular(2), at, how)
    assert together == [learning_coefficients(regular(2), one[None], how)[0] for one in at]
    assert len({found.value for found in together}) == 3
    assert learning_coefficients(regular(2), at, msgspec.structs.replace(how, seed=1)) != together


def test_a_chain_that_leaves_is_refused() -> None:
    with pytest.raises(NumericalError, match="smaller step_size"):
        learning_coefficients(crossing(2), zeros(1, 1), msgspec.structs.replace(HOW, chains=4, step_size=10.0))


@pytest.mark.parametrize(
    "change", [{"rows": 1}, {"chains": 1}, {"draws": 0}, {"step_size": 0.0}, {"localisation": math.nan}]
)
def test_what_cannot_be_sampled_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        msgspec.structs.replace(HOW, **change)


@pytest.mark.filterwarnings("ignore:SGLD has been deprecated")
def test_the_walk_is_that_of_devinterp(tmp_path: Path) -> None:
    """With the same noise its optimiser goes the same way around a small network, and the mean loss on it is the same estimate."""
    sgld = pytest.importorskip("devinterp.optim").SGLD
    world = ModularArithmetic(prime=7)
    recipe = Recipe(world=world, network=Perceptron(widths=(16,)), fraction=0.6, learning_rate=1e-2, weight_decay=0.1)
    at = train_together([recipe], (0, 60), tmp_path).parameters(60)
    layout, rows = recipe.network.layout(recipe.sizes), world.training_rows(0.6, 0)
    questions, answers = world.questions()[rows][None], world.answers()[rows]

    def loss(place: Tensor, step: int) -> Tensor:
        logits = recipe.network.logits(layout.views(place), questions)
        each = [torch.nn.functional.cross_entropy(own, answers) for own in logits]
        return torch.stack(each)

    how = Sampling(rows=len(rows), step_size=1e-4, chains=3, burn_in=20, draws=40, localisation=50.0, seed=4)
    (found,) = learning_coefficients(loss, at, how)
    walked = torch.nn.Parameter(at.repeat(how.chains, 1))
    optimiser = sgld([walked], lr=how.step_size, nbeta=how.temperature, localization=how.localisation)
    generator, above = torch.Generator().manual_seed(how.seed), []
    for step in range(how.burn_in + how.draws):
        optimiser.zero_grad()
        losses = loss(walked, step)
        losses.sum().backward()
        if step >= how.burn_in:
            above.append(float(losses.detach().mean()) - float(loss(at, -1)))
        optimiser.step(noise_generator=generator)
    assert found.value == pytest.approx(how.temperature * sum(above) / how.draws, rel=1e-3)
    assert found.value > 0.1
