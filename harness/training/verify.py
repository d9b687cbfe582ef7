"""Trying what a bed claims: its spec of checks is run, and each of them must pass."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import yaml

from harness import pipeline
from harness.errors import UsageError
from harness.machine.progress import Reporter
from harness.network_bed import NetworkBed
from harness.store import Store


def claims_spec(bed: NetworkBed) -> dict[str, Any]:
    """The bed's claims as a whole spec."""
    options = {key: value for key, value in msgspec.to_builtins(bed).items() if value is not None}
    claims = bed.claims()
    unexpected = [check["kind"] for check in claims["checks"] if "expect" not in check]
    assert not unexpected, f"a claim says what is expected: {unexpected}"
    head = {"harness": 1, "name": f"bed-{bed.pinned}", "model": {"bed": bed.kind(), **options}}
    return {**head, **claims}


def verify(bed: NetworkBed, store: Store | None = None, reporter: Reporter | None = None) -> pipeline.Outcome:
    """Runs the claims. The outcome's checks have each one's finding and interval; its folder is gone."""
    if not bed.trained:
        raise UsageError("a bed claims nothing of what it was before training; leave `trained: false` out")
    if lacking := bed.lacks():
        raise UsageError(lacking)
    with tempfile.TemporaryDirectory(prefix="harness-bed-") as temporary:
        path = Path(temporary) / "claims.yaml"
        path.write_text(yaml.safe_dump(claims_spec(bed), sort_keys=False, allow_unicode=True), encoding="utf-8")
        return pipeline.run(path, out=Path(temporary), store=store, reporter=reporter, page=False)


def figures(checks: pl.DataFrame) -> list[Mapping[str, Any]]:
    """The figures of the claims, for the note that lies beside the weights."""
    columns = ("check", "probe", "condition", "finding", "value", "low", "high", "threshold", "why")
    return [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        for row in checks.select(columns).iter_rows(named=True)
    ]
