"""Problems that show once data files are opened: a file or column that is not there, labels that are no answers, unknown fields.

Files are read as far as that takes a moment (`Source.head`); what only loading can tell is left to the run.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contracts import Distractor, Head, Source
from harness.errors import ColumnsMissing, DataError, Problem, did_you_mean
from harness.language.problems.labels import is_of_label, label_faults
from harness.language.problems.templates import line_inside
from harness.language.resolving import Resolved
from harness.language.syntax.document import shorten
from harness.language.syntax.nodes import Node, Scalar, Table, items_of, nearest, problem_at, text_of
from harness.spec import Condition
from harness.spec.plain import home_of

if TYPE_CHECKING:
    import polars as pl

LOOKED_AT = 64
"""Examples of which the templates are rendered."""

_KEY = re.compile(r"(?P<key>(?:data|prompt)(?:\.[a-z_]+)+): ")


class Found(msgspec.Struct, frozen=True):
    """The outcome of opening a data set: its first examples, or what was wrong."""

    head: Head | None = None
    error: DataError | None = None


def data_problems(resolved: Resolved, folder: Path) -> Iterator[Problem]:
    """Problems of every condition that could be decoded; relative paths start at `folder`. Reads no more than the heads of files."""
    from harness.prompts.examples import source_of

    opened: dict[tuple[bytes, Path], Found] = {}
    for name, setting in resolved.settings.items():
        condition = resolved.conditions[name]
        if condition is None or condition.data.source is None:
            continue
        source, home = source_of(condition.data), home_of(condition, folder)
        key = (msgspec.json.encode([source.kind(), source, condition.data.seed]), home)
        if key not in opened:
            opened[key] = _opened(source, condition.data.seed, home)
        found = opened[key]
        if found.error is not None:
            yield from _data_problems(setting, condition, found.error, home)
            continue
        # A bed that makes its own rows has a source only where the spec is wrong, which is said elsewhere.
        if not condition.has_rows:
            yield from _condition_problems(resolved, setting, condition, found.head, home)


def _opened(source: Source, seed: int, home: Path) -> Found:
    try:
        return Found(source.head(seed, home))
    except DataError as error:
        return Found(error=error)


def _condition_problems(
    resolved: Resolved, setting: Table, condition: Condition, head: Head | None, home: Path
) -> Iterator[Problem]:
    source = condition.data.source
    assert source is not None
    answers = condition.prompt.answers or source.answers
    rows: pl.DataFrame | None = None
    if not answers and condition.data.target is None:
        yield _without_answers(setting, source, head)
    elif head is not None:
        try:
            rows = _rows(condition, answers, head, home)
        except DataError as error:
            yield from _data_problems(setting, condition, error, home)
    if source.conversations:
        yield from _unwritten(resolved, condition)
        return
    offered = _offered(source, head)
    if offered is not None:
        example = _example(source, head)
        fields: Mapping[str, Any] = {**dict.fromkeys(offered, ""), **example, "choices": tuple(answers[:2]) or ("", "")}
        wrong, fields = _edited(resolved, condition, fields)
        yield from wrong
        templates = list(_templates(setting))
        unknown = [problem for node in templates for problem in _field_problems(node, source, fields, example)]
        yield from unknown
        if rows is not None and not unknown and not wrong:
            yield from _rendering_problems(resolved, condition, templates, answers, rows)


def _rows(condition: Condition, answers: tuple[str, ...], head: Head, home: Path) -> pl.DataFrame | None:
    """Examples that the condition asks about; None where the head does not tell which. Raises DataError, for labels above all."""
    from harness.prompts.examples import aimed, decode, sampled, source_of, with_text

    source = source_of(condition.data)
    if head.whole:
        return sampled(condition.data, answers, home).examples
    if condition.data.where is not None:
        return None
    if condition.data.target is not None:
        return aimed(with_text(head.table, source), condition.data, source, whole=False)[0]
    return with_text(decode(head.table, answers, source.title, source.labels_as_written), source)


def _without_answers(setting: Table, source: Source, head: Head | None) -> Problem:
    hint = "such as [No, Yes]"
    if head is not None:
        import polars as pl

        labels = head.table["label"].cast(pl.String).unique().sort().to_list()
        if 2 <= len(labels) <= 20 and labels != [str(number) for number in range(len(labels))]:
            hint = f"such as {json.dumps(labels, ensure_ascii=False)}, the labels in {source.title}"
    prompt = setting.get("prompt") or setting
    return problem_at(
        prompt, f"{source.title} does not say what its answers are; give prompt.answers, index = label, {hint}"
    )


def _offered(source: Source, head: Head | None) -> tuple[str, ...] | None:
    """The fields that a template may use; None where only loading can tell."""
    columns = source.columns if head is None else tuple(_fields(dict.fromkeys(head.table.columns)))
    return tuple(dict.fromkeys((*columns, "text"))) if columns else None


def _example(source: Source, head: Head | None) -> dict[str, Any]:
    """The fields of the first example; of a set that is made rather than read, none."""
    from harness.prompts.examples import with_text

    return {} if head is None else _fields(with_text(head.table.head(1), source).row(0, named=True))


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    from harness.prompts.texts import NOT_FIELDS

    return {name: value for name, value in row.items() if name not in NOT_FIELDS}


def _edited(
    resolved: Resolved, condition: Condition, fields: Mapping[str, Any]
) -> tuple[list[Problem], Mapping[str, Any]]:
    """The fields once the condition's distractors have edited them, and what is wrong with a distractor."""
    problems = []
    entries = dict(resolved.entries("distractors"))
    for name, distractor in _standing(resolved, condition).items():
        try:
            fields = distractor.edit_fields(fields, 0)
        except DataError as error:
            problems.append(problem_at(entries[name].node, str(error)))
    return problems, fields


