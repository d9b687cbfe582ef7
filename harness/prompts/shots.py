"""Few-shot prompts: solved training examples before each question, in the question's own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.errors import DataError
from harness.maths.draws import draw
from harness.untrusted.spans import without_marks
from harness.untrusted.template import Rendered, Template

if TYPE_CHECKING:
    import polars as pl

BETWEEN = "\n\n"


class Solved(NamedTuple):
    """A training example that may be shown."""

    group: str
    truth: int
    order: int
    texts: tuple[str, ...]
    """With its right answer, by template."""


class Shots:
    """The solved examples of a condition.

    All questions get the same ones, so that what they begin with is forwarded once; only a question that is about the same
    group as one of them gets another in its place, or its own answer would stand before it.
    """

    def __init__(
        self,
        count: int,
        examples: pl.DataFrame,
        templates: Sequence[Template],
        choices: Sequence[tuple[int, ...]],
        truth: Sequence[int],
        answers: Sequence[str],
        seed: int,
    ):
        """Raises DataError where the training rows are too few."""
        self.count = count
        self._first = draw(seed, "first shot") % 2
        chosen: dict[str, tuple[int, int, dict[str, Any]]] = {}
        for number, row in enumerate(examples.iter_rows(named=True)):
            place = draw(seed, "shot", row["example"])
            if row["split"] == "train" and (row["group"] not in chosen or place < chosen[row["group"]][0]):
                chosen[row["group"]] = (place, number, row)
        self._queues: tuple[list[Solved], list[Solved]] = ([], [])
        for _, number, row in sorted(chosen.values(), key=lambda one: one[:2]):
            queue = self._queues[truth[number]]
            # One more than are needed, for the question that is about the group of another.
            if len(queue) <= self._of(truth[number]):
                pair = [answers[label] for label in choices[number]]
                fields = {
                    name: value for name, value in row.items() if name not in ("example", "group", "label", "split")
                }
                texts = tuple(
                    without_marks(template.pair(fields, pair, answers, row["example"])[truth[number]].text, ()).text
                    for template in templates
                )
                queue.append(Solved(row["group"], truth[number], draw(seed, "order of shots", row["example"]), texts))
        for answer, queue in enumerate(self._queues):
            if len(queue) <= self._of(answer):
                raise DataError(
                    f"prompt.shots: {count} solved examples, half of each answer and one more for questions about one of them, "
                    f"need training rows of {2 * (self._of(answer) + 1)} groups at least; raise data.limit, or show fewer"
                )
        self._made: dict[str, list[str]] = {}

    def before(self, member: Rendered, template: int, group: str) -> Rendered:
        """The prompt with the solved examples before it."""
        # Questions about groups that are not shown share one beginning.
        key = group if any(group == one.group for queue in self._queues for one in queue) else ""
        if key not in self._made:
            self._made[key] = self._beginnings(key)
        start = self._made[key][template]
        return Rendered(start + member.text, member.start + len(start), member.end + len(start))

    def _beginnings(self, group: str) -> list[str]:
        shown: list[Solved] = []
        for answer, queue in enumerate(self._queues):
            shown += [one for one in queue if one.group != group][: self._of(answer)]
        # Not in turns: a network would go on with the pattern.
        shown.sort(key=lambda one: one.order)
        return ["".join(one.texts[template] + BETWEEN for one in shown) for template in range(len(shown[0].texts))]

    def _of(self, answer: int) -> int:
        """How many have this answer."""
        return (self.count + (answer == self._first)) // 2
