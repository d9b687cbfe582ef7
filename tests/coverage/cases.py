"""Runs in which a check's statistic has its threshold exactly, and runs with an effect that is worth finding.

Answers are normal scores, so that a strength s is an accuracy of Φ(s) and an AUROC of Φ(√2 s). Seven tenths of a score's
noise are shared by all seeds, as they answer the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import msgspec
import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from harness.checks.agrees_with_supervised import AgreesWithSupervised
from harness.checks.as_good_as import AsGoodAs
from harness.checks.beats_black_box import BeatsBlackBox
from harness.checks.beats_output import BeatsOutput, information_gain
from harness.checks.beats_random import BeatsRandom
from harness.checks.beats_untrained import BeatsUntrained
from harness.checks.beats_zero_shot import BeatsZeroShot
from harness.checks.calibrated import Calibrated
from harness.checks.chance_after_erasure import ChanceAfterErasure
from harness.checks.chance_on_shuffled_labels import ChanceOnShuffledLabels
from harness.checks.detects_anomaly import DetectsAnomaly
from harness.checks.direction_is_causal import DirectionIsCausal
from harness.checks.easy_to_hard import EasyToHard
from harness.checks.insensitive_to_persona import InsensitiveToPersona
from harness.checks.invariant_to_prompt import InvariantToPrompt
from harness.checks.knowledge_is_latent import KnowledgeIsLatent
from harness.checks.lower_loss_is_truer import LowerLossIsTruer
from harness.checks.no_false_alarm_on import NoFalseAlarmOn
from harness.checks.not_about_the_words import NotAboutTheWords
from harness.checks.not_xor import NotXor
from harness.checks.obeys_laws import ObeysLaws
from harness.checks.recall_at_fpr import RecallAtFalsePositiveRate
from harness.checks.recovers_gap import RecoversGap
from harness.checks.robust_to_instruction import RobustToInstruction
from harness.checks.sae_probe_beats_states import SaeProbeBeatsStates
from harness.checks.selective import Selective
from harness.checks.single_solution import SingleSolution
from harness.checks.stable_across_seeds import StableAcrossSeeds
from harness.checks.survives_paraphrase import SurvivesParaphrase
from harness.checks.tracks_truth import TracksTruth
from harness.checks.transfers_to import TransfersTo
from harness.checks.truth_before_opinion import TruthBeforeOpinion
from harness.contracts import Answers, Check, Steered
from harness.maths.estimate import row_mean
from harness.scoring.evidence import Evidence
from tests.worlds import World

SHARED = 0.7
Fits = Literal["one fit", "alike", "two kinds"]
"""A probe that draws nothing, seeds that differ by noise alone, and seeds of which each finds one of two things."""


class Draw(msgspec.Struct, frozen=True):
    """One simulated experiment."""

    seed: int
    fits: Fits
    seeds: int
    effect: bool

    @property
    def random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.seeds, self.effect, 17])

    @property
    def kinds(self) -> np.ndarray:
        """Which of two things each seed finds, (seed,)."""
        return self.random.random(self.seeds) < 0.5

    def levels(self, mean: float, apart: float) -> np.ndarray:
        """An accuracy or agreement for each seed, (seed,), equal to the mean or one of two around it."""
        if self.fits != "two kinds":
            return np.full(self.seeds, mean)
        return np.where(self.kinds, mean + apart, mean - apart)

    def world(self) -> World:
        world = World(seed=self.seed + 1)
        return world if self.fits == "one fit" else world.draw("p")

    def scores(
        self, world: World, levels: np.ndarray, *, condition: str = "main", target: str = "truth"
    ) -> dict[str, np.ndarray]:
        """Scores of seeds with these accuracies on a target, on training and test rows."""
        random = np.random.default_rng([self.seed, hash_of(condition), len(world.scored), 23])
        return {
            part: noise(random, len(levels), labels.targets[target].size)
            + ndtri(levels)[:, None] * (2 * labels.targets[target] - 1)
            for part in ("train", "test")
            if (labels := world.labels[condition, part])  # type: ignore[index]
        }


class Case(msgspec.Struct, frozen=True):
    """A check in runs at its threshold, and in runs with the effect."""

    check: Check
    effect: str
    """In words: what the power is to find."""
    world: Callable[[Draw], World]
    seeded: bool = True
    """Whether the check is also made of probes with seeds."""
    one_fit: bool = True
    """Whether it can be made of a probe that draws nothing."""
    slow: bool = False
    """Whether it takes so long that a sixth of the runs must do."""


def hash_of(name: str) -> int:
    return sum(name.encode())


def noise(random: np.random.Generator, seeds: int, rows: int) -> np.ndarray:
    """(seed, row), with variance one."""
    own = random.standard_normal((seeds, rows))
    return math.sqrt(SHARED) * random.standard_normal(rows) + math.sqrt(1 - SHARED) * own


def level(auroc: float) -> float:
    """The accuracy of scores with this AUROC."""
    return float(ndtr(ndtri(auroc) / math.sqrt(2)))


def against(kind: str, condition: str = "main", **fields: object) -> Callable[[Draw], World]:
    """A probe at 0.7, or at 0.8, beside one at 0.7."""

    def world(draw: Draw) -> World:
        made = draw.world()
        made.give("p", **draw.scores(made, draw.levels(0.8 if draw.effect else 0.7, 0.15)))
        # The same probe elsewhere has as many seeds, and the same signs.
        seeds = draw.seeds if kind == "p" else 1
        rival = draw.scores(made, np.full(seeds, 0.7), condition=condition)
        return made.give(kind, condition=condition, **rival, **fields)  # type: ignore[arg-type]

    return world


def features_against_states(draw: Draw) -> World:
    """A probe on features at 0.7, or at 0.8, and the same on states at 0.7."""
    made = draw.world()
    made.give(
        "p",
        condition="features",
        **draw.scores(made, draw.levels(0.8 if draw.effect else 0.7, 0.15), condition="features"),
    )
    return made.give("p", **draw.scores(made, np.full(draw.seeds, 0.7)))


def beside_random(draw: Draw) -> World:
    # Of 0.2 |z|, the mean accuracy of a direction whose sign was resolved.
    spread = 0.6
    mean = float(np.mean(ndtr(spread * np.abs(ndtri((np.arange(2000) + 0.5) / 2000)))))
    made = draw.world().draw("random")
    made.directions = spread
    made.give("p", **draw.scores(made, draw.levels(mean + 0.1 * draw.effect, 0.15)))
    return made.give("random", **draw.scores(made, np.array([mean])))


def between(over: str) -> Callable[[Draw], World]:
    """Scores that follow truth and another target equally, or each seed one of the two."""

    def world(draw: Draw) -> World:
        made = draw.world()
        random = np.random.default_rng([draw.seed, 29])
        if draw.fits == "two kinds":
            truth, other = np.where(draw.kinds, 1.5, 0.0), np.where(draw.kinds, 0.0, 1.5)
        else:
            truth, other = np.full((2, draw.seeds), 0.5)
        truth = truth + draw.effect * ndtri(0.6)
        parts = {}
        for part in ("train", "test"):
            targets = made.labels["main", part].targets  # type: ignore[index]
            sides = [
                strength[:, None] * (2 * targets[name] - 1) for strength, name in ((truth, "truth"), (other, over))
            ]
            parts[part] = noise(random, draw.seeds, targets[over].size) + sides[0] + sides[1]
        return made.give("p", **parts)

    return world


def agreeing(at: float, better: float) -> Callable[[Draw, World, np.ndarray], np.ndarray]:
    """Scores that agree with others in sign on a share of rows."""

    def scores(draw: Draw, made: World, other: np.ndarray) -> np.ndarray:
        levels = draw.levels(better if draw.effect else at, min(0.09, 0.99 - at))
        random = np.random.default_rng([draw.seed, len(made.scored), other.size, 31])
        # Shared by all seeds, so that rows are what varies.
        alike = random.random(other.shape[-1]) < levels[:, None]
        return np.where(alike, 1, -1) * np.sign(other) * (0.1 + np.abs(random.standard_normal(other.shape[-1])))

    return scores


def beside_supervised(draw: Draw) -> World:
    made = draw.world()
    supervised = draw.scores(made, np.array([0.95]))
    like = agreeing(0.8, 0.9)
    made.give("logistic_regression", **supervised)
    return made.give("p", **{part: like(draw, made, scores) for part, scores in supervised.items()})


def beside_persona(draw: Draw) -> World:
    made = draw.world()
    plain = draw.scores(made, np.full(draw.seeds, 0.95))
    made.give("p", **plain)
    other = agreeing(0.9, 0.97)(draw, made, plain["test"])
    return made.give("p", condition="other", fit_on="main", train=plain["train"], test=other)


def asked_twice(draw: Draw) -> World:
    made = draw.world().ask_twice()
    parts = draw.scores(made, np.full(draw.seeds, 0.99))
    first = parts["test"][:, ::2]
    second = agreeing(0.9, 0.97)(draw, made, first)
    parts["test"] = np.stack([first, second], axis=-1).reshape(draw.seeds, -1)
    return made.give("p", **parts)


def of_seeds(draw: Draw) -> World:
    """Seeds that agree on nine rows in ten, as all pairs do or as half of the pairs on eight and half on all."""
    made = draw.world()
    agreement = 0.97 if draw.effect else 0.9
    parts = {}
    random = np.random.default_rng([draw.seed, 37])
    for part in ("train", "test"):
        side = 2 * made.labels["main", part].targets["truth"] - 1  # type: ignore[index]
        if draw.fits == "two kinds":
            flipped = random.random(side.size) < 2 * (1 - agreement)
            parts[part] = np.where(draw.kinds[:, None] & flipped, -1, 1) * side * (1 + random.random(side.size))
        else:
            correlation = math.sin(math.pi * (agreement - 0.5))
            latent = random.standard_normal(side.size)
            own = random.standard_normal((draw.seeds, side.size))
            parts[part] = math.sqrt(correlation) * latent + math.sqrt(1 - correlation) * own
            # Training rows only resolve signs.
            parts[part] = parts[part] if part == "test" else parts[part] + 3 * side
    return made.give("p", **parts)


def losses(draw: Draw) -> World:
    made = draw.world()
    random = draw.random
    ability = random.standard_normal(draw.seeds)
    levels = ndtr(0.8 + 0.3 * ability)
    loss = -0.8 * ability * draw.effect + random.standard_normal(draw.seeds) * math.sqrt(1 - 0.64 * draw.effect)
    return made.give("p", **draw.scores(made, levels), loss=loss[:, None].astype(np.float32))


def shuffled(draw: Draw) -> World:
    made = draw.world()
    made.give("p", **draw.scores(made, np.full(draw.seeds, 0.9)))
    levels = np.full(50, 0.5 if draw.effect else 0.55)
    if draw.fits == "two kinds" and not draw.effect:
        levels = np.where(draw.random.random(50) < 0.5, 0.65, 0.45)
    made.leak = ndtri(levels)
    return made


def erased(draw: Draw) -> World:
    made = draw.world()
    made.give("p", **draw.scores(made, np.full(draw.seeds, 0.9)))
    made.erased_seeds = draw.seeds
    made.leak = ndtri(draw.levels(0.5 if draw.effect else 0.6, 0.0 if draw.effect else 0.1))
    return made


def memorising(draw: Draw) -> World:
    made = draw.world()
    made.give("p", **draw.scores(made, draw.levels(0.8 if draw.effect else 0.7, 0.15)))
    made.memory = float(ndtri(0.7))
    return made


def anomalous(draw: Draw) -> World:
    made = draw.world()
    levels = draw.levels(level(0.65) if draw.effect else 0.5, 0.15)
    return made.give("p", **draw.scores(made, levels, target="word")).detect()


def easy(draw: Draw) -> World:
    made = draw.world()
    made.give("p", **draw.scores(made, draw.levels(0.75 if draw.effect else 0.65, 0.14)), signed=True)
    hard = draw.scores(made, np.full(draw.seeds, 0.7))
    return made.give("p", fit_on="other", **hard, signed=True)


def latent(draw: Draw) -> World:
    """One of the three parts is at its threshold, each in a third of the runs."""
    made, part = draw.world(), draw.seed % 3
    effect = draw.effect
    said = 0.6 if part == 0 and not effect else 0.45
    made.give("zero_shot", **draw.scores(made, np.array([level(said)])), layers=(), signed=True)
    known = draw.levels(level(0.8), 0.1) if part == 1 and not effect else np.full(draw.seeds, level(0.95))
    made.give("p", **draw.scores(made, known))
    made.erased_seeds = draw.seeds
    made.leak = float(ndtri(level(0.7))) if part == 2 and not effect else 0.0
    return made


@cache
def broken(sharpness: float = 9.0) -> float:
    """The strength at which a statement and its denial break the law half as much as chance."""
    random = np.random.default_rng(41)
    side, drawn = np.where(np.arange(40_000) % 2, 1, -1), random.standard_normal((2, 40_000))

    def ratio(strength: float) -> float:
        own, denied = (
            1 / (1 + np.exp(-sharpness * (n + strength * s))) for n, s in zip(drawn, (side, -side), strict=True)
        )
        return float(np.abs(own + denied - 1).mean() / np.abs(own + random.permutation(denied) - 1).mean()) - 0.5

    return float(brentq(ratio, 0, 3, xtol=1e-3))


def lawful(draw: Draw) -> World:
    made = draw.world().deny()
    strengths = np.full(draw.seeds, 1.6 if draw.effect else broken())
    if draw.fits == "two kinds" and not draw.effect:
        # Half keep the law, half break it as chance does.
        strengths = np.where(draw.kinds, 9.0, 0.0)
    random = np.random.default_rng([draw.seed, 43])
    parts = {}
    for part in ("train", "test"):
        side = 2 * made.labels["main", part].targets["truth"] - 1  # type: ignore[index]
        # The noise of a row is the seeds' own: what they share would make them one.
        parts[part] = random.standard_normal((draw.seeds, side.size)) + strengths[:, None] * side
    made.give("p", **parts)
    return made.with_probability(9.0)


def gap(draw: Draw) -> World:
    made = draw.world()
    # Far enough from one half for training rows to resolve its sign.
    made.give("floor", **draw.scores(made, np.array([level(0.65)]))).aim("floor", "word")
    aurocs = (0.87, 0.87) if draw.effect else (0.65, 0.9) if draw.fits == "two kinds" else (0.775, 0.775)
    found = np.where(draw.kinds, *map(level, aurocs))
    made.give("p", **draw.scores(made, found), signed=True)
    ceiling = draw.scores(made, np.array([level(0.9)]), condition="other")
    return made.give("logistic_regression", condition="other", **ceiling)


def deep(draw: Draw) -> World:
    """Both targets rise alike over six layers, or the truth two layers earlier."""
    made = draw.world()
    rise = np.array([0.0, 0.3, 0.9, 1.5, 1.6, 1.6])
    truth = np.array([0.3, 1.4, 1.6, 1.6, 1.6, 1.6]) if draw.effect else rise
    sooner = np.array([0.3, 1.4, 1.6, 1.6, 1.6, 1.6])
    random = np.random.default_rng([draw.seed, 47])
    parts = {}
    for part in ("train", "test"):
        targets = made.labels["main", part].targets  # type: ignore[index]
        sides = [2 * targets[name] - 1 for name in ("truth", "word")]
        own = random.standard_normal((draw.seeds, 6, sides[0].size))
        strengths = np.stack([np.tile(truth, (draw.seeds, 1)), np.tile(rise, (draw.seeds, 1))])
        if draw.fits == "two kinds" and not draw.effect:
            strengths[0][draw.kinds], strengths[1][~draw.kinds] = sooner, sooner
        parts[part] = own + strengths[0][..., None] * sides[0] + strengths[1][..., None] * sides[1]
    return made.give("p", **parts)


class Steering(World):
    """States are moved along one more random direction, or along one with an effect."""

    effect = False

    def steered(self, check: Check) -> Steered:
        group = self.labels["main", "test"].group
        random = np.random.default_rng([self.seed, 53])
        directions = 0.05 * random.standard_normal(9)
        along = (0.3 if self.effect else directions[0]) + 0.5 * random.standard_normal((1, 1, len(group)))
        return Steered(row_mean(along, group), directions[1:], None, "layer 0")


def steering(draw: Draw) -> World:
    made = Steering(seed=draw.seed + 1)
    made.effect = draw.effect
    return made.give("p", **draw.scores(made, np.array([0.9])))


@cache
def informative(bits: float) -> float:
    """The strength at which a score adds so many bits to an answer of strength 0.5."""
    random = np.random.default_rng(59)
    labels = np.arange(20_000) % 2
    drawn, said = random.standard_normal(20_000), random.standard_normal(20_000) + 0.5 * (2 * labels - 1)

    def short(strength: float) -> float:
        score = drawn + strength * (2 * labels - 1)
        return float(information_gain(score[None], said, labels, np.arange(20_000)).value.mean()) - bits

    return float(brentq(short, 0, 3, xtol=1e-3))


def informed(draw: Draw) -> World:
    made = draw.world()
    made.give("zero_shot", **draw.scores(made, ndtr(np.array([0.5]))), layers=(), signed=True)
    strengths = np.full(draw.seeds, informative(0.15 if draw.effect else 0.02))
    if draw.fits == "two kinds" and not draw.effect:
        # With as much lost to overfitting by those that add nothing as the others add beyond the margin.
        strengths = np.where(draw.kinds, informative(0.04), 0.0)
    return made.give("p", **draw.scores(made, ndtr(strengths)))


@cache
def overconfident(error: float) -> float:
    """How many times too large log-odds are for this calibration error, at an accuracy of Φ(1)."""
    random = np.random.default_rng(61)
    labels = np.arange(200_000) % 2
    score = random.standard_normal(labels.size) + (2 * labels - 1)

    def short(factor: float) -> float:
        p = 1 / (1 + np.exp(-2 * factor * score))
        place = np.minimum((p * 10).astype(int), 9)
        return float(np.abs(np.bincount(place, p - labels)).sum() / labels.size) - error

    return float(brentq(short, 1.05, 20, xtol=1e-3))


def probable(draw: Draw) -> World:
    made = draw.world()
    made.give("p", **draw.scores(made, np.full(draw.seeds, ndtr(1.0))))
    factors = np.full(draw.seeds, 1.0 if draw.effect else overconfident(0.1))
    if draw.fits == "two kinds" and not draw.effect:
        factors = np.where(draw.kinds, overconfident(0.13), overconfident(0.07))
    key = ("main", "main", "p")
    one = made.scored[key]
    parts = {
        name: Answers(answers.score, (1 / (1 + np.exp(-2 * factors[:, None, None] * answers.score))).astype(np.float32))
        for name in ("train", "test")
        if (answers := getattr(one, name)) is not None
    }
    made.scored[key] = msgspec.structs.replace(one, **parts)
    return made


def nearly(draw: Draw) -> World:
    """A probe at 0.7, or at 0.8, beside one at 0.8."""
    made = draw.world()
    made.give("p", **draw.scores(made, draw.levels(0.8 if draw.effect else 0.7, 0.15)))
    return made.give("q", **draw.scores(made, np.array([0.8])))


def worded(draw: Draw) -> World:
    """The words alone at 0.7, and the probe's layer at 0.7 or at 0.8."""
    made = draw.world()
    levels = (np.full(draw.seeds, 0.7), draw.levels(0.8 if draw.effect else 0.7, 0.15))
    random = np.random.default_rng([draw.seed, 67])
    parts = {}
    for part in ("train", "test"):
        side = 2 * made.labels["main", part].targets["truth"] - 1  # type: ignore[index]
        parts[part] = np.stack(
            [noise(random, draw.seeds, side.size) + ndtri(level)[:, None] * side for level in levels], axis=1
        )
    return made.give("p", **parts, signed=True)


