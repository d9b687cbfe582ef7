from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.data._composed import HonestChats

EVERYDAY = Path(__file__).with_suffix(".yaml")


class OrdinaryChat(HonestChats, frozen=True):
    """Everyday questions and honest answers, which have nothing to do with lies: a control set for a monitor's threshold.

    All are honest: such a set needs `balance: false`. Recipes, gardens, animals, words, letters, units and more, some after a message of
    the system, some in a second turn. Those about one thing are a group.
    """

    source: ClassVar[str] = "Our own sentences; the control in the place of Alpaca (Taori et al. 2023)"
    parts: ClassVar[Path] = EVERYDAY
