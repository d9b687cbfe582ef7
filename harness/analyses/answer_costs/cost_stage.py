"""What one answer of a method costs: the prompts and tokens that the network must read for it, counted in the test rows.

A method that reads states and one that reads the network's own answer cost the same: what both need comes out of the same pass
over the two members of a contrast pair (the states of the upper layers can be left out where a lower one is read). What
makes a difference is what is asked: solved examples before the question, or several wordings of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Probe, PromptTable
from harness.plan.plan import Plan
from harness.plan.stage import Stage
from harness.spec import Spec
from harness.spec.plain import probe_name
from harness.store import Artifact, content_key, reading

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run

_TABLE = "costs"
_COLUMNS = ("condition", "methods", "prompts", "tokens", "shared")


class Counted(Stage["pl.DataFrame"], frozen=True, kw_only=True):
    """Means over the questions of each condition's test rows, for methods that cost the same there.

    Columns: `condition`; `methods`, a list; `prompts` that are read for one answer, two for each wording that is asked; their
    `tokens`, each read whole; and `shared`, tokens where what those prompts begin with in common is read once.
    """

    kind: ClassVar[str] = "costs"

    spec: Spec
    prompts: tuple[Stage[PromptTable], ...]
    scored: tuple[tuple[str, ...], ...]
    """Where there are scores: fitted on, tested on, probe."""

    @property
    def place(self) -> tuple[str, ...]:
        return (self.spec.name,)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        return self.prompts

    def made_from(self) -> Mapping[str, str]:
        asked = {probe_name(probe): probe.asks for probe in self.spec.probes}
        return {
            "methods": content_key([[tested_on, probe, asked[probe]] for _, tested_on, probe in self.scored]),
            **{stage.title: stage.key for stage in self.prompts},
        }

    def make(self, run: Run, work: Work) -> pl.DataFrame:
        """By condition that is tested on, in the order of the spec, and by what a method asks for one answer."""
        import polars as pl

        found: list[dict[str, Any]] = []
        for condition in self.spec.conditions:
            tested = {probe for _, tested_on, probe in self.scored if tested_on == condition.name}
            probes = [probe for probe in self.spec.probes if probe_name(probe) in tested]
            if probes:
                found += _of_condition(condition.name, run.conditions.table(condition.name), probes)
        numbers = dict.fromkeys(("prompts", "tokens", "shared"), pl.Float64)
        return pl.DataFrame(found, schema={"condition": pl.String, "methods": pl.List(pl.String), **numbers})

    def save(self, made: pl.DataFrame, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames({_TABLE: made}, folder)

    def load(self, artifact: Artifact) -> pl.DataFrame:
        return reading.load_frames(artifact, {_TABLE: _COLUMNS})[_TABLE]


def stages(plan: Plan) -> Iterator[Counted]:
    """One for the whole spec."""
    yield Counted(
        spec=plan.spec, prompts=tuple(plan.of("prompts")), scored=tuple(stage.place for stage in plan.of("score"))
    )


def _of_condition(condition: str, table: PromptTable, probes: Sequence[Probe]) -> Iterator[dict[str, Any]]:
    frame = table.frame.filter(split="test")
    # With one template an example is asked once, and is a pair.
    several = len(table.templates) > 1
    for unit in dict.fromkeys(probe.asks if several else "pair" for probe in probes):
        methods = [probe_name(probe) for probe in probes if unit == (probe.asks if several else "pair")]
        units = frame.group_by(unit, maintain_order=True).agg("tokens")["tokens"].to_list()
        sizes = [(len(prompts), sum(map(len, prompts)), distinct_tokens(prompts)) for prompts in units]
        if sizes:
            prompts, tokens, shared = (sum(column) / len(sizes) for column in zip(*sizes, strict=True))
            yield {"condition": condition, "methods": methods, "prompts": prompts, "tokens": tokens, "shared": shared}


def distinct_tokens(prompts: Iterable[Sequence[int]]) -> int:
    """Tokens to be read where equal beginnings are read once: the nodes of the prompts' trie."""
    ordered = sorted(list(prompt) for prompt in prompts)
    # Of the prompts before it, the neighbour in order is the one that begins most like it.
    repeated = (_common(first, second) for first, second in pairwise(ordered))
    return sum(map(len, ordered)) - sum(repeated)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of what both begin with."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))
