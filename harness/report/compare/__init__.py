"""What moved between two reports, and whether beyond its interval."""

from harness.report.compare.moves import Difference, compare, exit_code
from harness.report.compare.show import as_json, as_markdown, as_text
from harness.report.compare.source import ReportFolder

__all__ = ["Difference", "ReportFolder", "as_json", "as_markdown", "as_text", "compare", "exit_code"]
