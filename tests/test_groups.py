"""Beds of groups and of parity, and which representations a network answers with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
import torch

from harness.contracts import Measurement, Watch, kind
from harness.networks.checkpoints import Checkpoints
from harness.networks.layout import Layout
from harness.networks.perceptron import Perceptron
from harness.networks.recipe import Recipe
from harness.networks.small_network import Sizes, SmallNetwork
from harness.networks.stacked import Stacked
from harness.networks.training_together import train_together
from harness.networks.watched import Watched
from harness.worlds.finite_group import FiniteGroup
from harness.worlds.sparse_parity import SparseParity
from tests.test_watched_networks import problems

S3 = FiniteGroup(family="symmetric", degree=3)


def bed(name: str, **options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", name))


def test_rows_of_a_group_are_products_as_permutations_compose() -> None:
    rows = bed("group_composition", family="symmetric", degree=3).load(36, 0)
    elements = S3.elements()
    assert len(rows) == 36
    for name, answer, tokens in rows.select("example", "label", "tokens_0").iter_rows():
        a, b = map(int, name.split("-"))
        assert tokens == [a, b, 6]
        assert elements[answer] == tuple(elements[a][corner] for corner in elements[b])


def test_rows_of_parity_are_bits() -> None:
    made = bed("sparse_parity", bits=8, relevant=2, count=60)
    rows = made.load(60, 1)
    assert len(set(rows["example"])) == 60
    for name, answer in rows.select("example", "label").iter_rows():
        assert made.answers[answer] == ("odd" if name[:2].count("1") == 1 else "even")


def test_bits_that_do_not_count_are_ignored_by_a_network_that_generalises(tmp_path: Path) -> None:
    world = SparseParity(bits=8, relevant=2, count=256)
    recipe = Recipe(world=world, network=Perceptron(widths=(32,)), fraction=0.5, learning_rate=2e-2, weight_decay=1.0)
    watched = Watched([recipe], train_together([recipe], (0, 300), tmp_path), 300)
    assert float(watched.mean(watched.hits, trained=False)) > 0.95
    first = Watched([recipe], watched.checkpoints, 0)
    assert float(first.mean(first.hits, trained=False)) < 0.7


def bits_found(folder: Path, table: torch.Tensor, bits: str = "relevant") -> float:
    """Of one perceptron whose first layer is `table`, (bit, token, unit)."""
    world, network = SparseParity(bits=6, relevant=2, count=64), Perceptron(widths=(4,))
    recipe = Recipe(world=world, network=network, fraction=0.5)
    layout = network.layout(recipe.sizes)
    flat = torch.zeros(1, layout.size)
    layout.views(flat)["in"][0] = table.flatten(0, 1)
    kept = Checkpoints(folder / bits, "by hand")
    kept.keep(Stacked.begun(flat), checkpoint=True)
    made = kind.find("measurements", "bits_found")(bits=bits)  # type: ignore[call-arg]
    assert isinstance(made, Measurement)
    return float(made.measure(Watched([recipe], kept, 0))[0])


def test_bits_are_found_where_a_network_minds_them_more_than_others(tmp_path: Path) -> None:
    same_for_either, minded = torch.randint(9, (6, 1, 4)).float().repeat(1, 2, 1), torch.zeros(6, 2, 4)
    minded[:, 1, 0] = torch.tensor([3.0, -4, 1, 2, 0, -1])
    assert bits_found(tmp_path / "first", same_for_either + minded) == 1
    assert bits_found(tmp_path / "last", same_for_either + minded.flip(0)) == 0.5 / 8
    assert bits_found(tmp_path / "none", same_for_either) == 0.5
    # The control draws among those that do not count.
    assert bits_found(tmp_path / "other", same_for_either + minded, "random") < 1
    louder = minded.clone()
    louder[:2] *= 100
    assert bits_found(tmp_path / "louder", louder, "random") == bits_found(tmp_path / "quiet", minded, "random")


class ByCharacters(SmallNetwork, frozen=True, kw_only=True):
    """Its parameters are logits for each question and class, which it answers with."""

    embedding: ClassVar[str] = "table"

    def layout(self, sizes: Sizes) -> Layout:
        elements = sizes.classes
        return Layout({"table": (elements * elements, elements)})

    def layers(self) -> tuple[str, ...]:
        return ()

    def logits(self, parameters: Any, questions: torch.Tensor, at: Any = None) -> torch.Tensor:
        return parameters["table"]


def shares(folder: Path, logits: torch.Tensor, names: Sequence[str]) -> list[float]:
    network = ByCharacters()
    layout = network.layout(Sizes(7, 3, 6))
    kept = Checkpoints(folder, "by hand")
    kept.keep(Stacked.begun(layout.flat({"table": logits.flatten(0, 1).float()})[None]), checkpoint=True)
    watched = Watched([Recipe(world=S3, network=network, fraction=0.4)], kept, 0)
    made = [kind.find("measurements", "representation")(of=name) for name in names]  # type: ignore[call-arg]
    return [float(one.measure(watched)[0]) for one in made if isinstance(one, Measurement)]


def test_the_share_of_a_representation_is_that_of_what_was_put_in(tmp_path: Path) -> None:
    characters, away = S3.characters(), S3.products()[S3.products()][:, :, S3.inverses()]
    standard, sign = (torch.tensor(characters[name])[away] for name in ("(2, 1)", "(1, 1, 1)"))
    # Characters of irreducible representations have mean square 1.
    found = shares(tmp_path / "both", 3 * standard + 4 * sign, ["(2, 1)", "(1, 1, 1)", ""])
    assert found == pytest.approx([0.36, 0.64, 1.0], abs=1e-6)
    noise = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(0))
    assert shares(tmp_path / "none", noise, [""])[0] < 0.3


def test_what_was_learned_by_heart_is_no_representation(tmp_path: Path) -> None:
    world, recipe = S3, Recipe(world=S3, network=ByCharacters(), fraction=0.4)
    table = torch.zeros(36, 6)
    known = world.training_rows(recipe.fraction, recipe.order)
    table[known, world.answers()[known]] = 10.0
    table += torch.randn(36, 6, generator=torch.Generator().manual_seed(1))
    assert shares(tmp_path, table.unflatten(0, (6, 6)), [""])[0] < 0.3


SPEC = """\
harness: 1
name: group
model: {bed: group_composition, family: symmetric, degree: 3, network: perceptron, d_mlp: 16, train: {networks: 6, steps: 20, every: 10}}
data: {limit: 36}
probes: [lda]
measurements: [test_loss, {kind: representation, of: "(2, 1)"}]
checks: [{kind: keeps_above, condition: main, least: 0}]
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"(2, 1)"', '"(4, 1)"', "this group has no representation (4, 1); it has (2, 1), (1, 1, 1)"),
        ("degree: 3", "degree: 6", "degree: 6 is not between 2 and 5, as a symmetric group needs"),
        (
            "group_composition, family: symmetric, degree: 3",
            "modular_addition, prime: 7",
            "representation is of representations of a group; measure it of model: {bed: group_composition}",
        ),
        ("group_composition, family: symmetric, degree: 3", "sparse_parity, relevant: 30", "30 of 20 bits cannot count"),
        ('kind: representation, of: "(2, 1)"', "kind: bits_found", "measure it of model: {bed: sparse_parity}"),
    ],
)  # fmt: skip
def test_what_no_group_has_is_told_with_its_place(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in SPEC
    (problem,) = problems(
        tmp_path,
        SPEC.replace(old, new).replace("keeps_above, condition: main, least: 0", "keeps_above, measurement: test_loss"),
    )
    assert re.search(r"watched\.yaml:\d+:\d+: ", problem)
    assert says in problem


@pytest.mark.parametrize(
    ("network", "relevant", "bits", "says"),
    [
        ("transformer", 3, "relevant", "measure it of network: perceptron"),
        ("perceptron", 20, "relevant", "of 20 bits of which 20 count none is left"),
        ("perceptron", 10, "random", "of 20 bits of which 10 count none is left"),
        ("perceptron", 10, "relevant", ""),
    ],
)
def test_bits_are_found_among_others_in_a_first_layer_of_their_own(
    network: str, relevant: int, bits: str, says: str
) -> None:
    made: Any = kind.find("measurements", "bits_found")(bits=bits)  # type: ignore[call-arg]
    assert says in made.problem(bed("sparse_parity", network=network, relevant=relevant))


PARTS = ("standard", "sign")


@pytest.mark.parametrize(("alone", "expected"), [(0, "fail"), (1, "inconclusive"), (4, "pass")])
def test_networks_that_use_other_parts_differ(alone: int, expected: str) -> None:
    networks = 40 if expected == "fail" else 10
    own = np.array([1.0] * (networks - alone) + [0.0] * alone)[:, None]
    watch = Watch((0,), {"standard": own, "sign": 1 - own}, {})
    check: Any = kind.find("checks", "networks_differ")(parts=PARTS)  # type: ignore[call-arg]
    judged = check.decide(SimpleNamespace(watch=lambda _name: watch))
    assert judged.finding == expected
    assert f"standard in {networks - alone}" in judged.why
