"""The features of a sparse autoencoder at a network's states as a subject of its own: one layer, as wide as the dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contracts.subject import Subject, Tokenizer
from harness.store import content_key


class Features(Subject, frozen=True):
    """What another subject's states at one layer are made of, by an autoencoder."""

    network: Subject
    """Whose states the autoencoder reads."""
    autoencoder: str
    """In words."""
    layer: int
    dictionary: int
    """Features."""

    @property
    def name(self) -> str:
        return f"features of {self.network.name}"

    @property
    def about(self) -> str:
        return f"{self.network.about}; read are the {self.dictionary:,} features of {self.autoencoder} at layer {self.layer}"

    @property
    def identity(self) -> str:
        return content_key("features", self.network.identity, self.autoencoder, self.layer, self.dictionary)

    @property
    def positions(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.network.positions

    @property
    def only_layers(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.layer,)

    @property
    def views(self) -> int | None:  # type: ignore[override]
        return self.network.views

    @property
    def layers(self) -> int:
        return self.network.layers

    @property
    def d_model(self) -> int:
        return self.dictionary

    @property
    def dtype(self) -> str:
        return self.network.dtype

    @property
    def tokenizer(self) -> str | None:
        return self.network.tokenizer

    @property
    def context(self) -> int | None:
        return self.network.context

    @property
    def vocab(self) -> int | None:
        return self.network.vocab

    def load_tokenizer(self) -> Tokenizer | None:
        return self.network.load_tokenizer()

    @property
    def says(self) -> bool:
        return self.network.says

    def ingredients(self) -> dict[str, str]:
        return self.network.ingredients()

    @property
    def code(self) -> tuple[type, ...]:
        return self.network.code

    def provenance(self) -> Mapping[str, Any]:
        return self.network.provenance()
