"""Problems of models that a look at this machine shows: a name that is no asset, no folder, and no name on the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.assets.model_names import leads_nowhere
from harness.errors import Problem
from harness.language.resolving import Resolved
from harness.language.syntax.nodes import Table, problem_at
from harness.spec import Model


def model_problems(resolved: Resolved, folder: Path) -> Iterator[Problem]:
    """Problems of the names of models; relative paths start at `folder`."""
    for name, setting in resolved.settings.items():
        condition = resolved.conditions[name]
        # What comes with a bed is the bed's to name.
        if condition is None or condition.bed is not None or not isinstance(condition.model, Model):
            continue
        node = setting.entries["model"].node
        named = node.get("id") if isinstance(node, Table) else node
        if named is not None and (why := leads_nowhere(condition.model.id, folder)):
            yield problem_at(named, why)
