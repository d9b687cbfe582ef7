"""Refined learning coefficients of attention heads, the clusters that they make, and the claim that these are heads that do the same."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from harness import pipeline
from harness.checks.head_specialises import HeadSpecialises
from harness.contracts import Watch, kind
from harness.maths.learning_coefficient import Sampling
from harness.maths.two_clusters import apart, two_clusters
from harness.measurements import coefficient_clusters
from harness.networks import head_coefficients, heads
from harness.networks.attention_only import AttentionOnly
from harness.networks.head_coefficients import Refined, measured_steps, weights_of_head
from harness.networks.small_network import Sizes
from harness.networks.watched import Watched
from harness.store import Store
from tests import induction_by_hand
from tests.test_watched_networks import Watches, finding, problems

HOW = Sampling(rows=16, step_size=1e-5, chains=2, burn_in=0, draws=8, localisation=1000.0)
REFINED = Refined(jumps=None, sampling=HOW, batch=4)


# ---------------------------------------------------------------- coefficients


@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_every_parameter_of_a_block_is_one_heads(positions: Any) -> None:
    network, sizes = AttentionOnly(blocks=2, d_model=12, heads=3, positions=positions), Sizes(5, 7, 5)
    layout = network.layout(sizes)
    masks = torch.stack([weights_of_head(network, layout, block, head) for block in (1, 2) for head in range(3)])
    ones = torch.zeros(1, layout.size)
    for name, view in layout.views(ones).items():
        view[:] = float(name[0] in "12")
    assert torch.equal(masks.sum(0), ones[0].long()), "of all heads together, each once"
    # A head whose weights are not its own would change what another one gathers.
    flat = network.initial(sizes, 0)[None]
    asked = torch.randint(5, (1, 4, 7), generator=torch.Generator().manual_seed(0))

    def gathered(of: torch.Tensor) -> torch.Tensor:
        seen: dict[str, torch.Tensor] = {}
        network.logits(layout.views(of), asked, lambda place, states: seen.setdefault(place, states))
        return seen["heads.1"]

    noise = torch.randn(flat.shape, generator=torch.Generator().manual_seed(1))
    changed = gathered(flat + noise * masks[1]) != gathered(flat)
    assert bool(changed[..., 1, :].any()) and not bool(changed[..., (0, 2), :].any())


def test_a_head_that_nobody_hears_has_none(tmp_path: Path) -> None:
    """The second head has no output: what the first one writes reaches nothing, and the second one's own output is worth moving."""
    zero = torch.zeros(48, 48)
    silent = induction_by_hand.watched(tmp_path, **{"2.output": zero, "unembed": torch.eye(48)[:, :8]})
    found = head_coefficients.head_coefficients(silent, REFINED)
    assert found.shape == (1, 2, 1)
    # What the first head writes would be read through the unembedding only where the token stands, not where it writes.
    deaf = {"2.output": zero, "1.output": zero, "unembed": torch.zeros(48, 8)}
    assert head_coefficients.head_coefficients(
        induction_by_hand.watched(tmp_path / "deaf", **deaf), REFINED
    ).flatten().tolist() == pytest.approx([0, 0], abs=1e-9)
    heard = head_coefficients.head_coefficients(induction_by_hand.watched(tmp_path / "heard"), REFINED)
    assert float(heard[0, 1, 0]) > 1 > 0.5 > abs(float(found[0, 0, 0]))


def test_steps_go_through_all_rows_in_turn(tmp_path: Path) -> None:
    """Where nothing moves, the mean over whole passes is the loss of all rows, and over a part of a pass it is not."""
    of = induction_by_hand.watched(tmp_path)
    still = msgspec.structs.replace(HOW, step_size=1e-30, localisation=0.0)
    whole, part = (
        head_coefficients.head_coefficients(
            of, msgspec.structs.replace(REFINED, sampling=msgspec.structs.replace(still, draws=draws))
        )
        for draws in (8, 5)
    )
    assert whole.flatten().tolist() == pytest.approx([0, 0], abs=1e-3)
    assert float(part.abs().min()) > 1e-2


