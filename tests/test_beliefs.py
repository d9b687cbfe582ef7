"""Processes with hidden states: beliefs against sums over hidden paths, networks that learn sequences, and what is read off them."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats
from torch import Tensor

from harness import pipeline
from harness.analyses.measurements import simplex
from harness.contracts import Watch, kind
from harness.errors import UsageError
from harness.maths.held_out import STRENGTHS, held_out, r2
from harness.networks import training_together
from harness.networks.checkpoints import Checkpoints
from harness.networks.recipe import Recipe
from harness.networks.stacked import Rates, Stacked
from harness.networks.training_together import train_together
from harness.networks.transformer import Transformer
from harness.networks.watched import Watched
from harness.report.figures import canvas
from harness.store import Store
from harness.subjects.small_networks import SmallNetworks
from harness.worlds.hidden_markov import HiddenMarkov, Matrices, mess3, rrxor
from tests.test_watched_networks import Watches, finding, problems

UNEVEN: Matrices = (((0.1, 0.3), (0.0, 0.2)), ((0.2, 0.1), (0.5, 0.1)), ((0.3, 0.0), (0.1, 0.1)))
"""Two states and three tokens, nothing of which is symmetrical, and ways that are never gone."""
PROCESSES = {"mess3": mess3(), "rrxor": rrxor(), "uneven": UNEVEN}
NETWORK = Transformer(blocks=2, d_model=16, heads=2, d_mlp=16, layer_norm=True, answers="each")


def bed(**options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", "hidden_markov"))


# ---------------------------------------------------------------- the process


def by_paths(transitions: Matrices, tokens: tuple[int, ...]) -> np.ndarray:
    """The probability of some tokens and of being in each state after them: the sum over all paths of hidden states, (state,)."""
    states = range(len(transitions[0]))
    step = np.array(transitions).sum(0)
    # Whatever is begun with becomes stationary; the mean of a cycle's members does, too.
    start = np.full(len(step), 1 / len(step)) @ np.linalg.matrix_power((step + np.eye(len(step))) / 2, 400)
    found = np.zeros(len(step))
    for path in product(states, repeat=len(tokens) + 1):
        chance = start[path[0]]
        for token, before, after in zip(tokens, path, path[1:], strict=False):
            chance *= transitions[token][before][after]
        found[path[-1]] += chance
    return found


@pytest.mark.parametrize("name", PROCESSES)
def test_beliefs_and_next_tokens_are_those_of_a_sum_over_hidden_paths(name: str) -> None:
    transitions = PROCESSES[name]
    world = HiddenMarkov(transitions=transitions, length=4)
    chances = {tokens: by_paths(transitions, tokens) for tokens in product(range(world.vocabulary), repeat=4)}
    possible = [tokens for tokens, chance in chances.items() if chance.sum() > 1e-12]
    sequences = world.questions()
    assert sequences.tolist() == [list(tokens) for tokens in possible]
    assert world.rows == len(possible)
    beliefs = world.beliefs(sequences)
    laws = world.laws(beliefs)
    for row, tokens in enumerate(possible):
        for position in range(4):
            joint = by_paths(transitions, tokens[: position + 1])
            assert beliefs[row, position].numpy() == pytest.approx(joint / joint.sum(), abs=1e-12)
        after = [by_paths(transitions, (*tokens[:3], token)).sum() for token in range(world.vocabulary)]
        assert laws[row, 2].numpy() == pytest.approx(
            np.array(after) / by_paths(transitions, tokens[:3]).sum(), abs=1e-12
        )
        assert world.answers()[row] == laws[row, 3].argmax()


@pytest.mark.parametrize("name", PROCESSES)
def test_sequences_are_drawn_as_likely_as_they_are(name: str) -> None:
    transitions = PROCESSES[name]
    drawn = HiddenMarkov(transitions=transitions, length=2).drawn(6000, 0)
    codes = drawn @ len(transitions) ** torch.arange(3)
    expected = {
        sum(token * len(transitions) ** place for place, token in enumerate(tokens)): by_paths(
            transitions, tokens
        ).sum()
        for tokens in product(range(len(transitions)), repeat=3)
    }
    likely = {code: chance for code, chance in expected.items() if chance > 1e-12}
    counts = [int((codes == code).sum()) for code in likely]
    assert sum(counts) == 6000, "nothing is drawn that cannot be emitted"
    assert stats.chisquare(counts, [6000 * chance for chance in likely.values()]).pvalue > 1e-3
    # The control: as if all were alike.
    assert stats.chisquare(counts).pvalue < 1e-3 or name == "rrxor"


def test_the_processes_are_those_of_the_paper() -> None:
    expected = [[0.765, 0.00375, 0.00375], [0.0425, 0.0675, 0.00375], [0.0425, 0.00375, 0.0675]]
    assert np.array(mess3()[0]) == pytest.approx(np.array(expected))
    world = HiddenMarkov(transitions=rrxor(), length=9)
    beliefs = world.beliefs(world.questions()).flatten(0, 1).numpy().round(9)
    assert len({tuple(one) for one in beliefs} | {tuple(world.start().numpy().round(9))}) == 36
    # Whoever is sure where a triple begins knows its third bit.
    sure = world.beliefs(torch.tensor([[0, 0, 0, 0, 1, 1, 0, 0, 0]]))[0]
    assert float(sure.max(1).values[5]) < 1


def test_a_beginning_is_read_once_and_tokens_leave_nothing_of_short_ones() -> None:
    world = HiddenMarkov(transitions=UNEVEN, length=5)
    sequences = world.questions()[torch.randperm(world.rows, generator=torch.Generator().manual_seed(1))[:40]]
    first = world.beginnings(sequences)
    told = [tuple(sequences[row, : end + 1].tolist()) for row, end in first.nonzero().tolist()]
    assert len(told) == len(set(told))
    assert set(told) == {tuple(row[: end + 1]) for row in sequences.tolist() for end in range(5)}
    everything = world.questions()
    beyond, beliefs = world.beyond_recent(everything), world.beliefs(everything)
    assert beyond[:, :3].abs().max() < 1e-12
    groups: dict[tuple[int, ...], list[Tensor]] = {}
    for tokens, own, belief in zip(everything.tolist(), beyond[:, 4], beliefs[:, 4], strict=True):
        groups.setdefault(tuple(tokens[2:]), []).append(torch.stack([own, belief]))
    for rows in groups.values():
        both = torch.stack(rows)
        torch.testing.assert_close(both[:, 0], both[:, 1] - both[:, 1].mean(0))
    assert beyond[:, 4].abs().max() > 0.01


@pytest.mark.parametrize(
    ("transitions", "says"),
    [
        ((((0.5,),),), "two tokens and one state"),
        ((((0.5, 0.5),), ((0.5, 0.5),)), "token 0, state 0: 2 numbers for 1 states"),
        ((((0.5,),), ((0.25,),)), "state 0: its rows of all tokens sum to 0.75 in place of 1"),
        ((((1.5,),), ((-0.5,),)), "token 0, state 0: 1.5 is no probability"),
        ((((0.5, 0.0), (0.0, 0.5)), ((0.5, 0.0), (0.0, 0.5))), "no one distribution is stationary"),
        ((((0.5,),), ((0.5,), (0.5,))), "token 1 has 2 rows"),
    ],
)
def test_what_is_no_process_is_refused(transitions: Matrices, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        HiddenMarkov(transitions=transitions)


def test_sequences_that_cannot_all_be_counted_are_refused() -> None:
    with pytest.raises(UsageError, match="length: 11 tokens have"):
        HiddenMarkov(transitions=mess3(), length=11)
    with pytest.raises(UsageError, match="length: 0 tokens"):
        HiddenMarkov(transitions=mess3(), length=0)


# ---------------------------------------------------------------- training


def recipe(seed: int = 0, **options: Any) -> Recipe:
    world = HiddenMarkov(transitions=rrxor(), length=5)
    asked: dict[str, Any] = {
        "learning_rate": 1e-2,
        "weight_decay": 0.01,
        "warm_up": 5,
        "falls": (30, 60),
        "drawn": 20,
    } | options
    return Recipe(world=world, network=NETWORK, seed=seed, **asked)


def test_networks_on_drawn_sequences_are_the_same_in_any_company_and_after_a_kill(tmp_path: Path) -> None:
    together = train_together([recipe(seed) for seed in (0, 1, 2)], (0, 60), tmp_path / "together").parameters(60)
    alone = train_together([recipe(1)], (0, 60), tmp_path / "alone").parameters(60)
    assert torch.equal(alone[0], together[1])
    train_together([recipe(1)], (0, 25), tmp_path / "again")
    again = train_together([recipe(1)], (0, 25, 60), tmp_path / "again")
    assert torch.equal(again.parameters(60), alone)
    assert not torch.equal(together[0], together[1])


def test_each_step_and_network_has_sequences_of_its_own() -> None:
    batch = training_together._batches([recipe(0), recipe(1)])
    first, next_one = batch(0), batch(training_together.STRETCH)
    assert first.questions.shape == (2, 32, 5), "filled up to a multiple of 16"
    torch.testing.assert_close(first.weights.sum(1), torch.ones(2))
    assert not first.weights[:, 20:].any()
    assert torch.equal(first.questions[:, :, 1:], first.answers[:, :, :-1])
    assert not torch.equal(first.questions[0], first.questions[1])
    assert not torch.equal(first.questions, next_one.questions)
    assert torch.equal(batch(0).questions, first.questions)


def test_a_learning_rate_rises_stays_and_falls_to_nothing() -> None:
    rate = torch.ones(1, 1)
    rates = Rates(rate, rate, (0.9, 0.98), 10, (50, 100))
    assert [rates.share(step) for step in (1, 10, 50, 75, 100, 120)] == pytest.approx([0.1, 1, 1, 0.5, 0, 0])
    assert Rates(rate, rate, (0.9, 0.98), 10).share(10_000) == 1
    with pytest.raises(UsageError, match="falls:"):
        recipe(falls=(5, 5))


def test_a_network_comes_nearer_to_what_can_be_known(tmp_path: Path) -> None:
    # Whoever has seen one token knows all that follow: the tokens go round.
    world = HiddenMarkov(transitions=tuple(tuple(tuple(float(a == b == t or (b + 1) % 3 == a == t) * (b != a) for a in range(3)) for b in range(3)) for t in range(3)), length=4)  # fmt: skip
    asked = msgspec.structs.replace(recipe(), world=world)
    kept = train_together([asked], (0, 60), tmp_path)
    before, after = (float(Watched([asked], kept, step).beginnings.excess) for step in (0, 60))
    assert before > 0.5
    assert 0 <= after < 0.1


# ---------------------------------------------------------------- measurements


def watched(folder: Path, networks: int = 2, scale: float = 1.0, **options: Any) -> Watched:
    """Networks before training."""
    recipes = [recipe(seed, **options) for seed in range(networks)]
    kept = Checkpoints(folder, "by hand")
    each = torch.stack([one.network.initial(one.sizes, one.seed, scale) for one in recipes])
    kept.keep(Stacked.begun(each), checkpoint=True)
    return Watched(recipes, kept, 0)


def measured(of: Watched, name: str = "belief_r2", **options: Any) -> list[float]:
    found: list[float] = kind.find("measurements", name)(**options).measure(of).tolist()  # type: ignore[attr-defined]
    return found


def test_a_network_that_knows_nothing_loses_what_the_process_tells(tmp_path: Path) -> None:
    of = watched(tmp_path, scale=0.0)
    sequences = of.beginnings.process.drawn(500, 0xBE11EF)[:, :-1].tolist()
    entropy, known = 0.0, {}
    for tokens in sequences:
        for end in range(1, 6):
            begun = tuple(tokens[:end])
            if begun not in known:
                after = np.array([by_paths(rrxor(), (*begun, token)).sum() for token in (0, 1)])
                law = after / after.sum()
                known[begun] = -float(sum(p * math.log(p) for p in law if p > 0))
            entropy += known[begun] / (5 * len(sequences))
    assert measured(of, "excess_loss") == pytest.approx([math.log(2) - entropy] * 2, abs=1e-6)


def test_planted_beliefs_are_read_and_noise_is_not(tmp_path: Path) -> None:
    of = watched(tmp_path)
    belief = of.beginnings.values["belief"]
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 3, len(belief), 16, generator=random)
    mixing = torch.randn(5, 16, generator=random)
    planted = noise.clone()
    planted[0, 2] = (belief @ mixing.double()).float()
    # Of the second network each layer has a part.
    for layer, parts in enumerate(((0, 1), (2,), (3, 4))):
        planted[1, layer] = (belief[:, parts] @ mixing[list(parts)].double()).float()
    of.beginnings.states = planted
    final, together, first = (measured(of, layer=layer) for layer in (-1, "together", 0))
    assert final[0] > 0.999 and final[1] < 0.9
    assert together[1] > 0.999
    assert first[0] < 0.05
    assert measured(of, against="recent_tokens")[0] > 0.999
    assert measured(of, against="recent_tokens", layer=0)[0] < 0
    assert max(measured(of, shuffled=True)) < 0.02
    assert measured(of, target="next_token")[0] > 0.999


def test_baselines_read_no_network(tmp_path: Path) -> None:
    of = watched(tmp_path)
    tokens, recent, law = (measured(of, read=read) for read in ("tokens", "recent_tokens", "next_token"))
    assert all(one[0] == one[1] for one in (tokens, recent, law))
    seen = of.beginnings
    beliefs, beyond = seen.values["belief"], seen.process.beyond_recent(seen.sequences)[seen.first]
    assert recent[0] == pytest.approx(1 - float(beyond.square().sum() / (beliefs - beliefs.mean(0)).square().sum()))
    # What is explained of what they leave: nothing by themselves, and by others so that errors are shares of errors.
    assert measured(of, read="recent_tokens", against="recent_tokens") == [0, 0]
    assert measured(of, read="tokens", against="recent_tokens")[0] == pytest.approx(
        1 - (1 - tokens[0]) / (1 - recent[0])
    )
    laws = seen.values["next_token"]
    missed = seen.process.laws(beyond)
    expected = 1 - float(missed.square().sum() / (laws - laws.mean(0)).square().sum())
    assert measured(of, read="recent_tokens", target="next_token")[0] == pytest.approx(expected)
    # All beginnings end with their last tokens.
    ends = torch.tensor([int(row.view(5, 2)[0].argmax()) for row in of.beginnings.tokens])
    rows, places = of.beginnings.first.nonzero(as_tuple=True)
    assert torch.equal(ends, of.beginnings.sequences[rows, places])
    # One number tells the next token of two, and five beliefs cannot be a line of it.
    assert 0.05 < law[0] < 0.7


def test_a_strength_is_chosen_as_generalised_cross_validation_has_it() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 12)) * np.geomspace(1, 0.01, 12)
    values = rows @ random.normal(size=(12, 2)) * 3 + random.normal(size=(60, 2))
    fold = np.arange(60) // 30
    expected = np.empty_like(values)
    for tested in (0, 1):
        own, other = rows[fold != tested], rows[fold == tested]
        mean, middle = own.mean(0), values[fold != tested].mean(0)
        x, y = own - mean, values[fold != tested] - middle
        best = (math.inf, x)
        for strength in STRENGTHS:
            penalty = strength * np.trace(x.T @ x) / 12
            inverse = np.linalg.inv(x.T @ x + penalty * np.eye(12))
            hat = x @ inverse @ x.T
            error = float(np.square(y - hat @ y).sum() / (30 - 1 - np.trace(hat)) ** 2)
            best = min(best, (error, inverse @ x.T @ y), key=lambda one: one[0])
        expected[fold == tested] = middle + (other - mean) @ best[1]
    found = held_out(*(torch.from_numpy(one) for one in (rows, values, fold)))
    assert found.numpy() == pytest.approx(expected, abs=1e-8)
    # Twice the same dimensions are no more than once, and none tell nothing.
    double = held_out(torch.from_numpy(np.hstack([rows, rows])), torch.from_numpy(values), torch.from_numpy(fold))
    assert r2(double, torch.from_numpy(values)) == pytest.approx(r2(found, torch.from_numpy(values)), abs=0.05)
    constant = held_out(torch.ones(60, 3), torch.from_numpy(values), torch.from_numpy(fold))
    assert r2(constant, torch.from_numpy(values)) < 0.01


# ---------------------------------------------------------------- checks


def ends(**values: float) -> Watch:
    return Watch((0, 10), {title: np.tile([0.1, value], (8, 1)) for title, value in values.items()}, {})


@pytest.mark.parametrize(
    ("belief", "beyond", "expected"), [(0.99, 0.7, "pass"), (0.99, 0.5, "fail"), (0.9, 0.7, "fail")]
)
def test_a_belief_is_linear_where_more_than_recent_tokens_is_read(belief: float, beyond: float, expected: str) -> None:
    own = Watches(main=ends(belief=belief, beyond_recent=beyond))
    assert finding("belief_is_linear", own) == expected
    mixed = ends(belief=belief, beyond_recent=beyond)
    mixed.values["belief"][::2, 1] = 0.5
    assert finding("belief_is_linear", Watches(main=mixed)) == ("inconclusive" if expected == "pass" else "fail")
    untrained = Watches(main=ends(belief=belief, beyond_recent=beyond).until(0))
    assert finding("belief_is_linear", untrained) == "fail"


@pytest.mark.parametrize(("together", "expected"), [(0.75, "pass"), (0.72, "fail"), (0.6, "fail")])
def test_all_layers_are_needed_where_they_tell_more_by_a_margin(together: float, expected: str) -> None:
    own = Watches(main=ends(belief=0.7, together=together))
    assert finding("needs_all_layers", own) == expected
    turned = finding("needs_all_layers", own, together="belief", final="together")
    assert turned == ("pass" if together == 0.6 else "fail")


# ---------------------------------------------------------------- the bed and its figure


def test_rows_are_beginnings_with_what_is_true_of_them() -> None:
    made = bed(process="rrxor", length=5, blocks=1)
    rows = made.load(30, 3)
    assert len(rows) == 30 and rows["example"].n_unique() == 30
    for name, group, label, belief, law, tokens in rows.select(
        "example", "group", "label", "belief", "next_token", "tokens_0"
    ).iter_rows():
        assert group.startswith(name) and name == "".join("ab"[token] for token in tokens)
        joint = by_paths(rrxor(), tuple(tokens))
        assert belief == pytest.approx(joint / joint.sum())
        assert law[label] == max(law)
    assert made.load(50, 3)[:30].equals(rows)
    assert [len(factor.values) for factor in made.factors] == [5, 2, 5]
    assert bed(process="given", transitions=UNEVEN, length=3).factors[0].values == ("state_0", "state_1")


def test_states_of_beginnings_are_those_at_positions_of_their_sequence(tmp_path: Path) -> None:
    made = bed(process="rrxor", length=5, d_model=16, d_mlp=16, train={"networks": 2, "steps": 2, "batch": 16})
    kept = train_together(made.recipes, made.steps, tmp_path)
    subject = SmallNetworks(made, "", kept)
    of = Watched(made.recipes, kept, made.steps[-1])
    rows, places = of.beginnings.first.nonzero(as_tuple=True)
    prompts = [
        of.beginnings.sequences[row, : end + 1].tolist()
        for row, end in zip(rows.tolist(), places.tolist(), strict=True)
    ]
    torch.testing.assert_close(subject.states(prompts, [0, 1, 2]), of.beginnings.states[0], rtol=1e-4, atol=1e-5)


SPEC = """\
harness: 1
name: believed
model: {bed: hidden_markov, process: mess3, length: 4, blocks: 1, d_model: 16, d_mlp: 16, train: {networks: 6, steps: 20, every: 10, batch: 16}}
data: {limit: 60, target: {column: belief, kind: vector}, split: {train: 0.6, test: 0.4}}
conditions:
  trained: {}
  untrained: {model: {step: 0}}
