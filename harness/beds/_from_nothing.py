"""What the beds have in common whose networks are made from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from harness.contracts.network_bed import Brought, FromScratch, NetworkBed


class FromNothing(NetworkBed, frozen=True, kw_only=True):
    """A bed whose network is a tiny Llama, trained on one half of a world of our own; experiments ask about the other half.

    The world's table says what is taught: `chance` of the second answer, and the words `after_0` and `after_1` that follow
    either answer. All beds have networks of the same size, so that a table which compares them compares worlds.
    """

    precision: Literal["exact", "fast"] = "exact"
    """As a model's own option. So small a network gains nothing by less."""

    world: ClassVar[str]
    """The data set, which has the parts `network` and `held_out`."""
    prompt: ClassVar[Mapping[str, Any]]
    """Options of `prompt`."""
    steps: ClassVar[int]
    minutes: ClassVar[int]
    """What training takes on two cores, about."""

    @property
    def pinned(self) -> str:
        return self.kind()

    def recipe(self) -> FromScratch:
        return FromScratch(
            data={"kind": self.world, "part": "network"},
            chance="chance",
            after=("after_0", "after_1"),
            d_model=64,
            blocks=3,
            heads=4,
            d_mlp=128,
            steps=self.steps,
            batch=128,
            rate=3e-3,
            minutes=self.minutes,
        )

    def brought(self) -> Brought:
        weights = {} if self.trained else {"weights": "random"}
        return Brought(
            model={
                "id": self.weights or f"bed:{self.pinned}",
                "precision": self.precision,
                "packing": self.packing,
                **weights,
            },
            # All rows, split before any are chosen: those of one group are in the same part whatever a condition keeps of them.
            data={"source": {"kind": self.world}, "where": {}},
            prompt=self.prompt,
        )

    def tried_on(self, **conditions: Mapping[str, Any]) -> Mapping[str, Any]:
        """The head of a bed's claims: rows that its network never saw, and in each condition those `where` columns have a value."""
        return {
            "about": "What is true by construction of the test bed, tried on rows that its network never saw.",
            # More test rows than training rows: intervals decide.
            "data": {"limit": None, "split": {"train": 0.4, "validation": 0.1, "test": 0.5}},
            "conditions": {name: {"data": {"where": where}} for name, where in conditions.items()},
            "layer": "validation",
            "probes": ["logistic_regression"],
            "metrics": ["auroc"],
        }
