"""The stages of interventions, and what came of them put together.

Of several processes the leader does it while the others wait: with a token or two for each alteration it takes seconds.
Every batch is stored when it is done, so that a run which was stopped goes on with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from harness.analyses.interventions.acting import (
    Acted,
    Acting,
    alteration_count,
    asked,
    possible,
    test_rows,
    tokens_of,
)
from harness.analyses.interventions.effect import Outcome, both_ways, rows, slopes
from harness.analyses.interventions.steps import PROBE, THERE, chosen_layer, directions
from harness.contracts import Claim, LayerChoice, Steered
from harness.errors import CheckError, KeyFault
from harness.models.precision import device
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.readouts.stored_readouts import load_fit
from harness.scoring.score import TRUTH
from harness.spec import Intervention, Spec
from harness.spec.plain import plain
from harness.store import Artifact, content_key
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run

TOKENS: Mapping[str, str] = {
    "question": "at the last token before the answer",
    "all": "at all tokens before the answer",
}


class Intervened(Stage[Acted], frozen=True, kw_only=True):
    """One intervention at one place: log-odds of the test rows under every alteration."""

    kind: ClassVar[str] = "intervention"
    unit: ClassVar[str] = "tokens"

    spec: Spec
    number: int
    """Among the spec's interventions."""
    fit: Stage[Any]
    score: Stage[Any]
    states: Stage[Any]
    """Of the condition whose states are altered."""
    prompts: Stage[Any]
    states_key: str

    @property
    def intervention(self) -> Intervention:
        return self.spec.interventions[self.number]

    @property
    def where(self) -> tuple[str, str]:
        """Fitted on, tested on."""
        return self.score.place[0], self.score.place[1]

    @property
    def asked_in(self) -> str:
        """The condition whose prompts are forwarded."""
        return self.intervention.asked_in or self.where[1]

    @property
    def place(self) -> tuple[str, ...]:
        return *self.where, self.intervention.probe, str(self.number)

    @property
    def label(self) -> str:
        fit_on, tested_on = self.where
        return f"{fit_on} → {tested_on}: {self.intervention.probe}, {self.intervention.title}"

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.fit, self.score, self.states, self.prompts

    def made_from(self) -> Mapping[str, str]:
        options = plain(self.intervention)
        return {
            "fit": self.fit.key,
            "scores": self.score.key,
            "prompts": self.prompts.key,
            "states": self.states_key,
            "options": content_key(
                {
                    name: value
                    for name, value in options.items()
                    if name not in ("condition", "fit_on", "probe", "asked_in")
                }
            ),
            "layer rule": str(self.spec.layer if self.intervention.layer is None else self.intervention.layer),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        # It asks readouts of whatever form for their directions.
        return (*super().runs, load_fit)

    def choice(self, run: Run) -> LayerChoice:
        """The layer whose states are altered."""
        return chosen_layer(run.conditions, self.where, self.intervention)

    def make(self, run: Run, work: Work) -> Acted:
        choice = self.choice(run)
        found = directions(run.conditions, self.where, self.intervention, choice)
        acting = Acting(run, self.asked_in, self.intervention, found, run.get(self.score).target)
        work.total(acting.total())
        acted = acting.go(self.key, work.to)
        work.counts |= {"rows": acted.log_odds.shape[1], "tokens": acting.total()}
        return acted

    def save(self, made: Acted, folder: Path) -> Mapping[str, Any]:
        np.save(folder / "log_odds.npy", made.log_odds, allow_pickle=False)
        return {"way": made.way, "directions": list(made.names)}

    def load(self, artifact: Artifact) -> Acted:
        return _load(artifact)

    def outcome(self, run: Run) -> Outcome:
        """The outcome, with the labels of the rows."""
        acted, labels = run.get(self), run.conditions.labels(self.asked_in, "test")
        chosen = test_rows(run.conditions, self.asked_in, self.intervention)
        steers = self.intervention.by == "steer"
        return Outcome(
            names=acted.names,
            untouched=acted.log_odds[0],
            altered=acted.log_odds[1:].reshape(len(acted.names), -1, len(chosen)),
            strengths=both_ways(self.intervention.strengths) if steers else (),
            truth=labels.targets[TRUTH][chosen],
            group=labels.group[chosen],
        )

    def cost(self, run: Run) -> Cost:
        pairs = asked(run.conditions, self.asked_in, "test", self.intervention)
        count = alteration_count(self.intervention)
        subject = run.plan.subjects[self.asked_in]
        assert isinstance(subject, LanguageModel), "the plan refuses what cannot be altered"
        tokens = tokens_of(possible(subject.card, self.intervention, pairs)[0], pairs, count)
        whole = tokens_of("whole", pairs, count)
        return Cost(
            rows=len(pairs),
            tokens=tokens,
            tokens_unshared=whole,
            where=device(),
            note=f"{count} ways to alter a state: {tokens:,} tokens through some of the layers; as whole prompts {whole:,}",
        )


def stages(plan: Plan) -> Iterator[Intervened]:
    """Those that a spec asks for. Raises KeyFault where a network has no answer to be altered."""
    spec = plan.spec
    for number, intervention in enumerate(spec.interventions):
        for fit_on, tested_on in intervention.places(spec.transfers(intervention.probe)):
            acted_on = intervention.asked_in or tested_on
            if not plan.subjects[acted_on].alterable:
                raise KeyFault(
                    f"interventions[{number}]",
                    f"the network of condition {acted_on} does not say its answer token by token, left to right, so "
                    "there is no state that its answer comes from; name a condition with a causal language model",
                )
            states = plan.of_condition("activations", acted_on)
            yield Intervened(
                spec=spec,
                number=number,
                fit=plan.find("fit", fit_on, intervention.probe),
                score=plan.find("score", fit_on, tested_on, intervention.probe),
                states=states,
                prompts=plan.find("prompts", acted_on),
                states_key=states.key_of(acted_on),
            )


class Outcomes:
    """The outcomes of all interventions of a spec."""

    def __init__(self, run: Run):
        self._run = run
        stages: Sequence[Intervened] = run.plan.of("intervention")
        self._done = {stage: stage.outcome(run) for stage in stages}
        run.networks.drop()

    def frame(self) -> pl.DataFrame:
        """interventions.parquet."""
        from harness.analyses.interventions.outcomes import assembled, framed

        frames = []
        for stage, outcome in self._done.items():
            asked = stage.intervention
            same = {"fit_on": stage.where[0], "tested_on": stage.asked_in, "probe": asked.probe}
            same |= {"layer": str(stage.choice(self._run).layer), "by": asked.by, "token": asked.token}
            frames.append(framed([{**same, **row} for row in rows(outcome)]))
        return assembled(frames)

    def steered(self, check: Claim) -> Steered:
        """What came of the one that a check asks for. Raises CheckError where the spec has none."""
        wanted = check.intervention()
        assert wanted is not None, "a check that asks for an intervention says which"
        fit_on = check.fit_on or check.condition
        asked = Intervention(**wanted)
        for stage, outcome in self._done.items():
            if stage.intervention.alike(asked) and stage.where == (fit_on, asked.condition):
                every = slopes(outcome)
                number = {name: place for place, name in enumerate(outcome.names)}
                along, at = (
                    msgspec.structs.replace(every, value=every.value[[place]], influence=every.influence[[place]])
                    for place in (number[PROBE], number.get(THERE, 0))
                )
                chance = [place for name, place in number.items() if name not in (PROBE, THERE)]
                where = f"layer {stage.choice(self._run)}, {TOKENS[asked.token]}"
                where += "" if asked.asked_in is None else f" in {asked.asked_in}"
                return Steered(along, every.value[chance, 0], at if THERE in number else None, where)
        raise CheckError(f"{check.kind()}: nobody steered along {asked.probe} on {asked.condition}, fitted on {fit_on}")


def _load(artifact: Artifact) -> Acted:
    names = tuple(map(str, artifact.meta["directions"]))
    log_odds = np.load(artifact / "log_odds.npy", allow_pickle=False)
    if (len(log_odds) - 1) % len(names):
        raise ValueError(f"{len(log_odds)} alterations cannot be of {len(names)} directions")
    return Acted(names, log_odds, str(artifact.meta["way"]))
