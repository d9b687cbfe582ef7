"""Laws of probability: what breaks them, statements that keep them, and the probes, metrics and checks that ask for them."""

from __future__ import annotations

import itertools
import math
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from harness import pipeline
from harness.beds.planted import Planted
from harness.checks.invariant_to_prompt import agreement_across_prompts
from harness.checks.obeys_laws import against_chance, ratio_of_means
from harness.contracts import Answers, Pairs
from harness.contracts.kind import aliases, find, named
from harness.data.compounds import Compounds
from harness.errors import CheckError
from harness.maths.estimate import over_seeds
from harness.maths.laws import LAWS, violation
from harness.probes._consistency import Consistency
from harness.probes._lawful import Lawful, Together
from harness.prompts.relations import examples, relations
from tests.report_tables import full_table

HERE = Path()


# The laws themselves.


def by_the_book(law: str, p: np.ndarray) -> float:
    """The inequalities as they are usually written down."""
    if law == "negation":
        return abs(p[0] + p[1] - 1)
    if law == "conjunction":
        return max(max(p[0] + p[1] - 1, 0) - p[2], p[2] - min(p[0], p[1]), 0)
    if law == "disjunction":
        return max(max(p[0], p[1]) - p[2], p[2] - min(1, p[0] + p[1]), 0)
    return max(0, p[0] - p[1]) if law == "implication" else abs(p[0] - p[1])


@pytest.mark.parametrize("law", LAWS)
def test_violations_are_those_of_the_book(law: str) -> None:
    members = len(LAWS[law][0].weights)
    p = np.random.default_rng(0).random((500, members))
    p[:8] = list(itertools.islice(itertools.cycle(itertools.product([0.0, 1.0], repeat=members)), 8))
    expected = [by_the_book(law, row) for row in p]
    np.testing.assert_allclose(violation(law, p), expected, atol=1e-12)
    assert max(expected) > 0.5


def test_probabilities_that_are_some_break_nothing_and_others_do() -> None:
    """Any distribution over the four worlds of two statements keeps every law."""
    worlds = np.random.default_rng(0).dirichlet(np.ones(4), size=1000)
    p, q = worlds[:, 2] + worlds[:, 3], worlds[:, 1] + worlds[:, 3]
    both, either = worlds[:, 3], 1 - worlds[:, 0]
    made = {
        "negation": (p, 1 - p), "conjunction": (p, q, both), "disjunction": (p, q, either),
        "implication": (both, p), "paraphrase": (p, p),
    }  # fmt: skip
    for law, members in made.items():
        assert violation(law, np.stack(members, axis=-1)).max() < 1e-12
        assert violation(law, np.stack([*members[:-1], np.roll(members[-1], 1)], axis=-1)).mean() > 0.01, "the control"


def test_relations_are_among_rows_of_one_template_and_examples_are_paraphrases_of_themselves() -> None:
    frame = pl.DataFrame(
        {
            "example": ["s", "s", "t", "t", "s and t", "not u"],
            "template": ["x", "y", "x", "y", "y", "x"],
            "law": ["", "", "", "", "conjunction", "negation"],
            "parts": [[], [], [], [], ["s", "t"], ["u"]],
        }
    )
    found = relations(frame)
    assert {law: rows.tolist() for law, rows in found.items()} == {
        "conjunction": [[1, 3, 4]],
        "paraphrase": [[0, 1], [2, 3]],
    }
    ids = examples(frame)
    assert ids[0] == ids[1] != ids[2]
    assert relations(frame.select("example", "template").filter(template="x")) == {}


# Compound statements.


@cache
def compounds(limit: int = 1000, seed: int = 0) -> pl.DataFrame:
    return Compounds().load(seed, HERE, limit)


def test_compounds_are_balanced_in_every_form() -> None:
    rows = Compounds(bases=("cities", "comparisons")).load(0, HERE, 24 * 11)
    assert len(rows) == 24 * 11
    forms = rows.with_columns(part=pl.col("example").str.split(": ").list.last())
    share = dict(forms.group_by("part").agg(pl.col("label").mean()).rows())
    assert share["a and b"] == share["c or d"] == share["from c"] == 0.5
    assert share["a"] == share["b"] == pytest.approx(math.sqrt(0.5), abs=0.01)
    assert share["c"] == share["d"] == pytest.approx(1 - math.sqrt(0.5), abs=0.01)
    assert rows.group_by("law").agg(pl.col("label").mean())["label"].to_list() == [0.5] * 6
    for limit in (22, 50, 300):
        few = compounds(limit)
        assert few["label"].mean() == 0.5
        assert limit - 22 < len(few) <= limit
        assert compounds().head(len(few)).equals(few)


