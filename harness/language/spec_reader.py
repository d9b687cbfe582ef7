"""Reading a spec from end to end, with all problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import KeyFault, Problem, SpecError
from harness.language.assembling import spec_of
from harness.language.cards import parts_of_bed
from harness.language.including import Loader
from harness.language.problems import problems_of
from harness.language.problems.data import data_problems
from harness.language.problems.models import model_problems
from harness.language.resolving import Resolved
from harness.language.schema.validation import faults
from harness.language.settings import apply
from harness.language.syntax.document import Unreadable, compose
from harness.language.syntax.nodes import Place, Table, nearest, plain, problem_at
from harness.spec import Spec


def read_spec(path: Path, sets: Sequence[str] = (), *, text: str | None = None, look: bool = False) -> Spec:
    """See `harness.language.read`."""
    loader, resolved = _resolved(path, sets, text)
    root = resolved.root
    unread = {_place(problem) for problem in loader.problems}
    # What could not be read as YAML is not complained about again as a wrong value.
    wrong = [problem for problem in (*faults(root), *problems_of(resolved)) if _place(problem) not in unread]
    if look:
        wrong += model_problems(resolved, path.parent)
        wrong += data_problems(resolved, path.parent)
    if loader.problems or wrong:
        raise SpecError([*loader.problems, *wrong])
    return spec_of(resolved, str(path))


def placed(fault: KeyFault, path: Path, sets: Sequence[str] = (), *, text: str | None = None) -> Problem:
    """A fault of a spec, which is as `read_spec` reads it, at the line of its key, or of what that would stand in."""
    resolved = resolved_spec(path, sets, text)
    first, name, key = (*fault.key.split(".", 2), "", "")[:3]
    if first == "conditions" and (setting := resolved.settings.get(name)) is not None:
        # What a condition takes over from above it has its line there.
        return problem_at(nearest(setting, key), fault.message)
    return problem_at(nearest(resolved.root, fault.key), fault.message)


def _resolved(path: Path, sets: Sequence[str], text: str | None) -> tuple[Loader, Resolved]:
    loader = Loader()
    root = apply(loader.load(path, text), sets, loader.problems)
    return loader, Resolved(root, path.parent, parts_of_bed)


def resolved_spec(path: Path, sets: Sequence[str] = (), text: str | None = None) -> Resolved:
    """The nodes of a spec, with its conditions whole."""
    return _resolved(path, sets, text)[1]


def keys_of(text: str, path: Path = Path("spec.yaml")) -> dict[str, Any]:
    """The keys of a spec's text as they are written, what it includes merged under them; `path` is where it stands.

    Raises SpecError where it is no YAML or no mapping.
    """
    try:
        root, problems = compose(text, str(path))
    except Unreadable as fault:
        raise SpecError([fault.problem]) from fault
    if not problems and isinstance(root, Table) and "include" in root.entries:
        loader = Loader()
        root, problems = loader.load(path, text), loader.problems
    if problems or not isinstance(root, Table):
        raise SpecError(problems or [Place(str(path), 1, 1).problem("", "a spec is a mapping; see `harness init`")])
    keys: dict[str, Any] = plain(root)
    return keys


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file, problem.line, problem.column, problem.path
