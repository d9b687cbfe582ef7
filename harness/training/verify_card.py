"""Trying what the card of a bed claims: a spec of its checks is run on the bed, as anybody would use it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from harness import language, pipeline, standing
from harness.bed_folder import find_bed
from harness.compiling import compile_plan
from harness.errors import UsageError
from harness.language.card_grammar import OwnBed
from harness.language.cards import BedCard, claims_of, read_card
from harness.language.nodes import plain
from harness.progress import Reporter
from harness.store import Store


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
    """Runs the claims, and remembers in the store what came of them. The outcome's folder is gone.

    Raises SpecError for a card that is wrong, UsageError for a bed that is not there.
    """
    found = find_bed(own.bed, own.revision, Path(), whole=True, pickles=own.allow_pickle, code=own.trust_remote_code)
    card = read_card(found)
    name = own.bed if found.revision else str(found.folder.resolve())
    with tempfile.TemporaryDirectory(prefix="harness-bed-") as temporary:
        path = Path(temporary) / "claims.yaml"
        content = claims_spec(card, msgspec.structs.replace(own, bed=name, revision=found.revision or own.revision))
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        outcome = pipeline.run(path, out=Path(temporary), store=store, reporter=reporter, page=False)
        plan = compile_plan(language.read(path), path.parent, store)
    broken = outcome.checks.filter(outcome.checks["verdict"] != "as_expected")["check"].to_list()
    networks = sorted({subject.identity for subject in plan.subjects.values()})
    verdict = standing.Verdict(outcome.checks.height - len(broken), tuple(broken))
    standing.keep(store, found.folder, networks, verdict)
    return outcome


def claims_spec(card: BedCard, own: OwnBed) -> dict[str, Any]:
    """The claims as a whole spec about the bed."""
    options = {key: value for key, value in msgspec.to_builtins(own).items() if value is not None}
    head = plain(card.root)
    settings = {name: {"model": {"setting": name}} for name in card.conditions}
    whole = {"harness": 1, "name": f"bed-{head['name']}"[:64], "about": head["about"], "model": options}
    return {**whole, **({"conditions": settings} if settings else {}), **plain(claims_of(card))}
