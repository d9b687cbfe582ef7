"""Nested brackets: their partners against a stack, a network by hand whose heads find them, and rows of the bed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from harness import pipeline
from harness.contracts import kind
from harness.errors import UsageError
from harness.networks.attention_only import AttentionOnly
from harness.networks.checkpoints import Checkpoints
from harness.networks.partners import Partners, partners_in
from harness.networks.passes import AT_ONCE
from harness.networks.recipe import Recipe
from harness.networks.stacked import Stacked
from harness.networks.watched import Watched
from harness.store import Store
from harness.worlds.nested_brackets import NestedBrackets
from tests.test_watched_networks import problems

WORLD = NestedBrackets(kinds=3, depth=3, length=24)
NETWORK = AttentionOnly(blocks=2, d_model=16, heads=2)


def by_stack(tokens: list[int], kinds: int) -> list[list[int]]:
    """The places of open brackets after each token. Raises ValueError for a bracket that closes none or another kind."""
    found, stack = [], []
    for place, token in enumerate(tokens):
        if 1 <= token <= kinds:
            stack.append(place)
        elif token and tokens[stack.pop()] != token - kinds:
            raise ValueError(f"token {place} closes another kind")
        found.append(list(stack))
    return found


# ---------------------------------------------------------------- the world


def test_every_bracket_is_closed_by_its_own_kind_and_none_is_too_deep() -> None:
    drawn = WORLD.drawn(500, 0)
    depth, last = WORLD.open_after(drawn)
    for tokens, deep, at in zip(drawn.tolist(), depth.tolist(), last.tolist(), strict=True):
        assert tokens[0] == 0 and 0 not in tokens[1:]
        stacks = by_stack(tokens, 3)
        assert max(map(len, stacks)) <= 3
        assert deep == list(map(len, stacks))
        assert at == [stack[-1] if stack else -1 for stack in stacks]


def test_opening_and_closing_are_as_likely_and_so_are_kinds() -> None:
    drawn = WORLD.drawn(4000, 1)
    depth, _ = WORLD.open_after(drawn)
    opens = drawn[:, 1:] <= 3
    before = depth[:, :-1]
    assert bool(opens[before == 0].all()) and not bool(opens[before == 3].any())
    assert float(opens[(before > 0) & (before < 3)].double().mean()) == pytest.approx(0.5, abs=0.01)
    counts = torch.bincount(drawn[:, 1:][opens], minlength=4)[1:].double()
    assert (counts / counts.sum()).tolist() == pytest.approx([1 / 3] * 3, abs=0.01)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kinds": 1}, "kinds: 1 is out of range; give at least 2"),
        ({"depth": 1}, "depth: 1 is out of range; give at least 2"),
        ({"length": 6}, "length: 6 is out of range; give more than 6, in which 3 are opened and closed"),
    ],
)
def test_what_is_no_such_world_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        msgspec.structs.replace(WORLD, **options).__post_init__()


# ---------------------------------------------------------------- measurements


def watched(folder: Path, network: AttentionOnly, flat: torch.Tensor) -> Watched:
    recipe = Recipe(world=WORLD, network=network, drawn=16)
    kept = Checkpoints(folder, "by hand")
    kept.keep(Stacked.begun(flat), checkpoint=True)
    return Watched([recipe] * len(flat), kept, 0)


def measured(of: Watched, name: str, **options: Any) -> list[float]:
    found: list[float] = kind.find("measurements", name)(**options).measure(of).tolist()  # type: ignore[attr-defined]
    return found


def test_what_only_sees_the_last_token_closes_what_was_just_opened(tmp_path: Path) -> None:
    """A network by hand that attends to its own position and says the bracket that closes it, or, after one that closes, kind 1."""
    network = AttentionOnly(blocks=1, d_model=8, heads=1)
    sizes = Recipe(world=WORLD, network=network).sizes
    layout = network.layout(sizes)
    parts = {name: torch.zeros(shape) for name, shape in layout.shapes.items()}
    parts["embed"][:7, :7] = torch.eye(7)
    parts["1.distance"][0, 1:] = -100.0
    for opened in (1, 2, 3):
        parts["unembed"][opened, opened + 3] = 9.0
        parts["unembed"][opened + 3, 4] = 9.0
    of = watched(tmp_path, network, layout.flat(parts)[None])
    partners = partners_in(of)
    assert bool(partners.seen[0].right[partners.back == 1].all())
    for apart in (4, 8):
        far = partners.sequences[:, 1:][partners.cases][partners.back >= apart]
        assert measured(of, "partner_accuracy", apart=apart) == [pytest.approx(float((far == 4).double().mean()))]
    assert measured(of, "partner_attention", apart=4) == [pytest.approx(0, abs=1e-6)]
    near = float((partners.back == 1).double().mean())
    assert measured(of, "partner_attention", apart=1) == [pytest.approx(near, abs=1e-6)]
    # One that attends a number of tokens back attends to the partners that stand there.
    parts["1.distance"] = torch.full_like(parts["1.distance"], -100.0)
    parts["1.distance"][0, 3] = 0.0
    back = partners_in(watched(tmp_path / "back", network, layout.flat(parts)[None]))
    four = (back.back == 4).double()
    assert measured(back.watched, "partner_attention", apart=4) == [
        pytest.approx(float(four.sum() / (back.back >= 4).sum()), abs=1e-6)
    ]


def test_scores_are_those_of_a_plain_walk_through_patterns(tmp_path: Path) -> None:
    recipe = Recipe(world=WORLD, network=NETWORK, drawn=16)
    of = watched(tmp_path, NETWORK, torch.stack([3 * NETWORK.initial(recipe.sizes, seed) for seed in range(2)]))
    found = Partners(of)
    found.sequences = found.sequences[AT_ONCE - 4 : AT_ONCE + 4]
    layout = NETWORK.layout(recipe.sizes)
    for network in range(2):
        attention, right = [], []
        for row in found.sequences:
            seen: dict[str, torch.Tensor] = {}

            def kept(place: str, states: torch.Tensor, seen: dict[str, torch.Tensor] = seen) -> torch.Tensor:
                seen[place] = states
                return states

            logits = NETWORK.logits(layout.views(of.flat[network][None]), row[None, None, :-1], kept)[0, 0]
            tokens = row.tolist()
            for end, stack in enumerate(by_stack(tokens[:-1], 3)):
                if tokens[end + 1] > 3:
                    attention.append([seen[f"pattern.{block}"][0, 0, :, end, stack[-1]].tolist() for block in (1, 2)])
                    right.append(max((4, 5, 6), key=logits[end].tolist().__getitem__) == tokens[end + 1])
        torch.testing.assert_close(
            found.seen[network].attended, torch.tensor(attention, dtype=torch.float64), rtol=1e-4, atol=1e-5
        )
        assert found.seen[network].right.tolist() == right
    best = torch.tensor(attention)[(found.back >= 4)].mean(0)
    assert best.shape == (2, 2)


def test_brackets_are_not_measured_of_other_networks(tmp_path: Path) -> None:
    tokens, adding = kind.find("beds", "repeated_tokens")(), kind.find("beds", "modular_addition")(prime=11)
    brackets = kind.find("beds", "nested_brackets")()
    for name in ("partner_accuracy", "partner_attention"):
        of = kind.find("measurements", name)()
        assert "is of nested brackets, as `bed: nested_brackets` has them" in of.problem(tokens)  # type: ignore[attr-defined]
        assert "learn questions" in of.problem(adding)  # type: ignore[attr-defined]
        assert of.problem(brackets) == ""  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="no brackets"):
        from tests import induction_by_hand

        assert Partners(induction_by_hand.watched(tmp_path)).world


# ---------------------------------------------------------------- the bed


def bed(**options: Any) -> Any:
    return msgspec.convert(options, kind.find("beds", "nested_brackets"))


def test_rows_end_where_a_bracket_is_open() -> None:
    made = bed(kinds=3, depth=3, length=24, d_model=16)
    rows = made.load(300, 3)
    assert len(rows) == 300 and set(rows["label"]) == {0, 1, 2} and set(rows["depth"]) == {0, 1, 2}
    for label, depth, tokens in rows.select("label", "depth", "tokens_0").iter_rows():
        stack = by_stack(tokens, 3)[-1]
        assert tokens[stack[-1]] - 1 == label and len(stack) - 1 == depth
    assert made.load(400, 3)[:300].equals(rows)
    assert made.answers == ("kind_1", "kind_2", "kind_3") and made.factors[0].values == ("1_open", "2_open", "3_open")


SPEC = """\
harness: 1
name: brackets
model: {bed: nested_brackets, kinds: 3, depth: 3, length: 24, d_model: 16, heads: 2, train: {networks: 6, steps: 20, every: 10, batch: 16}}
data: {limit: 100, split: {train: 0.6, test: 0.4}}
conditions:
  two: {}
  one: {model: {blocks: 1}}
