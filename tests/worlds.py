"""A made-up run: probes whose answers follow truth and word as strongly as one says, and all that a check asks of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import numpy as np

from harness.contracts import Answers, Check, Erasure, Judgement, Steered
from harness.maths.estimate import row_mean
from harness.metrics.accuracy import Accuracy
from harness.probes.ccs import ContrastConsistentSearch
from harness.probes.random import RandomDirection
from harness.scoring.evidence import Evidence
from harness.scoring.score import Labels, Scored, group_ids, shuffled_labels, with_xors
from harness.spec import Activations, Condition, Data, FeaturesOf, Model, Prompt, Spec, Transfer

ROWS = {"train": 200, "validation": 100, "test": 150}
CONDITIONS = {"main": "pretrained", "other": "pretrained", "untrained": "random", "features": "pretrained"}


@cache
def _groups(part: str, rows: int, groups: int) -> np.ndarray:
    return group_ids(f"{part}{row % groups}" for row in range(rows))


class World:
    """Probes whose answers follow truth and word with given strengths, and everything that a check asks of a run."""

    def __init__(self, layer: Any = "last", groups: int | None = None, seed: int = 0):
        """All is the same for the same `seed`."""
        self.seed = seed
        rng = np.random.default_rng(seed)
        self.labels = {
            (condition, part): Labels(
                with_xors(
                    {name: rng.permutation(np.arange(rows) % 2) for name in ("truth", "word")}, [("truth", "word")]
                ),
                _groups(part, rows, groups or rows),
                row=np.arange(rows),
            )
            for condition in CONDITIONS
            for part, rows in ROWS.items()
        }
        self.scored: dict[tuple[str, str, str], Scored] = {}
        self.refits: list[tuple[Any, ...]] = []
        self.slope = 0.0
        """How far the network's answer follows the probe's direction."""
        self.leak: Any = 0.0
        """How strongly a refit knows the truth of test rows, on shuffled labels or after erasure; of all or of each."""
        self.memory: Any = 3.0
        """How strongly a fit knows the labels that it was fitted on."""
        self.erased_seeds = 12
        """Fits after erasure."""
        self.directions = 0.2
        """How far the strengths of redrawn directions spread."""
        self.spec = Spec(
            name="world",
            conditions=tuple(
                Condition(
                    name=name,
                    model=Model(id="m", weights=weights),  # type: ignore[arg-type]
                    data=Data(),
                    prompt=Prompt(),
                    distractors=(),
                    activations=Activations(),
                    features=FeaturesOf(variant="top_k", sparsity=8) if name == "features" else None,
                )
                for name, weights in CONDITIONS.items()
            ),
            distractors={},
            probes=(),
            transfer=(Transfer(fit_on="main", tested_on=("main",)),),
            metrics=(Accuracy(),),
            checks=(),
            layer=layer,
        )

    def add(
        self,
        probe: str,
        truth: Any = 0.0,
        word: Any = 0.0,
        *,
        xor: Any = 0.0,
        condition: str = "main",
        fit_on: str | None = None,
        noise: float = 1.0,
        layers: tuple[int, ...] = (3, 7),
        signed: bool = False,
        sure: bool = False,
        loss: Any = None,
        members: bool = False,
    ) -> World:
        """`truth` and `word` are strengths, (seed,) or (seed, layer); noise is drawn anew for every seed and layer.

        A `sure` probe has probabilities, most of them near 0 and 1; with `members`, it judges both statements by
        themselves; `loss` is of each seed, (seed,).
        """
        fit_on = fit_on or condition
        strengths = {"truth": truth, "word": word, "truth^word": xor}
        shape = np.broadcast_shapes(*(self._strength(s).shape for s in strengths.values()), (1, max(len(layers), 1)))
        rng = self._chance(len(self.scored), 1)

        def part(condition: str, name: str) -> Answers:
            labels = self.labels[condition, name].targets  # type: ignore[index]
            score = noise * rng.standard_normal((*shape, len(labels["truth"])))
            for target, strength in strengths.items():
                score += np.broadcast_to(self._strength(strength), shape)[..., None] * (2 * labels[target] - 1)
            both = 0.9 / (1 + np.exp(np.stack([score, -score], axis=-1))) if members else None
            probability = (1 / (1 + np.exp(-9 * score))).astype(np.float32) if sure else None
            return Answers(score.astype(np.float32), probability, both)

        self.scored[fit_on, condition, probe] = Scored(
            fit_on=fit_on,
            tested_on=condition,
            probe=probe,
            layers=layers,
            train=part(fit_on, "train"),
            validation=part(fit_on, "validation"),
            test=part(condition, "test"),
            signed=signed,
            loss=None if loss is None else np.broadcast_to(np.asarray(loss)[:, None], shape[:2]).astype(np.float32),
        )
        return self

    def detect(self) -> World:
        """The probes are detectors: their sign is their own."""
        self.scored = {key: msgspec.structs.replace(one, detects=True) for key, one in self.scored.items()}
        return self

    def aim(self, probe: str, target: str) -> World:
        """The probe is one that was fitted on a target."""
        for key, one in self.scored.items():
            if key[2] == probe:
                self.scored[key] = msgspec.structs.replace(one, target=target, signed=True)
        return self

    def ask_twice(self) -> World:
        """Every two rows with one truth are one example under two templates."""
        return self._two_and_two(lambda truth: truth, lambda rows: {"example": np.arange(rows) // 2})

    def deny(self) -> World:
        """Every second row denies the one before."""
        couples = {part: np.arange(rows).reshape(-1, 2) for part, rows in ROWS.items()}
        return self._two_and_two(
            lambda truth: np.where(np.arange(len(truth)) % 2, 1 - truth, truth),
            lambda rows: {"relations": {"negation": next(c for c in couples.values() if c.size == rows)}},
        )

    def _two_and_two(self, turned: Callable[[np.ndarray], np.ndarray], tie: Callable[[int], dict[str, Any]]) -> World:
        rng = self._chance(4)
        for key, labels in list(self.labels.items()):
            rows = len(labels.group)
            truth = turned(np.repeat(rng.permutation(np.arange(rows // 2) % 2), 2))
            group = labels.group[np.arange(rows) // 2 * 2]
            self.labels[key] = Labels({**labels.targets, "truth": truth}, group, **tie(rows))
        return self

    def add_like(self, probe: str, other: str, *, condition: str = "main", noise: float = 0.0) -> World:
        """A probe that gives the answers of another one, which may be in another condition, and adds noise."""
        source = next(one for (_, _, name), one in self.scored.items() if name == other)
        rng = self._chance(len(self.scored), 2)

        def like(answers: Answers) -> Answers:
            score = answers.score.repeat(1 if source.layers else 2, axis=1)
            return Answers((score + noise * rng.standard_normal(score.shape)).astype(np.float32))

        self.scored[source.fit_on, condition, probe] = Scored(
            fit_on=source.fit_on,
            tested_on=condition,
            probe=probe,
            layers=source.layers or (3, 7),
            train=like(source.train),
            test=like(source.test),
            signed=source.signed,
        )
        return self

    def with_probability(self, sharpness: float) -> World:
        """Scores become log-odds; with noise 1 and strength s, 2 s times the score is calibrated."""
        for key, one in self.scored.items():
            parts = {
                name: Answers(
                    answers.score, (1 / (1 + np.exp(np.clip(-sharpness * answers.score, -80, 80)))).astype(np.float32)
                )
                for name in ("train", "test")
                if (answers := getattr(one, name)) is not None
            }
            self.scored[key] = msgspec.structs.replace(one, **parts)
        return self

    @staticmethod
    def _strength(value: Any) -> np.ndarray:
        array = np.asarray(value, dtype=float)
        return array.reshape(-1, 1) if array.ndim < 2 else array

    def refit(self, probe: str, fit_on: str, tested_on: str, layer: int | None, shuffles: int) -> Scored:
        """A fit that knows nothing but its shuffled labels, and the truth as far as it leaks."""
        self.refits.append((probe, fit_on, tested_on, layer, shuffles))
        train, test = self.labels[fit_on, "train"], self.labels[tested_on, "test"]
        labels = shuffled_labels(train.targets["truth"], train.group, shuffles, 0)
        rng = self._chance(5)
        fitted = rng.standard_normal((shuffles, 1, ROWS["train"])) + self.memory * (2 * labels[:, None] - 1)
        leak = np.reshape(self.leak, (-1, 1, 1))
        leaked = rng.standard_normal((shuffles, 1, ROWS["test"])) + leak * (2 * test.targets["truth"] - 1)
        return Scored(
            fit_on=fit_on,
            tested_on=tested_on,
            probe=probe,
            layers=() if layer is None else (layer,),
            train=Answers(fitted.astype(np.float32)),
            test=Answers(leaked.astype(np.float32)),
            signed=True,
            train_labels=labels,
        )

    def erased(self, probe: str, fit_on: str, tested_on: str, layer: int | None, erase: Erasure) -> Scored:
        """A fit after erasure, which still knows as much of the factor as was not reached."""
        self.refits.append((probe, fit_on, tested_on, layer, erase))
        parts = ((fit_on, "train"), (tested_on, "test"))
        sides = [2 * self.labels[condition, part].targets[erase.of] - 1 for condition, part in parts]  # type: ignore[index]
        rng = self._chance(6)
        leak = np.reshape(self.leak, (-1, 1, 1))
        scores = [rng.standard_normal((self.erased_seeds, 1, len(side))) + leak * side for side in sides]
        train, test = (Answers(score.astype(np.float32)) for score in scores)
        return Scored(
            fit_on=fit_on,
            tested_on=tested_on,
            probe=probe,
            layers=() if layer is None else (layer,),
            train=train,
            test=test,
        )

    def steer(self, slope: float) -> World:
        """Moving states along the probe's direction moves the answer so much, and along random ones by 0.05 or so."""
        self.slope = slope
        return self

    def steered(self, check: Check) -> Steered:
        group = self.labels["main", "test"].group
        rng = self._chance(7)
        along = self.slope + 0.5 * rng.standard_normal((1, 1, len(group)))
        return Steered(row_mean(along, group), 0.05 * rng.standard_normal(8), None, "layer 7 (the last layer)")

    def redraw(self, probe: str, fit_on: str, tested_on: str, layer: int, seeds: int) -> Scored:
        """Random directions, each of which follows the truth a little, one way or the other."""
        strength = self.directions * self._chance(8).standard_normal((seeds, 1, 1))
        sides = [
            2 * self.labels[fit_on, "train"].targets["truth"] - 1,
            2 * self.labels[tested_on, "test"].targets["truth"] - 1,
        ]
        train, test = (
            Answers((self._chance(9, part).standard_normal((seeds, 1, len(side))) + strength * side).astype(np.float32))
            for part, side in enumerate(sides)
        )
        return Scored(fit_on=fit_on, tested_on=tested_on, probe=probe, layers=(layer,), train=train, test=test)

    def draw(self, *probes: str) -> World:
        """Fits of these probes depend on the seed; those of `random` on nothing else."""
        kinds = tuple(
            RandomDirection(name=name) if name == "random" else ContrastConsistentSearch(name=name) for name in probes
        )
        self.spec = msgspec.structs.replace(self.spec, probes=(*self.spec.probes, *kinds))
        return self

    def give(self, probe: str, *, condition: str = "main", fit_on: str | None = None, **parts: Any) -> World:
        """A probe with these scores on training and test rows, (seed, row) or (seed, layer, row), and other fields of `Scored`."""
        answers = {
            name: Answers(score.astype(np.float32).reshape(len(score), -1, score.shape[-1]))
            for name in ("train", "test")
            if (score := parts.pop(name)) is not None
        }
        layers = parts.pop("layers", tuple(range(answers["test"].score.shape[1])))
        fit_on = fit_on or condition
        self.scored[fit_on, condition, probe] = Scored(
            fit_on=fit_on, tested_on=condition, probe=probe, layers=layers, **answers, **parts
        )
        return self

    def _chance(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*purpose, self.seed] if self.seed else purpose)

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.spec, self.scored, self.labels, self.refit, self.erased, self.redraw, self.steered)

    def decide(self, check: Check) -> Judgement:
        return check.decide(self.evidence)
