"""Trying the claims of a test bed: a spec of checks, which is run on the bed as anybody would use it.

Two sorts of beds claim something: those that come with the program, as Python, and those that a person published with a card.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import yaml

from harness import language, pipeline
from harness.assets.bed_folder import find_bed
from harness.contracts.network_bed import NetworkBed
from harness.errors import UsageError
from harness.language.cards import BedCard, claims_of, read_card
from harness.language.schema.card_grammar import OwnBed
from harness.language.syntax.nodes import plain
from harness.machine.progress import Reporter
from harness.plan import bed_claims
from harness.store import Store


def verify(bed: NetworkBed, store: Store | None = None, reporter: Reporter | None = None) -> pipeline.Outcome:
    """The outcome of a bed's claims: its checks have each one's finding and interval, and its folder is gone."""
    if not bed.trained:
        raise UsageError("a bed claims nothing of what it was before training; leave `trained: false` out")
    if lacking := bed.lacks():
        raise UsageError(lacking)
    with tempfile.TemporaryDirectory(prefix="harness-bed-") as temporary:
        return _run(_written(claims_spec(bed), Path(temporary)), store, reporter)


def claims_spec(bed: NetworkBed) -> dict[str, Any]:
    """The bed's claims as a whole spec."""
    claims = bed.claims()
    unexpected = [check["kind"] for check in claims["checks"] if "expect" not in check]
    assert not unexpected, f"a claim says what is expected: {unexpected}"
    head = {"harness": 1, "name": f"bed-{bed.pinned}", "model": {"bed": bed.kind(), **_options(bed)}}
    return {**head, **claims}


def figures(checks: pl.DataFrame) -> list[Mapping[str, Any]]:
    """The figures of the claims, for the note that lies beside the weights."""
    columns = ("check", "probe", "condition", "finding", "value", "low", "high", "threshold", "why")
    return [
        {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        for row in checks.select(columns).iter_rows(named=True)
    ]


def own_bed(name: str, options: Mapping[str, Any]) -> OwnBed:
    """A bed with a card, by its folder or its name on the Hub, with options. Raises UsageError."""
    try:
        own = msgspec.convert({**options, "bed": name}, OwnBed)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: {str(error).split(' - at ')[0]}") from error
    if own.setting is not None or not own.trained:
        raise UsageError("the claims are about the bed as its card has it; leave `setting` and `trained` out")
    return own


def verify_card(own: OwnBed, store: Store, reporter: Reporter | None = None) -> pipeline.Outcome:
    """The outcome of the claims of a bed's card, whose folder is gone; the store keeps how many held.

    Raises SpecError for a card that is wrong, UsageError for a bed that is not there.
    """
    found = find_bed(own.bed, own.revision, Path(), whole=True, pickles=own.allow_pickle, code=own.trust_remote_code)
    card = read_card(found)
    name = own.bed if found.revision else str(found.folder.resolve())
    with tempfile.TemporaryDirectory(prefix="harness-bed-") as temporary:
        content = claims_of_card(card, msgspec.structs.replace(own, bed=name, revision=found.revision or own.revision))
        path = _written(content, Path(temporary))
        outcome = _run(path, store, reporter)
        plan = pipeline.planned(language.read(path), path.parent, store)
    broken = outcome.checks.filter(outcome.checks["verdict"] != "as_expected")["check"].to_list()
    networks = sorted({subject.identity for subject in plan.subjects.values()})
    verdict = bed_claims.Verdict(outcome.checks.height - len(broken), tuple(broken))
    bed_claims.keep(store, found.folder, networks, verdict)
    return outcome


def claims_of_card(card: BedCard, own: OwnBed) -> dict[str, Any]:
    """The card's claims as a whole spec about the bed."""
    head = plain(card.root)
    settings = {name: {"model": {"setting": name}} for name in card.conditions}
    whole = {"harness": 1, "name": f"bed-{head['name']}"[:64], "about": head["about"], "model": _options(own)}
    return {**whole, **({"conditions": settings} if settings else {}), **plain(claims_of(card))}


def _options(bed: NetworkBed | OwnBed) -> dict[str, Any]:
    """Those that a spec may write."""
    return {key: value for key, value in msgspec.to_builtins(bed).items() if value is not None}


def _written(spec: Mapping[str, Any], folder: Path) -> Path:
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _run(path: Path, store: Store | None, reporter: Reporter | None) -> pipeline.Outcome:
    return pipeline.run(path, out=path.parent, store=store, reporter=reporter, page=False)