probes: [ridge]
transfer:
  - {fit_on: trained, tested_on: [trained]}
layer: 1
metrics: [r2]
measurements: [excess_loss, {kind: belief_r2, name: belief}, {kind: belief_r2, name: beyond_recent, against: recent_tokens}, weight_norm]
checks:
  - {kind: belief_is_linear, condition: trained, least: 0.2, least_beyond: -50}
  - {kind: belief_is_linear, name: at_first, condition: untrained, least: 0.999}
  - {kind: needs_all_layers, condition: trained, together: belief}
"""


def test_a_spec_of_beliefs_reaches_a_report_with_its_figure(tmp_path: Path) -> None:
    path = tmp_path / "believed.yaml"
    path.write_text(SPEC)
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    findings = dict(outcome.checks.select("check", "finding").iter_rows())
    assert findings == {"belief_is_linear": "pass", "at_first": "fail", "needs_all_layers": "fail"}
    figure = (outcome.folder / "figures" / "beliefs.svg").read_text()
    assert "A linear map reads beliefs off the network" in figure
    beliefs = pl.read_parquet(outcome.folder / "beliefs.parquet")
    assert set(beliefs["step"]) == {0, 20}
    true = np.array(beliefs["true"].to_list())
    assert true.sum(1) == pytest.approx(np.ones(len(true)))


def test_the_figure_is_small_and_coloured_by_the_true_belief() -> None:
    world = HiddenMarkov(transitions=mess3(), length=9)
    true = world.beliefs(world.questions())[:, -1]
    order = torch.randperm(len(true), generator=torch.Generator().manual_seed(0))[:6000]
    rows = [
        ("main", step, number, own, [share + 0.05 * (step == 0) for share in own])
        for step in (0, 9)
        for number, own in enumerate(true[order].tolist())
    ]
    frame = pl.DataFrame(rows, schema=["condition", "step", "beginning", "true", "read"], orient="row")
    figure = simplex.draw(frame)
    assert figure is not None
    drawn = canvas.to_svg(figure)
    assert len(drawn) < 60_000
    assert b"R\xc2\xb2 1.000" in drawn
    assert simplex.mixed((5, 0, 0)) == "#0072b2" and simplex.mixed((5, 0, 0)).encode() in drawn
    two = frame.with_columns(true=pl.lit([0.5, 0.5]), read=pl.lit([0.5, 0.5]))
    assert simplex.draw(two) is None


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("process: mess3", "process: given", "process: `given` needs `transitions`"),
        ("process: mess3", "process: given, transitions: [[[0.5]], [[0.4]]]", "transitions: state 0: its rows of all tokens sum to 0.9"),
        ("process: mess3", "process: mess3, transitions: [[[0.5]], [[0.5]]]", "transitions: give them with `process: given`"),
        ("length: 4", "length: 20", "length: 20 tokens have"),
        ("length: 4", "length: 4, heads: 3", "heads: 3 heads cannot share a width of 16"),
        ("batch: 16", "fraction: 0.3", "fraction"),
        ("weight_norm]", "test_loss]", "test_loss is of questions, and the networks of hidden_markov learn sequences"),
        ("name: belief}", "name: belief, layer: 5}", "layer: 5 is none of the 2 layers"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, written: str, instead: str, says: str) -> None:
    assert written in SPEC
    found = problems(tmp_path, SPEC.replace(written, instead))
    assert any(says in line for line in found), found
    assert all("watched.yaml:" in line for line in found)


def test_beliefs_are_not_measured_of_networks_that_learn_questions() -> None:
    adding = kind.find("beds", "modular_addition")(prime=11)
    for name in ("belief_r2", "excess_loss"):
        said = kind.find("measurements", name)().problem(adding)  # type: ignore[attr-defined]
        assert "is of sequences, and the networks of modular_addition learn questions" in said