def test_truth_keeps_every_law_and_shuffled_truth_does_not() -> None:
    rows = compounds().with_columns(template=pl.lit("main"))
    assert rows["example"].n_unique() == len(rows)
    found = relations(rows)
    families = rows["group"].n_unique()
    assert {law: len(members) for law, members in found.items()} == {
        "negation": 2 * families, "conjunction": families, "disjunction": families,
        "implication": families, "paraphrase": 2 * families,
    }  # fmt: skip
    truth = rows["label"].to_numpy().astype(float)
    shuffled = np.random.default_rng(0).permutation(truth)
    for law, members in found.items():
        assert violation(law, truth[members]).max() == 0
        assert violation(law, shuffled[members]).mean() > 0.15
        assert (rows["group"].to_numpy()[members] == rows["group"].to_numpy()[members[:, :1]]).all()


def test_affirmed_or_denied_keeps_the_laws_without_being_the_truth() -> None:
    """What a probe may find instead: the world in which no plain statement is true."""
    rows = compounds().with_columns(template=pl.lit("main"))
    denied = rows["denied"].to_numpy().astype(float)
    for law, members in relations(rows).items():
        assert violation(law, denied[members]).max() == 0
    assert (rows["statement"].str.starts_with("It is not") == (denied == 1)).all()
    assert rows.group_by("denied").agg(pl.col("label").mean())["label"].to_list() == [0.5, 0.5]


def test_compounds_say_what_their_labels_say() -> None:
    """Read back from the text, by other means than those that made it."""
    rows = {row["example"]: row for row in compounds().iter_rows(named=True)}
    seen = set()
    for row in rows.values():
        text = row["statement"]
        assert text[0] == text[0].upper()
        words = text.rstrip(".").split()
        if row["base"] == "comparisons" and not text.startswith("It is"):
            left, right = int(words[0]), int(words[-1])
            assert (left > right if "larger" in words else left < right) == bool(row["label"]), text
            seen.add(row["law"])
        if row["law"] in ("conjunction", "disjunction", "negation"):
            parts = [rows[part]["statement"][1:].rstrip(".") for part in row["parts"]]
            assert all(part in text for part in parts)
    assert seen == {"", "paraphrase", "implication"}
    # What follows from a statement of a city is where the country that it names lies.
    places = {
        "South Korea": "Asia",
        "Colombia": "South America",
        "Nigeria": "Africa",
        "France": "Europe",
        "China": "Asia",
    }
    checked = 0
    for row in rows.values():
        if row["base"] == "cities" and row["law"] == "implication":
            country = rows[row["parts"][0]]["statement"].rstrip(".").split(" is in ")[1]
            checked += country in places
            assert places.get(country, "") in row["statement"]
    assert checked > 3


def test_compounds_follow_their_seed() -> None:
    assert compounds(100).equals(Compounds().load(0, HERE, 100))
    assert not compounds(100).equals(compounds(100, seed=1))
    assert Compounds().fingerprint(0, HERE) != Compounds().fingerprint(1, HERE)
    assert Compounds().fingerprint(0, HERE) != Compounds(bases=("cities",)).fingerprint(0, HERE)


# The objective and the probe.


def tied(count: int) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(3)
    return {
        law: torch.from_numpy(np.stack([random.permutation(count)[: len(bounds[0].weights)] for _ in range(25)]))
        for law, bounds in LAWS.items()
    }


