"""What a summary of the run needs besides tables and layers: facts about model and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import kinds_of
from harness.plan.stage import Stage
from harness.prompts.pair_text import line_of
from harness.report import found_nothing
from harness.report.content import Example
from harness.report.facts import data_facts, model_facts
from harness.spec import Spec
from harness.stages.fit_stages import Score
from harness.stages.prompt_stage import Prompts
from harness.stages.states_stage import States
from harness.store import Artifact, content_key

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run

_ENDS = 700, 300
"""Characters of an example's beginning and end."""


class Summary(msgspec.Struct, frozen=True):
    """The layers, facts and findings that stand beside the tables."""

    facts: tuple[tuple[str, str], ...]
    """Model, data, split sizes, conventions: name and value."""
    findings: tuple[str, ...]
    """What linting the prompts found, and which fits found nothing, one sentence each."""
    example: Example | None = None
    """A test prompt of the first condition; None where the spec keeps no rows."""


class Summarised(Stage[Summary], frozen=True, kw_only=True):
    """Facts and findings."""

    kind: ClassVar[str] = "summary"

    spec: Spec
    prompts: Mapping[str, Prompts]
    """By condition; so are the states."""
    states: Mapping[str, States]
    scores: tuple[Score, ...]

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (*self.prompts.values(), *dict.fromkeys(self.states.values()), *self.scores)

    def made_from(self) -> Mapping[str, str]:
        states = {name: stage.key_of(name) for name, stage in self.states.items()}
        return {
            "rows are kept": str(self.spec.rows),
            "states": content_key(list(states.items())),
            "names": content_key([_named(stage) for stage in dict.fromkeys(self.states.values())]),
            **{stage.title: stage.key for stage in self.inputs},
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        # What is said of a model it says itself.
        return (*super().runs, *kinds_of(one.subject for one in self.states.values()))

    def make(self, run: Run, work: Work) -> Summary:
        linted = [finding for one in self.prompts.values() for finding in run.get(one).findings]
        return Summary(
            facts=tuple(model_facts(run) + data_facts(run)),
            findings=(*linted, *found_nothing.sentences(run.conditions.all_scored().values())),
            example=self._example(run) if self.spec.rows else None,
        )

    def _example(self, run: Run) -> Example | None:
        """The first test prompt of the first condition with distractors, or of the first."""
        conditions = sorted(self.spec.conditions, key=lambda one: not one.distractors)
        table = run.get(self.prompts[conditions[0].name])
        first, second = (table.frame.filter(answer=answer, split="test") for answer in (0, 1))
        if first.is_empty():
            return None
        said = {one.name: one.values[int(first[one.name][0])] for one in table.factors if one.values}
        text = line_of(first["text"][0], second["text"][0], _ENDS)
        return Example(conditions[0].name, text, said.pop("truth", ""), said)

    def save(self, made: Summary, folder: Path) -> Mapping[str, Any]:
        return {"summary": msgspec.to_builtins(made)}

    def load(self, artifact: Artifact) -> Summary:
        return msgspec.convert(artifact.meta["summary"], Summary)


def _named(states: States) -> list[str]:
    """What the facts call a network, and the condition on whose rows it was trained: in no key of its states."""
    return [states.subject.about, *([] if states.training is None else [states.training.on])]