def alarming(draw: Draw) -> World:
    """Half of the second answers score above the threshold that a tenth of the first ones elsewhere passes, or eight in ten."""
    made = draw.world()
    recall = 0.8 if draw.effect else 0.5
    levels = draw.levels(recall, 0.2) if draw.fits == "two kinds" and not draw.effect else np.full(draw.seeds, recall)
    strength = (ndtri(levels) - ndtri(0.1)) / 2
    made.give("p", **draw.scores(made, ndtr(strength)), signed=True)
    other = draw.scores(made, ndtr(strength), condition="other")
    return made.give("p", condition="other", fit_on="main", **other, signed=True)


def alarmed(draw: Draw) -> World:
    """A fifth of the rows scores above the threshold that a tenth of the first answers elsewhere passes, or a tenth."""
    made = draw.world()
    share = 0.1 if draw.effect else 0.2
    levels = draw.levels(share, 0.09) if draw.fits == "two kinds" and not draw.effect else np.full(draw.seeds, share)
    same, shift = np.full(draw.seeds, 0.5), (ndtri(levels) - ndtri(0.1))[:, None]
    made.give("p", **{part: scores + shift for part, scores in draw.scores(made, same).items()}, signed=True)
    other = draw.scores(made, same, condition="other")
    return made.give("p", condition="other", fit_on="main", **other, signed=True)