def test_it_is_measured_at_some_steps_of_the_best_head_and_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured_steps((0, 10, 20, 30, 40), 2) == (0, 20, 40)
    assert measured_steps((0, 10, 20, 30), 2) == (0, 20, 30)
    of = induction_by_hand.watched(tmp_path)
    asked: list[Refined] = []

    def planted(_: Watched, how: Refined) -> torch.Tensor:
        asked.append(how)
        return torch.tensor([[[3.0], [7.0]]], dtype=torch.float64)

    monkeypatch.setattr(head_coefficients, "head_coefficients", planted)
    best, others = (kind.find("measurements", "head_coefficient")(of=of_) for of_ in ("best", "others"))
    assert best.measure(of).tolist() == [7] and others.measure(of).tolist() == [3]  # type: ignore[attr-defined]
    assert asked[0].jumps is None and asked[0].sampling.rows == 64
    kind.find("measurements", "head_coefficient")(jumps=0.9).measure(of)  # type: ignore[attr-defined]
    assert asked[-1].jumps == 0.9


# ---------------------------------------------------------------- clusters


def test_clusters_are_those_that_lie_together() -> None:
    random = np.random.default_rng(0)
    second = np.array([0, 0, 1, 0, 1, 0, 0, 1], dtype=bool)
    points = random.normal(size=(8, 3)) + 20 * second[:, None]
    assert (two_clusters(points) == second).all()

    # The pair of clusters that leaves the least, of all there are, where they lie apart.
    def left(chosen: np.ndarray) -> float:
        return float(sum(((part - part.mean(0)) ** 2).sum() for part in (points[chosen], points[~chosen]) if len(part)))

    every = [np.array([False, *rest]) for rest in itertools.product([False, True], repeat=7)]
    assert (min(every, key=left) == second).all()
    assert apart(np.arange(4.0), np.array([False, True, False, True])) == 1
    assert apart(np.arange(4.0), np.zeros(4, dtype=bool)) == 0
    with pytest.raises(ValueError, match="1 points are no two clusters"):
        two_clusters(points[:1])


@pytest.mark.parametrize("score", ["matching", "previous"])
@pytest.mark.parametrize(("doing", "expected"), [([2, 5], 0.9), ([0, 2], 0.3)])
def test_scores_of_clusters_are_as_far_apart_as_what_heads_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doing: list[int], expected: float, score: Any
) -> None:
    """Heads 2 and 5 have other coefficients than the rest, on one of two kinds of data."""
    curves = {None: np.ones((1, 2, 4, 3)), 0.99: np.ones((1, 2, 4, 3))}
    curves[0.99].reshape(8, 3)[[2, 5], 1:] = 40.0
    scores = np.full(8, 0.05)
    scores[doing] = 0.95
    seen = type("Seen", (), {"stacked": lambda self, part: torch.from_numpy(scores * (part == score)).view(1, 2, 4)})
    monkeypatch.setattr(
        head_coefficients, "coefficient_curves", lambda watched, how, steps: torch.from_numpy(curves[how.jumps])
    )
    monkeypatch.setattr(heads, "looked_into", lambda watched, jumps: seen())
    of = induction_by_hand.watched(tmp_path)
    made = coefficient_clusters.CoefficientClusters(score=score)
    assert made.measure(of) == pytest.approx([expected])
    by_chance = msgspec.structs.replace(made, by_chance=True).measure(of)
    # Two of eight at random: 1 of 28 both, 12 of 28 one, 15 of 28 none.
    exact = 0.9 * (1 / 28 + 12 / 28 * abs(0.5 - 1 / 6) + 15 / 28 * 2 / 6)
    assert by_chance == pytest.approx([exact], abs=0.05)


def clustered(found: list[float], chance: float = 0.25) -> Watch:
    values = {
        "coefficient_clusters": np.array([[np.nan, one] for one in found]),
        "by_chance": np.full((len(found), 2), chance),
    }
    return Watch((0, 100), values, {})


