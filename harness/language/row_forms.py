"""Form of a condition's rows, as far as a spec tells it: contrast pairs or statements, and what kind of target their truth is."""

from __future__ import annotations

from pathlib import Path

from harness.contracts import BINARY, CLASSES, KINDS, TargetKind
from harness.errors import UsageError
from harness.spec import Condition, StatesFolder


def views_told(condition: Condition, folder: Path) -> int | None:
    """Views of a condition's rows; None where its template or its card cannot be used, which is said elsewhere. `folder` is the spec's."""
    # Jinja is slow to import, and a bed needs none.
    from harness.prompts.building import views_of

    try:
        return views_of(condition, folder)
    except UsageError:
        return None


def may_validate(condition: Condition, folder: Path) -> bool:
    """Whether a condition may have validation rows; a folder that cannot be opened, which is said elsewhere, may have all. `folder` is the
    spec's."""
    from harness.imported import states_card

    try:
        own = condition.model
        opened = states_card.open_folder(own.states, folder) if isinstance(own, StatesFolder) else None
    except UsageError:
        return True
    return states_card.may_validate(condition.data.split.validation, opened)


def truth_of(condition: Condition, views: int | None, folder: Path) -> TargetKind | None:
    """What kind of target the truth is in a condition; None where only the data tell."""
    reply = condition.data.reply
    if reply is not None and reply.label is not None:
        return KINDS["number"] if not reply.label.values else CLASSES if len(reply.label.values) > 2 else BINARY
    if condition.data.target is not None:
        return KINDS[condition.data.target.kind]
    from harness.prompts.building import own_rows_of

    try:
        own = own_rows_of(condition, folder)
    except UsageError:
        return None
    maker = own or condition.data.source
    answers = (condition.prompt.answers if own is None else ()) or (maker.answers if maker is not None else ())
    if views == 2 or len(answers) == 2:
        return BINARY
    return CLASSES if views == 1 and len(answers) > 2 else None
