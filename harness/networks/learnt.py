"""What networks learn, by their recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.worlds.sparse_features import SparseFeatures

if TYPE_CHECKING:
    from harness.networks.recipe import Recipe


def learnt_by(recipe: Recipe) -> Literal["questions", "sequences", "features"]:
    """Answers to questions, the next token of sequences, or to give features back."""
    if isinstance(recipe.world, SparseFeatures):
        return "features"
    return "questions" if recipe.drawn is None else "sequences"
