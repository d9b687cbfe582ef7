"""The prompts of a condition that quotes what is said in another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.contracts import PromptTable
from harness.errors import DataError, KeyFault
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.prompts import quoting
from harness.prompts.encoding import longest_of
from harness.spec import Stretch
from harness.spec.plain import home_of, plain
from harness.stages.prompt_stage import Prompts, prompts_asked
from harness.stages.reply_stage import prompts_with_replies
from harness.store import content_key
from harness.untrusted import worker

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run


class QuotedPrompts(Prompts, frozen=True, kw_only=True):
    """The table of prompts of a condition that quotes the rows of another one."""

    said: Prompts
    """Those of the other one."""

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return (self.said,)

    def made_from(self) -> Mapping[str, str]:
        prompt, position = self.condition.prompt, self.condition.activations.position
        stretch = {"tokens to read": content_key(plain(position))} if isinstance(position, Stretch) else {}
        return {
            "data": self.said.key,
            "template": content_key(prompt.template, list(prompt.templates.items())),
            "answers": content_key(prompt.answers),
            "prompt options": content_key(prompt.chat, prompt.too_long, prompt.control_tokens),
            "longest prompt": str(longest_of(prompt, self.subject.context)),
            "tokenizer": self.subject.tokenizer or "",
            **stretch,
        }

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        return (*super().runs, *self.said.subject.code, type(self.said.subject).load_tokenizer)

    def make(self, run: Run, work: Work) -> PromptTable:
        said, of = run.get(self.said), self.said.condition
        worker.ready("harness.untrusted.template", "harness.models.backend", "tokenizers")
        tokenizer = self.said.subject.load_tokenizer()
        assert tokenizer is not None, "a language model, which said something, has one"
        try:
            words = quoting.in_words(of, said, self.spec.distractors_of(of), self.said.home, tokenizer)
            table = quoting.quoted(self.condition, said, words, self.subject.load_tokenizer(), self.subject.context)
        except DataError as error:
            error.within = self.condition.name
            raise
        work.counts["rows"] = table.frame.height
        return table


def prompts_of(plan: Plan) -> dict[str, Prompts]:
    """The stages of all conditions' prompts, in the plan, by condition. Raises KeyFault for what cannot be quoted or answered."""
    asked = {one.condition.name: one for one in prompts_asked(plan)}
    own = {name: one for name, one in asked.items() if one.condition.data.of is None}
    made = {name: plan.add(prompts_with_replies(plan, one)) for name, one in own.items()}
    for name, one in asked.items():
        if (of := one.condition.data.of) is None:
            continue
        for fault in quoting.faults(one.condition):
            raise KeyFault(f"conditions.{name}.{fault.key}", fault.message)
        home = home_of(one.condition, plan.folder)
        made[name] = plan.add(
            QuotedPrompts(spec=plan.spec, condition=one.condition, home=home, subject=one.subject, said=made[of])
        )
    return {name: made[name] for name in asked}
