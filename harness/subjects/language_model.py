"""A language model as a subject: its card, and how it is called where it comes from a bed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.contracts.subject import Devices, Placed, Subject
from harness.models.card import ModelCard
from harness.models.placement import place
from harness.models.tokenizer import Tokenizer, load_tokenizer


class LanguageModel(Subject, frozen=True):
    """A transformer with a tokenizer, known by its card."""

    card: ModelCard
    bed: str | None = None
    """Name of the test bed that it comes from, if it does."""

    positions: ClassVar[tuple[str, ...]] = ("last", "answer", "mean", "max", "stretch")

    def with_card(self, card: ModelCard) -> LanguageModel:
        """The same one trained further, known by another card."""
        return LanguageModel(card, self.bed)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def about(self) -> str:
        card = self.card
        weights = "random weights, never trained" if self.untrained else "pretrained"
        size = f"{card.parameters / 1e6:.0f} M parameters"
        text = f"{card.name} ({card.family}, {size}, {card.blocks} blocks of width {card.d_model}), {weights}, {card.dtype}"
        return text if self.bed is None else f"test bed {self.bed}: {text}"

    @property
    def identity(self) -> str:
        return self.card.identity

    @property
    def layers(self) -> int:
        return self.card.layers

    @property
    def d_model(self) -> int:
        return self.card.d_model

    @property
    def dtype(self) -> str:
        return self.card.dtype

    @property
    def read_as(self) -> tuple[str, ...]:
        return self.card.dtype, self.card.side, self.card.packing

    @property
    def tokenizer(self) -> str | None:
        return self.card.tokenizer_identity

    @property
    def context(self) -> int | None:
        return self.card.context

    @property
    def vocab(self) -> int | None:
        return self.card.shape.vocab

    def load_tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.card)

    @property
    def says(self) -> bool:
        return self.card.has_head

    @property
    def alterable(self) -> bool:
        return self.card.has_head and self.card.stacks == "decoder-only"

    @property
    def untrainable(self) -> str:
        if self.alterable:
            return ""
        return f"{self.name} is {self.card.stacks}, and only a decoder-only language model can be trained to answer; take it out"

    @property
    def untrained(self) -> bool:
        return self.card.weights == "random"

    def ingredients(self) -> dict[str, str]:
        card = self.card
        return {
            "model": card.identity,
            "dtype": card.dtype,
            "side": card.side,
            "packing": card.packing,
        }

    def provenance(self) -> Mapping[str, Any]:
        card = self.card
        return {"id": card.name, "revision": card.revision, "identity": card.identity, "dtype": card.dtype}

    def placed(self, devices: Devices, working_bytes: int, split: bool) -> Placed:
        if split:
            from harness.models.tensor_parallel import place_split

            parts = place_split(self.card, devices, working_bytes)
            shares = (parts.weight_bytes,) * parts.devices
            note = "; the devices work at once, and their exchange is not counted"
            return Placed(str(parts), shares, at_once=parts.devices, note=note)
        found = place(self.card, devices, working_bytes)
        note = "; the devices of a replica work one after another" if found.sharded else ""
        return Placed(str(found), found.weight_bytes, found.replicas, found.replicas, note)

    def check_split(self, processes: int) -> None:
        from harness.models.tensor_parallel import split

        split(self.card, processes)
