"""The noise floor: how far arithmetic moves what methods read of each condition, by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.plan.stage import Stage
from harness.scoring import tables
from harness.spec import Spec
from harness.stages.states_stage import States
from harness.store import Artifact, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run


class Noise(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """The noise floor of every condition whose states a network computes: the columns of `harness.scoring.tables.NOISE`.

    It is read from stored states, and from those of the same prompts forwarded one at a time, which are stored with them.
    """

    kind: ClassVar[str] = "noise"

    spec: Spec
    states: Mapping[str, States]
    """By condition."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return tuple(dict.fromkeys(self.states.values()))

    def made_from(self) -> Mapping[str, str]:
        return {f"states of {name}": stage.key_of(name) for name, stage in self.states.items()}

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        noise = {name: run.conditions.extracted(name).noise(run.conditions.table(name)) for name in self.states}
        found = tables.noise_table(noise)
        work.counts["rows"] = found.height
        return found

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({"noise": made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {"noise": tables.NOISE})["noise"]
