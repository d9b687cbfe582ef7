"""Which part of a network makes its answer: states of one prompt put into the pass of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from harness.contracts import ConditionName
from harness.contracts.analysis import Analysis, Drawn
from harness.contracts.patched import Patched, Said

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores

PLACES = "patching.parquet"

Direction = Literal["denoise", "resample"]


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A head that hears what others would have said."""

    block: Annotated[int, Meta(ge=2)]
    """Its block, where the first one is 1: heads of earlier blocks are put into it."""
    head: Annotated[int, Meta(ge=0)]
    """Its number, counted from 0."""


class Patching(Analysis, frozen=True, kw_only=True):
    """The network forwarded with states of one prompt in the pass of another, place by place, to find which one carries what makes the answer.

    Two conditions ask about the same rows by prompts that differ in what decides the answer and have as many tokens. Measured is which share of the
    difference between their answers each place makes by itself, on test rows: 0 nothing, 1 all of it.
    """

    clean: ConditionName = "clean"
    """Condition of contrast pairs whose prompts lead to the right answer."""
    corrupted: ConditionName = "corrupted"
    """Condition of the same rows whose prompts lead elsewhere. Right is what is right in `clean`."""
    by: Literal["denoise", "resample", "both"] = "denoise"
    """`denoise` puts states of clean prompts into corrupted ones, and shows what is enough for the answer; `resample` states of corrupted prompts
    into clean ones, and shows what it needs. They differ where several parts can do the same; `both` does one after the other."""
    sites: Annotated[tuple[Literal["residual", "attention", "mlp", "head"], ...], Meta(min_length=1, max_length=4)] = (
        "residual",
        "attention",
        "mlp",
        "head",
    )
    """Where in a layer: the residual stream after it, what its attention or its MLP adds, each head by itself."""
    tokens: Literal["each", "all"] = "each"
    """At each token by itself, from the first that differs to the last before the answer, or at all of these together."""
    layers: tuple[Annotated[int, Meta(ge=0)], ...] | None = None
    """Layers to patch; all if empty. Layer 0 is what goes into the first block, and has the residual stream only."""
    metrics: Annotated[tuple[Said, ...], Meta(min_length=1, max_length=4)] = ("log_odds",)
    """What is measured of the answer. `log_odds` adds up over parts that work side by side; `probability`, `rank` and `accuracy` do not, and can call a
    part idle that does its share, or give one the credit of all."""
    paths: Annotated[tuple[Receiver, ...], Meta(max_length=16)] = ()
    """Heads, such as `{block: 24, head: 3}`, into each of which every head of an earlier block is put by itself: it alone hears what that head would have said, all
    other parts between go on as they were. Metrics are those of the answer; nothing of it is foretold by slopes."""
    attribution: bool = True
    """Whether all places are foretold as well by slopes, from one pass and one way back: exact for what the answer is linear in."""
    rows: Annotated[int, Meta(ge=4)] | None = 50
    """At most so many test rows, drawn by `seed`; null for all. A larger number keeps the rows of a smaller one."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Seed of the choice of rows."""

    files: ClassVar[tuple[str, ...]] = (PLACES,)
    tells: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Vig et al. 2020 (arXiv 2004.12265) and Wang et al. 2023 (arXiv 2211.00593), paths: Goldowsky-Dill et al. 2023 (arXiv 2304.05969); metrics: Zhang & Nanda 2024 (arXiv 2309.16042), Heimersheim & "
        "Nanda 2024 (arXiv 2404.15255); attribution: Syed et al. 2023 (arXiv 2310.10348)"
    )

    @property
    def directions(self) -> tuple[Direction, ...]:
        return ("denoise", "resample") if self.by == "both" else (self.by,)

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.patching.planned import stages

        return stages(plan, self)

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.patching.place_table import framed

        return {PLACES: framed([stage.outcome(run) for stage in stages])}  # type: ignore[attr-defined]

    def told(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, Any]:
        """By condition, what came of it by direction; of paths nothing is told."""
        from harness.analyses.patching.patching_stage import PatchedRows

        found: dict[str, dict[Direction, Patched]] = {}
        for one in stages:
            if isinstance(one, PatchedRows) and one.into is None:
                for name in one.place[:2]:
                    found.setdefault(name, {})[one.by] = one.outcome(run)
        return found

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.patching.section import section

        return section(tables[PLACES])

    def figures(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[Drawn]:
        from harness.analyses.patching import maps

        if (figure := maps.draw(tables[PLACES])) is not None:
            yield Drawn("patching", figure, maps.CAPTION)
