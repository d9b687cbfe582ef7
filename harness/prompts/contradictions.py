"""What a condition asks of its prompts and they cannot have, as far as its options and templates tell: no data are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.errors import KeyFault, did_you_mean
from harness.prompts import conversations
from harness.spec import Condition, Prompt, Stretch
from harness.untrusted.template import Template


def contradictions(condition: Condition, templates: Sequence[Template], views: int) -> Iterator[KeyFault]:
    """Each at its key. `templates` are those of the condition, none where its model makes its rows; `views` are those of a row."""
    if condition.data.target is not None and views == 2:
        remedy = "" if condition.has_rows else "take the answer out of the template, so that it is a statement, or "
        yield KeyFault(
            "data.target", f"of a contrast pair the truth is which answer is right; {remedy}take `target` out"
        )
    if condition.prompt.shots is not None and views == 1:
        yield KeyFault("prompt.shots", "worked examples show answers, and a statement has none; take `shots` out")
    source = condition.data.source
    of_conversations = source is not None and source.conversations and not condition.has_rows
    if of_conversations:
        for key, why in conversations.faults(condition):
            yield KeyFault(key, why)
    stretch = condition.activations.position
    if not isinstance(stretch, Stretch):
        return
    if stretch.pool == "each" and views == 2:
        yield KeyFault(
            "activations.read",
            "the two prompts of a contrast pair have not the same tokens, so that no token is a row of both; write `pool: mean`, or take the "
            "answer out of the template",
        )
    if of_conversations:
        if stretch.span is not None:
            yield KeyFault("activations.read.span", "a conversation has no spans; name a role, as in {of: assistant}")
        return
    for template in templates:
        if stretch.span is not None and stretch.span not in template.spans:
            yield KeyFault(
                "activations.read.span",
                f'template {template.name} has no span "{stretch.span}"{did_you_mean(stretch.span, template.spans)}; put '
                f"{{% span {stretch.span} %}} before it and {{% endspan %}} after it",
            )
    if templates and (reason := _nobody_says(stretch.of, condition.prompt, views)):
        yield KeyFault("activations.read.of", f"{stretch.of}: {reason}")


def _nobody_says(role: str | None, prompt: Prompt, views: int) -> str:
    """Why a role says nothing in these prompts, with the remedy; empty where it does."""
    if role is not None and prompt.chat_options is None:
        return "nobody speaks in these prompts; write prompt.chat: true, or name a span"
    if role == "system" and "system" not in (prompt.chat_options or {}):
        return "the system says nothing; write prompt.chat: {system: …}"
    if role == "assistant" and views == 1:
        return "of a statement all is said by the user; name `user`, or show the answer"
    return ""
