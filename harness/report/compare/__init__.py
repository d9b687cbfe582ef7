"""What moved between two reports, why, and whether beyond its interval."""

from harness.report.compare.as_data import as_data, as_json
from harness.report.compare.moves import Difference, compare, exit_code
from harness.report.compare.show import as_markdown, as_text
from harness.report.compare.source import ReportFolder

__all__ = ["Difference", "ReportFolder", "as_data", "as_json", "as_markdown", "as_text", "compare", "exit_code"]
