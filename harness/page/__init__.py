"""report.html: one page with charts, made from a report's own files."""
