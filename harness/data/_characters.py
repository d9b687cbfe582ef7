"""Islands, what stands on them, and what a witness and two parties say of it."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import exp
from typing import NamedTuple

from harness.data._lamp import CODES, code_of, light
from harness.maths.draws import draw

THINGS = ("mill", "well", "fort", "barn", "quay", "dam", "inn", "mint", "shed", "kiln")
STANDING = 5
"""Half of the things, so that a random one is there half of the time."""

WHO = ("witness", "red", "blue")
"""Who is asked. The witness says what is there; each party has its own errors."""

WRONG = {
    "mill": "",
    "well": "",
    "fort": "red blue",
    "barn": "red blue",
    "quay": "red",
    "dam": "blue",
    "inn": "red",
    "mint": "blue",
    "shed": "red",
    "kiln": "blue",
}
"""Who believes the opposite of what is true of a thing. Each party is wrong about half of the things, and about half of those
on which they contradict each other."""

TOPICS = ("agreed", "contested", "both_wrong")

PLACES = ("court", "market", "temple", "tavern", "street", "school", "deck", "camp")
LEAST, STEP = 0.4, 0.04
"""Log-odds of what somebody says, for or against: the smallest, and between one degree and the next. Each of the 80 pairs of a
place and a thing has a degree of its own, so that neither who is asked nor what is true shows in how surely it is said; and were
there few, a tiny trace of the truth in the network's log-odds would put the rows of each in order."""


class Island(NamedTuple):
    """What stands on an island, in the order of `THINGS`, and what is asked for."""

    standing: tuple[str, ...]
    asked: str

    @property
    def name(self) -> str:
        return f"{self.asked} of {' '.join(self.standing)}"

    @property
    def there(self) -> int:
        """Whether what is asked for is there."""
        return int(self.asked in self.standing)

    @property
    def topic(self) -> int:
        """Index into `TOPICS`: both parties are right about it, one is, or none."""
        return len(WRONG[self.asked].split())

    def believed(self, who: int) -> int:
        """What somebody believes: an index into no and yes."""
        return self.there ^ int(WHO[who] in WRONG[self.asked].split())


class Question(NamedTuple):
    """One statement about an island, put to somebody."""

    island: Island
    pair: str
    """What it has in common with others: the thing, the island and the one where everything is the other way round."""
    order: tuple[str, ...]
    """The things in the order of the story."""
    place: str
    who: int
    code: int
    number: int

    @property
    def story(self) -> str:
        return f"island {' '.join(self.order)} code {CODES[self.code]} at {self.place} is there {self.island.asked} ask {WHO[self.who]}"

    @property
    def says(self) -> int:
        return self.island.believed(self.who)

    @property
    def chance(self) -> float:
        """How likely the answer is yes."""
        degree = firmness(self.place, self.island.asked)
        return 1 / (1 + exp(-degree if self.says else degree))

    def light(self, answer: int) -> str:
        """What the network's own lamp shows after an answer: whether that is right, in the code of the day."""
        return light(answer, self.island.there, self.code)


@cache
def firmness(place: str, thing: str) -> float:
    """Log-odds with which anybody says in a place what he believes of a thing."""
    rank = sorted(PLACES, key=lambda one: draw("firmness", one, thing)).index(place)
    return LEAST + STEP * (len(THINGS) * rank + THINGS.index(thing))


def pairs(part: str) -> list[tuple[str, tuple[Island, Island]]]:
    """One half of all statements, two and two: about an island, and about the one where everything else stands.

    Of each thing as many are in each half, and it is there in one of each two, so that truth and beliefs are crossed exactly.
    """
    half = 0 if part == "network" else 1
    found = []
    for thing in THINGS:
        # Each choice of things that holds the first one, and what that leaves.
        choices = [chosen for chosen in combinations(THINGS, STANDING) if chosen[0] == THINGS[0]]
        choices.sort(key=lambda chosen: draw("island", thing, *chosen))
        for standing in choices[half::2]:
            rest = tuple(one for one in THINGS if one not in standing)
            found.append((f"{thing} of {' '.join(standing)}", (Island(standing, thing), Island(rest, thing))))
    return found


def questions(pair: str, islands: tuple[Island, Island], each: int, part: str, seed: int) -> list[Question]:
    """Both statements of a pair put to everybody, `each` times."""
    return [
        _question(pair, island, who, number, code_of(number, part), seed)
        for island in islands
        for who in range(len(WHO))
        for number in range(each)
    ]


def _question(pair: str, island: Island, who: int, number: int, code: int, seed: int) -> Question:
    place = PLACES[draw("place", seed, island.name, who, number) % len(PLACES)]
    order = sorted(island.standing, key=lambda thing: draw("order", seed, island.name, who, number, thing))
    return Question(island, pair, tuple(order), place, who, code, number)