def _unwritten(resolved: Resolved, condition: Condition) -> Iterator[Problem]:
    """The distractors that would be written into conversations, which are read as they are."""
    from harness.prompts.conversations import UNEDITED

    entries = dict(resolved.entries("distractors"))
    for name, distractor in _standing(resolved, condition).items():
        if not distractor.leaves_prompts_alone:
            yield problem_at(entries[name].node, f"condition {condition.name}: {UNEDITED}")


def _standing(resolved: Resolved, condition: Condition) -> dict[str, Distractor]:
    """The distractors that stand in a condition's prompts, as far as they could be decoded."""
    known = {**resolved.distractors, **condition.altered}
    return {name: made for name in condition.distractors if (made := known.get(name)) is not None}


def _templates(setting: Table) -> Iterator[Scalar]:
    prompt = setting.table("prompt")
    named = None if prompt is None else prompt.table("templates")
    single = None if prompt is None else prompt.get("template")
    nodes = [] if named is None else [entry.node for entry in named.entries.values()]
    for node in (*nodes, single):
        if isinstance(node, Scalar) and isinstance(node.value, str):
            yield node


def _field_problems(
    node: Scalar, source: Source, fields: Mapping[str, Any], example: Mapping[str, Any]
) -> Iterator[Problem]:
    """The fields that a template shows and nothing provides, each at its line."""
    from jinja2 import TemplateSyntaxError
    from jinja2.exceptions import SecurityError

    from harness.untrusted.template import VARIABLES, fields_needed

    try:
        needed = fields_needed(node.value)
    except (TemplateSyntaxError, SecurityError, ValueError, RecursionError, MemoryError):
        # It is complained about as a template.
        return
    known = [name for name in fields if name not in VARIABLES]
    for name, line in needed.items():
        if name in fields:
            continue
        near = did_you_mean(name, [*known, *VARIABLES])
        hint = f"{near} " if "known:" not in near else "; "
        message = (
            f'there is no field "{shorten(name)}"{hint}{source.title} has {", ".join(known)}{_shown(known, example)}'
        )
        yield line_inside(node, line).problem(node.path, message)


def _shown(known: list[str], example: Mapping[str, Any]) -> str:
    name = next((name for name in ("text", *known) if isinstance(example.get(name), str)), None)
    if name is None:
        return "; write one as {{ text }}"
    return f', as in {{{{ {name} }}}} = "{shorten(example[name])}"'


