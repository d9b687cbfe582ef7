"""What a world of quirky questions is made of: questions, what is true, and what Bob says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from harness.maths.draws import draw

T = TypeVar("T")

WHO = ("Alice", "Bob")
"""Who is asked. Alice answers truly, Bob with the error of the world."""

SUBJECTS = ("honest", "lied_about")
"""What Bob does with a subject: the continent of a country, or numbers of a kind."""

DIFFICULTIES = ("easy", "medium", "hard")
TAIL = 0.25
"""Share of the easiest and of the hardest questions (Mallen & Belrose 2023, §3)."""


class Question(NamedTuple):
    """One question that is answered with yes or no."""

    text: str
    example: str
    """Its id, without who is asked."""
    group: str
    """What it has in common with others, such as the city."""
    truth: int
    lie: int
    """Whether Bob says the opposite of what is true."""
    hardness: float
    """Larger is harder; compared within a world."""

    @property
    def bob(self) -> int:
        """What Bob says. It cannot be told without the truth, and does not tell it: he lies about half of the questions."""
        return self.truth ^ self.lie


def divided(groups: Sequence[T], names: Sequence[str], world: str, part: str) -> list[T]:
    """The half of the groups that an adapter is trained on (`adapter`), or the other one (`held_out`).

    It depends on the name alone, so that no seed of an experiment asks about what the network was trained on.
    """
    wanted = 0 if part == "adapter" else 1
    return [group for group, name in zip(groups, names, strict=True) if draw("quirky", world, name) % 2 == wanted]


def difficulties(questions: Sequence[Question]) -> list[str]:
    """For each question whether it is among the easiest or the hardest quarter."""
    ordered = sorted(question.hardness for question in questions)
    easy, hard = ordered[int(TAIL * len(ordered))], ordered[int((1 - TAIL) * len(ordered))]
    return ["easy" if q.hardness <= easy else "hard" if q.hardness >= hard else "medium" for q in questions]
