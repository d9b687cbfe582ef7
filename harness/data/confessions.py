from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.data._composed import HonestChats

CONFESSIONS = Path(__file__).with_suffix(".yaml")


class Confessions(HonestChats, frozen=True):
    """The assistant admits that it lied, and says what is true: honest replies about lies, which cause false alarms.

    All are honest: such a set needs `balance: false`. Each lie stands in several forms, which are a group; of some, the lie is told
    earlier in the same conversation.
    """

    source: ClassVar[str] = "Our own sentences; the false alarms of Goldowsky-Dill et al. 2025 (arXiv 2502.03407)"
    parts: ClassVar[Path] = CONFESSIONS
