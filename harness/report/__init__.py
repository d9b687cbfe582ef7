"""The report: tables that diff well, figures, provenance, a page."""
