"""Whose report a run is about to replace: two specs of one name write into one folder."""

from __future__ import annotations

from pathlib import Path, PurePath

from harness.errors import UsageError
from harness.report.folder import MANIFEST
from harness.report.read import decoded_manifest, file_bytes
from harness.spec import Spec
from harness.spec.plain import spec_content
from harness.store import content_key
from harness.untrusted.text import line


def replaces(spec: Spec, path: Path, folder: Path) -> str:
    """A sentence where the folder holds what other files asked than the spec's, and they asked something else; else empty."""
    try:
        manifest = decoded_manifest(file_bytes(folder / MANIFEST), MANIFEST)
    except UsageError:
        return ""
    runs = manifest.get("runs")
    found = [one.get("spec_file") for one in runs if isinstance(one, dict)] if isinstance(runs, list) else []
    files = list(dict.fromkeys(name for name in found if isinstance(name, str)))
    # By name: from another folder a path is written otherwise.
    mine = any(PurePath(name).name == path.name for name in files)
    if not files or mine or manifest.get("spec_hash") == content_key(spec_content(spec)):
        return ""
    shown = line(", ".join(files), 200)
    return f"{folder} holds the report of {shown}, which this run replaces; to keep both, give the spec another `name`, or --out"