@pytest.mark.parametrize("bias", [True, False])
def test_gradient_of_the_laws_is_that_of_autograd_and_loss_that_of_a_plain_loop(bias: bool) -> None:
    random = torch.Generator().manual_seed(0)
    states = torch.randn(2, 30, 2, 6, generator=random).double()
    theta = torch.randn(2, 5, 6 + bias, generator=random).double().requires_grad_()
    weights = {law: 0.5 + at for at, law in enumerate(LAWS)}
    objective = Lawful(states, tied(30), weights, bias)
    p = (torch.einsum("lpad,lfd->lfpa", states, theta[..., :6]) + (theta[..., 6, None, None] if bias else 0)).sigmoid()
    answer = (p[..., 1] + 1 - p[..., 0]) / 2
    plain = torch.zeros(2, 5, dtype=torch.float64)
    for law, members in tied(30).items():
        one, two, last = answer[..., members[:, 0]], answer[..., members[:, 1]], answer[..., members[:, -1]]
        nil = torch.zeros_like(one)
        broken = {
            "negation": (one + two - 1).abs(),
            "paraphrase": (one - two).abs(),
            "implication": (one - two).relu(),
            "conjunction": torch.maximum((one + two - 1).relu() - last, torch.maximum(last - torch.minimum(one, two), nil)),
            "disjunction": torch.maximum(
                torch.maximum(one, two) - last, torch.maximum(last - (one + two).clamp_max(1), nil)
            ),
        }[law]  # fmt: skip
        assert 0 < broken.mean() < 1
        plain = plain + weights[law] * broken.square().mean(dim=-1)
    torch.testing.assert_close(objective.loss(theta), plain)
    (expected,) = torch.autograd.grad(plain.sum(), theta)
    torch.testing.assert_close(objective.gradient(theta.detach()), expected)
    both = objective.loss_and_gradient(theta.detach())
    torch.testing.assert_close(both[0], plain)
    torch.testing.assert_close(both[1], expected)
    only = objective.only(torch.tensor([1]))
    torch.testing.assert_close(only.gradient(theta.detach()[1:]), expected[1:])


def test_the_sum_of_objectives_is_their_sum() -> None:
    random = torch.Generator().manual_seed(1)
    states = torch.randn(1, 30, 2, 6, generator=random)
    theta = torch.randn(1, 4, 7, generator=random)
    parts = [Consistency(states, True), Lawful(states, tied(30), dict.fromkeys(LAWS, 1.0), True)]
    sums = Together(parts)
    for name in ("loss", "gradient"):
        torch.testing.assert_close(getattr(sums, name)(theta), sum(getattr(part, name)(theta) for part in parts))
    zero = Together([parts[0], Lawful(states, tied(30), dict.fromkeys(LAWS, 0.0), True)])
    torch.testing.assert_close(zero.loss(theta), parts[0].loss(theta))
    torch.testing.assert_close(zero.gradient(theta), parts[0].gradient(theta))


class Compounded(msgspec.Struct, frozen=True):
    """Planted pairs whose truth, and whose word if it is `lawful`, keep the laws of compound statements."""

    pairs: Pairs
    truth: np.ndarray
    word: np.ndarray


