"""The outline of a report, which its tables do not say by themselves: order, roles, claims, the layers chosen. It goes into the manifest, so that
report.html can be made again from the report's own folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import msgspec

from harness.contracts import Claim, Metric, Probe, kind
from harness.errors import UsageError
from harness.report import read
from harness.report.content import Report
from harness.spec import Condition, Spec

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

TRUTH = "truth"

_MOST_CLAIMS = 20_000
"""More checks than values that a spec may have."""

Role = Literal["labels", "no labels", "baseline"]


class MetricOutline(msgspec.Struct, frozen=True):
    name: str
    chance: float | None
    """Value of an uninformed answer."""
    higher_is_better: bool


class ProbeOutline(msgspec.Struct, frozen=True):
    name: str
    role: Role
    """What it learns from; a baseline is the model's own answer or a direction drawn at random."""
    target: str = TRUTH
    """What it was fitted on, if it learns from labels."""
    detects: bool = False
    """Whether it says how unusual a row is, and not what is true of it."""

    @property
    def learns_from(self) -> str:
        """For a table: `no labels`, `labels`, or `labels of word`, so that nobody takes it for a probe of the truth."""
        return self.role if self.target == TRUTH else f"{self.role} of {self.target}"


class ChosenLayer(msgspec.Struct, frozen=True, array_like=True):
    fit_on: str
    probe: str
    layer: str
    rule: str


class Outline(msgspec.Struct, frozen=True):
    """Everything is in the order in which it is shown: the spec's first, then whatever else was measured."""

    name: str
    about: str
    file: str
    metrics: tuple[MetricOutline, ...]
    """The first is the one in tables and figures."""
    transfers: tuple[tuple[str, str], ...]
    """(fit_on, tested_on)."""
    targets: tuple[str, ...]
    probes: tuple[ProbeOutline, ...]
    layers: tuple[ChosenLayer, ...]
    claims: tuple[str, ...]
    """One for each row of checks.csv, in words."""
    facts: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    leaderboard: bool = False
    chances: tuple[tuple[str, str, float], ...] = ()
    """(tested_on, target, what an uninformed answer scores there on the first metric), where that is not the metric's chance: of several classes it
    is the share of the commonest."""
    standing: Mapping[str, tuple[str, ...]] = {}
    """By condition: the distractors that stand in its prompts, save those that go together with the truth on purpose."""


def of(report: Report) -> Outline:
    """The outline of a report."""
    spec, results = report.spec, report.results
    wanted = [name for m in spec.metrics for name in (m.title, *m.beside)]
    transfers = [(t.fit_on, tested) for t in spec.transfer for tested in t.tested_on]
    probes = {probe.title: probe for probe in spec.probes}
    xors = ["^".join(xor) for xor in spec.xors]
    targets = _in_order([TRUTH, *spec.distractors], results["target"].unique())
    return Outline(
        name=spec.name,
        about=spec.about,
        file=_file(spec.file or f"specs/{spec.name}.yaml"),
        metrics=tuple(_metric(name, spec.metrics) for name in _in_order(wanted, results["metric"].unique())),
        transfers=tuple(_in_order(transfers, results.select("fit_on", "tested_on").unique().rows())),
        # XORs last, in the order of the spec: they say little without the factors that they are made from.
        targets=(*(t for t in targets if t not in xors), *(x for x in xors if x in targets)),
        probes=tuple(
            ProbeOutline(name, _role(probes[name]), probes[name].target, probes[name].detects)
            if name in probes
            else ProbeOutline(name, _role(None))
            for name in _in_order(list(probes), results["probe"].unique())
        ),
        layers=tuple(
            ChosenLayer(fit_on, probe, str(chosen.layer), chosen.rule)
            for (fit_on, probe), chosen in sorted(report.summary_layers.items())
        ),
        claims=tuple(_claims(report.checks, spec.checks)),
        facts=tuple(report.facts),
        findings=tuple(report.findings),
        leaderboard=spec.leaderboard,
        chances=() if report.chances is None else tuple(report.chances.rows()),
        standing={condition.name: rivals for condition in spec.conditions if (rivals := _rivals(spec, condition))},
    )


