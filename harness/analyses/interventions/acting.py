"""One intervention forwarded: log-odds of the test rows under every alteration, batch by batch.

The unaltered answers come out as well, and must be those that were read when the states were. A network for which branches
give others is forwarded whole; where that gives others, too, nothing it says can be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from harness.activations.batches import token_budget
from harness.activations.forwarding import ways
from harness.analyses.interventions.effect import both_ways
from harness.analyses.interventions.steps import Directions, class_difference
from harness.errors import DataError, HarnessError, NumericalError
from harness.machine import stopping
from harness.models.questions import Question, questions_of
from harness.store import Artifact, Store, content_key, reading
from harness.subjects.language_model import LanguageModel

if TYPE_CHECKING:
    from harness.analyses.interventions.altered import Alterations, AlteredForward, Batch, Way
    from harness.execution.conditions import Conditions
    from harness.execution.run import Run
    from harness.models.card import ModelCard
    from harness.spec import Intervention

_PARTS = "parts"

_TOLERANCE = {"float32": 5e-3, "float16": 0.25, "bfloat16": 1.0}
"""Largest difference of log-odds that counts as rounding, in nats, by dtype; as in `harness.activations.selfcheck`, for the
difference of two."""


class Acted(msgspec.Struct, frozen=True):
    """The log-odds of one intervention."""

    names: tuple[str, ...]
    """Of the directions, in order."""
    log_odds: np.ndarray
    """(alteration, row), the first one without any."""
    way: str
    """How the network was forwarded."""


def test_rows(conditions: Conditions, condition: str, intervention: Intervention) -> np.ndarray:
    """Places among the test pairs of those that are forwarded again."""
    return drawn(np.arange(len(conditions.labels(condition, "test").group)), intervention.rows, intervention.seed)


def asked(conditions: Conditions, condition: str, part: str, intervention: Intervention) -> list[Question]:
    """The pairs of one part of the split that an intervention forwards."""
    import polars as pl

    frame = conditions.table(condition).frame
    numbers = frame.filter(answer=0, split=part)["pair"].to_numpy()
    chosen = numbers[drawn(np.arange(len(numbers)), intervention.rows, intervention.seed)]
    found = questions_of(frame.filter(pl.col("pair").is_in(chosen.tolist())))
    assert all(row.start > 0 for question in found for row in question.rows), "an answer without anything before it"
    return found


def drawn(numbers: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """`count` of the numbers in their order, drawn by the seed; a larger count keeps those of a smaller one."""
    if count is None or count >= len(numbers):
        return numbers
    chosen = np.random.default_rng([0xAC75, seed]).permutation(len(numbers))[:count]
    kept: np.ndarray = np.sort(numbers[chosen])
    return kept


def possible(card: ModelCard, intervention: Intervention, asked: Sequence[Question]) -> tuple[Way, ...]:
    """Ways to try, fastest first."""
    reach = max((question.longest for question in asked), default=0)
    # A mask of ours has no window in it.
    seen = card.shape.window is None or reach <= card.shape.window
    branches = intervention.token == "question" and seen and "packed" in ways(card)
    return ("branched", "whole") if branches else ("whole",)


def tokens_of(way: Way, asked: Sequence[Question], alterations: int) -> int:
    """Tokens to forward: all once, and then what each alteration takes of the layers above."""
    once = sum(len(text) for question in asked for text in question.texts)
    if way == "whole":
        return once * (1 + alterations)
    again = sum(
        len(text) - last for question in asked for text, last in zip(question.texts, question.last, strict=True)
    )
    return once + again * alterations


def alteration_count(intervention: Intervention) -> int:
    """The number of alterations, the one that leaves all as it is included."""
    strengths = len(both_ways(intervention.strengths)) if intervention.by == "steer" else 1
    return 1 + (2 + intervention.random) * strengths


class Acting:
    """Forwards one intervention."""

    def __init__(
        self,
        run: Run,
        condition: str,
        intervention: Intervention,
        found: Directions,
        target: str,
    ):
        """`target` is what the probe was fitted on."""
        subject = run.conditions.subject(condition)
        assert isinstance(subject, LanguageModel), "the plan refuses what cannot be altered"
        assert found.choice.layer is not None
        self.store: Store = run.store
        self.card, self.load = subject.card, run.networks.load
        self.condition, self.intervention = condition, intervention
        self.layer: int = found.choice.layer
        self.budget = run.resources.tokens_per_pass or token_budget()
        self.asked = asked(run.conditions, condition, "test", intervention)
        self.known = self._known(run.conditions)
        self.training = asked(run.conditions, condition, "train", intervention)
        self._forward: AlteredForward | None = None
        self.found = found.with_control(self._class_difference(run.conditions, target))

    def total(self) -> int:
        """Tokens, if the fastest way is right."""
        way = possible(self.card, self.intervention, self.asked)[0]
        return tokens_of(way, self.asked, alteration_count(self.intervention))

    def go(self, key: str, tell: Callable[[int], None]) -> Acted:
        """Forwards everything; `key` is the stage's, under which batches are stored until all are done."""
        forward = self.forward
        batches = list(forward.batches(self.asked))
        way = self._choose(batches[0])
        alterations = self._alterations()
        names = [self._part(key, way, batch) for batch in batches]
        log_odds = np.empty((len(alterations), len(self.asked)), dtype=np.float32)
        done = 0

        def more(tokens: int) -> None:
            nonlocal done
            done += tokens
            tell(done)

        for name, batch in stopping.whole(zip(names, batches, strict=True)):
            found = reading.read(self.store, _PARTS, name, _load)
            if found is None:
                found = self._tried(lambda batch=batch: forward.log_odds(batch, alterations, way, more))  # type: ignore[misc]
                self._check_finite(found, batch)
                with self.store.write(_PARTS, name) as folder:
                    np.save(folder / "log_odds.npy", found, allow_pickle=False)
            log_odds[:, list(batch.numbers)] = found
        self._check_known(log_odds[0])
        for name in names:
            self.store.remove(_PARTS, name)
        return Acted(self.found.names, log_odds, way)

    @property
    def forward(self) -> AlteredForward:
        if self._forward is None:
            from harness.analyses.interventions.altered import AlteredForward

            self._forward = AlteredForward(self.load(self.card), self.layer, self.intervention.token, self.budget)
        return self._forward

    def _part(self, key: str, way: Way, batch: Batch) -> str:
        return content_key(key, way, self.budget, [self.asked[number].number for number in batch.numbers])

    def _known(self, conditions: Conditions) -> np.ndarray:
        """The unaltered log-odds as they were read with the states."""
        extracted = conditions.extracted(self.condition)
        table = conditions.table(self.condition)
        some = conditions.layers(self.condition)[:1]
        odds = extracted.pairs(table, [question.number for question in self.asked], some).log_odds
        if odds is None:
            raise DataError(
                f"interventions: in {self.condition} an answer has nothing before it, so the network never chooses it; put the "
                "answer at the end of the template"
            )
        return odds.numpy()

    def _choose(self, first: Batch) -> Way:
        """The fastest way that gives the known answers to the first batch."""
        nothing = self._of(np.zeros((1, self.found.axes.shape[1])), np.zeros(1))
        *fast, slow = possible(self.card, self.intervention, self.asked)
        for way in fast:
            found = self._tried(lambda way=way: self.forward.log_odds(first, nothing, way, lambda tokens: None))  # type: ignore[misc]
            if self._off(found[0], self.known[list(first.numbers)]) <= _TOLERANCE[self.card.dtype]:
                return way
        return slow

    def _check_known(self, found: np.ndarray) -> None:
        off = self._off(found, self.known)
        if not off <= _TOLERANCE[self.card.dtype]:
            raise NumericalError(
                f"interventions: {self.card.name} says something else when it is entered at layer {self.layer} with its own "
                f"states (log-odds off by {off:.3g}); this architecture ({self.card.family}) passes more from block to block "
                "than the states, so take the intervention out"
            )

    @staticmethod
    def _off(found: np.ndarray, known: np.ndarray) -> float:
        return float(np.abs(found - known).max(initial=0.0))

    def _alterations(self) -> Alterations:
        """None at all, and then each direction with each strength, or each erased."""
        axes = self.found.axes
        none = np.zeros((1, axes.shape[1]))
        if self.intervention.by == "erase":
            every = np.concatenate([none, axes])
            erased = np.arange(len(every)) > 0
            return self._of(every, np.zeros(len(every)), erased, np.concatenate([[0.0], self._centre(axes)]))
        strengths = np.array(both_ways(self.intervention.strengths)) * self.found.step
        every = np.concatenate([none, axes.repeat(len(strengths), axis=0)])
        return self._of(every, np.concatenate([[0.0], np.tile(strengths, len(axes))]))

    def _of(
        self, axes: np.ndarray, shift: np.ndarray, erased: np.ndarray | None = None, centre: np.ndarray | None = None
    ) -> Alterations:
        import torch

        from harness.analyses.interventions.altered import Alterations

        nothing = np.zeros(len(shift))
        return Alterations(
            axis=torch.from_numpy(axes).float(),
            shift=torch.from_numpy(shift).float(),
            erased=torch.from_numpy(nothing > 0 if erased is None else erased),
            centre=torch.from_numpy(nothing if centre is None else centre).float(),
        )

    @cached_property
    def _answering(self) -> np.ndarray:
        """States of training rows at the last token before the answer, float32, (row, d_model)."""
        states = np.empty((len(self.training), self.card.d_model), dtype=np.float32)
        for batch in stopping.whole(self.forward.batches(self.training)):
            states[list(batch.numbers)] = self._tried(lambda batch=batch: self.forward.answering(batch))  # type: ignore[misc]
        return states

    def _class_difference(self, conditions: Conditions, target: str) -> np.ndarray | None:
        """Where the states that are altered hold what the probe was fitted on, by labels of training rows."""
        labels = conditions.labels(self.condition, "train")
        if target not in labels.binary or not self.training:
            return None
        chosen = drawn(np.arange(len(labels.group)), self.intervention.rows, self.intervention.seed)
        return class_difference(self._answering, labels.targets[target][chosen])

    def _centre(self, axes: np.ndarray) -> np.ndarray:
        """Mean of training rows along every direction, at the tokens that are altered."""
        import torch

        if not self.training:
            raise DataError(
                f"interventions: {self.condition} has no training rows whose mean an erased component could be put to; choose rows "
                "(data.where) of which some are in the training part"
            )
        centre: np.ndarray
        if self.intervention.token == "question":
            centre = axes @ self._answering.mean(axis=0, dtype=np.float64)
            return centre
        sums, count = torch.zeros(len(axes), dtype=torch.float64), 0
        for batch in stopping.whole(self.forward.batches(self.training)):
            own, places = self._tried(lambda batch=batch: self.forward.projections(batch, torch.from_numpy(axes)))  # type: ignore[misc]
            sums += own
            count += places
        centre = (sums / count).numpy()
        return centre

    def _check_finite(self, found: np.ndarray, batch: Batch) -> None:
        if not np.isfinite(found).all():
            number = self.asked[batch.numbers[int((~np.isfinite(found)).any(axis=0).argmax())]].number
            raise NumericalError(
                f"interventions: {self.card.name}'s log-odds are not finite for pair {number} once states are altered at layer "
                f"{self.layer} (dtype {self.card.dtype}); use smaller strengths, or model.precision: exact"
            )

    def _tried(self, work: Callable[[], Any]) -> Any:
        """What the work gives, or a remedy where memory runs out."""
        import torch

        try:
            return work()
        except (torch.cuda.OutOfMemoryError, MemoryError) as error:
            raise HarnessError(
                f"{self.card.name}: memory ran out with {self.budget} tokens of altered states; set --tokens-per-pass "
                f"{max(self.budget // 4, 1)}"
            ) from error


def _load(artifact: Artifact) -> np.ndarray:
    found: np.ndarray = np.load(artifact / "log_odds.npy", allow_pickle=False)
    return found
