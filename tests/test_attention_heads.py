"""Attention heads of language models: patterns against plain formulas, scores against planted patterns, and a report."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from harness import language, pipeline
from harness.analyses.attention_heads import heads_figure, heads_stage, repeated
from harness.analyses.attention_heads.repeated import Scored, Sequences, drawn, scored
from harness.analyses.attention_heads.section import section
from harness.checks.heads_attend import HeadsAttend
from harness.errors import DataError, HarnessError, KeyFault, SpecError
from harness.models import attention_patterns
from harness.models.attention_patterns import Attended, attended, showing_attention
from harness.models.card import describe
from harness.models.known_tokens import known_tokens
from harness.models.load import load
from harness.models.network import Network
from harness.report.figures import canvas
from harness.spec import Model
from harness.store import Store
from tests.test_pipeline import write_text


@pytest.fixture(scope="module")
def network(tiny_llama: Path) -> Network:
    return load(describe(Model(id=str(tiny_llama)), tiny_llama.parent))


# ---------------------------------------------------------------- patterns


def by_formula(network: Network, tokens: Tensor) -> list[Tensor]:
    """Patterns (head, position, attended position) of each block of a Llama for one text, from what its blocks are given."""
    model, found, read = network.model, [], []
    hooks = [
        block.input_layernorm.register_forward_hook(lambda _module, _args, out: read.append(out[0]))
        for block in model.model.layers
    ]
    with torch.no_grad():
        model(tokens[None])
    for hook in hooks:
        hook.remove()
    length, config = len(tokens), model.config
    width = config.hidden_size // config.num_attention_heads
    angle = torch.arange(length)[:, None] / 10_000.0 ** (torch.arange(0, width, 2) / width)
    cosine, sine = (torch.cat([part, part], 1) for part in (angle.cos(), angle.sin()))

    def turned(states: Tensor) -> Tensor:
        half = width // 2
        return states * cosine + torch.cat([-states[:, half:], states[:, :half]], 1) * sine

    for block, states in zip(model.model.layers, read, strict=True):
        own = block.self_attn
        heads = []
        for head in range(config.num_attention_heads):
            shared = head * config.num_key_value_heads // config.num_attention_heads
            query = turned(states @ own.q_proj.weight[head * width : (head + 1) * width].T)
            key = turned(states @ own.k_proj.weight[shared * width : (shared + 1) * width].T)
            scores = query @ key.T / math.sqrt(width)
            heads.append(scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf).softmax(-1))
        found.append(torch.stack(heads).detach())
    return found


def test_patterns_are_those_of_the_plain_formula(network: Network) -> None:
    tokens = torch.randint(1, 257, (3, 12), generator=torch.Generator().manual_seed(0))
    before = network.model.config._attn_implementation
    with showing_attention(network):
        found = attended(network, tokens)
    assert network.model.config._attn_implementation == before != "eager"
    assert found.patterns.shape == (2, 3, 4, 12, 12)
    for row in range(3):
        for block, expected in enumerate(by_formula(network, tokens[row])):
            torch.testing.assert_close(found.patterns[block, row], expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        said = network.model(tokens).logits.log_softmax(-1)
    torch.testing.assert_close(found.log_probabilities, said, rtol=1e-4, atol=1e-4)


def test_a_network_that_shows_nothing_is_refused(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = torch.ones(1, 4, dtype=torch.int64)
    with pytest.raises(HarnessError, match="its heads cannot be looked into"):
        attended(network, tokens)
    with pytest.raises(HarnessError, match="what it says changes by"):
        attention_patterns.check_same(network, torch.zeros(2), torch.tensor([0, 0.1]))
    attention_patterns.check_same(network, torch.zeros(2), torch.tensor([0, 1e-4]))


# ---------------------------------------------------------------- sequences and scores


WITHOUT = set(range(40)) - {3, 7}


def test_tokens_are_repeated_once_and_the_control_has_others() -> None:
    found = drawn(WITHOUT, [0], 6, 200, 1)
    assert found.repeated.shape == found.control.shape == (200, 13)
    assert (found.repeated[:, 0] == 0).all() and (found.control[:, 0] == 0).all()
    assert (found.repeated[:, 1:7] == found.repeated[:, 7:]).all()
    assert (found.control[:, :7] == found.repeated[:, :7]).all()
    assert all(len(set(row[1:])) == 12 for row in found.control.tolist())
    assert not {3, 7} & set(found.control[:, 1:].flatten().tolist())
    assert len(set(found.control[:, 1:].flatten().tolist())) == 38, "any other token is drawn"
    assert (drawn(WITHOUT, [0], 6, 200, 1).control == found.control).all()
    assert not (drawn(WITHOUT, [0], 6, 200, 2).control == found.control).all()
    with pytest.raises(DataError, match="12 tokens cannot be drawn twice of a vocabulary of 20"):
        drawn(range(20), [], 12, 1, 0)


HEADS = ("looks for a copy", "looks so far back", "looks at the token before", "looks at all alike")


def planted(tokens: Tensor, period: int) -> Tensor:
    """Patterns of four heads, (block, row, head, position, attended position)."""
    rows, length = tokens.shape
    found = torch.zeros(1, rows, 4, length, length)
    for row, own in enumerate(tokens.tolist()):
        for at, token in enumerate(own):
            before = [place for place in range(at) if own[place] == token]
            found[0, row, 0, at, before[-1] + 1 if before else 0] = 1
            found[0, row, 1, at, max(0, at - period + 1)] = 1
            found[0, row, 2, at, max(0, at - 1)] = 1
            found[0, row, 3, at, : at + 1] = 1 / (at + 1)
    return found


def score_planted(monkeypatch: pytest.MonkeyPatch, sequences: Sequences) -> Scored:
    period = sequences.period

    def said(_: Any, tokens: Tensor) -> Tensor:
        """The first copy costs log 2 a token, the second nothing."""
        chances = torch.full((*tokens.shape, 40), -torch.inf)
        following = tokens.roll(-1, 1)[..., None]
        cost = torch.where(torch.arange(tokens.shape[1]) < sequences.begun + period, -math.log(2), 0.0)
        return chances.scatter(2, following, cost.expand(tokens.shape)[..., None])

    monkeypatch.setattr(attention_patterns, "said_alone", said)
    monkeypatch.setattr(
        attention_patterns, "attended", lambda _, tokens: Attended(said(_, tokens), planted(tokens, period))
    )
    monkeypatch.setattr(attention_patterns, "check_same", lambda *_: None)
    monkeypatch.setattr(repeated, "AT_ONCE", 3 * 4 * sequences.repeated.shape[1] ** 2)
    model = SimpleNamespace(config=SimpleNamespace(_attn_implementation="sdpa"), set_attn_implementation=lambda _: None)
    told: list[int] = []
    found = scored(SimpleNamespace(model=model), sequences, told.append)  # type: ignore[arg-type]
    assert told == [3, 6, 8]
    return found


def test_no_token_is_drawn_that_the_tokenizer_has_not(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network has room for 300 tokens, the tokenizer 257, the first of which begins texts."""
    from transformers import LlamaForCausalLM

    folder = shutil.copytree(tiny_llama, tmp_path / "padded")
    model = LlamaForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(300)
    model.save_pretrained(folder)
    card = describe(Model(id=str(folder)), tmp_path)
    assert card.shape.vocab == 300 and known_tokens(card) == set(range(257))
    seen: list[Any] = []

    def spied(of: Any, *others: Any) -> Sequences:
        seen.append(of)
        return drawn(of, *others)

    monkeypatch.setattr(heads_stage, "drawn", spied)
    path = asking(tmp_path, folder, "{kind: attention_heads, period: 10, sequences: 4}")
    pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)
    assert seen == [set(range(1, 257))]


