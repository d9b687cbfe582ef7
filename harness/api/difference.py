"""The difference of two reports, as `harness diff --json` prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.api.report_folder import Report


class Difference(dict[str, Any]):
    """What moved between two reports: the content of `harness diff --json`, under its names. Shown as Markdown in a notebook."""

    def __init__(self, content: dict[str, Any], markdown: str, unexpected: bool):
        super().__init__(content)
        self.markdown = markdown
        """As `harness diff --markdown` prints it."""
        self.unexpected = unexpected
        """Whether something moved beyond its interval, or a finding or verdict: `harness diff` then ends with 1."""

    def _repr_markdown_(self) -> str:
        return self.markdown


def diff(old: Report | str | Path, new: Report | str | Path) -> Difference:
    """What moved from the one report to the other. Each is a folder, or REVISION:FOLDER in git. Raises UsageError for what is no report."""
    from harness.errors import EXIT_UNEXPECTED
    from harness.report import compare
    from harness.store import store_at

    store = store_at()
    before, after = (compare.ReportFolder.open(_name(report), store) for report in (old, new))
    found = compare.compare(before, after)
    return Difference(compare.as_data(found), compare.as_markdown(found), compare.exit_code(found) == EXIT_UNEXPECTED)


def _name(report: Report | str | Path) -> str:
    return report.place if isinstance(report, Report) else str(report)
