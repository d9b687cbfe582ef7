"""The planted world: what it is made of, and which probe finds or misses what in it, by theory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from harness.beds.planted import Planted
from harness.contracts import Pairs, Probe
from harness.contracts.kind import find, names

UNSUPERVISED = ("ccs", "ccs_eigen", "crc_bss", "crc_tpc", "kmeans")
SUPERVISED = ("lda", "logistic_regression", "mean_difference")
"""Linear ones."""
STRONG = ("gaussian_likelihood_ratio", "mlp")
"""Those that compute what no linear probe can read."""
FIRST = ("rccs",)
"""Without labels, `{nth: 1}`; what later ones find is tested below."""
OPTIONS: dict[str, dict[str, Any]] = {"rccs": {"nth": 1}}
FOUND, CHANCE = 0.9, 0.08
"""Accuracy that counts as found; distance from one half that counts as chance with 400 test pairs (3 standard errors)."""


class World(NamedTuple):
    """Pairs of a planted world with what is true of each."""

    states: torch.Tensor
    """(layer, pair, answer, d_model)."""
    factors: dict[str, np.ndarray]
    """Bits, (pair,): truth, word, and xor of both."""


def world(count: int, seed: int, **options: Any) -> World:
    """Other seeds are other rows of the same world."""
    bed = Planted(**options)
    table = bed.load(count, seed)
    states = torch.stack([bed.states(table[f"tokens_{member}"].to_list()) for member in (0, 1)], dim=2)
    truth, word = table["label"].to_numpy(), table["word"].to_numpy()
    return World(states, {"truth": truth, "word": word, "xor": truth ^ word})


def normalised(kind: str, train: World, rows: World) -> Pairs:
    """`rows` by statistics of `train`."""
    pairs = [Pairs(w.states, torch.zeros(w.states.shape[1], dtype=torch.int64)) for w in (train, rows)]
    return find("normalisations", kind)().fit(pairs[0])(pairs[1])


def accuracy(
    probe: Probe, train: World, test: World, seeds: Sequence[int], labels: torch.Tensor | None = None
) -> dict[str, np.ndarray]:
    """Accuracy on test rows for each factor, (seed, layer), the sign resolved on the factor's training rows.

    A supervised probe is fitted on `labels`, by default the truth.
    """
    pairs = normalised(probe.normalise, train, train)
    if probe.supervised:
        labels = torch.tensor(train.factors["truth"]) if labels is None else labels
        pairs = msgspec.structs.replace(pairs, labels=labels)
    readout = probe.fit(pairs, seeds)
    at_train = readout.answers(pairs).score > 0
    at_test = readout.answers(normalised(probe.normalise, train, test)).score > 0
    result = {}
    for name in train.factors:
        agrees = (at_train == train.factors[name]).mean(axis=-1)
        value = (at_test == test.factors[name]).mean(axis=-1)
        result[name] = np.where(agrees < 0.5, 1 - value, value)
    return result


class Row(NamedTuple):
    """One line of the theory."""

    made: dict[str, Any]
    """Strengths of the planted features."""
    probes: tuple[str, ...]
    layer: int
    truth: str
    """What it must say about the truth: find, chance, or any (theory says nothing)."""
    word: str
    why: str


THEORY = [
    Row({"truth": 4.0}, UNSUPERVISED + FIRST + SUPERVISED + STRONG, 3, "find", "chance", "the truth is all there is"),
    Row(
        {"truth": 4.0},
        UNSUPERVISED + FIRST + SUPERVISED + STRONG,
        0,
        "chance",
        "chance",
        "layer 0 holds the answer only",
    ),
    Row({"truth": 2.0, "distractor": 5.0}, UNSUPERVISED + FIRST, 3, "chance", "find", "the stronger feature is found"),
    Row(
        {"truth": 2.0, "distractor": 5.0}, SUPERVISED + STRONG, 3, "find", "chance", "labels choose the weaker feature"
    ),
    Row(
        {"truth": 5.0, "distractor": 2.0},
        UNSUPERVISED + FIRST,
        3,
        "find",
        "chance",
        "the stronger feature is the truth now",
    ),
    Row({"truth": 0.0, "distractor": 3.0, "xor": 5.0}, UNSUPERVISED, 3, "chance", "chance", "the XOR is found"),
    Row(
        {"truth": 0.0, "distractor": 3.0, "xor": 5.0},
        SUPERVISED,
        3,
        "chance",
        "chance",
        "no linear map of word and XOR",
    ),
    Row({"truth": 0.0, "distractor": 3.0, "xor": 5.0}, STRONG, 3, "find", "chance", "the truth is word ⊕ XOR"),
    Row(
        {"truth": 0.0, "distractor": 5.0, "xor": 3.0}, UNSUPERVISED + FIRST, 3, "chance", "find", "the word is stronger"
    ),
    Row({"truth": 0.0}, UNSUPERVISED + FIRST + SUPERVISED + STRONG, 3, "chance", "chance", "nothing is planted"),
    Row({"truth": 4.0, "answer": 40.0}, UNSUPERVISED + SUPERVISED, 3, "find", "chance", "normalised away"),
]


@cache
def scores(made: tuple[tuple[str, Any], ...], kind: str) -> dict[str, np.ndarray]:
    """Accuracy on test rows, (seed, layer), of each factor; the sign is resolved on training rows."""
    train, test = world(300, 0, **dict(made)), world(400, 1, **dict(made))
    return accuracy(find("probes", kind)(**OPTIONS.get(kind, {})), train, test, seeds=range(3))


def says(expected: str, value: np.ndarray) -> bool:
    if expected == "find":
        return bool((value >= FOUND).all())
    return expected == "any" or bool((abs(value - 0.5) <= CHANCE + 1e-9).all())


@pytest.mark.parametrize(
    ("row", "kind"), [pytest.param(row, kind, id=f"{kind}: {row.why}") for row in THEORY for kind in row.probes]
)
def test_theory(row: Row, kind: str) -> None:
    found = scores(tuple(row.made.items()), kind)
    assert says(row.truth, found["truth"][:, row.layer]), found["truth"]
    assert says(row.word, found["word"][:, row.layer]), found["word"]


def test_the_xor_is_what_is_found_where_theory_says_so() -> None:
    made = {"truth": 0.0, "distractor": 3.0, "xor": 5.0}
    train, test = world(300, 0, **made), world(400, 1, **made)
    for kind in UNSUPERVISED:
        found = accuracy(find("probes", kind)(), train, test, seeds=range(3))
        assert says("find", found["xor"][:, 3]), kind


def test_random_probes_lie_between_chance_and_the_supervised_ones() -> None:
    train, test = world(300, 0), world(400, 1)
    found = accuracy(find("probes", "random")(), train, test, seeds=range(40))["truth"]
    assert 0.52 < found[:, 3].mean() < 0.9
    assert says("chance", found[:, 0])


def test_the_table_names_every_probe_that_reads_states() -> None:
    reading = {kind for kind in names("probes") if find("probes", kind).reads == "states"}
    # Random directions are tested above; the others need templates, laws, few dimensions that say something, sequences or groups, and have worlds of their own.
    elsewhere = {
        "random",
        "vinc",
        "vinc_s",
        "consistency",
        "k_sparse",
        "attention_pooling",
        "rolling_mean",
        "representation_reading",
    }
    # What is fitted on numbers is tested on planted numbers: tests/test_statements.py.
    elsewhere |= {kind for kind in reading if "binary" not in find("probes", kind).targets}
    # Detectors look for what is unusual, in worlds of tests/test_detectors.py.
    elsewhere |= {kind for kind in reading if find("probes", kind).detects}
    assert reading - elsewhere == {kind for row in THEORY for kind in row.probes}


@pytest.mark.parametrize(
    "settings", [{"confidence": "symmetrised"}, {"init": "pca", "restarts": 5}, {"init": "uniform"}], ids=str
)
def test_ccs_finds_and_misses_the_same_by_its_other_recipes(settings: dict[str, Any]) -> None:
    for made, target in (({"truth": 4.0}, "truth"), ({"truth": 2.0, "distractor": 5.0}, "word")):
        train, test = world(300, 0, **made), world(400, 1, **made)
        found = accuracy(find("probes", "ccs")(**settings), train, test, seeds=range(3))
        for name in ("truth", "word"):
            assert says("find" if name == target else "chance", found[name][:, 3]), (made, name)


def test_the_eigenproblem_by_difference_finds_what_varies_most_too() -> None:
    made = {"truth": 2.0, "distractor": 5.0}
    train, test = world(300, 0, **made), world(400, 1, **made)
    found = accuracy(find("probes", "ccs_eigen")(contrast="difference"), train, test, seeds=[0])
    assert says("find", found["word"][:, 3])
    assert says("chance", found["truth"][:, 3])


def test_later_rccs_probes_find_the_next_feature_and_then_nothing() -> None:
    made = {"truth": 4.0, "distractor": 2.0, "d_model": 16}
    train, test = world(300, 0, **made), world(400, 1, **made)
    first, second = (accuracy(find("probes", "rccs")(nth=nth), train, test, seeds=range(3)) for nth in (1, 2))
    assert says("find", first["truth"][:, 3]) and says("chance", first["word"][:, 3])
    assert says("chance", second["truth"][:, 3]) and says("find", second["word"][:, 3])
    made = {"truth": 4.0, "d_model": 8}
    train, test = world(300, 0, **made), world(400, 1, **made)
    assert says("chance", accuracy(find("probes", "rccs")(nth=4), train, test, seeds=range(3))["truth"][:, 3])


@pytest.mark.parametrize("kind", ["ccs", "crc_tpc", "kmeans"])
def test_cluster_norm_takes_away_a_word_that_stands_in_both_members(kind: str) -> None:
    made = {"truth": 3.0, "distractor": 5.0, "common": 10.0, "context": 0.0}
    train, test = world(300, 0, **made), world(400, 1, **made)
    for name, truth, word in (("cluster", "find", "chance"), ("mean", "chance", "find"), ("leace", "chance", "find")):
        found = accuracy(find("probes", kind)(normalise=name), train, test, seeds=range(3))
        assert says(truth, found["truth"][:, 3]), name
        assert says(word, found["word"][:, 3]), name
    # Where the word does not part the states, nothing can be clustered by it.
    made = {"truth": 3.0, "distractor": 5.0, "context": 0.0}
    train, test = world(300, 0, **made), world(400, 1, **made)
    assert says("find", accuracy(find("probes", kind)(normalise="cluster"), train, test, seeds=[0])["word"][:, 3])


@pytest.mark.parametrize("kind", UNSUPERVISED)
def test_without_normalisation_only_the_answer_is_found(kind: str) -> None:
    """Control for the last line of the table: the answer feature really is in the way."""
    train, test = world(300, 0, answer=40.0), world(400, 1, answer=40.0)
    probe = find("probes", kind)(normalise="none")
    result = accuracy(probe, train, test, seeds=range(3))
    if kind == "ccs":
        assert says("chance", result["truth"][:, 3])
    # A constant shift of the differences is no variance: methods that centre them are immune.
    else:
        assert says("find", result["truth"][:, 3])


def test_pairs_are_balanced_and_a_larger_set_begins_with_the_smaller() -> None:
    bed = Planted()
    table = bed.load(400, seed=3)
    assert table.group_by("label", "word").len()["len"].to_list() == [100] * 4
    assert table.head(120).equals(bed.load(120, seed=3))
    assert not table["label"].equals(bed.load(400, seed=4)["label"])
    assert table["example"].n_unique() == 400


def test_states_depend_on_nothing_but_the_row() -> None:
    bed = Planted(distractor=1.0, xor=1.0)
    tokens = bed.load(20, seed=0)["tokens_1"].to_list()
    states = bed.states(tokens)
    assert states.shape == (*bed.shape[:1], 20, bed.shape[1])
    assert states.dtype == torch.float32
    assert torch.equal(bed.states(tokens[7:9][::-1]), states[:, [8, 7]])
    assert not torch.equal(states[:, 7], states[:, 8])


def test_noise_is_standard_normal_and_members_share_only_the_context() -> None:
    bed = Planted(truth=0.0, answer=0.0, context=0.0, d_model=256)
    table = bed.load(800, seed=0)
    no, yes = (bed.states(table[name].to_list()).numpy() for name in ("tokens_0", "tokens_1"))
    assert abs(no.mean()) < 0.005
    assert abs(no.std() - 1) < 0.005
    assert abs((no**4).mean() - 3) < 0.05
    assert abs((no * yes).mean()) < 0.005
    assert abs((no[0] * no[1]).mean()) < 0.01
    assert abs((no[..., :-1] * no[..., 1:]).mean()) < 0.005
    shared = Planted(truth=0.0, answer=0.0, context=1.0, d_model=256)
    no, yes = (shared.states(table[name].to_list()).numpy() for name in ("tokens_0", "tokens_1"))
    assert abs((no * yes).mean() - 1) < 0.02


def test_features_stand_where_they_were_planted() -> None:
    bed = Planted(truth=2.0, distractor=3.0, xor=5.0, answer=7.0, noise=1e-6, context=0.0)
    table = bed.load(8, seed=0)
    truth, word = table["label"].to_numpy(), table["word"].to_numpy()
    for member in (0, 1):
        read = bed.states(table[f"tokens_{member}"].to_list())[3].numpy() @ bed.directions().T
        expected = np.stack(
            [
                np.where(truth == member, 2.0, -2.0),
                np.where(word == member, 3.0, -3.0),
                np.where(truth ^ word == member, 5.0, -5.0),
                np.full(8, 7.0 if member else -7.0),
            ],
            axis=1,
        )
        np.testing.assert_allclose(read, expected, atol=1e-4)


def test_what_is_common_stands_in_both_members_alike() -> None:
    bed = Planted(truth=0.0, answer=0.0, common=6.0, noise=1e-6, context=0.0)
    table = bed.load(8, seed=0)
    along = bed.common_direction()
    assert abs(bed.directions() @ along).max() < 1e-12
    for member in (0, 1):
        states = bed.states(table[f"tokens_{member}"].to_list())
        np.testing.assert_allclose(states[3].numpy() @ along, np.where(table["word"] == 1, 6.0, -6.0), atol=1e-4)
        assert states[0].abs().max() < 1e-4


def test_the_table_of_the_bed_is_as_the_contract_says() -> None:
    table = Planted().load(6, seed=0)
    assert set(table.columns) >= {"example", "group", "label", "word", "tokens_0", "tokens_1"}
    assert table.schema["tokens_0"] == pl.List(pl.UInt32)
    assert Planted(layers=2, d_model=8).shape == (2, 8)
    assert "planted" in names("beds")


def test_worlds_differ_only_in_their_directions() -> None:
    tokens = Planted().load(4, seed=0)["tokens_0"].to_list()
    same, other = Planted(world=1), Planted(world=2)
    assert not np.allclose(same.directions(), other.directions())
    blank = {"truth": 0.0, "answer": 0.0}
    assert torch.equal(Planted(world=1, **blank).states(tokens), Planted(world=2, **blank).states(tokens))


def test_normalised_worlds_are_centred() -> None:
    """The tests' own tool: what `accuracy` hands to a probe is normalised by training rows."""
    train: World = world(200, 0)
    pairs = normalised("mean", train, train)
    assert pairs.states.mean(dim=1).abs().max() < 1e-5