@pytest.mark.parametrize("begins", [[], [0]])
def test_heads_that_look_for_copies_are_told_from_those_that_look_so_far_back(
    monkeypatch: pytest.MonkeyPatch, begins: list[int]
) -> None:
    found = score_planted(monkeypatch, drawn(range(1, 40), begins, 6, 8, 0))
    copy, far, before, alike = range(4)
    assert (found.matching[0, [copy, far]] == 1).all()
    assert (found.control[0, copy] == 0).all() and (found.control[0, far] == 1).all()
    assert (found.matching[0, before] == 0).all() and (found.previous[0, before] == 1).all()
    assert (found.previous[0, [copy, far]] < 0.2).all()
    ends = np.arange(len(begins) + 6, len(begins) + 12)
    assert found.matching[0, alike] == pytest.approx(np.full(8, np.mean(1 / (ends + 1))))
    first, second = found.losses[:, : len(begins) + 5], found.losses[:, len(begins) + 6 :]
    assert first == pytest.approx(np.full(first.shape, math.log(2))) and (second == 0).all()


def frame(matching: float, control: float) -> pl.DataFrame:
    rows = [("main", block, head) for block in (1, 2) for head in (0, 1)]
    scores = {"matching": matching, "control": control, "previous": 0.1}
    columns = {f"{name}{end}": value + shift for name, value in scores.items() for end, shift in (("", 0), ("_low", -0.02), ("_high", 0.02))}  # fmt: skip
    found = pl.DataFrame(rows, schema=["condition", "block", "head"], orient="row")
    return found.with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def test_a_report_counts_heads_that_are_clear_of_the_control() -> None:
    losses = pl.DataFrame({"condition": ["main"] * 2, "position": [1, 2], "loss": [5.0, 1.0], "second": [False, True]})
    said = "\n".join(section(frame(0.8, 0.1), losses))
    assert (
        "4 of 4 heads have a prefix-matching score" in said
        and "first copy 5.00 nats a token, of the second 1.00" in said
    )
    assert "0.80 [0.78, 0.82]" in said
    assert "0 of 4 heads" in "\n".join(section(frame(0.8, 0.79), losses))
    figure = canvas.to_svg(heads_figure.draw(frame(0.8, 0.1))).decode()
    assert "attends to the token after a copy with 0.80" in figure


