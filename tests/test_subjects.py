"""Subjects: what states come from answers the same questions, whatever it is; a kind of subject that nobody foresaw works too."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import harness
from harness.activations.extract import extract, plan_extraction
from harness.beds.planted import Planted
from harness.contracts import PromptTable
from harness.contracts.subject import Devices, Subject
from harness.errors import UsageError
from harness.models.card import describe
from harness.spec import Activations, Model
from harness.store import Store
from harness.subjects.formula import Formula
from harness.subjects.language_model import LanguageModel

DEVICES = Devices("cuda", 8, 80 * 2**30)


class Stored(Subject, frozen=True):
    """States that somebody else made: a row's only token is its number."""

    made: tuple[tuple[float, ...], ...]

    @property
    def name(self) -> str:
        return "somebody's states"

    @property
    def about(self) -> str:
        return f"{len(self.made)} rows of states"

    @property
    def identity(self) -> str:
        return str(hash(self.made))

    @property
    def layers(self) -> int:
        return 1

    @property
    def d_model(self) -> int:
        return len(self.made[0])

    def ingredients(self) -> dict[str, str]:
        return {"states": self.identity}

    def provenance(self) -> Mapping[str, Any]:
        return {"rows": len(self.made)}

    def states(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> torch.Tensor:
        return torch.tensor([[self.made[tokens[-1]] for tokens in prompts] for _ in layers])


def numbered(pairs: int) -> PromptTable:
    lines = [
        {"pair": number // 2, "example": str(number // 2), "answer": number % 2, "template": "main", "tokens": [number]}
        | {"answer_start": 0, "answer_end": 1}
        for number in range(2 * pairs)
    ]
    return PromptTable(pl.DataFrame(lines), (), ("main",))


def test_a_subject_that_nobody_foresaw_is_read_planned_and_kept(tmp_path: Path) -> None:
    made = tuple(map(tuple, np.random.default_rng(0).standard_normal((12, 3)).tolist()))
    subject, table, store = Stored(made), numbered(6), Store(tmp_path)
    plan = plan_extraction(subject, [table], Activations(), store)
    assert (plan.rows, plan.stored, plan.todo, plan.packed) == (12, 0, None, False)
    found = extract(subject, [table], Activations(), store)
    pairs = found.pairs(table, [4, 1], [0])
    assert torch.allclose(pairs.states[0], torch.tensor(made).view(6, 2, 3)[[4, 1]].float())
    assert pairs.log_odds is None
    assert extract(subject, [table], Activations(), store).done.rows == 0
    other = tuple(reversed(made))
    assert extract(Stored(other), [table], Activations(), store).done.rows == 12, "other states are of another subject"
    with pytest.raises(UsageError, match="last token only"):
        extract(subject, [table], Activations(token="mean"), store)
    assert not (subject.says or subject.alterable or subject.tokenizer)
    assert subject.untrainable


def test_a_formula_says_only_what_it_has() -> None:
    subject = Formula(Planted(layers=5, d_model=16))
    assert (subject.layers, subject.d_model, subject.dtype, subject.tokenizer) == (5, 16, "float32", None)
    assert not (subject.says or subject.alterable)
    assert "formula" in subject.untrainable
    assert subject.about == "test bed planted, 5 layers of width 16"
    assert subject.provenance()["bed"]["kind"] == "planted"
    assert subject.identity == Formula(Planted(layers=5, d_model=16)).identity
    assert subject.identity != Formula(Planted(layers=5, d_model=16, world=1)).identity
    assert subject.placed(DEVICES, 0, split=True).where == "in the memory of the processor"
    subject.check_split(1)


def test_a_language_model_is_what_its_card_says(tiny_llama: Path) -> None:
    card = describe(Model(id=str(tiny_llama)), Path())
    subject = LanguageModel(card)
    assert (subject.name, subject.identity, subject.layers, subject.d_model) == (
        card.name,
        card.identity,
        card.blocks + 1,
        card.d_model,
    )
    assert subject.tokenizer == card.tokenizer_identity
    assert subject.says and subject.alterable and not subject.untrainable and not subject.untrained
    assert LanguageModel(describe(Model(id=str(tiny_llama), weights="random"), Path())).untrained
    assert subject.about == LanguageModel(card, "some-bed").about.removeprefix("test bed some-bed: ")
    with pytest.raises(UsageError, match="--tensor-parallel"):
        subject.check_split(1)


def test_nobody_asks_a_subject_what_kind_it_is() -> None:
    """Whoever wants to know something of a subject asks that. Decoding a spec, and choosing how to forward, may look at types."""
    root = Path(harness.__file__).parent
    allowed = {"language", "spec.py", "spec", "subjects"}
    asked = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in sorted(root.rglob("*.py"))
        if path.relative_to(root).parts[0] not in allowed
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "isinstance"
        and {"Bed", "Formula", "Model"} & set(ast.unparse(node.args[1]).replace("|", " ").replace(",", " ").split())
    ]
    assert not asked


def test_a_card_is_of_a_language_model_and_leaves_nothing_open(tiny_llama: Path) -> None:
    card = describe(Model(id=str(tiny_llama)), Path())
    assert card.path.is_dir()
    assert card.tokenizer_identity
    assert min(card.parameters, card.body_parameters, card.shape.vocab, card.shape.d_mlp) > 0
