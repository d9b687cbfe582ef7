"""A stage: one step of a plan, with its ingredients, inputs, making, storing and cost.

A stage says what it is made from (its ingredients, each under a name that a person understands), what it needs made before
(its inputs), and how it is made, kept, read back and costed. Whether it has to be made, why, by which process, and what is
noted of it afterwards is the same for all stages: see `harness.plan.plan` and `harness.execution.run`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from harness.code.code_version import code_of
from harness.store import Artifact, Store, content_key, reading

if TYPE_CHECKING:
    from harness.execution.record import Work
    from harness.execution.run import Run
    from harness.machine.team import SharedJob

T = TypeVar("T")


class Cost(msgspec.Struct, frozen=True):
    """What one stage costs if nothing is stored, and what is left to do. None and empty where it is not known."""

    rows: int | None = None
    """Prompts for the prompts and activations stages; contrast pairs for fits and scores."""
    rows_to_do: int | None = None
    tokens: int | None = None
    """Tokens to forward, with shared beginnings forwarded once."""
    tokens_unshared: int | None = None
    """Tokens if every prompt were forwarded whole."""
    passes: int | None = None
    tflops: float | None = None
    """10¹² floating-point operations of the forward passes to do."""
    stored_mib: float | None = None
    """What the states take on disk."""
    peak_mib: float | None = None
    """Weights, one batch's intermediate values and one shard of states."""
    where: str = ""
    """Where it runs."""
    note: str = ""


class Stage(msgspec.Struct, Generic[T], frozen=True, eq=False, dict=True, kw_only=True):
    """One step of a plan; T is what comes of it."""

    kind: ClassVar[str]
    """The folder in the store, and the first word of its line in the plan."""
    led: ClassVar[bool] = False
    """Whether only the leading process of several makes it, while the others wait until the store has it."""
    held: ClassVar[bool] = True
    """Whether what came of it stays in memory for the next that asks."""
    unit: ClassVar[str] = ""
    """What its progress counts."""

    @property
    def place(self) -> tuple[str, ...]:
        """What it works on, by which it is found among the stages of its kind: conditions, a probe."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The place in words, for people."""
        return ", ".join(self.place)

    @property
    def inputs(self) -> Sequence[Stage[Any]]:
        """Stages whose results it is made from."""
        return ()

    def made_from(self) -> Mapping[str, str]:
        """What its result depends on besides its code, by a name that a person understands: keys of inputs, hashes of options."""
        raise NotImplementedError

    @property
    def runs(self) -> Sequence[str | type | Callable[..., object]]:
        """The entries of its code: what makes the result and reads it back, and the kinds that the spec names for it."""
        own = type(self)
        return (own.make, own.save, own.load)

    @property
    def uses(self) -> Sequence[str]:
        """What else of the store its result refers to, as KIND/PREFIX-."""
        return ()

    @cached_property
    def ingredients(self) -> Mapping[str, str]:
        """All that the key is made from: options, code, inputs. In this order a plan says what changed."""
        parts, inputs = self.made_from(), {stage.key for stage in self.inputs}
        own = {name: value for name, value in parts.items() if value not in inputs}
        return {**own, "code": code_of(*self.runs), **parts}

    @cached_property
    def key(self) -> str:
        """The name of its result in the store: a hash of the kind and the ingredients, whose order is part of it."""
        return content_key(self.kind, list(self.ingredients.items()))

    @property
    def title(self) -> str:
        """What it is called where the ingredients of the last run are kept."""
        return f"{self.kind} {self.label}"

    def before(self, run: Run) -> None:
        """Makes what has to be there before the stage is begun and its progress shown: its inputs, if nothing else is said."""
        for stage in self.inputs:
            run.prepare(stage)

    def already(self, run: Run) -> str:
        """What the store has of a result that it lacks the whole of, in words; empty where it has nothing, or nobody says."""
        return ""

    def make(self, run: Run, work: Work) -> T:
        """Makes the result. What it needs of other stages it asks the run for."""
        raise NotImplementedError

    def save(self, made: T, folder: Path) -> Mapping[str, Any]:
        """Writes the result's files into an empty folder; returns what is kept beside them, as plain values."""
        raise NotImplementedError

    def load(self, artifact: Artifact) -> T:
        """The result as it was saved. Whatever it raises, the artifact is then set aside and the stage made again."""
        raise NotImplementedError

    def recall(self, store: Store) -> T | None:
        """The result, where the store has all of it."""
        return reading.read(store, self.kind, self.key, self.load)

    def shown(self, run: Run) -> tuple[str, str]:
        """Kind and label beside its progress; others than its own where several stages are made together."""
        return self.kind, self.label

    @property
    def at_first(self) -> str:
        """What is done before any of its progress can be counted, where that takes long."""
        return ""

    def assist(self, run: Run, job: SharedJob) -> None:
        """Does this process's part of a job that the leading process opened for the stage."""
        raise NotImplementedError

    def cost(self, run: Run) -> Cost:
        """The cost, found without loading weights."""
        return Cost()
