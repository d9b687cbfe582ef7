"""The stored form of a report's contents and files, so that a second run only writes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.report.content import Report, SummaryLayer
from harness.report.folder import is_file_of_report
from harness.scoring.tables import CHECKS, RESULTS, SEEDS
from harness.spec import Spec
from harness.spec.plain import plain
from harness.store import Artifact, reading

TABLES = {"results": RESULTS, "seeds": SEEDS, "checks": CHECKS}
"""Those that the page and the manifest are made from; the others are among the files."""
_FILES = "files"


def save(report: Report, files: Mapping[str, bytes], folder: Path) -> dict[str, Any]:
    """Writes contents and files; returns what is kept beside them."""
    reading.save_frames({name: getattr(report, name) for name in TABLES}, folder)
    for name, content in files.items():
        place = folder / _FILES / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return {
        "spec_text": report.spec_text,
        "summary_layers": [[*key, plain(choice)] for key, choice in report.summary_layers.items()],
        "facts": [list(fact) for fact in report.facts],
        "findings": list(report.findings),
    }


def load(artifact: Artifact, spec: Spec) -> tuple[Report, dict[str, bytes]]:
    """The contents that the page needs, and all files. Raises LookupError, ValueError."""
    meta = artifact.meta
    frames = reading.load_frames(artifact, TABLES)
    files = files_of(artifact)
    report = Report(
        spec=spec,
        spec_text=meta["spec_text"],
        summary_layers={(fit_on, probe): SummaryLayer(**choice) for fit_on, probe, choice in meta["summary_layers"]},
        facts=[(name, value) for name, value in meta["facts"]],
        findings=meta["findings"],
        results=frames["results"],
        seeds=frames["seeds"],
        checks=frames["checks"],
    )
    report.checks.select("check", "verdict")
    return report, files


def files_of(artifact: Artifact) -> dict[str, bytes]:
    """All files of a stored report, by their place in its folder. Raises ValueError."""
    files = {
        name.removeprefix(f"{_FILES}/"): (artifact / name).read_bytes()
        for name in sorted(artifact.files)
        if name.startswith(f"{_FILES}/")
    }
    if others := [name for name in files if not is_file_of_report(name)]:
        raise ValueError(f"{others[0]} is no file of a report")
    return files
