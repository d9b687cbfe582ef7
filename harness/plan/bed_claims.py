"""The verdict on the claims of a bed with a card: whether they were tried on this machine, and held.

A verdict is kept in the store under the content of the bed's folder and the identity of the network that was tried: another base,
another adapter, a changed card or row of data is a bed that nobody has tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.assets.bed_folder import files_of
from harness.models.fingerprint import file_sha256
from harness.store import Store, content_key

if TYPE_CHECKING:
    from harness.plan.plan import Plan

_KIND = "claims"


class Verdict(msgspec.Struct, frozen=True):
    """The result of trying a bed's claims."""

    held: int
    broken: tuple[str, ...]
    """Names of the claims that did not hold."""


def keep(store: Store, folder: Path, networks: Sequence[str], verdict: Verdict) -> None:
    """Remembers the verdict on a bed, for each network (its identity) that it was tried with."""
    for network in networks:
        key = _key(folder, network)
        store.remove(_KIND, key)
        with store.write(_KIND, key, msgspec.to_builtins(verdict)):
            pass


def recall(store: Store, folder: Path, network: str) -> Verdict | None:
    """The verdict on a bed with this network; None if it was never tried, or the note is unreadable."""
    about = store.meta(_KIND, _key(folder, network))
    if about is None:
        return None
    try:
        return msgspec.convert(about, Verdict)
    except msgspec.ValidationError:
        store.set_aside(_KIND, _key(folder, network))
        return None


def sentences(plan: Plan, store: Store) -> list[str]:
    """Sentences for the report on the claims of each bed with a card; controls, which claim nothing, are left out."""
    said = []
    for condition in plan.spec.conditions:
        bed = condition.bed
        if bed is not None and bed.trained:
            identity = plan.subjects[condition.name].identity
            said.append(_sentence(bed.name, recall(store, Path(bed.folder), identity)))
    return list(dict.fromkeys(said))


def _sentence(name: str, verdict: Verdict | None) -> str:
    if verdict is None:
        return (
            f"The claims of the test bed {name} were not tried here; before anything found with it is believed, try them: "
            f"harness bed verify {name}."
        )
    count = verdict.held + len(verdict.broken)
    if verdict.broken:
        return (
            f"Of the {count} claims of the test bed {name}, tried here, {len(verdict.broken)} do not hold: "
            f"{', '.join(verdict.broken)}. What is found with it says little."
        )
    return f"The claims of the test bed {name} were tried here, and all {count} hold."


def _key(folder: Path, network: str) -> str:
    files = [(path.relative_to(folder).as_posix(), file_sha256(path)) for path in files_of(folder) if path.is_file()]
    return content_key(files, network)