def _rendering_problems(
    resolved: Resolved, condition: Condition, nodes: list[Scalar], answers: tuple[str, ...], table: pl.DataFrame
) -> Iterator[Problem]:
    """What goes wrong when the first examples are put into the templates, such as an empty cell."""
    from harness.untrusted.template import Template

    rows = list(table.head(LOOKED_AT).iter_rows(named=True))
    for node in nodes:
        try:
            template = Template("here", node.value)
        except DataError:
            continue
        for row in rows:
            fields: Mapping[str, Any] = {**_fields(row), "choices": tuple(answers[:2])}
            try:
                for distractor in _standing(resolved, condition).values():
                    fields = distractor.edit_fields(fields, 0)
                template.pair(fields, answers[:2], answers)
            except DataError as error:
                line = re.match(r"template here(?:, line (\d+))?: ", str(error))
                at = line_inside(node, int(line[1])) if line and line[1] else node.place
                yield at.problem(node.path, str(error)[line.end() if line else 0 :])
                break


def _data_problems(setting: Table, condition: Condition, error: DataError, home: Path) -> Iterator[Problem]:
    """An error of a data set, and what else is wrong with its labels."""
    source = condition.data.source
    assert source is not None
    faults = label_faults(condition, condition.prompt.answers or source.answers, home)
    for one in faults:
        yield from _placed(setting, one, home)
    if not (faults and is_of_label(error, source)):
        yield from _placed(setting, error, home)


def _placed(setting: Table, error: DataError, home: Path) -> Iterator[Problem]:
    """The problem of a data set, at the option that it is about."""
    data = setting.table("data")
    source = data.table("source") if data is not None else None
    where: Node = source or setting
    if isinstance(error, ColumnsMissing) and source is not None:
        yield from _column_problems(source, error)
        return
    message, key = str(error), error.about
    if (found := _KEY.match(message)) and found["key"] != "data.source":
        key, message = found["key"], message[found.end() :]
    message = message.removeprefix("data.source: ") + ("" if source is None else _elsewhere(source, message, home))
    at = nearest(setting, key)
    if at is setting:
        at = (source.get("file") if source else None) or where
    yield problem_at(at, message)


def _elsewhere(source: Table, message: str, home: Path) -> str:
    """For a file that is not there: where paths start, and a path at which one of that name is."""
    file = text_of(source.get("file"))
    if file is None or f"{file}: there is no such file" not in message:
        return ""
    name = Path(file).name
    # Not further down: a home folder may be large.
    found = next((path for below in ("", "*/", "*/*/") for path in sorted(home.glob(below + glob.escape(name)))), None)
    said = "; paths start at the folder of the spec"
    if found is not None:
        return f"{said}: write {found.relative_to(home).as_posix()}"
    if (above := home.absolute().parent / name).is_file():
        return f"{said}, and lead nowhere above it: copy {above} there"
    return said


def _column_problems(source: Table, error: ColumnsMissing) -> Iterator[Problem]:
    """Each column that is missing, at the option that names it; one problem where the whole header looks wrong."""
    file = source.get("file") or source
    if error.oddity:
        yield problem_at(file, f"{error.place}: {error.oddity} (its columns: {', '.join(error.columns)})")
        return
    for one in error.missing:
        node, hint = _option(source, one.option, one.name), one.hint
        if node is None:
            free = [name for name in error.columns if name not in map(text_of, _nodes(source))] or ["COLUMN"]
            hint = f"; name one, as in {{file: {error.place}, {one.option}: {free[0]}}}"
        message = f'{error.place} has no column "{one.name}" (option `{one.option}`){hint} (its columns: {", ".join(error.columns)})'
        yield problem_at(node or file, message)


def _nodes(source: Table) -> list[Node]:
    return [entry.node for entry in source.entries.values()]


def _option(source: Table, option: str, name: str) -> Node | None:
    """Where an option of a data set names a column; None where it does not stand in the spec."""
    node = source.get(option)
    if isinstance(node, Table) and name in node.entries:
        return node.entries[name].node
    return next((item for item in (() if node is None else items_of(node)) if text_of(item) == name), node)
