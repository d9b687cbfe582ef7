"""The experiment on further draws of sample and split, and the scores at summary layers put together over all draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.execution.run import Run
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.scoring.over_draws import over_draws
from harness.spec import Spec
from harness.stages.fit_stages import Score
from harness.stages.headline_stage import Headline, headlines_asked, stored_columns
from harness.stages.reply_stage import awaiting
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work


class Headlined(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The rows of headline.parquet, over all draws; with what each group of the first one's test rows adds."""

    kind: ClassVar[str] = "draws"
    led: ClassVar[bool] = True

    spec: Spec
    headlines: tuple[Headline, ...]
    """Of the first draw."""
    others: tuple[Plan, ...]
    """A plan of each further draw."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.headlines

    def made_from(self) -> Mapping[str, str]:
        further = {f"draw {number}": content_key([one.key for one in plan.of("headline")])
                   for number, plan in enumerate(self.others, 2)}  # fmt: skip
        return further | {stage.title: stage.key for stage in self.inputs}

    @property
    def uses(self) -> Sequence[str]:
        return [use for plan in self.others for use in plan.uses]

    def before(self, run: Run) -> None:
        super().before(run)
        # One process makes them: what others would share in belongs to another plan.
        for plan in self.others:
            again = Run(plan, run.store, run.reporter, run.resources)
            for stage in plan.of("headline"):
                again.prepare(stage)

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        import polars as pl

        draws = [[run.get(stage) for stage in self.headlines]]
        draws += [[run.seen(stage) for stage in plan.of("headline")] for plan in self.others]
        made = over_draws([pl.concat(frames) for frames in draws])
        work.counts["rows"] = made.height
        return made

    def cost(self, run: Run) -> Cost:
        """Of the further draws, all that their scores at summary layers are made from. What several draws share counts once."""
        found: dict[str, Cost] = {}
        for plan in self.others:
            again, waiting = Run(plan, run.store, run.reporter, run.resources), list(plan.of("headline"))
            unknown = awaiting(plan, run.store)
            while waiting:
                stage = waiting.pop()
                if stage.key not in found:
                    found[stage.key] = Cost() if stage.key in unknown else stage.cost(again)
                    waiting += stage.inputs
        forwarded = [one for one in found.values() if one.tokens is not None]
        if not forwarded:
            return Cost(note=f"{len(self.others)} further draws") if self.others else Cost()
        flops = [one.tflops for one in forwarded]
        return Cost(
            rows=sum(one.rows or 0 for one in forwarded),
            rows_to_do=sum(one.rows_to_do or 0 for one in forwarded),
            tokens=sum(one.tokens or 0 for one in forwarded),
            tokens_unshared=sum(one.tokens_unshared or 0 for one in forwarded),
            passes=sum(one.passes or 0 for one in forwarded),
            tflops=None if None in flops else round(sum(one or 0.0 for one in flops), 3),
            stored_mib=round(sum(one.stored_mib or 0.0 for one in forwarded), 1),
            where=forwarded[0].where,
            note=f"{len(self.others)} further draws",
        )

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({self.kind: made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {self.kind: list(stored_columns())})[self.kind]


def headline_asked(plan: Plan, scores: Sequence[Score], planned: Callable[[Spec], Plan]) -> Headlined:
    """The stage of a plan's scores at summary layers, with those that it is made from; `planned` makes the plan of a further draw."""
    own = tuple(plan.add(one) for one in headlines_asked(plan.spec, scores))
    others = tuple(planned(plan.spec.redrawn(number)) for number in range(1, plan.spec.repeats))
    return plan.add(Headlined(spec=plan.spec, headlines=own, others=others))
