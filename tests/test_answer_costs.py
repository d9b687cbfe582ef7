"""What an answer costs, counted in the prompts that a method reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import pipeline
from harness.analyses.answer_costs.cost_stage import _of_condition, distinct_tokens
from harness.analyses.answer_costs.section import section
from harness.contracts import PromptTable
from harness.probes.prompt_ensemble import PromptEnsemble
from harness.probes.zero_shot import ZeroShot

PROMPTS = st.lists(st.lists(st.integers(0, 2), max_size=6), min_size=1, max_size=6)


@given(PROMPTS)
def test_what_is_shared_is_the_trie_of_the_prompts(prompts: list[list[int]]) -> None:
    """The oracle: every distinct beginning is a node."""
    nodes = {tuple(prompt[:end]) for prompt in prompts for end in range(1, len(prompt) + 1)}
    assert distinct_tokens(prompts) == len(nodes)


def table(templates: Sequence[str], examples: int = 4) -> PromptTable:
    """Each question has ten tokens of its own, one more in every further wording, and one for the answer; an example in three
    is a training row that is longer, and is not counted."""
    rows = [
        {
            "pair": example * len(templates) + place,
            "example": f"e{example}",
            "split": "train" if example % 3 == 2 else "test",
            "template": template,
            "answer": answer,
            "tokens": [*([place] * (10 + place + 50 * (example % 3 == 2))), 90 + answer],
        }
        for example in range(examples)
        for place, template in enumerate(templates)
        for answer in (0, 1)
    ]
    return PromptTable(pl.DataFrame(rows), (), tuple(templates))


def cost(condition: str, methods: Sequence[str], prompts: float, tokens: float, shared: float) -> dict[str, Any]:
    return {
        "condition": condition, "methods": list(methods), "prompts": prompts, "tokens": tokens, "shared": shared,
    }  # fmt: skip


def test_one_answer_from_several_wordings_costs_them_all() -> None:
    probes = [ZeroShot(), PromptEnsemble(), PromptEnsemble(name="majority", of="answers")]
    one, all_three = _of_condition("asked", table(["a", "b", "c"]), probes)
    assert one == cost("asked", ["zero_shot"], 2, 24, 13)
    assert all_three == cost("asked", ["prompt_ensemble", "majority"], 6, 72, 39)
    # The control: with one wording they are the same question.
    (same,) = _of_condition("asked", table(["a"]), probes)
    assert same == cost("asked", ["zero_shot", "prompt_ensemble", "majority"], 2, 22, 12)


def test_the_table_names_few_methods_and_says_all_of_most() -> None:
    costs = [
        cost("asked", "abc", 2.0, 24.0, 13.0),
        cost("asked", "d", 6.0, 72.0, 39.0),
        cost("plain", "a", 2.0, 22.5, 12.0),
    ]
    frame = pl.DataFrame(costs)
    text = "\n".join(section(frame))
    assert "| asked | all but `d` | 2 | 24.0 | 13.0 |" in text
    assert "| asked | `d` | 6 | 72.0 | 39.0 |" in text
    assert "| plain | all | 2 | 22.5 | 12.0 |" in text
    assert not list(section(frame.clear()))


@pytest.mark.parametrize("leaderboard", [True, False])
def test_it_stands_beside_the_leaderboard(tmp_path: Path, leaderboard: bool) -> None:
    (tmp_path / "x.yaml").write_text(
        "harness: 1\nname: x\nmodel: {bed: planted}\ndata: {limit: 60}\nprobes: [mean_difference]\n"
        f"leaderboard: {str(leaderboard).lower()}\n"
    )
    first = (pipeline.run(tmp_path / "x.yaml", out=tmp_path / "a", page=False).folder / "report.md").read_text()
    again = (pipeline.run(tmp_path / "x.yaml", out=tmp_path / "b", page=False).folder / "report.md").read_text()
    assert ("## What an answer costs" in first) == leaderboard
    assert first == again
