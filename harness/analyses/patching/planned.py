"""What patching asks of a plan: its stages, and what cannot be patched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.analyses.patching.patching_stage import PatchedRows, where_of
from harness.errors import KeyFault, UsageError
from harness.plan.plan import Plan
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from harness.analyses.patching import Patching


def stages(plan: Plan, patching: Patching) -> Iterator[PatchedRows]:
    """Those that are asked for. Raises KeyFault where there is no answer to be followed, or where the two conditions are of two networks or of other rows."""
    clean, corrupted = (plan.spec.condition(name) for name in (patching.clean, patching.corrupted))
    where = where_of(plan.spec, patching)
    if patching.clean == patching.corrupted:
        raise KeyFault(
            f"{where}.corrupted", "this is the clean condition itself; name one whose prompts lead elsewhere"
        )
    for name in (patching.clean, patching.corrupted):
        if not plan.subjects[name].alterable:
            raise KeyFault(
                where,
                f"the network of condition {name} does not say its answer token by token, left to right, so that nothing can be put into its "
                "pass; name a condition with a causal language model and a template that ends with {{ answer }}",
            )
    subject = plan.subjects[patching.clean]
    assert isinstance(subject, LanguageModel), "only language models are alterable"
    if subject.identity != plan.subjects[patching.corrupted].identity:
        raise KeyFault(
            f"{where}.corrupted",
            f"{patching.corrupted} asks another network than {patching.clean}; give both the same `model`",
        )
    if clean.data != corrupted.data:
        raise KeyFault(
            f"{where}.corrupted",
            f"{patching.corrupted} has other `data` than {patching.clean}; both must ask about the same rows",
        )
    _check_places(subject, patching, where)
    _check_paths(subject, patching, where)
    prompts = (plan.find("prompts", patching.clean), plan.find("prompts", patching.corrupted))
    network = plan.of_condition("activations", patching.clean).key_of(patching.clean)
    for by in patching.directions:
        for into in (None, *patching.paths):
            yield PatchedRows(spec=plan.spec, patching=patching, prompts=prompts, network=network, by=by, into=into)


def _check_places(subject: LanguageModel, patching: Patching, where: str) -> None:
    for site in patching.sites:
        if site == "residual":
            continue
        try:
            subject.card.shape.width(site)
            if site == "head":
                subject.card.shape.width("head:0")
        except UsageError as error:
            raise KeyFault(f"{where}.sites", f"{site}: {error}") from error
    deepest = max(patching.layers or (0,))
    if deepest >= subject.layers:
        raise KeyFault(
            f"{where}.layers", f"there is no layer {deepest}; this network has layers 0 to {subject.layers - 1}"
        )


def _check_paths(subject: LanguageModel, patching: Patching, where: str) -> None:
    for number, one in enumerate(patching.paths):
        place, heads = f"{where}.paths[{number}]", subject.card.shape.heads
        try:
            subject.card.shape.width("head:0")
        except UsageError as error:
            raise KeyFault(place, f"head: {error}") from error
        if one.block >= subject.layers:
            raise KeyFault(
                f"{place}.block", f"there is no block {one.block}; this network has blocks 1 to {subject.layers - 1}"
            )
        if heads is None or one.head >= heads:
            raise KeyFault(
                f"{place}.head",
                f"there is no head {one.head}; blocks of this network have heads 0 to {(heads or 1) - 1}",
            )
        if patching.layers is not None and not {*range(1, one.block)} & {*patching.layers}:
            raise KeyFault(
                f"{where}.layers",
                f"no head of these layers comes before block {one.block} of `paths`; add an earlier one",
            )
