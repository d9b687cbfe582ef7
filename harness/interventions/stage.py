"""Carries out the interventions of a plan, each once, and puts what came of them together.

Of several processes the leader does it while the others wait: with a token or two for each alteration it takes seconds.
Every batch is stored when it is done, so that a run which was stopped goes on with the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from harness import artifacts
from harness.contracts import Check, LayerChoice, Steered
from harness.errors import CheckError
from harness.interventions.acting import Acted, Acting, test_rows
from harness.interventions.directions import PROBE, THERE, chosen_layer, directions
from harness.interventions.effect import Outcome, both_ways, rows, slopes
from harness.plan import Acts, Stage
from harness.scoring import TRUTH
from harness.spec import Intervention
from harness.store import Artifact

if TYPE_CHECKING:
    import polars as pl

    from harness.execution import Execution
    from harness.models.card import ModelCard
    from harness.models.network import Network

TOKENS: Mapping[str, str] = {
    "question": "at the last token before the answer",
    "all": "at all tokens before the answer",
}


class Interventions:
    """What came of all that the spec asks for."""

    def __init__(self, execution: Execution):
        self._execution = execution
        self._network: tuple[str, Network] | None = None
        self._done = {acts: self._carried_out(acts, stage) for acts, stage in execution.plan.interventions.items()}
        self._network = None

    def frame(self) -> pl.DataFrame | None:
        """interventions.csv; None if the spec asks for none."""
        from harness.interventions.tables import assembled, framed

        if not self._done:
            return None
        frames = []
        for acts, (choice, outcome) in self._done.items():
            same = {"fit_on": acts.fit_on, "tested_on": acts.tested_on, "probe": acts.intervention.probe}
            same |= {"layer": str(choice.layer), "by": acts.intervention.by, "token": acts.intervention.token}
            frames.append(framed([{**same, **row} for row in rows(outcome)]))
        return assembled(frames)

    def steered(self, check: Check) -> Steered:
        """What came of the one that a check asks for. Raises CheckError where the spec has none."""
        wanted = check.intervention()
        assert wanted is not None, "a check that asks for an intervention says which"
        fit_on = check.fit_on or check.condition
        asked = Intervention(**wanted)
        for acts, (choice, outcome) in self._done.items():
            if acts.intervention.alike(asked) and (acts.fit_on, acts.tested_on) == (fit_on, asked.condition):
                every = slopes(outcome)
                number = {name: place for place, name in enumerate(outcome.names)}
                along, at = (
                    msgspec.structs.replace(every, value=every.value[[place]], influence=every.influence[[place]])
                    for place in (number[PROBE], number.get(THERE, 0))
                )
                chance = [place for name, place in number.items() if name not in (PROBE, THERE)]
                where = f"layer {choice}, {TOKENS[asked.token]}"
                return Steered(along, every.value[chance, 0], at if THERE in number else None, where)
        raise CheckError(f"{check.kind()}: nobody steered along {asked.probe} on {asked.condition}, fitted on {fit_on}")

    def _carried_out(self, acts: Acts, stage: Stage) -> tuple[LayerChoice, Outcome]:
        execution, intervention = self._execution, acts.intervention
        where = (acts.fit_on, acts.tested_on)
        choice = chosen_layer(execution, where, intervention)
        acted = artifacts.read(execution.store, stage.kind, stage.key, _load)
        if acted is None:
            found = directions(execution, where, intervention, choice)
            target = execution.scored(*where, intervention.probe).target
            with execution.stage(stage, unit="tokens") as (progress, counts):
                acting = Acting(execution, acts.tested_on, intervention, found, target, self._loaded)
                progress.total(acting.total())
                acted = acting.go(stage.key, progress.to)
                counts |= {"rows": acted.log_odds.shape[1], "tokens": acting.total()}
                about = {"way": acted.way, "layer": choice.layer, "step": found.step, "directions": list(acted.names)}
                with execution.store.write(stage.kind, stage.key, about) as folder:
                    np.save(folder / "log_odds.npy", acted.log_odds, allow_pickle=False)
        return choice, self._outcome(acts, acted)

    def _outcome(self, acts: Acts, acted: Acted) -> Outcome:
        labels = self._execution.labels(acts.tested_on, "test")
        chosen = test_rows(self._execution, acts.tested_on, acts.intervention)
        steers = acts.intervention.by == "steer"
        altered = acted.log_odds[1:].reshape(len(acted.names), -1, len(chosen))
        return Outcome(
            names=acted.names,
            untouched=acted.log_odds[0],
            altered=altered,
            strengths=both_ways(acts.intervention.strengths) if steers else (),
            truth=labels.targets[TRUTH][chosen],
            group=labels.group[chosen],
        )

    def _loaded(self, card: ModelCard) -> Network:
        """The network, kept for the next intervention on the same one."""
        key = f"{card.identity} {card.dtype}"
        if self._network is None or self._network[0] != key:
            from harness.models.load import load

            # The old one goes before the new one comes.
            self._network = None
            self._network = (key, load(card))
        return self._network[1]


def _load(artifact: Artifact) -> Acted:
    names = tuple(map(str, artifact.meta["directions"]))
    log_odds = np.load(artifact / "log_odds.npy", allow_pickle=False)
    if (len(log_odds) - 1) % len(names):
        raise ValueError(f"{len(log_odds)} alterations cannot be of {len(names)} directions")
    return Acted(names, log_odds, str(artifact.meta["way"]))
