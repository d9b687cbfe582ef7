"""A declarative harness for eliciting latent knowledge: YAML specs in, reports with ground-truth checks out.

From Python: `run`, `plan`, `validate`, `load`, `diff` and `Spec`; specs/PYTHON.md shows them. Importing this package imports nothing else:
each name is looked up when it is first used.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api.difference import Difference, diff
    from harness.api.report_folder import Report, load
    from harness.api.running import Planned, run, validate
    from harness.api.written_spec import Spec
    from harness.errors import HarnessError, Problem, SpecError, UsageError

__version__ = "0.1.0"

_HOMES = {
    "Difference": "api.difference",
    "HarnessError": "errors",
    "Planned": "api.running",
    "Problem": "errors",
    "Report": "api.report_folder",
    "Spec": "api.written_spec",
    "SpecError": "errors",
    "UsageError": "errors",
    "diff": "api.difference",
    "load": "api.report_folder",
    "run": "api.running",
    "validate": "api.running",
}

__all__ = [
    "Difference", "HarnessError", "Planned", "Problem", "Report", "Spec", "SpecError", "UsageError", "diff", "load", "plan", "run",
    "validate",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


class _Package(ModuleType):
    """The package, in which `plan` is the function and not the folder of that name, which is found by its imports all the same."""

    @property
    def plan(self) -> Any:
        from harness.api.running import plan

        return plan

    @plan.setter
    def plan(self, folder: ModuleType) -> None:
        """Importing a folder sets an attribute of its name."""


sys.modules[__name__].__class__ = _Package