def elsewhere(draw: Draw) -> World:
    """A fit with an AUROC of 0.6 in one of two other conditions, or 0.8, and 0.95 in the second."""
    made = draw.world()
    made.give("p", **draw.scores(made, np.full(draw.seeds, 0.95)), signed=True)
    levels = draw.levels(level(0.8 if draw.effect else 0.6), 0.1)
    for condition, at in (("other", levels), ("features", np.full(draw.seeds, level(0.95)))):
        parts = draw.scores(made, at, condition=condition)
        made.give("p", condition=condition, fit_on="main", **parts, signed=True)
    return made


def by_word(draw: Draw) -> World:
    """An AUROC of 0.6 where the word has its first value, or 0.85, and 0.95 where it has its second."""
    made = draw.world()
    low, high = (draw.levels(level(0.85 if draw.effect else 0.6), 0.1), np.full(draw.seeds, level(0.95)))
    first, second = draw.scores(made, low), draw.scores(made, high)
    words = {part: made.labels["main", part].targets["word"] for part in ("train", "test")}  # type: ignore[index]
    parts = {part: np.where(words[part] == 0, first[part], second[part]) for part in words}
    return made.give("p", **parts, signed=True)


def reworded(draw: Draw) -> World:
    """A tenth of accuracy less where the same is said otherwise, which is the margin, or nothing less; half of a row's noise is that of what is said."""
    made = draw.world()
    own = draw.scores(made, np.full(draw.seeds, 0.8))
    made.give("p", **own, signed=True)
    side = 2 * made.labels["main", "test"].targets["truth"] - 1
    made.labels["other", "test"] = made.labels["main", "test"]
    levels = draw.levels(0.8 if draw.effect else 0.7, 0.09)
    fresh = noise(np.random.default_rng([draw.seed, 71]), draw.seeds, side.size)
    shared = own["test"] - ndtri(0.8) * side
    test = math.sqrt(0.5) * (fresh + shared) + ndtri(levels)[:, None] * side
    return made.give("p", condition="other", fit_on="main", train=own["train"], test=test, signed=True)


