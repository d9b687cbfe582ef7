"""A subject whose states are given by a formula: what a probe can find in them is known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.code.code_version import code_of
from harness.contracts import Bed
from harness.contracts.subject import Subject
from harness.store import content_key

if TYPE_CHECKING:
    from torch import Tensor


class Formula(Subject, frozen=True):
    """A test bed that gives the states of token ids without any network. Its identity is its options and its code."""

    bed: Bed

    @property
    def name(self) -> str:
        return self.bed.kind()

    @property
    def about(self) -> str:
        return f"test bed {self.name}, {self.layers} layers of width {self.d_model}"

    @property
    def identity(self) -> str:
        return content_key("bed", self._options, code_of(*self.code))

    @property
    def layers(self) -> int:
        return self.bed.shape[0]

    @property
    def d_model(self) -> int:
        return self.bed.shape[1]

    @property
    def code(self) -> tuple[type, ...]:
        return (Formula, type(self.bed))

    @property
    def untrainable(self) -> str:
        return "the states of this test bed are given by a formula, so that nothing can be trained"

    def ingredients(self) -> dict[str, str]:
        return {"bed": content_key(self._options)}

    def provenance(self) -> Mapping[str, Any]:
        return {"bed": self._options}

    def states(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Tensor:
        return self.bed.states(prompts)[list(layers)]

    @property
    def _options(self) -> Mapping[str, Any]:
        return {"kind": self.name, **msgspec.to_builtins(self.bed)}
