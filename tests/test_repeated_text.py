"""Reviews in words, stretches of which come again, and heads of networks that learn them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness import pipeline
from harness.contracts import kind
from harness.errors import UsageError
from harness.networks.checkpoints import Checkpoints
from harness.networks.heads import Heads, looked_into
from harness.networks.recipe import Recipe
from harness.networks.stacked import Stacked
from harness.networks.watched import Watched
from harness.store import Store, content_key
from harness.worlds import repeated_text
from harness.worlds.repeated_text import RepeatedText
from harness.worlds.repeated_tokens import RepeatedTokens
from tests import induction_by_hand
from tests.planted_reviews import planted
from tests.test_watched_networks import problems

WORLD = RepeatedText(words=24, stretch=4, again=0.5, length=20)


@pytest.fixture(autouse=True)
def line() -> Iterator[list[str]]:
    with planted() as words:
        yield words


def test_words_are_small_letters_and_stops() -> None:
    text = "The film&#039;s GOOD, isn't it? 3 ''stars''... co-writer"
    assert repeated_text.split(text) == "the film's good , isn't it ? stars . . . co writer".split()


def test_reviews_are_one_line_of_the_most_frequent_words(line: list[str]) -> None:
    counts = Counter(line)
    own = repeated_text.vocabulary(24)
    assert [counts[word] for word in own] == sorted(counts.values(), reverse=True)[:24]
    assert [own[token] for token in repeated_text.in_tokens(24).tolist()] == [word for word in line if word in own]


def test_without_repeats_a_text_is_a_stretch_of_the_reviews() -> None:
    reviews = "".join(map(chr, repeated_text.in_tokens(24).tolist()))
    for row in msgspec.structs.replace(WORLD, again=0.0).drawn(200, 0).tolist():
        assert "".join(map(chr, row)) in reviews


def test_a_stretch_comes_from_the_text_as_often_as_is_asked() -> None:
    """By places in the reviews, of which each stands once: what follows what is told by them."""
    places = WORLD._places(10_000, 2000, 1)
    repeated, begins = 0, Counter[int]()
    for row in places.tolist():
        seen, next_fresh = row[:4], row[0] + 4
        for start in range(4, 20, 4):
            stretch = row[start : start + 4]
            if stretch[0] == next_fresh:
                assert stretch == list(range(next_fresh, next_fresh + 4))
                next_fresh += 4
            else:
                repeated += 1
                found = [at for at in range(start - 3) if seen[at : at + 4] == stretch]
                assert found, "all four of them stood next to each other before"
                begins[found[0]] += 1
            seen += stretch
    assert repeated / (2000 * 4) == pytest.approx(0.5, abs=0.02)
    assert set(begins) == set(range(13)), "wherever they begin"


def test_the_file_is_part_of_what_a_network_learns() -> None:
    other = msgspec.structs.replace(WORLD, file="another")
    recipes = [Recipe(world=world, network=induction_by_hand.network(), drawn=4) for world in (WORLD, other)]
    assert content_key(recipes[0]) != content_key(recipes[1])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"words": 1}, "words: 1 is out of range; give 2 to 4096"),
        ({"stretch": 1}, "stretch: 1 is out of range"),
        ({"again": 1.5}, "again: 1.5 is out of range"),
        ({"length": 4}, "length: 4 is out of range; give more than the 4 words"),
    ],
)
def test_what_is_no_such_world_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        msgspec.structs.replace(WORLD, **options).__post_init__()


# ---------------------------------------------------------------- heads


def learnt(folder: Path) -> Watched:
    """The induction head that is made by hand, as if it had learned texts of as many words and as long."""
    own = induction_by_hand.WORLD
    world = RepeatedText(words=own.tokens, stretch=4, again=0.5, length=own.length)
    recipe = Recipe(world=world, network=induction_by_hand.network(), drawn=16)
    kept = Checkpoints(folder, "by hand")
    flat = recipe.network.layout(recipe.sizes).flat(induction_by_hand.parameters())
    kept.keep(Stacked.begun(flat[None]), checkpoint=True)
    return Watched([recipe], kept, 0)


def test_heads_are_looked_at_on_words_at_random_or_on_texts(tmp_path: Path) -> None:
    of = learnt(tmp_path)
    world = of.recipes[0].world
    assert looked_into(of, 0.2).world == RepeatedTokens(tokens=8, used=6, jumps=0.2, length=24)
    assert looked_into(of, None).world == world and looked_into(of, None) is looked_into(of, None)
    found = {
        (name, jumps): kind.find("measurements", name)(jumps=jumps).measure(of)[0]  # type: ignore[attr-defined]
        for name in ("prefix_matching", "repeat_accuracy")
        for jumps in (None, 0.0, 0.2)
    }
    assert found["prefix_matching", 0.0] == pytest.approx(1) and found["repeat_accuracy", 0.0] == 1
    assert found["prefix_matching", None] > 0.9
    # Of texts that are put together of words that are drawn alike, what comes again is not always what came the last time.
    assert 0.2 < found["repeat_accuracy", None] < 1
    assert torch.equal(Heads(of).sequences, world.drawn(500, 0x4EAD))


def bed(**options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", "repeated_text"))


def test_rows_tell_whether_what_followed_follows_again() -> None:
    made = bed(words=24, stretch=4, length=20, d_model=16)
    rows = made.load(300, 3)
    assert 280 < len(rows) <= 300 and set(rows["label"]) == {0, 1}
    texts = made.world.questions().tolist()
    for name, label, back, tokens in rows.select("example", "label", "back", "tokens_0").iter_rows():
        assert name == "-".join(map(str, tokens))
        copy = max(place for place in range(len(tokens) - 1) if tokens[place] == tokens[-1])
        following = {text[len(tokens)] for text in texts if text[: len(tokens)] == tokens}
        assert back == len(tokens) - 1 - copy and (tokens[copy + 1] in following) >= label
    assert made.load(320, 3)[: len(rows)].equals(rows)
    assert not made.load(300, 4).equals(rows)


SPEC = """\
harness: 1
name: texts
model: {bed: repeated_text, words: 24, stretch: 4, length: 20, d_model: 16, heads: 2, train: {networks: 6, steps: 20, every: 10, batch: 16}}
data: {limit: 100, split: {train: 0.6, test: 0.4}}
conditions:
  two: {}
  one: {model: {blocks: 1}}
  alone: {model: {again: 0}}
probes: [logistic_regression]
transfer:
  - {fit_on: two, tested_on: [two]}
layer: 1
measurements: [prefix_matching, previous_token, in_context_score, copying, composition, repeat_accuracy, sequence_loss]
checks:
  - {kind: induction_with_icl, condition: two, one_layer: one}
  - {kind: keeps_above, condition: alone, measurement: sequence_loss, least: 0}
"""


def test_a_spec_of_texts_reaches_a_report(tmp_path: Path) -> None:
    path = tmp_path / "texts.yaml"
    path.write_text(SPEC)
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    findings = dict(outcome.checks.select("check", "finding").iter_rows())
    assert findings == {"induction_with_icl": "fail", "keeps_above": "pass"}


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("length: 20", "length: 4", "length: 4 is out of range; give more than the 4 words"),
        ("length: 20", "length: 20, d_mlp: 4", "d_mlp"),
        ("sequence_loss]", "excess_loss]", "excess_loss is of a process with hidden states"),
        ("sequence_loss]", "partner_accuracy]", "partner_accuracy is of nested brackets"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, written: str, instead: str, says: str) -> None:
    assert written in SPEC
    found = problems(tmp_path, SPEC.replace(written, instead))
    assert any(says in one for one in found), found