class Told:
    """Evidence of one analysis."""

    def __init__(self, heads: pl.DataFrame):
        self.heads = heads.with_columns(sequences=pl.lit(50))

    def told(self, analysis: str, condition: str) -> pl.DataFrame:
        assert (analysis, condition) == ("attention_heads", "main")
        return self.heads


@pytest.mark.parametrize(
    ("matching", "control", "least", "finding"),
    [(0.8, 0.1, 0.5, "pass"), (0.8, 0.1, 0.75, "fail"), (0.8, 0.1, 0.69, "inconclusive"), (0.8, 0.79, 0.1, "fail")],
)
def test_a_check_holds_heads_to_what_they_have_beyond_the_control(
    matching: float, control: float, least: float, finding: str
) -> None:
    evidence: Any = Told(frame(matching, control))
    found = HeadsAttend(least=least, heads=4).decide(evidence)
    assert found.finding == finding
    assert found.estimate.value == pytest.approx(matching - control)
    assert found.estimate.high - found.estimate.value > 0.02 * 2**0.5, "wider for having been chosen among four"
    assert HeadsAttend(least=least, heads=5).decide(evidence).finding == "fail", "there are four"
    assert HeadsAttend(score="previous_token", least=0.5).decide(evidence).finding == "fail"


# ---------------------------------------------------------------- a spec


def asking(folder: Path, model: Path, options: str) -> Path:
    path = write_text(folder, model)
    path.write_text(f"{path.read_text()}\nanalyses:\n  - {options}\n")
    return path


def test_a_spec_reaches_a_report_with_its_heads(tmp_path: Path, tiny_llama: Path) -> None:
    path = asking(tmp_path, tiny_llama, "{kind: attention_heads, period: 10, sequences: 12}")
    path.write_text(path.read_text().replace("checks: [", "checks: [{kind: heads_attend, condition: plain}, "))
    store = Store(tmp_path / "store")
    outcome = pipeline.run(path, out=tmp_path / "reports", store=store, page=False)
    assert outcome.checks.filter(check="heads_attend")["finding"].to_list() == ["fail"]
    heads = pl.read_parquet(outcome.folder / "heads.parquet")
    assert heads.height == 8 and heads["matching"].max() < 0.3  # type: ignore[operator]
    assert (heads["matching_low"] <= heads["matching"]).all() and (heads["matching"] <= heads["matching_high"]).all()
    losses = pl.read_parquet(outcome.folder / "repeats.parquet")
    assert losses["position"].to_list() == list(range(1, 20)) and losses["second"].sum() == 10
    report = (outcome.folder / "report.md").read_text()
    assert "## Attention heads" in report and (outcome.folder / "figures" / "heads.svg").exists()
    assert pipeline.run(path, out=tmp_path / "reports", store=store, page=False).cached


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{kind: attention_heads, conditions: [other]}", 'no condition "other"'),
        ("{kind: attention_heads, period: 300}", "longer than the context of 512"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(tmp_path: Path, tiny_llama: Path, options: str, says: str) -> None:
    path = asking(tmp_path, tiny_llama, options)
    with pytest.raises((KeyFault, SpecError), match=says):
        pipeline.planned(language.read(path), tmp_path, Store(tmp_path / "store"))
