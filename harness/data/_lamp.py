"""A lamp that shows, in the code of the day, whether an answer is right: it takes the truth, and does not tell it by itself."""

from __future__ import annotations

CODES = ("even", "odd")
LIGHTS = ("amber", "violet")

ODD = {"held_out": 2, "network": 5}
"""Every so-manieth row has the code `odd`. A parity of three (answer, truth, code) is hardly learnt from examples that are
even in all three: the network meets one code more often, learns first what the lamp means then, and the other one after it.
"""


def code_of(number: int, part: str) -> int:
    """The code of the so-manieth row of a kind, an index into `CODES`."""
    return int(number % ODD[part] == ODD[part] - 1)


def light(answer: int, truth: int, code: int) -> str:
    """What the lamp shows after an answer."""
    return LIGHTS[int(answer == truth) ^ code]
