"""Representation reading: against a plain principal component of differences, and where the contents of statements vary most."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from harness import pipeline
from harness.contracts import Pairs
from harness.errors import NumericalError
from harness.probes.crc_tpc import TopPrincipalComponent
from harness.probes.representation_reading import RepresentationReading
from harness.store import Store
from tests.test_replies import talker  # noqa: F401

WIDTH, GROUPS = 12, 100


def said_twice(seed: int = 0, told: float = 2.0) -> Pairs:
    """Two rows of each of some facts: the first dimension says which of both it is, and the fact itself varies five times as much."""
    random = np.random.default_rng(seed)
    label = np.tile([0, 1], GROUPS)
    states = np.repeat(5 * random.standard_normal((GROUPS, WIDTH)), 2, axis=0) + random.standard_normal((2 * GROUPS, WIDTH)) / 2  # fmt: skip
    states[:, 0] = told * (2 * label - 1) + random.standard_normal(2 * GROUPS) / 2
    order = random.permutation(2 * GROUPS)
    group = torch.tensor(np.repeat(np.arange(GROUPS), 2)[order])
    return Pairs(
        torch.tensor(np.stack([states[order]] * 2), dtype=torch.float32)[:, :, None], torch.zeros_like(group),
        labels=torch.tensor(label[order]), group=group,
    )  # fmt: skip


def unlabelled(pairs: Pairs) -> Pairs:
    return msgspec.structs.replace(pairs, labels=None)


def auroc(probe: RepresentationReading | TopPrincipalComponent, train: Pairs, test: Pairs) -> float:
    """That of either sign."""
    assert test.labels is not None
    found = float(roc_auc_score(test.labels, probe.fit(unlabelled(train), [0]).answers(test).score[0, 1]))
    return max(found, 1 - found)


def test_it_is_the_component_of_all_differences_with_either_sign() -> None:
    pairs = said_twice()
    rows, group = pairs.states[0, :, 0].double().numpy(), pairs.group.numpy()  # type: ignore[union-attr]
    pairs_of = [rows[group == one] for one in range(GROUPS)]
    differences = np.concatenate([[one[0] - one[1], one[1] - one[0]] for one in pairs_of])
    expected = PCA(1).fit(differences).components_[0]
    readout = RepresentationReading().fit(unlabelled(pairs), [0, 1])
    weight = readout.pair_weights
    assert weight is not None
    assert abs(float(weight[0, 0, 0].double().numpy() @ expected)) == pytest.approx(1, abs=1e-6)
    score = readout.answers(pairs).score
    assert score.shape == (2, 2, 2 * GROUPS)
    np.testing.assert_allclose(score[0, 0].mean(), 0, atol=1e-4)


def test_it_finds_what_two_of_a_group_differ_in_and_their_component_does_not() -> None:
    train, test = said_twice(), said_twice(1)
    assert auroc(RepresentationReading(), train, test) > 0.99
    assert auroc(TopPrincipalComponent(), train, test) < 0.65
    # The controls: other rows in each group, and nothing that tells the two apart.
    mixed = msgspec.structs.replace(train, group=train.group[torch.randperm(2 * GROUPS, generator=torch.Generator().manual_seed(0))])  # type: ignore[index]  # fmt: skip
    assert auroc(RepresentationReading(), mixed, test) < 0.65
    assert auroc(RepresentationReading(), said_twice(told=0), said_twice(1, told=0)) < 0.65


def test_tokens_of_a_reply_are_averaged_first() -> None:
    """What differs from token to token of a reply would else be most of a difference."""
    pairs = said_twice()
    noise = 20 * torch.randn(pairs.states.shape, generator=torch.Generator().manual_seed(0))
    both = torch.cat([pairs.states + noise, pairs.states - noise], dim=1)
    own = torch.arange(2 * GROUPS)
    tokens = Pairs(both, torch.zeros(4 * GROUPS, dtype=torch.int64), example=own.repeat(2), group=pairs.group.repeat(2))  # type: ignore[union-attr]
    whole, each = (RepresentationReading().fit(one, [0]).pair_weights for one in (unlabelled(pairs), tokens))
    assert whole is not None
    assert each is not None
    torch.testing.assert_close(whole, each, atol=1e-5, rtol=1e-4)


def test_a_contrast_pair_is_a_group_by_itself() -> None:
    pairs = said_twice()
    order = pairs.group.argsort(stable=True).reshape(-1, 2)  # type: ignore[union-attr]
    states = torch.stack([pairs.states[:, order[:, view], 0] for view in (0, 1)], dim=2)
    together = RepresentationReading().fit(Pairs(states, torch.zeros(GROUPS, dtype=torch.int64)), [0]).pair_weights
    apart = RepresentationReading().fit(unlabelled(pairs), [0]).pair_weights
    assert together is not None
    assert apart is not None
    torch.testing.assert_close(together[0, :, 1].abs(), apart[0, :, 0].abs(), atol=1e-5, rtol=1e-4)


def test_without_two_of_a_group_there_is_no_difference() -> None:
    for group in (None, torch.arange(2 * GROUPS)):
        alone = msgspec.structs.replace(unlabelled(said_twice()), group=group)
        with pytest.raises(NumericalError, match="needs groups of two rows at least"):
            RepresentationReading().fit(alone, [0])


def test_rows_of_a_group_that_are_the_same_say_nothing() -> None:
    pairs = unlabelled(said_twice())
    order = pairs.group.argsort(stable=True)[::2]  # type: ignore[union-attr]
    same = pairs.at(row=order.repeat(2).numpy())
    assert not RepresentationReading().fit(same, [0]).answers(same).score.any()


def test_a_run_fits_it_on_instructed_pairs_and_tests_it_on_other_replies(talker: Path, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "reading.yaml"
    path.write_text(
        f"harness: 1\nname: reading\nmodel: {{id: {json.dumps(str(talker))}}}\n"
        "activations: {layers: [1, 2], read: {of: assistant, pool: mean}}\nlayer: 2\nbaselines: false\n"
        "conditions:\n  pairs: {data: {source: {kind: instructed_pairs, instructions: told}, limit: 40}}\n"
        "  tokens: {data: {source: {kind: instructed_pairs, instructions: told}, limit: 40}, activations: {layers: [1, 2], read: {of: assistant, pool: each}}}\n"
        "  roles: {data: {source: roleplay, limit: 40}}\n"
        "probes: [representation_reading, crc_tpc]\nmetrics: [auroc]\n"
        "transfer:\n  - {fit_on: pairs, tested_on: [pairs, roles]}\n  - {fit_on: tokens, tested_on: [pairs]}\n"
        "checks:\n  - {kind: chance_on_shuffled_labels, probe: representation_reading, condition: pairs, metric: auroc, margin: 0.4}\n"
    )
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    results = pl.read_csv(outcome.folder / "results.csv").filter(target="truth", metric="auroc")
    found = {(row["fit_on"], row["tested_on"], row["probe"]): row["value"] for row in results.iter_rows(named=True)}
    # What an instruction makes of the states of equal replies is their difference, even in a network that was never trained.
    assert found["pairs", "pairs", "representation_reading"] > 0.9
    assert found["tokens", "pairs", "representation_reading"] > 0.9
    assert ("pairs", "roles", "representation_reading") in found
