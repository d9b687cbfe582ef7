"""Othello: boards against plain rules, networks that learn games, what is read off them, and what they say once a disc is turned."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from harness import pipeline
from harness.beds.othello import named
from harness.contracts import Watch, kind
from harness.errors import UsageError
from harness.maths import hidden_layer
from harness.maths.softmax_regression import fitted
from harness.networks import games as games_seen
from harness.networks.checkpoints import Checkpoints
from harness.networks.games import Games
from harness.networks.recipe import Recipe
from harness.networks.small_network import Sizes
from harness.networks.stacked import Stacked, losses
from harness.networks.training_on_sequences import EachAlone, batches, train_on_sequences
from harness.networks.transformer import Transformer
from harness.networks.watched import Watched
from harness.store import Store
from harness.subjects.small_networks import SmallNetworks
from harness.worlds.boards import Boards
from harness.worlds.othello import Othello
from tests.test_watched_networks import Watches, finding, problems

NETWORK = Transformer(blocks=2, d_model=16, heads=2, d_mlp=16, layer_norm=True, answers="each")
SMALL = Othello(side=4)


class Plain:
    """One game by the rules, square by square."""

    def __init__(self, side: int):
        half = side // 2
        self.side, self.black = side, True
        self.on: dict[tuple[int, int], bool] = {
            (half - 1, half - 1): False,
            (half, half): False,
            (half - 1, half): True,
            (half, half - 1): True,
        }
        self.places = [(row, column) for row in range(side) for column in range(side) if (row, column) not in self.on]

    def turns(self, place: tuple[int, int], black: bool) -> list[tuple[int, int]]:
        """The discs that are turned by a disc of one colour at a place; none where it is not legal."""
        found: list[tuple[int, int]] = []
        if place in self.on:
            return found
        for down, right in ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)):
            line, (row, column) = [], place
            while self.on.get((row := row + down, column := column + right)) == (not black):
                line.append((row, column))
            if self.on.get((row, column)) == black:
                found += line
        return found

    def legal(self, black: bool) -> set[int]:
        return {token for token, place in enumerate(self.places) if self.turns(place, black)}

    def play(self, token: int) -> bool:
        """Whether the move was legal; the next player passes who has none."""
        place = self.places[token]
        turned = self.turns(place, self.black)
        self.on |= dict.fromkeys([*turned, place], self.black)
        self.black = not self.black
        if not self.legal(self.black) and self.legal(not self.black):
            self.black = not self.black
        return bool(turned)

    def colours(self) -> list[int]:
        return [
            {None: 0, True: 1, False: -1}[self.on.get((row, column))]
            for row in range(self.side)
            for column in range(self.side)
        ]


# ---------------------------------------------------------------- the world


@pytest.mark.parametrize(("side", "count"), [(4, 200), (6, 60), (8, 25)])
def test_games_follow_the_rules_move_by_move(side: int, count: int) -> None:
    world = Othello(side=side)
    games = world.drawn(count, 5)
    boards, passes, early = Boards.of(world, games.numpy()), 0, 0
    for game, moves in enumerate(games.tolist()):
        plain = Plain(side)
        assert plain.legal(True) == {
            token for token in range(world.moves) if Plain(side).turns(plain.places[token], True)
        }
        for move, token in enumerate(moves):
            if token == world.pad:
                assert not plain.legal(True) and not plain.legal(False)
                early += 1
            else:
                mover = plain.black
                assert plain.play(token)
                passes += plain.black == mover and bool(plain.legal(mover))
            colours = plain.colours()
            assert boards.black[game, move] == plain.black
            assert boards.colours[game, move].tolist() == colours
            assert boards.mine[game, move].tolist() == [one if plain.black else -one for one in colours]
            assert set(np.flatnonzero(boards.legal[game, move])) == plain.legal(plain.black)
    # Both are seen, or nothing was tested of them.
    assert passes and (early or side == 8)


def test_moves_are_drawn_from_all_legal_ones_alike() -> None:
    first = SMALL.drawn(4000, 1)[:, 0]
    counts = torch.bincount(first, minlength=SMALL.vocabulary)
    assert set(counts.nonzero().flatten().tolist()) == Plain(4).legal(True)
    assert counts[counts > 0].tolist() == pytest.approx([1000] * 4, abs=120)
    assert not torch.equal(SMALL.drawn(50, 1), SMALL.drawn(50, 2))
    assert torch.equal(SMALL.drawn(50, 1), SMALL.drawn(50, 1))


def test_twenty_thousand_games_a_second() -> None:
    world = Othello()
    world.drawn(200, 0)
    best = min(_took(world, seed) for seed in range(3))
    assert 4000 / best > 20_000


def _took(world: Othello, seed: int) -> float:
    start = time.process_time()
    world.drawn(4000, seed)
    return time.process_time() - start


def test_a_move_that_is_not_legal_is_refused() -> None:
    games = Othello().drawn(3, 0)
    games[1, 4] = games[1, 3]
    with pytest.raises(UsageError, match="move 4 of a game is not legal"):
        Othello().replayed(games)
    with pytest.raises(UsageError, match="side: a board of 5 squares is none; give 4, 6, 8"):
        Othello(side=5)


# ---------------------------------------------------------------- training


def recipe(seed: int = 0, world: Othello = SMALL) -> Recipe:
    return Recipe(world=world, network=NETWORK, seed=seed, learning_rate=3e-3, weight_decay=0.01, drawn=16)


def test_what_comes_after_a_games_end_is_left_out_of_the_loss() -> None:
    one = recipe()
    batch = batches(one)(3)
    told = batch.answers != SMALL.pad
    assert not told.all() and float(batch.weights.sum()) == pytest.approx(1)
    assert torch.equal(batch.weights > 0, told)
    parameters = one.network.layout(one.sizes).views(one.network.initial(one.sizes, 0)[None])
    alone = EachAlone(network=NETWORK)
    loss = float(losses(alone.logits(parameters, batch.questions), batch.answers, batch.weights))
    logits = NETWORK.logits(parameters, batch.questions)[0].flatten(0, 1)
    plain = torch.nn.functional.cross_entropy(logits, batch.answers[0], ignore_index=SMALL.pad)
    assert loss == pytest.approx(float(plain), abs=1e-5)


def test_a_training_is_the_same_alone_and_gone_on_with(tmp_path: Path) -> None:
    together = train_on_sequences([recipe(0), recipe(1)], (0, 60), tmp_path / "together").parameters(60)
    train_on_sequences([recipe(1)], (0, 25), tmp_path / "alone")
    alone = train_on_sequences([recipe(1)], (0, 25, 60), tmp_path / "alone").parameters(60)
    assert torch.equal(together[1:], alone)
    assert not torch.equal(together[0], together[1])


# ---------------------------------------------------------------- what is read


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games_seen, "FITTED", 80)
    monkeypatch.setattr(games_seen, "TESTED", 40)


def watched(folder: Path, networks: int = 2) -> Watched:
    """Networks before training."""
    recipes = [recipe(seed) for seed in range(networks)]
    kept = Checkpoints(folder, "by hand")
    kept.keep(
        Stacked.begun(torch.stack([one.network.initial(one.sizes, one.seed) for one in recipes])), checkpoint=True
    )
    return Watched(recipes, kept, 0)


def measured(of: Watched, name: str, **options: Any) -> list[float]:
    found: list[float] = kind.find("measurements", name)(**options).measure(of).tolist()  # type: ignore[attr-defined]
    return found


def test_a_softmax_regression_finds_what_scikit_learn_finds() -> None:
    from sklearn.linear_model import LogisticRegression

    random = torch.Generator().manual_seed(0)
    rows = torch.randn(600, 5, generator=random) * torch.tensor([1.0, 3, 0.3, 1, 1]) + 2
    weight = 0.5 * torch.randn(5, 2, 3, generator=random)
    logits = torch.einsum("rd,dtc->rtc", rows - 2, weight)
    classes = torch.distributions.Categorical(logits=logits).sample()
    found = fitted(rows, classes, 3)
    for target in range(2):
        plain = LogisticRegression(C=1e6, max_iter=2000).fit(rows.numpy(), classes[:, target].numpy())
        own = found.logits(rows).softmax(-1)[:, target].numpy()
        assert own == pytest.approx(plain.predict_proba(rows.numpy()), abs=0.02)


def test_a_hidden_layer_reads_what_no_linear_map_does() -> None:
    """Which of two signs differ is in the rows and no linear map finds it; of what is in no row neither finds anything."""
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(3000, 6, generator=random) + 2
    signs = (rows > 2).long()
    classes = torch.stack([signs[:, 0], signs[:, 0] ^ signs[:, 1], torch.randint(2, (3000,), generator=random)], dim=1)
    shares = {
        name: (fit(rows[:2000], classes[:2000], 2).logits(rows[2000:]).argmax(-1) == classes[2000:]).float().mean(0)
        for name, fit in (("linear", fitted), ("hidden", hidden_layer.fitted))
    }
    assert shares["linear"][0] > 0.95 and shares["linear"][1] < 0.6
    assert shares["hidden"][:2].min() > 0.93
    assert abs(shares["hidden"][2] - 0.5) < 0.06
    again = hidden_layer.fitted(rows[:500], classes[:500], 2).logits(rows)
    assert torch.equal(again, hidden_layer.fitted(rows[:500], classes[:500], 2).logits(rows)), "nothing else is drawn"


def test_colours_that_stand_in_whose_discs_they_are_and_whose_turn_it_is(tmp_path: Path, fewer: None) -> None:
    """Planted are whose disc stands on each square and who moves next: of the colour a linear map tells little, and a hidden layer all."""
    of = watched(tmp_path)
    seen = games_seen.seen_in(of)
    board = torch.nn.functional.one_hot(torch.from_numpy(seen.classes("mine_yours")), 3).float().flatten(2)
    same = torch.from_numpy(seen.classes("mine_yours") == seen.classes("black_white"))
    black = (same | torch.from_numpy(seen.classes("mine_yours") == 0)).all(-1, keepdim=True).float()
    seen.states = torch.cat([board, 2 * black], dim=-1)[None, None].expand(2, 3, -1, -1, -1)
    linear, hidden = (measured(of, "board_accuracy", coding="black_white", read=read)[0] for read in ("states", "mlp"))
    assert linear < 0.75 < 0.85 < hidden
    assert measured(of, "board_accuracy", read="mlp")[0] > 0.95


def test_planted_boards_are_read_and_colours_are_not(tmp_path: Path, fewer: None) -> None:
    of = watched(tmp_path)
    seen = games_seen.seen_in(of)
    board = torch.from_numpy(seen.classes("mine_yours"))
    own = torch.nn.functional.one_hot(board, 3).float().flatten(2)
    seen.states = torch.zeros(2, 3, *own.shape)
    seen.states[0, 2], seen.states[1, 2] = own, torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
    planted, noise = measured(of, "board_accuracy")
    assert planted == 1 and noise < 0.6
    colour, _ = measured(of, "board_accuracy", coding="black_white")
    level, same = measured(of, "board_accuracy", coding="black_white", read="majority")
    assert level == same and colour < 0.75
    assert measured(of, "board_accuracy", layer=0)[0] < 0.75
    # Empty squares are told by the majority alone, at the beginning above all.
    early = {"read": "majority", "last_move": 3}
    assert measured(of, "board_accuracy", squares="all", **early)[0] > measured(of, "board_accuracy", **early)[0]


def test_the_majority_is_of_discs_that_stand_there(tmp_path: Path, fewer: None) -> None:
    of = watched(tmp_path)
    seen = games_seen.seen_in(of)
    board, going = seen.classes("black_white"), seen.going
    hits = total = 0
    for move in range(1, 6):
        for square in range(16):
            on = going[:80, move - 1] & (board[:80, move - 1, square] > 0)
            colours = board[:80, move - 1, square][on]
            commoner = 2 if (colours == 2).sum() > (colours == 1).sum() else 1
            tested = board[80:, move - 1, square][going[80:, move - 1]]
            hits, total = hits + int((tested == commoner).sum()), total + int((tested > 0).sum())
    found = measured(of, "board_accuracy", coding="black_white", read="majority", last_move=5)
    assert found == pytest.approx([hits / total] * 2)


def test_illegal_moves_are_counted_where_a_game_goes_on(tmp_path: Path, fewer: None) -> None:
    of = watched(tmp_path)
    seen = games_seen.seen_in(of)
    seen.logits = torch.stack([torch.from_numpy(seen.boards.legal).float() * 50, seen.logits[1]])
    # Where nothing is legal any more all are as likely: that does not count.
    seen.logits[0, ~torch.from_numpy(seen.going)] = torch.nn.functional.one_hot(torch.tensor(SMALL.pad)).float() * 99
    assert measured(of, "illegal_move_rate")[0] == 0
    assert measured(of, "illegal_move_rate", counted="probability")[0] == pytest.approx(0, abs=1e-12)
    rate, probability = (measured(of, "illegal_move_rate", counted=one)[1] for one in ("first_choice", "probability"))
    assert 0.4 < rate < 1 and 0.4 < probability < 1


# ---------------------------------------------------------------- discs that are turned


class Answering(Transformer, frozen=True, kw_only=True):
    """A network whose only layers hold the board as it is, a number for each square, and that says what is legal there."""

    world: Othello = SMALL

    def layout(self, sizes: Sizes) -> Any:
        return msgspec.convert({"shapes": {"embed": (1, 1)}}, type(NETWORK.layout(sizes)))

    def initial(self, sizes: Sizes, seed: int, scale: float = 1.0) -> torch.Tensor:
        return torch.zeros(self.layout(sizes).size)

    def layers(self) -> tuple[str, ...]:
        return ("board", "same")

    def logits(self, parameters: Any, questions: torch.Tensor, at: Any = None) -> torch.Tensor:
        boards = Boards.of(self.world, questions[0].numpy())
        stream = torch.from_numpy(boards.mine).float()[None]
        for place in self.layers():
            stream = at(place, stream)
        sign = np.where(stream[0].numpy() > 0.5, 1, np.where(stream[0].numpy() < -0.5, -1, 0))
        bits = 2 ** np.arange(self.world.squares, dtype=np.uint64)
        mine, yours = (((sign == one) * bits).sum(-1, dtype=np.uint64) for one in (1, -1))
        from harness.worlds.boards import as_moves

        return torch.from_numpy(as_moves(self.world.legal(mine, yours), self.world)).float()[None]


def test_a_network_that_plays_by_its_board_plays_by_the_turned_one(tmp_path: Path, fewer: None) -> None:
    one = Recipe(world=SMALL, network=Answering(blocks=1, answers="each"), drawn=16)
    kept = Checkpoints(tmp_path, "by hand")
    kept.keep(Stacked.begun(one.network.initial(one.sizes, 0)[None]), checkpoint=True)
    of = Watched([one], kept, 0)
    seen = games_seen.seen_in(of)
    turned = seen.turned
    assert len(turned.game) > 40
    # Against the rules, square by square.
    for game, move, square, before, legal in list(
        zip(turned.game, turned.move, turned.square, turned.before, turned.legal, strict=True)
    )[:25]:
        plain = Plain(4)
        for token in seen.games[game, : move + 1].tolist():
            assert plain.play(token)
        place = divmod(int(square), 4)
        assert (plain.on[place] == plain.black) == (before == 1)
        own = plain.legal(plain.black)
        plain.on[place] = not plain.on[place]
        assert set(np.flatnonzero(legal)) == plain.legal(plain.black) != own
    both = {"layers": (0, 1)}
    assert measured(of, "turned_errors", **both) == [0]
    assert measured(of, "turned_errors", along="none", board="own", **both) == [0]
    left, random = (measured(of, "turned_errors", along=along, **both)[0] for along in ("none", "random"))
    assert left > 1 and random > 0.6 * left
    # Where only moves of the turned board are right, the board as it was is wrong.
    assert measured(of, "turned_errors", board="own", **both)[0] > 1


# ---------------------------------------------------------------- checks


def ends(**values: float) -> Watch:
    return Watch((0, 10), {title: np.tile([0.3, value], (8, 1)) for title, value in values.items()}, {})


@pytest.mark.parametrize(
    ("mine", "colour", "expected"), [(0.9, 0.6, "pass"), (0.8, 0.6, "fail"), (0.9, 0.65, "fail"), (0.9, 0.9, "fail")]
)
def test_a_board_is_linear_in_mine_and_yours_where_colours_are_not(mine: float, colour: float, expected: str) -> None:
    own = ends(mine_yours=mine, black_white=colour, majority=0.57)
    assert finding("linear_in_mine_yours_only", Watches(main=own)) == expected
    own.values["mine_yours"][::2, 1] = 0.5
    assert finding("linear_in_mine_yours_only", Watches(main=own)) == ("inconclusive" if expected == "pass" else "fail")


@pytest.mark.parametrize(
    ("turned", "random", "expected"), [(0.9, 2.4, "pass"), (1.4, 2.4, "fail"), (0.9, 1.1, "fail"), (2.6, 2.6, "fail")]
)
def test_an_intervention_moves_moves_where_random_ones_do_not(turned: float, random: float, expected: str) -> None:
    own = Watches(main=ends(turned=turned, left_alone=2.5, turned_at_random=random))
    assert finding("intervention_moves_moves", own) == expected


# ---------------------------------------------------------------- the bed


def bed(**options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", "othello"))


def test_rows_are_beginnings_of_games_with_their_boards() -> None:
    made = bed(side=4, square="b4", blocks=1)
    rows = made.load(60, 3)
    assert len(rows) == 60 and rows["example"].n_unique() == 60
    place = named(4).index("b4")
    assert named(4)[:5] == ("a1", "b1", "c1", "d1", "a2") and place == 13
    for label, colour, board, colours, tokens in rows.select(
        "label", "colour", "board", "colours", "tokens_0"
    ).iter_rows():
        plain = Plain(4)
        assert all(plain.play(token) for token in tokens)
        assert colours == plain.colours()
        assert board == [one if plain.black else -one for one in colours]
        assert made.answers[label] == {1: "mine", -1: "yours"}[board[place]]
        assert made.factors[0].values[colour] == {1: "black", -1: "white"}[colours[place]]
    assert set(rows["label"]) == {0, 1}
    assert made.load(90, 3)[:60].equals(rows)
    assert [len(factor.values) for factor in made.factors] == [2, 16, 16]


def test_states_of_beginnings_are_those_at_positions_of_their_game(tmp_path: Path, fewer: None) -> None:
    made = bed(side=4, d_model=16, heads=2, d_mlp=16, blocks=2, train={"networks": 2, "steps": 2, "batch": 16})
    kept = train_on_sequences(made.recipes, made.steps, tmp_path)
    seen = Games(Watched(made.recipes, kept, made.steps[-1]))
    prompts = [game[: 3 + row % 5] for row, game in enumerate(seen.games[:20].tolist())]
    expected = torch.stack([seen.states[0, :, row, len(prompt) - 1] for row, prompt in enumerate(prompts)], dim=1)
    torch.testing.assert_close(SmallNetworks(made, "", kept).states(prompts, [0, 1, 2]), expected, rtol=1e-4, atol=1e-5)


SPEC = """\
harness: 1
name: played
model: {bed: othello, side: 4, square: a2, blocks: 1, d_model: 16, heads: 2, d_mlp: 16, train: {networks: 6, steps: 20, every: 10, batch: 16}}
data: {limit: 120, split: {train: 0.6, test: 0.4}}
conditions:
  trained: {}
  untrained: {model: {step: 0}}