probes: [logistic_regression, {kind: logistic_regression, name: how_deep, target: depth}]
transfer:
  - {fit_on: two, tested_on: [two]}
layer: 1
metrics: [accuracy]
measurements: [partner_accuracy, {kind: partner_accuracy, name: all, apart: 1}, partner_attention, weight_norm]
checks:
  - {kind: keeps_above, condition: two, measurement: partner_accuracy, least: 0.99}
  - {kind: keeps_above, name: something, condition: one, measurement: all, least: 0.1}
"""


def test_a_spec_of_brackets_reaches_a_report(tmp_path: Path) -> None:
    path = tmp_path / "brackets.yaml"
    path.write_text(SPEC)
    outcome = pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    findings = dict(outcome.checks.select("check", "finding").iter_rows())
    assert findings == {"keeps_above": "fail", "something": "pass"}


@pytest.mark.parametrize(
    ("written", "instead", "says"),
    [
        ("length: 24", "length: 6", "length: 6 is out of range; give more than 6"),
        ("partner_attention,", "{kind: partner_attention, block: 2},", "there is no block 2 of 1"),
        ("partner_attention,", "{kind: partner_attention, apart: 13},", "few brackets of 24 tokens are 13 apart"),
        ("partner_attention,", "prefix_matching,", "prefix_matching is of sequences in which tokens come again"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, written: str, instead: str, says: str) -> None:
    assert written in SPEC
    found = problems(tmp_path, SPEC.replace(written, instead))
    assert any(says in one for one in found), found