@pytest.mark.parametrize(
    ("found", "chance", "expected"),
    [
        ([0.9] * 6, 0.25, "pass"),
        ([0.25] * 6, 0.02, "fail"),
        ([0.5] * 6, 0.45, "fail"),
        ([0.9, 0.9, 0.9, 0.1, 0.1, 0.1], 0.25, "inconclusive"),
    ],
)
def test_heads_specialise_where_clusters_are_heads_that_do_the_same(
    found: list[float], chance: float, expected: str
) -> None:
    assert finding("head_specialises", Watches(main=clustered(found, chance)), chance="by_chance") == expected


@pytest.mark.parametrize("networks", [6, 8, 10])
def test_the_check_passes_in_no_run_by_chance(networks: int) -> None:
    """Clusters of any sizes that have nothing to do with the two of eight heads that match."""
    random, passed = np.random.default_rng(networks), 0
    scores = np.array([0.9, 0.8, *[0.05] * 6])
    check = HeadSpecialises(chance="by_chance")
    for _ in range(400):
        found, chance = [], []
        for _ in range(networks):
            second = np.arange(8) < random.integers(1, 8)
            own = [apart(scores[random.permutation(8)], second) for _ in range(60)]
            found.append(own[0])
            chance.append(np.mean(own))
        watch = Watch(
            (0,), {"coefficient_clusters": np.array(found)[:, None], "by_chance": np.array(chance)[:, None]}, {}
        )
        passed += check.decide(Watches(main=watch)).finding == "pass"  # type: ignore[arg-type]
    assert passed <= 400 * 0.025


# ---------------------------------------------------------------- a spec

SPEC = """\
harness: 1
name: specialised
model: {bed: repeated_tokens, tokens: 8, used: 4, length: 12, d_model: 16, heads: 2, train: {networks: 6, steps: 20, every: 10, batch: 16}}
data: {limit: 100, split: {train: 0.6, test: 0.4}}
conditions:
  two: {}
  one: {model: {blocks: 1}}
probes: [{kind: logistic_regression, target: previous}]
transfer:
  - {fit_on: two, tested_on: [two]}
layer: 1
metrics: [accuracy]
measurements:
  - {kind: head_coefficient, each: 1, rows: 8, batch: 4, burn_in: 2, draws: 4}
  - {kind: head_coefficient, name: others, of: others, each: 1, rows: 8, batch: 4, burn_in: 2, draws: 4}
  - {kind: coefficient_clusters, each: 1, rows: 8, batch: 4, burn_in: 2, draws: 4}
  - {kind: coefficient_clusters, name: by_chance, by_chance: true, each: 1, rows: 8, batch: 4, burn_in: 2, draws: 4}
checks:
  - {kind: head_specialises, condition: two, chance: by_chance}
  - {kind: head_specialises, name: of_one_layer, condition: one, chance: by_chance}
"""


def test_a_spec_of_coefficients_reaches_a_report(tmp_path: Path) -> None:
    path = tmp_path / "specialised.yaml"
    path.write_text(SPEC)
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    assert dict(outcome.checks.select("check", "finding").iter_rows()) == {
        "head_specialises": "fail",
        "of_one_layer": "fail",
    }


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("each: 1, rows: 8, batch: 4, burn_in: 2, draws: 4}\n  - {kind: head", "batch: 3}\n  - {kind: head", "batch: 3 does not divide 64 rows"),
        ("bed: repeated_tokens, tokens: 8, used: 4, length: 12", "bed: nested_brackets, kinds: 3, depth: 3, length: 24", "is of sequences in which tokens come again"),
        ("draws: 4}\n  - {kind: head", "draws: 3}\n  - {kind: head", "draws: 3 steps of 4 do not go through 8 rows as a whole; give a multiple of 2"),
        ("heads: 2", "heads: 1", "one head of one block is no two clusters"),
        ("chance: by_chance}\n  -", "chance: by_luck}\n  -", "by_luck"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, written: str, instead: str, says: str) -> None:
    assert written in SPEC
    found = problems(tmp_path, SPEC.replace(written, instead, 1))
    assert any(says in one for one in found), found