probes: [logistic_regression, {kind: logistic_regression, name: by_colour, target: colour}]
transfer:
  - {fit_on: trained, tested_on: [trained]}
layer: 1
metrics: [accuracy]
measurements:
  - illegal_move_rate
  - {kind: board_accuracy, name: mine_yours}
  - {kind: board_accuracy, name: black_white, coding: black_white}
  - {kind: board_accuracy, name: majority, coding: black_white, read: majority}
  - {kind: turned_errors, name: turned}
  - {kind: turned_errors, name: left_alone, along: none}
  - {kind: turned_errors, name: turned_at_random, along: random}
checks:
  - {kind: linear_in_mine_yours_only, condition: trained, least: 0.99}
  - {kind: intervention_moves_moves, condition: trained, share: 0.01}
  - {kind: ungroks_below, name: plays_legally, condition: trained, measurement: illegal_move_rate, greatest: 0.999}
"""


def test_a_spec_of_othello_reaches_a_report(tmp_path: Path, fewer: None) -> None:
    path = tmp_path / "played.yaml"
    path.write_text(SPEC)
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    findings = dict(outcome.checks.select("check", "finding").iter_rows())
    assert findings["linear_in_mine_yours_only"] == "fail" == findings["intervention_moves_moves"]
    found = pl.read_parquet(outcome.folder / "measurements.parquet")
    assert set(found["step"]) == {0, 10, 20} and found["value"].is_finite().all()


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("square: a2", "square: e1", "square: there is no e1 on a board of 4 × 4; give a1 to d4"),
        ("heads: 2", "heads: 3", "heads: 3 heads cannot share a width of 16"),
        ("- illegal_move_rate", "- test_loss", "test_loss is of questions, and the networks of othello learn sequences"),
        ("- illegal_move_rate", "- excess_loss", "excess_loss is of a process with hidden states"),
        ("- illegal_move_rate", "- prefix_matching", "prefix_matching is of sequences in which tokens come again"),
        ("name: mine_yours}", "name: mine_yours, layer: 5}", "layer: 5 is none of the 2 layers"),
        ("name: mine_yours}", "name: mine_yours, first_move: 15}", "mine_yours: there are no boards from move 15 to 11 of 11"),
        ("name: turned}", "name: turned, layers: [1, 0]}", "turned: layers 1 to 0 are none; give the first one first"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, written: str, instead: str, says: str) -> None:
    assert written in SPEC
    found = problems(tmp_path, SPEC.replace(written, instead))
    assert any(says in line for line in found), found


def test_boards_are_not_measured_of_networks_that_learn_something_else() -> None:
    repeated = kind.find("beds", "repeated_tokens")()
    for name in ("illegal_move_rate", "board_accuracy", "turned_errors"):
        said = kind.find("measurements", name)().problem(repeated)  # type: ignore[attr-defined]
        assert "is of games of Othello, as `bed: othello` has them" in said
