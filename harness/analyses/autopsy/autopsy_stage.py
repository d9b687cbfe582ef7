"""The stages of autopsies, each once, and their tables put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.analyses.autopsy.examine import Body, examine
from harness.analyses.autopsy.features import TRUTH, library
from harness.execution.controls import evidence_of
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.prompts.pair_text import line_of
from harness.scoring.evidence import Evidence
from harness.spec import Autopsy, Spec
from harness.spec.plain import probe_name
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run

ENDS = 150, 130
"""Characters of a row's text that are kept in the tables, from its beginning and from its end."""


class Autopsied(Stage["dict[str, pl.DataFrame]"], frozen=True, kw_only=True):
    """One autopsy at one place: its tables, without the names of probe and conditions."""

    kind: ClassVar[str] = "autopsy"

    spec: Spec
    autopsy: Autopsy
    fit_on: str
    tested_on: str
    scores: Mapping[str, Stage[Any]]
    """By probe: the one that is looked into, and those that are the network's own answer."""
    prompts: tuple[Stage[Any], Stage[Any]]
    """Of the test rows and of the training rows."""

    @property
    def place(self) -> tuple[str, ...]:
        return self.fit_on, self.tested_on, self.autopsy.probe

    @property
    def label(self) -> str:
        return f"{self.fit_on} → {self.tested_on} · {self.autopsy.probe}"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.scores.values(), *self.prompts)

    def made_from(self) -> Mapping[str, str]:
        asked = self.autopsy
        return {
            "scores": content_key([[name, stage.key] for name, stage in self.scores.items()]),
            "prompts": self.prompts[0].key,
            "training prompts": self.prompts[1].key,
            "options": content_key(asked.permutations, asked.agreement, self._rows),
            "layer rule": str(self.spec.layer),
        }

    @property
    def _rows(self) -> int:
        """Rows that are shown of each solution: none where the spec keeps no rows."""
        return self.autopsy.rows if self.spec.rows else 0

    def make(self, run: Run, work: Work) -> dict[str, pl.DataFrame]:
        from harness.analyses.autopsy.findings import framed

        evidence = evidence_of(run)
        body = _body(run, evidence, self)
        work.counts["rows"] = len(body.truth)
        layer = evidence.of(self.autopsy.probe, self.tested_on, fit_on=self.fit_on).layer.layer
        settings = msgspec.structs.replace(self.autopsy, rows=self._rows)
        return framed(examine(body, settings), "all" if layer is None else str(layer))

    def save(self, made: dict[str, pl.DataFrame], folder: Path) -> Mapping[str, Any]:
        return reading.save_frames(made, folder)

    def load(self, artifact: Artifact) -> dict[str, pl.DataFrame]:
        from harness.analyses.autopsy.findings import SCHEMAS

        return reading.load_frames(artifact, SCHEMAS)


def stages(plan: Plan) -> Iterator[Autopsied]:
    """Those that a spec asks for."""
    spec = plan.spec
    read_out = [probe_name(probe) for probe in spec.probes if probe.reads == "log_odds"]
    for autopsy in spec.autopsy:
        for fit_on, tested_on in autopsy.places(spec.transfers(autopsy.probe)):
            looked_at = [name for name in (autopsy.probe, *read_out) if plan.has("score", fit_on, tested_on, name)]
            yield Autopsied(
                spec=spec,
                autopsy=autopsy,
                fit_on=fit_on,
                tested_on=tested_on,
                scores={name: plan.find("score", fit_on, tested_on, name) for name in looked_at},
                prompts=(plan.find("prompts", tested_on), plan.find("prompts", fit_on)),
            )


def _body(run: Run, evidence: Evidence, stage: Autopsied) -> Body:
    """What is so of the test rows, in the order of the answers."""
    fit_on, tested, probe = stage.fit_on, stage.tested_on, stage.autopsy.probe
    table, labels = run.conditions.table(tested), run.conditions.labels(tested, "test")
    first, second = (table.frame.filter(answer=answer, split="test") for answer in (0, 1))
    # A test bed's prompts are token ids, in which everything stands plainly: what they look like is no news.
    is_text = run.plan.subjects[tested].tokenizer is not None
    own = {
        name: evidence.of(name, tested, fit_on=fit_on).answers().score[0, 0].astype(np.float64)
        for name in stage.scores
        if name != probe
    }
    features = library(
        table.factors,
        labels.binary,
        own,
        list(zip(first["text"], second["text"], strict=True)) if is_text else [],
        first["tokens"].list.len().to_list(),
    )
    names = next(factor.values for factor in table.factors if factor.name == TRUTH)
    return Body(
        answers=evidence.of(probe, tested, fit_on=fit_on).answers(),
        truth=labels.targets[TRUTH],
        group=labels.group,
        features=features,
        answer_names=(names[0], names[1]),
        texts=[line_of(pair, ENDS) for pair in zip(first["text"], second["text"], strict=True)],
    )
