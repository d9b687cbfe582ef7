"""A spec as plain values, for keys and for JSON, and what it says under names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.contracts import Probe, Source
from harness.contracts.kind import Kind
from harness.spec.condition import Condition
from harness.spec.experiment import Spec


def plain(value: Any) -> Any:
    """A struct of the spec as plain values, with the name of each kind."""
    if isinstance(value, msgspec.Struct):
        fields = {field.name: plain(getattr(value, field.name)) for field in msgspec.structs.fields(value)}
        return {"kind": value.kind(), **fields} if isinstance(value, Kind) else fields
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def source_content(source: Source) -> dict[str, Any]:
    """A data set as plain values, without what is not asked of it: one from before the option was there stays the same data set."""
    content: dict[str, Any] = plain(source)
    if content.get("messages", ()) is None:
        del content["messages"]
    return content


def spec_content(spec: Spec) -> Any:
    """The spec as plain values, without the name of its file: what a comment or a layout cannot change."""
    content = plain(spec)
    del content["file"]
    # Left out where nothing is asked, so that a spec from before they were there stays the same spec.
    for name in ("autopsy", "geometry", "interventions", "sample_efficiency", "measurements", "analyses"):
        if not content[name]:
            del content[name]
    if content["rows"]:
        del content["rows"]
    if content["repeats"] == 1:
        del content["repeats"]
    for probe in content["probes"]:
        if probe["layers"] is None:
            del probe["layers"]
    for transfer in content["transfer"]:
        if transfer["probes"] is None:
            del transfer["probes"]
    for condition in content["conditions"]:
        for name in ("elicit", "plant", "features", "bed"):
            if condition[name] is None:
                del condition[name]
        if "bed" in condition:
            del condition["bed"]["folder"]
        unasked = (
            ("model", "adapter"),
            ("data", "where"),
            ("data", "target"),
            ("data", "reply"),
            ("data", "of"),
            ("prompt", "shots"),
            ("activations", "read"),
        )
        for part, name in unasked:
            if condition[part].get(name) is None:
                condition[part].pop(name, None)
        if condition["prompt"]["control_tokens"] == "as_text":
            del condition["prompt"]["control_tokens"]
        if condition["data"]["source"] is not None and condition["data"]["source"].get("messages", ()) is None:
            del condition["data"]["source"]["messages"]
    for asked in (*content.get("interventions", ()), *content["checks"]):
        if asked.get("asked_in", ()) is None:
            del asked["asked_in"]
    return content


def as_yaml(spec: Spec) -> str:
    """The spec as it was understood, every default written out: comments and layout make no difference."""
    import yaml

    return yaml.safe_dump(spec_content(spec), sort_keys=False, allow_unicode=True, width=120)


def probe_name(probe: Probe) -> str:
    """The name in the report."""
    return probe.title


def home_of(condition: Condition, folder: Path) -> Path:
    """Where a condition's relative paths start: the spec's folder, or that of the bed that it comes from."""
    return folder if condition.bed is None else Path(condition.bed.folder)
