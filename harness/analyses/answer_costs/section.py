"""The report's section on what an answer costs, beside the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.report.markup import folded, table
from harness.report.wording import listed
from harness.untrusted import text as plain

if TYPE_CHECKING:
    import polars as pl

Row = Mapping[str, Any]


def section(frame: pl.DataFrame) -> Iterable[str]:
    """The table; nothing where nothing was counted."""
    costs = frame.to_dicts()
    if not costs:
        return
    yield "## What an answer costs"
    yield (
        "What the network reads for one answer to one question, mean over the test questions: the prompts, their tokens, and the "
        "tokens where what the prompts of one question begin with in common is read once. Probes and the network's own answer "
        "come out of the same pass; a probe needs the network up to its layer only. What all questions have in common, such as "
        "solved examples, can be read once for all of them and is counted for each here."
    )
    rows = (
        (
            plain.markdown(cost["condition"]),
            _methods(cost, costs),
            f"{cost['prompts']:.4g}",
            f"{cost['tokens']:.1f}",
            f"{cost['shared']:.1f}",
        )
        for cost in costs
    )
    yield folded(
        "Prompts and tokens by condition",
        table(("condition", "methods", "prompts", "tokens", "tokens, shared once"), rows, numbers=3),
    )


def _methods(cost: Row, costs: Sequence[Row]) -> str:
    """Their names, or fewer words where they are most of those that were tried there."""
    others = [one for one in costs if one["condition"] == cost["condition"] and one is not cost]
    if not others:
        return "all"
    left = {name for one in others for name in one["methods"]}
    if len(cost["methods"]) > len(left):
        return f"all but {listed([plain.code(name) for name in sorted(left)])}"
    return listed([plain.code(name) for name in cost["methods"]])
