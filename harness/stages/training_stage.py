"""The training of a network that is elicited, once for all conditions that ask for the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.activations.rows import check_tokens
from harness.errors import DataError
from harness.models.precision import device
from harness.models.questions import Question, taught
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.spec import Elicit
from harness.stages.prompt_stage import Prompts
from harness.store import Artifact, Store
from harness.subjects import elicited
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class Training(Stage[LanguageModel], frozen=True, kw_only=True):
    """A network that is taught to answer before its states are read."""

    kind: ClassVar[str] = "elicit"
    led: ClassVar[bool] = True
    unit: ClassVar[str] = "steps"

    conditions: tuple[str, ...]
    """Those that ask the same network after the same training."""
    base: LanguageModel
    """The network before."""
    prompts: Prompts
    """Of the condition whose training rows are taught."""
    elicit: Elicit

    @property
    def place(self) -> tuple[str, ...]:
        return self.conditions

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.prompts,)

    @property
    def on(self) -> str:
        """The condition whose training rows are taught."""
        return self.prompts.condition.name

    def made_from(self) -> Mapping[str, str]:
        return elicited.ingredients(self.base, self.prompts.key, self.elicit)

    def make(self, run: Run, work: Work) -> LanguageModel:
        work.total(self.elicit.steps)
        done = elicited.train(
            run.store,
            self.key,
            self.base.card,
            self.questions(run),
            self.on,
            self.elicit,
            lambda step, loss: work.to(step),
        )
        work.counts |= {"rows": done.seen, "tokens": done.tokens}
        return run.seen(self)

    def questions(self, run: Run) -> list[Question]:
        """The questions that the network may be taught. Raises DataError where its rows have no such labels."""
        right = run.conditions.labels(self.on, "train").binary
        if self.elicit.target not in right:
            raise DataError(
                f'elicit.target: {self.on} has no "{self.elicit.target}"; it has {", ".join(sorted(right))}'
            )
        table = run.conditions.table(self.on)
        check_tokens([table], self.base)
        rows = table.frame.filter(split="train")
        return taught(rows, right[self.elicit.target].tolist(), self.on)

    def load(self, artifact: Artifact) -> LanguageModel:
        return elicited.trained(artifact, self.base)

    def planned(self, store: Store) -> LanguageModel:
        """The network as trained, where that is stored; else one that says all but what the training will make of it."""
        return self.recall(store) or elicited.awaited(self.base, self.key)

    def cost(self, run: Run) -> Cost:
        """The cost of all of the training, or of nothing where it is stored."""
        from harness.models.training.cost import cost, peak_bytes

        options, questions, cached = self.elicit, self.questions(run), run.store.has(self.kind, self.key)
        tokens, tflops = cost(self.base.card, options, questions)
        return Cost(
            rows=len(questions),
            rows_to_do=0 if cached else len(questions),
            tokens=0 if cached else tokens,
            tflops=0.0 if cached else round(tflops, 3),
            peak_mib=round(peak_bytes(self.base.card, options, questions) / 2**20, 1),
            where=device(),
            note=f"{options.steps} steps of {min(options.batch, len(questions))} on training rows of {self.on}: {tokens:,} tokens, "
            f"{tflops:,.1f} TFLOP\n{self.base.name}, float32",
        )


def trainings(plan: Plan, prompts: Mapping[str, Prompts]) -> Iterator[Training]:
    """The trainings of a plan, each once for all conditions that ask for it. Raises UsageError for what cannot be trained."""
    alike: dict[str, list[Training]] = {}
    for condition in plan.spec.conditions:
        if condition.elicit is None:
            continue
        name, on = condition.name, condition.elicit.on or condition.name
        base = elicited.check_can_be_elicited(name, plan.subjects[name])
        elicited.check_same_tokens(name, base, on, plan.subjects[on])
        one = Training(conditions=(name,), base=base, prompts=prompts[on], elicit=condition.elicit)
        alike.setdefault(one.key, []).append(one)
    for same in alike.values():
        names = tuple(one.conditions[0] for one in same)
        yield Training(conditions=names, base=same[0].base, prompts=same[0].prompts, elicit=same[0].elicit)
