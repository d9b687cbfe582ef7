"""Reading a spec from end to end, with all problems at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import SpecError
from harness.language.claims import claim_problems
from harness.language.consistency import setting_problems
from harness.language.including import Loader
from harness.language.references import reference_problems
from harness.language.resolving import Resolved
from harness.language.settings import apply
from harness.language.validation import faults
from harness.spec import Spec


def read_spec(path: Path, sets: Sequence[str] = ()) -> Spec:
    """See `harness.language.read`."""
    loader = Loader()
    root = loader.load(path)
    problems = loader.problems
    root = apply(root, sets, problems)
    problems += faults(root)
    resolved = Resolved(root)
    problems += resolved.problems
    for name, setting in resolved.settings.items():
        problems += setting_problems(setting, resolved.conditions[name])
    problems += reference_problems(resolved)
    problems += claim_problems(resolved)
    if problems:
        raise SpecError(problems)
    return resolved.spec(str(path))