BETTER = "an accuracy of 0.80 against 0.70"
CASES: dict[str, Case] = {
    "beats_random": Case(BeatsRandom(probe="p"), "an accuracy 0.10 above that of random directions", beside_random),
    "beats_zero_shot": Case(BeatsZeroShot(probe="p"), BETTER, against("zero_shot", layers=(), signed=True)),
    "beats_black_box": Case(BeatsBlackBox(probe="p"), BETTER, against("zero_shot", layers=(), signed=True)),
    "beats_untrained": Case(BeatsUntrained(probe="p"), BETTER, against("p", "untrained")),
    "sae_probe_beats_states": Case(
        SaeProbeBeatsStates(probe="p", condition="features", against="main"), BETTER, features_against_states
    ),
    "tracks_truth": Case(
        TracksTruth(probe="p", over="word"), "an accuracy 0.10 above that on the distractor", between("word")
    ),
    "not_xor": Case(
        NotXor(probe="p", over="truth^word"), "an accuracy 0.10 above that on the XOR", between("truth^word")
    ),
    "as_good_as": Case(
        AsGoodAs(probe="p", against="q", margin=0.1), "an accuracy as high as the other's, margin 0.1", nearly
    ),
    "agrees_with_supervised": Case(
        AgreesWithSupervised(probe="p"), "an agreement of 0.90, threshold 0.8", beside_supervised
    ),
    "insensitive_to_persona": Case(
        InsensitiveToPersona(probe="p", against="other", fit_on="main"),
        "an agreement of 0.97, threshold 0.9",
        beside_persona,
    ),
    "invariant_to_prompt": Case(InvariantToPrompt(probe="p"), "an agreement of 0.97, threshold 0.9", asked_twice),
    "stable_across_seeds": Case(
        StableAcrossSeeds(probe="p"), "an agreement of 0.97, threshold 0.9", of_seeds, one_fit=False
    ),
    "single_solution": Case(
        SingleSolution(probe="p"), "an agreement of 0.97, threshold 0.9", of_seeds, one_fit=False, slow=True
    ),
    "lower_loss_is_truer": Case(LowerLossIsTruer(probe="p"), "a rank correlation of −0.79", losses, one_fit=False),
    "chance_on_shuffled_labels": Case(
        ChanceOnShuffledLabels(probe="p"), "chance exactly, margin 0.05, 50 shuffles", shuffled
    ),
    "chance_after_erasure": Case(ChanceAfterErasure(probe="p"), "chance exactly, margin 0.1", erased),
    "selective": Case(Selective(probe="p"), BETTER, memorising),
    "detects_anomaly": Case(DetectsAnomaly(probe="p", target="word"), "an AUROC of 0.65", anomalous),
    "easy_to_hard": Case(
        EasyToHard(probe="p", against="other"), "an accuracy 0.05 above the other fit's, margin 0.05", easy
    ),
    "knowledge_is_latent": Case(
        KnowledgeIsLatent(probe="p", known=0.8, margin=0.2),
        "AUROCs of 0.45, 0.95 and chance, bounds 0.6, 0.8 and ±0.2",
        latent,
    ),
    "obeys_laws": Case(ObeysLaws(probe="p"), "violations of a third of those by chance", lawful),
    "recovers_gap": Case(RecoversGap(probe="p", ceiling_on="other"), "0.88 of a gap from 0.65 to 0.9", gap),
    "truth_before_opinion": Case(TruthBeforeOpinion(probe="p", over="word"), "two layers earlier", deep),
    "direction_is_causal": Case(
        DirectionIsCausal(probe="p"), "six times the effect of a random direction", steering, seeded=False
    ),
    "beats_output": Case(BeatsOutput(probe="p"), "0.15 bits, margin 0.02", informed),
    "calibrated": Case(Calibrated(probe="p"), "no error, threshold 0.1", probable),
    "recall_at_fpr": Case(
        RecallAtFalsePositiveRate(probe="p", control="other", rate=0.1), "a recall of 0.80, threshold 0.5", alarming
    ),
    "not_about_the_words": Case(NotAboutTheWords(probe="p"), BETTER, worded),
    "no_false_alarm_on": Case(
        NoFalseAlarmOn(probe="p", control="other", rate=0.1, most=0.2), "alarms at 0.10, threshold 0.2", alarmed
    ),
    "transfers_to": Case(
        TransfersTo(probe="p", to=("other", "features"), least=0.6),
        "an AUROC of 0.80 where it is least, threshold 0.6",
        elsewhere,
    ),
    "robust_to_instruction": Case(
        RobustToInstruction(probe="p", over="word", least=0.6),
        "an AUROC of 0.85 where it is least, threshold 0.6",
        by_word,
    ),
    "survives_paraphrase": Case(
        SurvivesParaphrase(probe="p", paraphrased="other", margin=0.1, metric="accuracy"),
        "an accuracy as high as that of the first wording, margin 0.1",
        reworded,
    ),
}
EXACT = ("many_features_satisfy_it",)
"""Checks of an identity, which have no error rates."""


def decide(name: str, draw: Draw) -> str:
    """What the check finds in one run. Runs of different checks have nothing in common."""
    case = CASES[name]
    made = case.world(msgspec.structs.replace(draw, seed=draw.seed + 100_000 * list(CASES).index(name)))
    evidence = Evidence(made.spec, made.scored, made.labels, made.refit, made.erased, made.redraw, made.steered)
    return case.check.decide(evidence).finding
