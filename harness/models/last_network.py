"""The network that was loaded last, kept for the next that asks for the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.models.card import ModelCard

if TYPE_CHECKING:
    from harness.models.network import Network


class LastNetwork:
    """One loaded network at most."""

    def __init__(self) -> None:
        self._kept: tuple[str, Network] | None = None

    def load(self, card: ModelCard) -> Network:
        """The network of a card; another one that was kept is let go before this one comes."""
        key = f"{card.identity} {card.dtype}"
        if self._kept is None or self._kept[0] != key:
            from harness.models.load import load

            self._kept = None
            self._kept = (key, load(card))
        return self._kept[1]

    def drop(self) -> None:
        self._kept = None