def from_manifest(manifest: Mapping[str, Any], name: str) -> Outline:
    """The outline that a former run left. Raises UsageError if there is none or it is not one."""
    try:
        found = msgspec.convert(_as_now(manifest["report"]), Outline)
    except (KeyError, msgspec.ValidationError) as error:
        raise UsageError(f"{name} does not describe a report ({error}); make it again with harness run") from error
    cells = math.prod(map(len, (found.transfers, found.probes, found.targets, found.metrics)))
    read.check_count(cells, read.MOST_CELLS, "scores of names with each other", name)
    read.check_count(len(found.claims), _MOST_CLAIMS, "claims", name)
    return found


def _as_now(report: Any) -> Any:
    """A former version wrote the fields of each layer with their names."""
    if not isinstance(report, Mapping) or not isinstance(layers := report.get("layers"), list):
        return report
    fields = ChosenLayer.__struct_fields__
    return {
        **report,
        "layers": [[one.get(name) for name in fields] if isinstance(one, Mapping) else one for one in layers],
    }


def claim(check: Claim) -> str:
    """The claim in words, its options filled in; the check's name where its kind has none."""
    options = {name: getattr(check, name) for name in check.__struct_fields__}
    words = {name: ", ".join(map(str, v)) or "none" if isinstance(v, tuple) else v for name, v in options.items()}
    if not check.claim:
        return check.name or check.kind()
    elsewhere = f", fitted on {check.fit_on}" if check.fit_on not in (None, check.condition) else ""
    return check.claim.format(**words) + elsewhere


def _file(text: str) -> str:
    """The spec's file as `harness run` takes it from the repository's root, wherever this run was started."""
    path = Path(text).absolute()
    return f"specs/{path.name}" if path.parent.name == "specs" else path.name


def _claims(rows: pl.DataFrame, checks: Sequence[Claim]) -> Iterable[str]:
    """What each row claims; checks that would claim the same in words say by which options they differ."""
    unused = list(checks)
    found: list[tuple[str, Claim | None]] = []
    for row in rows.iter_rows(named=True):
        check = next((c for c in unused if _is(c, row)), None)
        if check is not None:
            unused.remove(check)
        found.append((str(row["check"]) if check is None else claim(check), check))
    for words, check in found:
        alike = [other for said, other in found if said == words and other is not None]
        yield words if check is None or len(alike) == 1 else words + _apart(check, alike)


def _apart(check: Claim, alike: Sequence[Claim]) -> str:
    """The options in which a check is not as all of those that claim the same; its name where it has them all in common."""
    names = [name for name in check.__struct_fields__ if name not in ("name", "expect")]
    own = [name for name in names if any(getattr(other, name, None) != getattr(check, name) for other in alike)]
    if not own:
        return f" ({check.name})" if check.name else ""
    return f" ({', '.join(f'{name}: {getattr(check, name)}' for name in own)})"


def _is(check: Claim, row: Mapping[str, Any]) -> bool:
    return (check.name or check.kind(), check.probe, check.condition) == (row["check"], row["probe"], row["condition"])


def _rivals(spec: Spec, condition: Condition) -> tuple[str, ...]:
    """The factors that a probe could find instead of the truth."""
    found = spec.distractors_of(condition)
    return tuple(name for name in condition.distractors if not found[name].follows_truth)


def _role(probe: Probe | None) -> Role:
    if probe is None:
        return "no labels"
    if probe.reads == "log_odds" or probe.kind() == "random":
        return "baseline"
    return "labels" if probe.supervised else "no labels"


def _metric(name: str, metrics: Sequence[Metric]) -> MetricOutline:
    found = next((m for m in metrics if m.title == name), None)
    if found is None and any(name in m.beside for m in metrics):
        found = cast(Metric, kind.named("metrics", name))
    return (
        MetricOutline(name, None, True) if found is None else MetricOutline(name, found.chance, found.higher_is_better)
    )


def _in_order(wanted: Sequence[T], present: Iterable[T]) -> list[T]:
    """The names that are present, each once: the wanted order first, then whatever else there is, sorted."""
    there = set(present)
    return [*dict.fromkeys(w for w in wanted if w in there), *sorted(there - set(wanted))]  # type: ignore[type-var]
