"""What is wrong with a spec although each part has the right form: names that are missing, options that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import Problem
from harness.language.problems.analyses import analysis_problems
from harness.language.problems.checks import check_problems
from harness.language.problems.layers import together_problems
from harness.language.problems.measurements import measurement_problems
from harness.language.problems.names import reference_problems
from harness.language.problems.settings import setting_problems
from harness.language.problems.statements import statement_problems
from harness.language.problems.targets import target_problems
from harness.language.problems.training import elicit_problems
from harness.language.resolving import Resolved


def problems_of(resolved: Resolved) -> Iterator[Problem]:
    """Every problem that shows once the conditions are whole and the kinds decoded."""
    yield from resolved.problems
    for name, setting in resolved.settings.items():
        yield from setting_problems(setting, resolved.conditions[name], resolved.folder)
    yield from reference_problems(resolved)
    yield from target_problems(resolved)
    yield from together_problems(resolved)
    yield from statement_problems(resolved)
    yield from elicit_problems(resolved)
    yield from check_problems(resolved)
    yield from analysis_problems(resolved)
    yield from measurement_problems(resolved)
