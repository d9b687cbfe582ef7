"""The reader of a bed's card: the language and the errors of a spec, and nothing that leads out of the bed's folder.

A card becomes a spec: its claims are the probes and checks, its conditions the conditions. So whatever is wrong in it is
found as in a spec, at its place in the card.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.assets.bed_folder import CARD, BedFolder, find_bed
from harness.errors import Problem, SpecError, did_you_mean
from harness.language.including import MAX_BYTES
from harness.language.problems import problems_of
from harness.language.resolving import Resolved
from harness.language.schema.card_grammar import BedParts, OwnBed
from harness.language.schema.shorthand import written_out
from harness.language.schema.validation import faults
from harness.language.syntax.document import Unreadable, compose, decode
from harness.language.syntax.merging import overlay
from harness.language.syntax.nodes import Entry, Node, Place, Scalar, Table, plain, problem_at, text_of
from harness.spec import Model, Origin
from harness.untrusted.files import read_ordinary
from harness.untrusted.paths import LeadsOut, below

_HEAD = ("name", "about", "model", "data", "prompt", "conditions")
_NOT_A_CARDS = ("trust_remote_code", "allow_pickle")


class BedCard:
    """A card that was read and found sound."""

    def __init__(self, found: BedFolder, root: Table, resolved: Resolved):
        self.found = found
        self.root = root
        """The card as a spec's tree, with every place in the card."""
        self._resolved = resolved
        self.conditions = [name for name, _ in resolved.entries("conditions")]

    def setting(self, name: str | None) -> Table:
        """Model, data and prompt of a setting, or what stands above all of them."""
        return self._resolved.settings[name] if name is not None else self.root


def parts_of_bed(own: OwnBed, written: Table, base: Path) -> BedParts:
    """The parts of a condition that stand for `{bed: ./my-bed, …}`, which stands at `written`. `base` is the spec's folder.

    Raises SpecError for a card that is wrong, UsageError for a bed that is not there.
    """
    found = find_bed(own.bed, own.revision, base, whole=False)
    card = read_card(found)
    if own.setting is not None and own.setting not in card.conditions:
        node = written.get("setting") or written
        message = f'the bed {own.bed} has no setting "{own.setting}"{did_you_mean(own.setting, card.conditions)}'
        raise SpecError([problem_at(node, message)])
    setting = card.setting(own.setting)
    model = msgspec.convert(plain(setting.entries["model"].node), Model)
    if not own.trained:
        control = {"adapter": None} if model.adapter is not None else {"weights": "random"}
        model = msgspec.structs.replace(model, **control)
    chosen: dict[str, object] = {} if own.packing is None else {"packing": own.packing}
    if own.precision is not None:
        # The card's number format goes with the card's precision.
        chosen |= {"precision": own.precision, "dtype": None}
    model = msgspec.structs.replace(
        model, **chosen, trust_remote_code=own.trust_remote_code, allow_pickle=own.allow_pickle
    )
    empty = Table({}, setting.place, "prompt")
    return BedParts(
        model=model,
        data=setting.entries["data"].node,
        prompt=setting.get("prompt") or empty,
        origin=Origin(
            name=own.bed,
            folder=str(found.folder),
            revision=found.revision,
            setting=own.setting or "",
            trained=own.trained,
        ),
    )


def read_card(found: BedFolder) -> BedCard:
    """The card in a bed's folder. Raises SpecError with everything that is wrong in it, each with its place."""
    path = found.folder / CARD
    root = _document(path)
    if nested := list(_nested(root)):
        # Before anything is resolved: a card that names its own folder would be read without end.
        raise SpecError(nested)
    problems = [*faults(root, of="bed")]
    tree = _as_spec(root)
    resolved = Resolved(tree, found.folder, parts_of_bed)
    if not problems:
        # What has the wrong form is not looked at any closer.
        problems += problems_of(resolved)
    problems += _card_problems(root, resolved, found.folder)
    if problems:
        raise SpecError(problems)
    return BedCard(found, tree, resolved)


def claims_of(card: BedCard) -> Table:
    """The claims as they stand in the card, with what is expected of each check."""
    return card.root.without(*_HEAD)


