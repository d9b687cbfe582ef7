"""Reading a spec from end to end, with all problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import Problem, SpecError
from harness.language.claims import claim_problems
from harness.language.consistency import setting_problems
from harness.language.eliciting import elicit_problems
from harness.language.including import Loader
from harness.language.references import reference_problems
from harness.language.resolving import Resolved
from harness.language.settings import apply
from harness.language.targets import target_problems
from harness.language.validation import faults
from harness.spec import Spec


def read_spec(path: Path, sets: Sequence[str] = ()) -> Spec:
    """See `harness.language.read`."""
    loader = Loader()
    root = apply(loader.load(path), sets, loader.problems)
    resolved = Resolved(root, path.parent)
    unread = {_place(problem) for problem in loader.problems}
    # What could not be read as YAML is not complained about again as a wrong value.
    wrong = [problem for problem in (*faults(root), *deeper(resolved)) if _place(problem) not in unread]
    if loader.problems or wrong:
        raise SpecError([*loader.problems, *wrong])
    return resolved.spec(str(path))


def deeper(resolved: Resolved) -> Iterator[Problem]:
    """What only shows once the conditions are whole and the kinds decoded."""
    yield from resolved.problems
    for name, setting in resolved.settings.items():
        yield from setting_problems(setting, resolved.conditions[name])
    yield from reference_problems(resolved)
    yield from target_problems(resolved)
    yield from elicit_problems(resolved)
    yield from claim_problems(resolved)


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return problem.file, problem.line, problem.column, problem.path
