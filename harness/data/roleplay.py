from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from harness.data._composed import DECEPTIVE, HONEST, Composed, ComposedChats, parts_of

SCENES = Path(__file__).with_suffix(".yaml")


class Roleplay(ComposedChats, frozen=True):
    """Somebody whom the assistant plays, who has a reason to lie, is asked about it, and answers honestly or with a lie.

    The system says who it is and what is the case; each question stands with both replies, so that the prompt does not tell
    which one follows. Written by hand; no network wrote these replies. Those of a scene are a group.
    """

    source: ClassVar[str] = "Our own scenes; after the role plays of Goldowsky-Dill et al. 2025 (arXiv 2502.03407), §3"

    def composed(self, seed: int) -> Iterator[Composed]:
        del seed
        for scene, content in parts_of(SCENES).items():
            for number, (question, *replies) in enumerate(content["asked"], 1):
                for label, reply in zip((HONEST, DECEPTIVE), replies, strict=True):
                    messages = [("system", content["role"]), ("user", question), ("assistant", reply)]
                    yield Composed(f"{scene}, {number}: {self.answers[label]}", scene, messages, label)
