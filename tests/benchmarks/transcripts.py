"""Transcripts that share what the system says: tokens that are forwarded, and time against whole conversations in padded batches."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import language
from harness.activations.extract import plan_extraction
from harness.contracts import PromptTable
from harness.contracts.data import STRETCH
from harness.data.movie_reviews import MovieReviews
from harness.models.card import ModelCard
from harness.models.tokenizer import load_tokenizer
from harness.prompts import building
from harness.spec import Activations, Stretch
from harness.store import Store
from harness.subjects.language_model import LanguageModel
from tests.benchmarks import plain_forward, reviews
from tests.benchmarks.extraction import Ours
from tests.benchmarks.race import race
from tests.benchmarks.table import Line, versus

PLANNED, TIMED, REPEATS = 1000, 100, 1
READ = Activations(read=Stretch(of="assistant", pool="mean"))
RULES = (
    "You write short notes for a weekly magazine about films, which is read by people who have little time.",
    "Say first whether a film is worth an evening, and say it in plain words.",
    "Do not tell how a story ends, and do not name the culprit of a crime.",
    "Be fair to small films that were made with little money, and do not be afraid of famous names.",
    "Where you have not seen a film, say so; where you quote what somebody else wrote, say who it was.",
    "Keep to three or four sentences, avoid jokes about actors, and never write about their private lives.",
    "If a reader asks about prices, opening hours or tickets, answer that the cinema knows more about these.",
    "If a reader is rude, stay polite, and if a reader is sad, be kind.",
    "You earn no money with what you recommend, and nobody pays you for praise.",
    "When two films are alike, say in what they differ, and leave the choice to the reader.",
)
"""What the system says in every transcript."""
SPEC = """
harness: 1
name: transcripts
model: smollm2-135m-instruct
prompt: {answers: [fair, unfair]}
data: {source: {file: chats.jsonl, messages: messages, label: label, group: row}, limit: null, split: {train: 0.5, test: 0.5}}
activations: {read: {of: assistant, pool: mean}}
probes: [mean_difference]
"""


def lines() -> Iterator[Line]:
    card = reviews.card("exact")
    yield planned(card, table(card, PLANNED))
    few = table(card, TIMED)
    model = plain_forward.model_of(card).base_model
    prompts, stretches = plain_forward.prompts_of([few]), few.frame[STRETCH].to_list()
    with Ours(card) as ours:
        # The proof that sharing changes nothing, and what is done first.
        ours.forward([few], [READ])
        taken = race(
            {
                "ours": lambda: ours.forward([few], [READ]),
                "plain": lambda: plain_forward.pooled(model, prompts, stretches),
            },
            REPEATS,
            warm_up=False,
            tidy=ours.tidy,
        )
    mean = sum(map(len, prompts)) / len(prompts)
    what = f"{TIMED} transcripts of {mean:.0f} tokens, mean over the reply at all layers, against whole ones in padded batches"
    yield versus(what, taken["ours"], taken["plain"])


def planned(card: ModelCard, chats: PromptTable) -> Line:
    """Tokens that the plan forwards, against those of all transcripts whole; no more than what they all begin with once, and the rest of each."""
    prompts = plain_forward.prompts_of([chats])
    with tempfile.TemporaryDirectory() as folder:
        cost = plan_extraction(LanguageModel(card), [chats], [READ], Store(Path(folder))).whole
    whole = sum(map(len, prompts))
    shared = next(place for place, several in enumerate(zip(*prompts, strict=False)) if len(set(several)) > 1)
    once = whole - (len(prompts) - 1) * shared
    assert cost is not None and cost.tokens is not None and cost.tokens_unshared == whole
    return Line(
        f"tokens of {len(prompts):,} transcripts, which begin with the same {shared} (planned)",
        f"{cost.tokens:,}",
        f"{whole:,}",
        f"{cost.tokens / whole:.3f} of them",
        target=f"≤ {once:,.0f}",
        reached=cost.tokens <= once,
    )


def table(card: ModelCard, count: int) -> PromptTable:
    """Conversations about other reviews each time, under the same system prompt."""
    texts = MovieReviews().load(0, Path())["text"].to_list()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for row in range(count):
            asked, *told = (texts[(4 * row + part) % len(texts)] for part in range(4))
            messages = [
                {"role": "system", "content": " ".join(RULES)},
                {"role": "user", "content": f"A friend of mine says: {asked} What do others say?"},
                {"role": "assistant", "content": " ".join(told)},
            ]
            rows.append(json.dumps({"messages": messages, "label": row % 2 == 1, "row": row}))
        (folder / "chats.jsonl").write_text("\n".join(rows))
        (folder / "transcripts.yaml").write_text(SPEC)
        spec = language.read(folder / "transcripts.yaml")
        return building.build(spec.condition("main"), {}, folder, load_tokenizer(card), card.context)
