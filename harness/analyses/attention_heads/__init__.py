"""Attention heads of language models on random tokens that are repeated: which ones look for a copy, and which for the token before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from harness.contracts import ConditionName
from harness.contracts.analysis import Analysis, Drawn

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores

HEADS, LOSSES = "heads.parquet", "repeats.parquet"


class AttentionHeads(Analysis, frozen=True, kw_only=True):
    """Prefix-matching and previous-token score of every attention head of a language model, and the loss by position, on random tokens that are repeated once.

    The prefix-matching score is the mean attention from each token of the second copy to the one after its first copy. As a control, the same is measured between
    the same positions of as many random tokens without a repetition: a head that only looks so far back has the same score there.
    """

    conditions: tuple[ConditionName, ...] = ()
    """Conditions whose networks are looked into; all if empty."""
    period: Annotated[int, Meta(ge=2, le=1024)] = 25
    """Random tokens, which are then repeated."""
    sequences: Annotated[int, Meta(ge=2, le=10_000)] = 50
    """How many are drawn; intervals are over them."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the tokens."""

    source: ClassVar[str] = 'Olsson et al. 2022 (arXiv 2209.11895), "In-context learning and induction heads"'
    files: ClassVar[tuple[str, ...]] = (HEADS, LOSSES)
    tells: ClassVar[bool] = True

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.attention_heads.heads_stage import stages

        return stages(plan, self.conditions, self.period, self.sequences, self.seed)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.attention_heads.heads_stage import assembled

        return dict(zip(self.files, assembled(run, stages), strict=True))

    def told(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, Any]:
        """The table of each condition's heads, with how many sequences they were looked at on."""
        import polars as pl

        made = ((run.get(one).heads.with_columns(pl.lit(self.sequences).alias("sequences")), one) for one in stages)
        return {name: heads for heads, one in made for name in one.place}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.attention_heads.section import section

        return section(tables[HEADS], tables[LOSSES])

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.attention_heads import heads_figure

        yield Drawn("heads", heads_figure.draw(tables[HEADS]), heads_figure.CAPTION)
