"""The prompts of one condition, in tokens, with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.code.code_version import code_of
from harness.code.entries import PARTS, kinds_of
from harness.contracts import PromptTable
from harness.contracts.subject import Subject
from harness.errors import DataError
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.prompts.building import build
from harness.prompts.encoding import longest_of
from harness.prompts.stored_prompts import load_table, save_table, table_about
from harness.spec import Condition, Spec, Stretch
from harness.spec.plain import home_of, plain
from harness.store import Artifact, content_key
from harness.untrusted import worker

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class Prompts(Stage[PromptTable], frozen=True, kw_only=True):
    """The table of prompts of a condition."""

    kind: ClassVar[str] = "prompts"

    spec: Spec
    condition: Condition
    home: Path
    """Where the condition's relative paths start."""
    subject: Subject

    @property
    def place(self) -> tuple[str, ...]:
        return (self.condition.name,)

    def made_from(self) -> Mapping[str, str]:
        from harness.prompts.examples import data_set, fingerprint

        condition, data, prompt = self.condition, self.condition.data, self.condition.prompt
        distractors, position = self.spec.distractors_of(condition), condition.activations.position
        return {
            "data": fingerprint(data, self.home) if data.source is not None else "",
            "data set": data_set(condition, self.home),
            "bed": "" if data.source is not None else self.subject.identity,
            "sample": content_key(data.limit, data.balance, plain(data.split), data.seed, data.half, plain(data.where)),
            "template": content_key(prompt.template, list(prompt.templates.items())),
            "answers": content_key(prompt.answers),
            "prompt options": content_key(prompt.chat, prompt.too_long, prompt.control_tokens),
            "longest prompt": str(longest_of(prompt, self.subject.context)),
            "distractors": content_key(
                [[name, plain(kind)] for name, kind in distractors.items()], condition.distractors
            ),
            "tokenizer": self.subject.tokenizer or "",
            **({} if data.target is None else {"target": content_key(plain(data.target))}),
            **({} if not isinstance(position, Stretch) else {"tokens to read": _tokens_key(position)}),
            **({} if prompt.shots is None else {"shots": f"{prompt.shots} {code_of(*PARTS['worked examples'])}"}),
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        source = self.condition.data.source
        named = [*self.spec.distractors_of(self.condition).values(), *([] if source is None else [source])]
        return (*super().runs, *kinds_of(named), *self.subject.code, type(self.subject).load_tokenizer)

    def make(self, run: Run, work: Work) -> PromptTable:
        distractors = self.spec.distractors_of(self.condition)
        subject = self.subject
        if not self.condition.has_rows:
            # It imports while this process does.
            worker.ready("harness.untrusted.template", "harness.models.backend", "tokenizers")
        try:
            table = build(self.condition, distractors, self.home, subject.load_tokenizer(), subject.context)
        except DataError as error:
            error.within = self.condition.name
            raise
        work.counts["rows"] = table.frame.height
        return table

    def save(self, made: PromptTable, folder: Path) -> Mapping[str, Any]:
        save_table(made, folder)
        return table_about(made)

    def load(self, artifact: Artifact) -> PromptTable:
        return load_table(artifact)

    def cost(self, run: Run) -> Cost:
        return Cost(rows=run.get(self).frame.height, where="cpu")


def _tokens_key(stretch: Stretch) -> str:
    """What of a stretch prompts depend on: its tokens and, where each is a row, which of them are."""
    rows = [stretch.drop_last] if stretch.pool == "each" else []
    return content_key(stretch.span, stretch.of, *rows)


def prompts_asked(plan: Plan) -> Iterator[Prompts]:
    """One table for each condition."""
    for condition in plan.spec.conditions:
        home = home_of(condition, plan.folder)
        yield Prompts(spec=plan.spec, condition=condition, home=home, subject=plan.subjects[condition.name])
