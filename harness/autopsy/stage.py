"""Carries out the autopsies of a plan, each once, and puts their tables together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness import artifacts
from harness.autopsy.examine import Body, examine
from harness.autopsy.features import TRUTH, library
from harness.contracts import Bed
from harness.evidence import Evidence
from harness.plan import Stage
from harness.spec import Autopsy
from harness.templates import shared_start

if TYPE_CHECKING:
    import polars as pl

    from harness.autopsy.tables import Autopsies
    from harness.execution import Execution
    from harness.store import Store

ENDS = 150, 130
"""Characters of a row's text that are kept in the tables, from its beginning and from its end."""


def autopsies(execution: Execution, evidence: Evidence) -> Autopsies | None:
    """All that the spec asks for, from the store where they are; None if it asks for none."""
    from harness.autopsy.tables import SCHEMAS, Autopsies, assembled

    plan = execution.plan
    if not plan.autopsies:
        return None
    frames = {}
    for autopsy in plan.spec.autopsy:
        for fit_on, tested in autopsy.places(plan.spec.transfers(autopsy.probe)):
            where = (fit_on, tested, autopsy.probe)
            frames[where] = _carried_out(execution, evidence, autopsy, where, plan.autopsies[where])
    return Autopsies(**{name: assembled(name, {w: made[name] for w, made in frames.items()}) for name in SCHEMAS})


def _carried_out(
    execution: Execution, evidence: Evidence, autopsy: Autopsy, where: tuple[str, str, str], stage: Stage
) -> dict[str, pl.DataFrame]:
    from harness.autopsy.tables import SCHEMAS, framed

    if stored := artifacts.read(
        execution.store, stage.kind, stage.key, lambda found: artifacts.load_frames(found, SCHEMAS)
    ):
        return stored
    with execution.stage(stage) as (_, counts):
        body = _body(execution, evidence, where)
        counts["rows"] = len(body.truth)
        layer = evidence.of(where[2], where[1], fit_on=where[0]).layer.layer
        made = framed(examine(body, autopsy), "all" if layer is None else str(layer))
        _keep(made, stage, execution.store)
    return made


def _keep(made: dict[str, pl.DataFrame], stage: Stage, store: Store) -> None:
    with store.write(stage.kind, stage.key) as folder:
        for name, frame in made.items():
            frame.write_parquet(folder / f"{name}.parquet")


def _body(execution: Execution, evidence: Evidence, where: tuple[str, str, str]) -> Body:
    """What is so of the test rows, in the order of the answers."""
    fit_on, tested, probe = where
    plan, table = execution.plan, execution.table(tested)
    labels = execution.labels(tested, "test")
    first, second = (table.frame.filter(answer=answer, split="test") for answer in (0, 1))
    # A test bed's prompts are token ids, in which everything stands plainly: what they look like is no news.
    is_text = not isinstance(plan.spec.condition(tested).model, Bed)
    own = {
        name: evidence.of(name, tested, fit_on=fit_on).answers().score[0, 0].astype(np.float64)
        for name in (p.name or p.kind() for p in plan.spec.probes if p.reads == "log_odds")
        if name != probe and (fit_on, tested, name) in plan.scores
    }
    features = library(
        table.factors,
        labels.targets,
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
        texts=[_line(*pair) for pair in zip(first["text"], second["text"], strict=True)],
    )


def _line(first: str, second: str) -> str:
    """Both members of a pair as one line: what they share once, and [one/other] where they differ."""
    texts = [" ".join(text.split()) for text in (first, second)]
    start = shared_start(*texts)
    end = min(shared_start(*(text[::-1] for text in texts)), min(map(len, texts)) - start)
    # Whole words: "negative" and "positive" end alike.
    while start and not texts[0][start - 1].isspace():
        start -= 1
    while end and texts[0][-end].isalnum():
        end -= 1
    middle = "/".join(text[start : len(text) - end] for text in texts)
    line = f"{texts[0][:start]}[{middle}]{texts[0][len(texts[0]) - end :]}"
    head, tail = ENDS
    return line if len(line) <= head + tail else f"{line[:head]} … {line[-tail:]}"
