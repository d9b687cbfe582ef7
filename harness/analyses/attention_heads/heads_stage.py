"""The stage that looks into the attention heads of one network, once for all conditions that have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from harness.analyses.attention_heads.repeated import drawn, scored
from harness.errors import KeyFault
from harness.maths.student import t_quantile
from harness.models.known_tokens import known_tokens
from harness.models.precision import device
from harness.plan.plan import Plan
from harness.plan.stage import Cost, Stage
from harness.store import Artifact, content_key, reading
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from harness.execution.record import Work
    from harness.execution.run import Run

SCORES = ("matching", "control", "previous")


class Looked(msgspec.Struct, frozen=True):
    """What was found."""

    heads: pl.DataFrame
    """A row for each head: `block`, counted from 1, `head`, counted from 0, and of each score its mean over sequences with the 95 % interval."""
    losses: pl.DataFrame
    """A row for each token of the repeated sequences but the first: `position`, counted from the first random token, its mean loss in nats, and whether it is of
    the second copy."""


class HeadsLookedInto(Stage[Looked], frozen=True, kw_only=True):
    """The heads of one network on random tokens that are repeated."""

    kind: ClassVar[str] = "heads"
    led: ClassVar[bool] = True
    unit: ClassVar[str] = "sequences"

    conditions: tuple[str, ...]
    subject: LanguageModel
    period: int
    sequences: int
    seed: int

    @property
    def place(self) -> tuple[str, ...]:
        return self.conditions

    def made_from(self) -> Mapping[str, str]:
        return {
            **self.subject.ingredients(),
            "tokenizer": self.subject.tokenizer or "",
            "options": content_key([self.period, self.sequences, self.seed]),
        }

    def make(self, run: Run, work: Work) -> Looked:
        import polars as pl

        work.total(self.sequences)
        card, tokenizer = self.subject.card, self.subject.load_tokenizer()
        (any_text,) = tokenizer.encode(["a"])
        begins = any_text.ids[: tokenizer.added[0]]
        # A network may have room for more tokens than there are, on which it was never trained.
        possible = known_tokens(card) & set(range(card.shape.vocab)) - set(tokenizer.about.control.values())
        asked = drawn(possible, begins, self.period, self.sequences, self.seed)
        found = scored(run.networks.load(card), asked, work.to)
        run.networks.drop()
        work.counts |= {"rows": self.sequences, "tokens": asked.repeated.size + asked.control.size}
        blocks, heads, _ = found.matching.shape
        columns = {name: _intervals(getattr(found, name)) for name in SCORES}
        rows = [
            (block + 1, head, *(float(number) for name in SCORES for number in columns[name][:, block, head]))
            for block in range(blocks)
            for head in range(heads)
        ]
        positions = range(1 - asked.begun, 2 * self.period)
        losses = [
            (position, loss, position >= self.period)
            for position, loss in zip(positions, found.losses.mean(0).tolist(), strict=True)
            if position > 0
        ]
        return Looked(
            pl.DataFrame(rows, schema=_heads_schema(), orient="row"),
            pl.DataFrame(losses, schema=_losses_schema(), orient="row"),
        )

    def save(self, made: Looked, folder: Path) -> Mapping[str, Any]:
        return reading.save_frames(msgspec.structs.asdict(made), folder)

    def load(self, artifact: Artifact) -> Looked:
        return Looked(**reading.load_frames(artifact, {"heads": _heads_schema(), "losses": _losses_schema()}))

    def cost(self, run: Run) -> Cost:
        tokens = 4 * self.period * self.sequences
        return Cost(
            rows=2 * self.sequences,
            tokens=tokens,
            where=device(),
            note=f"{self.sequences} sequences of {2 * self.period} random tokens, once repeated and once not: {tokens:,} tokens",
        )


def _intervals(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, (row), with Student's 95 % interval, (3, block, head)."""
    import numpy as np

    count = values.shape[-1]
    mean = values.mean(-1)
    reach = t_quantile(count - 1, 0.95) * values.std(-1, ddof=1) / np.sqrt(count)
    return np.stack([mean, mean - reach, mean + reach])


def _heads_schema() -> dict[str, Any]:
    import polars as pl

    scores = [f"{name}{end}" for name in SCORES for end in ("", "_low", "_high")]
    return {"block": pl.Int64(), "head": pl.Int64(), **{name: pl.Float64() for name in scores}}


def _losses_schema() -> dict[str, Any]:
    import polars as pl

    return {"position": pl.Int64(), "loss": pl.Float64(), "second": pl.Boolean()}


def stages(plan: Plan, conditions: Sequence[str], period: int, sequences: int, seed: int) -> Iterator[HeadsLookedInto]:
    """One for each network. Raises KeyFault for a condition that is none, and for a network whose heads cannot be looked into."""
    known = [one.name for one in plan.spec.conditions]
    if unknown := [name for name in conditions if name not in known]:
        raise KeyFault("analyses", f"attention_heads: there is no condition {unknown[0]}; there are {', '.join(known)}")
    alike: dict[str, list[HeadsLookedInto]] = {}
    for name in conditions or known:
        subject = plan.subjects[name]
        if not isinstance(subject, LanguageModel) or not subject.alterable:
            raise KeyFault(
                "analyses",
                f"attention_heads: the network of condition {name} is no causal language model; name others under `conditions`",
            )
        if plan.spec.condition(name).elicit is not None:
            raise KeyFault(
                "analyses",
                f"attention_heads: the network of condition {name} is still to be elicited; name others under `conditions`",
            )
        if subject.context is not None and 2 * period + 2 > subject.context:
            raise KeyFault(
                "analyses",
                f"attention_heads: two copies of {period} tokens are longer than the context of {subject.context}; give a smaller `period`",
            )
        one = HeadsLookedInto(conditions=(name,), subject=subject, period=period, sequences=sequences, seed=seed)
        alike.setdefault(one.key, []).append(one)
    for same in alike.values():
        yield msgspec.structs.replace(same[0], conditions=tuple(one.conditions[0] for one in same))


def assembled(run: Run, stages: Sequence[Stage[Any]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Heads and losses of all networks, each under the first of its conditions."""
    import polars as pl

    parts = [(pl.lit(stage.place[0]).alias("condition"), run.get(stage)) for stage in stages]
    heads, losses = (
        pl.concat([getattr(found, part).select(named, pl.all()) for named, found in parts])
        for part in ("heads", "losses")
    )
    return heads, losses
