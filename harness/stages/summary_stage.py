"""What a summary of the run says of model and data: facts, findings, and an example. No layer rule changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.code.entries import kinds_of
from harness.contracts import BINARY, Factor
from harness.plan.stage import Stage
from harness.prompts.pair_text import line_of
from harness.report import found_nothing
from harness.report.content import Example
from harness.report.facts import data_facts, model_facts
from harness.report.wording import listed
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
    """The facts and findings that stand beside the tables."""

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
        return Summary(
            facts=tuple(model_facts(run) + data_facts(run)),
            findings=(
                *self._linted(run),
                *self._unscored(run),
                *found_nothing.sentences(run.conditions.all_scored().values()),
            ),
            example=self._example(run) if self.spec.rows else None,
        )

    def _unscored(self, run: Run) -> Iterator[str]:
        """Transfers between truths that are not the same, by the same names, each once: their scores are in no table."""
        for fit_on, tested_on in self.spec.transfers():
            learnt, tested = (run.conditions.table(name).factors[0] for name in (fit_on, tested_on))
            if (learnt.kind, learnt.values) != (tested.kind, tested.values) and BINARY not in (
                learnt.target,
                tested.target,
            ):
                yield (
                    f"What is fitted on {fit_on} has no score for the truth of {tested_on}, which is {_values(tested)} there and {_values(learnt)} "
                    f"in {fit_on}; name the same `values` under data.target in both."
                )

    def _linted(self, run: Run) -> Iterator[str]:
        """What is odd about the prompts, each once, with the conditions of which it is said if they are not all."""
        conditions: dict[str, list[str]] = {}
        for name, stage in self.prompts.items():
            for finding in dict.fromkeys(run.get(stage).findings):
                conditions.setdefault(finding, []).append(name)
        for finding, names in conditions.items():
            yield finding if len(names) == len(self.prompts) else f"In {listed(names)}: {finding}"

    def _example(self, run: Run) -> Example | None:
        """The first test prompt of the first condition with distractors, or of the first."""
        conditions = sorted(self.spec.conditions, key=lambda one: not one.distractors)
        table = run.get(self.prompts[conditions[0].name])
        views = [table.frame.filter(answer=view, split="test") for view in range(table.views)]
        if views[0].is_empty():
            return None
        row = views[0].row(0, named=True)
        said = {
            one.name: one.told(row[one.name]) for one in table.factors if one.name == "truth" or one.target is BINARY
        }
        text = line_of([view["text"][0] for view in views], _ENDS)
        return Example(conditions[0].name, text, said.pop("truth", ""), said, table.views == 2)

    def save(self, made: Summary, folder: Path) -> Mapping[str, Any]:
        return {"summary": msgspec.to_builtins(made)}

    def load(self, artifact: Artifact) -> Summary:
        return msgspec.convert(artifact.meta["summary"], Summary)


def _values(factor: Factor) -> str:
    return f"{factor.target.words} ({', '.join(factor.values)})" if factor.values else factor.target.words


def _named(states: States) -> list[str]:
    """What the facts call a network, and the condition on whose rows it was trained: in no key of its states."""
    return [states.subject.about, *([] if states.training is None else [states.training.on])]
