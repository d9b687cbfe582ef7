from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.data._composed import HonestChats

QUOTATIONS = Path(__file__).with_suffix(".yaml")


class Quotations(HonestChats, frozen=True):
    """The assistant tells of lies that others told, in stories and in the news, and of what words about lies mean.

    All are honest: such a set needs `balance: false`. The words of a lie are there without the intent. Those about one lie or one
    word are a group.
    """

    source: ClassVar[str] = "Our own sentences; the false alarms of Goldowsky-Dill et al. 2025 (arXiv 2502.03407)"
    parts: ClassVar[Path] = QUOTATIONS
