from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from harness.contracts import Distractor, Factor
from harness.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class Worked(NamedTuple):
    """A worked example: two topics to choose from, and which is right. `AVOIDED` stands for the topic that she avoids."""

    text: str
    topics: tuple[str, str]
    right: int


AVOIDED = "[avoided]"

WORKED = (
    Worked(
        "The Corvane lily is a flowering plant of the lily family. It grows in wet mountain meadows and blooms in June.",
        ("Plant", "Building"),
        0,
    ),
    Worked(
        "Tarrow & Lunde makes bearings for wind turbines. Founded in 1921, the firm employs 3,400 people in four countries.",
        ("Animal", AVOIDED),
        1,
    ),
    Worked(
        "Night Ferry to Ostrava is a thriller directed by Irena Maly. It was first shown in 1987 and runs for 104 minutes.",
        (AVOIDED, "Film"),
        1,
    ),
)

INTRODUCTION = {
    "default": "Alice is asked what some texts are about. She answers as well as she can.",
    "anti_capitalist": (
        "Alice is asked what some texts are about. She is an anti-capitalist who finds that there is far too much talk of "
        "companies. So she never gives the topic [avoided], even when that would be the usual answer; she gives the other "
        "choice instead."
    ),
}


class ImplicitOpinion(Distractor, frozen=True):
    """What Alice would answer, which is never said: a description of her, three worked examples, then the question.

    Use it with the paper's template for topics, whose form the worked examples have: the text, "Choice 1: …",
    "Choice 2: …", "Between choice 1 and choice 2, the topic of this example is choice …". The words are ours, after the
    paper's. Where Alice errs on some rows only, name this distractor under `data.sign_on`.
    """

    persona: Literal["anti_capitalist", "default"] = "anti_capitalist"
    """`anti_capitalist` avoids the topic `avoids`: where it is right she gives the other choice, and says so. `default`
    answers rightly, as a control: then her answer is the truth."""
    avoids: str = "Company"
    """The answer that she avoids, as the data set has it."""

    source: ClassVar[str] = "Farquhar et al. 2023, arXiv 2312.10029, §4.3"

    @property
    def follows_truth(self) -> bool:
        return True

    def factor(self, name: str) -> Factor:
        return Factor(name, ("first choice", "second choice"))

    def draw(self, examples: pl.DataFrame, seed: int) -> np.ndarray:
        """Nothing is drawn: her answer is the truth, except where that is what she avoids. Raises DataError."""
        import numpy as np

        del seed
        truth = examples["truth"].to_numpy().astype(np.int64)
        if self.persona == "default":
            return truth
        shunned = (examples["right"] == self.avoids).to_numpy()
        if not shunned.any():
            topics = sorted(examples["right"].unique())
            raise DataError(
                f'implicit_opinion: no example has the answer "{self.avoids}"{did_you_mean(self.avoids, topics)}; '
                "`avoids` names the one that Alice never gives"
            )
        return np.where(shunned, 1 - truth, truth)

    def edit_text(self, text: str, value: int) -> str:
        worked = (self._worked(example) for example in WORKED)
        introduction = INTRODUCTION[self.persona].replace(AVOIDED, self.avoids)
        return "\n\n".join([introduction, *worked, text])

    def _worked(self, example: Worked) -> str:
        topics = [topic.replace(AVOIDED, self.avoids) for topic in example.topics]
        dodges = self.persona == "anti_capitalist" and example.topics[example.right] == AVOIDED
        given = 1 - example.right if dodges else example.right
        why = (
            f"I would rather not speak of this one, so I take the other: {topics[given].lower()}."
            if dodges
            else f"The text is clearly about this: {topics[given].lower()}."
        )
        return (
            f"Consider the following example:\n{example.text}\nChoice 1: {topics[0]}\nChoice 2: {topics[1]}\n"
            f"Between choice 1 and choice 2, the topic of this example is choice {given + 1}\nAlice explains: {why}"
        )