def _document(path: Path) -> Table:
    file = str(path)
    try:
        raw = read_ordinary(path, MAX_BYTES)
        root, problems = compose(decode(raw, file), file)
    except OSError as error:
        raise SpecError([Place(file).problem("", f"the card cannot be read: {error.strerror or error}")]) from error
    except Unreadable as fault:
        raise SpecError([fault.problem]) from fault
    if not isinstance(root, Table):
        message = "a bed's card is a mapping that begins with `bed: 1`; see `harness bed init`"
        problems = [*problems, (Place(file, 1, 1) if root is None else root.place).problem("", message)]
    if problems or not isinstance(root, Table):
        raise SpecError(problems)
    root = written_out(root)
    claims = root.table("claims")
    if claims is None:
        return root
    return root.with_entries({"claims": Entry(root.entries["claims"].place, _expecting(written_out(claims)))})


def _expecting(claims: Table) -> Table:
    """The claims with `expect: pass` wherever a check expects nothing else."""
    checks = claims.get("checks")
    if checks is None or not claims.items_of("checks"):
        return claims
    expected = []
    for check in claims.items_of("checks"):
        if isinstance(check, Table) and "expect" not in check.entries:
            check = check.with_entries({"expect": Entry(check.place, Scalar("pass", check.place, check.path, "pass"))})
        expected.append(check)
    assert not isinstance(checks, Scalar | Table)
    made = type(checks)(tuple(expected), checks.place, checks.path)
    return claims.with_entries({"checks": Entry(claims.entries["checks"].place, made)})


def _as_spec(root: Table) -> Table:
    """The card's tree as that of a spec: the claims' keys stand at the top."""
    entries = {key: entry for key, entry in root.entries.items() if key in _HEAD}
    claims = root.table("claims")
    data = root.table("data")
    if data is not None and "where" not in data.entries:
        # Split before rows are chosen, so that no group is fitted in one setting and tested in another.
        where = Table({"where": Entry(data.place, Table({}, data.place, "data.where"))}, data.place, data.path)
        entries["data"] = Entry(root.entries["data"].place, overlay(where, data, ("data",)))
    if claims is not None:
        entries |= {key: entry for key, entry in claims.entries.items() if key not in _HEAD}
    return Table(entries, root.place, root.path)


def _settings(root: Table) -> Iterator[Table]:
    """The card itself, and each of its conditions."""
    yield root
    conditions = root.table("conditions")
    for entry in () if conditions is None else conditions.entries.values():
        if isinstance(entry.node, Table):
            yield entry.node


def _nested(root: Table) -> Iterator[Problem]:
    for table in _settings(root):
        if (model := table.table("model")) is not None and "bed" in model.entries:
            yield problem_at(model, "a card names the weights themselves, not another bed: give `id`, and an `adapter`")


def _card_problems(root: Table, resolved: Resolved, folder: Path) -> Iterator[Problem]:
    """What a spec may say and a stranger's card may not."""
    for table in _settings(root):
        if (model := table.table("model")) is not None:
            yield from _model_problems(model, folder)
        source = data.table("source") if (data := table.table("data")) is not None else None
        for key in ("file", "hub"):
            if source is not None and (node := source.get(key)) is not None:
                yield from _path_problems(node, folder)
    for node, check in resolved.checks:
        if check is not None and check.expect == "inconclusive":
            yield problem_at(node, "a claim holds or does not: expect pass or fail")


def _model_problems(model: Table, folder: Path) -> Iterator[Problem]:
    for key in _NOT_A_CARDS:
        if (node := model.get(key)) is not None and plain(node) is not False:
            message = f"a card cannot ask for this; who uses the bed says so himself: model: {{bed: …, {key}: true}}"
            yield problem_at(node, message)
    for key in ("id", "adapter"):
        if (node := model.get(key)) is not None:
            yield from _path_problems(node, folder)


def _path_problems(node: Node, folder: Path) -> Iterator[Problem]:
    name = text_of(node)
    if name is None:
        return
    try:
        below(folder, name)
    except LeadsOut:
        yield problem_at(
            node, "this leads out of the bed's folder; copy what it names there and give its path from the card"
        )