def compounded(seed: int, lawful_word: bool = False, **made: Any) -> Compounded:
    rows = compounds(1000, seed).with_columns(template=pl.lit("main"))
    found = relations(rows)
    truth = rows["label"].to_numpy()
    random = np.random.default_rng([7, seed])
    word = random.permutation(truth)
    if lawful_word:
        # Another family's truth: lawful, and drawn independently of this one's.
        word = truth.reshape(-1, 11)[random.permutation(len(truth) // 11)].reshape(-1)
    bed = Planted(layers=2, d_model=24, **made)
    states = torch.stack(
        [
            bed.states([[seed, number, int(t), int(w), member] for number, (t, w) in enumerate(zip(truth, word, strict=True))])
            for member in (0, 1)
        ],
        dim=2,
    )  # fmt: skip
    places = {law: torch.from_numpy(members) for law, members in found.items()}
    pairs = Pairs(states[1:], torch.zeros(len(rows), dtype=torch.int64), relations=places)
    return Compounded(find("normalisations", "burns")().fit(pairs)(pairs), truth, word)


def accuracies(kind: str, world: Compounded, **settings: Any) -> dict[str, np.ndarray]:
    readout = find("probes", kind)(restarts=4, **settings).fit(world.pairs, [0, 1])
    answers = readout.answers(world.pairs).score[:, 0] > 0
    right = {name: (answers == getattr(world, name)).mean(axis=-1) for name in ("truth", "word")}
    return {name: np.maximum(share, 1 - share) for name, share in right.items()}


STRONGER = {"truth": 2.5, "distractor": 5.0}


def test_laws_find_truth_under_a_stronger_distractor_that_breaks_them() -> None:
    world = compounded(0, **STRONGER)
    plain = accuracies("ccs", world)
    assert (plain["word"] > 0.95).all(), "the control: without laws the word is found"
    assert (plain["truth"] < 0.6).all()
    lawful = accuracies(
        "consistency", world, conjunction=5.0, disjunction=5.0, negation=5.0, implication=5.0, paraphrase=5.0
    )
    assert (lawful["truth"] > 0.95).all()
    assert (lawful["word"] < 0.6).all()


def test_laws_do_not_help_against_a_distractor_that_keeps_them() -> None:
    world = compounded(0, lawful_word=True, **STRONGER)
    found = accuracies(
        "consistency", world, conjunction=5.0, disjunction=5.0, negation=5.0, implication=5.0, paraphrase=5.0
    )
    assert (found["word"] > 0.95).all()
    assert (found["truth"] < 0.65).all()


@pytest.mark.parametrize("recipe", [{}, {"init": "pca"}, {"confidence": "symmetrised"}], ids=str)
def test_with_zero_weights_or_without_relations_it_is_ccs(recipe: dict[str, str]) -> None:
    pairs = compounded(0, truth=4.0).pairs
    settings: dict[str, Any] = {"restarts": 2, "epochs": 100, **recipe}
    ccs = find("probes", "ccs")(**settings).fit(pairs, [0, 1]).tensors()
    weightless = find("probes", "consistency")(**settings, **dict.fromkeys(LAWS, 0.0)).fit(pairs, [0, 1]).tensors()
    alone = (
        find("probes", "consistency")(**settings).fit(msgspec.structs.replace(pairs, relations={}), [0, 1]).tensors()
    )
    lawful = find("probes", "consistency")(**settings).fit(pairs, [0, 1]).tensors()
    for name, tensor in ccs.items():
        assert torch.equal(weightless[name], tensor)
        assert torch.equal(alone[name], tensor)
    assert not torch.equal(lawful["restart_direction"], ccs["restart_direction"]), "the control"
    # A weight that is next to nothing goes through the other objective and comes out the same.
    nearly = find("probes", "consistency")(**settings, **dict.fromkeys(LAWS, 1e-12)).fit(pairs, [0, 1]).tensors()
    torch.testing.assert_close(nearly["restart_loss"], ccs["restart_loss"], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(nearly["restart_direction"], ccs["restart_direction"], atol=2e-2, rtol=1e-2)


# Metrics and checks.


def test_violation_by_law_and_over_all() -> None:
    p = np.array([0.9, 0.8, 0.2, 0.4], np.float32)[None, None]
    answers = Answers(p - 0.5, p)
    group = np.arange(4)
    found = {"negation": np.array([[0, 2]]), "conjunction": np.array([[0, 1, 2], [0, 3, 2]])}
    measure = {name: named("metrics", name).measure(answers, group, group, found) for name in (  # type: ignore[attr-defined]
        "violation", "violation_negation", "violation_conjunction", "violation_paraphrase"
    )}  # fmt: skip
    assert measure["violation_negation"].value.item() == pytest.approx(0.1)
    assert measure["violation_conjunction"].value.item() == pytest.approx((0.5 + 0.1) / 2)
    assert measure["violation"].value.item() == pytest.approx(0.7 / 3, abs=1e-6)
    assert measure["violation_paraphrase"] is None
    metric: Any = named("metrics", "violation")
    assert metric.measure(Answers(p - 0.5), group, group, found) is None, "no probabilities"
    assert metric.measure(answers, group, group) is None, "no laws"
    assert set(metric.beside) == {f"violation_{law}" for law in LAWS} == set(aliases("metrics"))
    for name in metric.beside:
        assert (named("metrics", name).title, named("metrics", name).beside) == (name, ())  # type: ignore[attr-defined]


def test_chance_is_what_probabilities_dealt_out_at_random_break() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 4000).astype(float)
    pairs = np.arange(4000).reshape(-1, 2)
    group = np.arange(4000) // 2
    truth[pairs[:, 1]] = 1 - truth[pairs[:, 0]]
    own, dealt, groups = against_chance(truth[None], {"negation": pairs}, group)
    assert own.max() == 0
    assert dealt.mean() == pytest.approx(0.5, abs=0.03)
    noise = random.integers(0, 2, (1, 4000)).astype(float)
    own, dealt, groups = against_chance(noise, {"negation": pairs}, group)
    estimate = over_seeds(ratio_of_means(own, dealt, groups)).one(0)
    assert estimate.low < 1 < estimate.high
    assert estimate.value == pytest.approx(own.mean() / dealt.mean())


def test_the_interval_of_the_ratio_covers() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        below = random.random((1, 80))
        above = np.clip(0.6 * below + 0.2 * (random.random((1, 80)) - 0.5), 0, 1)
        estimate = over_seeds(ratio_of_means(above, below, np.arange(80))).one(0)
        hits += estimate.low <= 0.6026 <= estimate.high
        # One row in 80 that breaks the law wholly may be unseen: 0.04 of what a row can break, which is twice its mean.
        assert estimate.high - estimate.low < 0.1
    assert hits / 300 >= 0.91


def test_agreement_across_prompts_is_that_of_all_couples() -> None:
    score = np.array([[1.0, -1.0, 2.0, 3.0, 3.0, -1.0, 0.0, 5.0]])
    example = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    found = agreement_across_prompts(score, example, example)
    assert found is not None
    assert found.value.item() == pytest.approx((1 / 3 + 1 + 0.5) / 3)
    assert found.influence.shape == (1, 1, 3)
    assert agreement_across_prompts(score, np.arange(8), np.arange(8)) is None


# All together, on a network that knows nothing.


SPEC = """
harness: 1
name: laws
model: {{id: {model}, dtype: float32}}
data: {{source: {{kind: compounds, bases: [comparisons]}}, limit: 220}}
prompt:
  templates: {templates}
  answers: ["false", "true"]
activations: {{layers: [1, 2]}}
probes:
  - {{kind: consistency, restarts: 2, epochs: 60}}
  - {{kind: ccs, restarts: 2, epochs: 60}}
  - vinc
  - logistic_regression
  - random
seeds: 2
metrics: [accuracy, violation]
checks:
  - {{kind: obeys_laws, probe: logistic_regression}}
  - {{kind: {check}, probe: consistency}}
"""
BOTH = '{plain: "{{ statement }} {{ answer }}", asked: "Is it so? {{ statement }} {{ answer }}"}'
ONE = '{plain: "{{ statement }} {{ answer }}"}'


def run(tmp_path: Path, model: Path, templates: str, check: str) -> pipeline.Outcome:
    path = tmp_path / "laws.yaml"
    path.write_text(SPEC.format(model=model, templates=templates, check=check))
    return pipeline.run(path, out=tmp_path / "reports", page=False)


def test_laws_go_through_the_pipeline(tmp_path: Path, tiny_llama: Path) -> None:
    outcome = run(tmp_path, tiny_llama, BOTH, "invariant_to_prompt")
    assert outcome.checks["finding"].is_in(["pass", "fail", "inconclusive"]).all()
    results = full_table(outcome.folder, "results")
    broken = results.filter(pl.col("metric").str.starts_with("violation"), probe="consistency", layer="2")
    assert set(broken["metric"]) == {"violation", *(f"violation_{law}" for law in LAWS)}
    assert set(broken["target"]) == {"truth"}
    assert (broken["value"] >= 0).all()
    counts = dict(broken.select("metric", "n").iter_rows())
    assert counts["violation"] == sum(count for name, count in counts.items() if name != "violation")
    # Twice as many negations as conjunctions; as paraphrases, too, every example under its other template.
    families = counts["violation_conjunction"] / 2
    assert counts["violation_negation"] == 4 * families
    assert counts["violation_paraphrase"] == (2 * 2 + 11) * families
    assert results.filter(pl.col("metric") == "violation", probe="vinc").is_empty(), "it claims no probability"
    assert run(tmp_path, tiny_llama, BOTH, "invariant_to_prompt").cached


def test_one_template_cannot_show_invariance(tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(CheckError, match=r"prompt\.templates"):
        run(tmp_path, tiny_llama, ONE, "invariant_to_prompt")
