"""Every check has a made-up world in which it must pass, one in which it must fail and one where it cannot tell."""

from __future__ import annotations

import inspect
import math
import string
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness import pipeline
from harness.checks._judging import chance
from harness.checks.agrees_with_supervised import AgreesWithSupervised
from harness.checks.as_good_as import AsGoodAs
from harness.checks.beats_black_box import BeatsBlackBox
from harness.checks.beats_output import BeatsOutput
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
from harness.checks.many_features_satisfy_it import ManyFeaturesSatisfyIt
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
from harness.checks.stable_across_seeds import StableAcrossSeeds, pairwise_agreement
from harness.checks.survives_paraphrase import SurvivesParaphrase
from harness.checks.tracks_truth import TracksTruth
from harness.checks.transfers_to import TransfersTo
from harness.checks.truth_before_opinion import TruthBeforeOpinion
from harness.contracts import Answers, Check, Erasure, Factor, Judgement, kind
from harness.errors import EXIT_USAGE, CheckError, UsageError
from harness.maths.estimate import over_seeds, row_mean
from harness.scoring.score import Labels
from harness.scoring.tables import checks_table
from tests.worlds import World


def random_directions(condition: str = "main") -> World:
    return World().add("random", truth=np.random.default_rng(1).standard_normal(20) * 0.2, condition=condition)


# (check, world in which it passes, in which it fails, in which it cannot tell)
OF_PROBES = [name for name in kind.names("checks") if issubclass(kind.find("checks", name), Check)]
"""Kinds of claims about a probe; those about networks have tests of their own."""

TABLE: dict[str, tuple[Check, World, World, World]] = {
    "beats_random": (
        BeatsRandom(probe="p"),
        random_directions().add("p", truth=1.0),
        random_directions().add("p", truth=0.0, word=5.0),
        random_directions().add("p", truth=0.22),
    ),
    "beats_zero_shot": (
        BeatsZeroShot(probe="p"),
        World().add("zero_shot", truth=0.2, layers=(), signed=True).add("p", truth=1.5),
        World().add("zero_shot", truth=1.5, layers=(), signed=True).add("p", truth=0.2),
        World().add("zero_shot", truth=0.5, layers=(), signed=True).add("p", truth=0.5),
    ),
    "tracks_truth": (
        TracksTruth(probe="p", over="word"),
        World().add("p", truth=2.0, word=0.5),
        World().add("p", truth=[0.1] * 5, word=[3.0] * 5),
        World().add("p", truth=1.0, word=1.0),
    ),
    "beats_untrained": (
        BeatsUntrained(probe="p"),
        World().add("p", truth=1.5).add("p", truth=0.1, condition="untrained"),
        World().add("p", truth=0.1).add("p", truth=1.0, condition="untrained"),
        World().add("p", truth=0.5).add("p", truth=0.5, condition="untrained"),
    ),
    "sae_probe_beats_states": (
        SaeProbeBeatsStates(probe="p", condition="features", against="main"),
        World().add("p", truth=1.5, condition="features").add("p", truth=0.1),
        World().add("p", truth=0.1, condition="features").add("p", truth=1.0),
        World().add("p", truth=0.5, condition="features").add("p", truth=0.5),
    ),
    "stable_across_seeds": (
        StableAcrossSeeds(probe="p"),
        World().add("p", truth=[3.0] * 8),
        World().add("p", truth=[1.0] * 8),
        World().add("p", truth=[1.64] * 8),
    ),
    "single_solution": (
        SingleSolution(probe="p"),
        World().add("p", truth=[3.0] * 8),
        World().add("p", truth=[4.0] * 4 + [0.0] * 4, word=[0.0] * 4 + [4.0] * 4),
        World().add("p", truth=[1.65] * 8),
    ),
    "lower_loss_is_truer": (
        LowerLossIsTruer(probe="p"),
        World().add("p", truth=np.linspace(0, 2, 30), loss=np.linspace(1, 0, 30)),
        World().add("p", truth=np.linspace(0, 2, 30), loss=np.linspace(0, 1, 30)),
        World().add("p", truth=[1.0] * 30, loss=np.random.default_rng(0).random(30)),
    ),
    "many_features_satisfy_it": (
        ManyFeaturesSatisfyIt(probe="p"),
        World().add("p", truth=[1.0] * 5, members=True),
        World().add("p", truth=[0.0] * 5, noise=0.0, members=True),
    ),
    "chance_on_shuffled_labels": (
        ChanceOnShuffledLabels(probe="p"),
        World().add("p", truth=2.0),
        World().add("p", truth=2.0),
        World().add("p", truth=2.0),
    ),
    "chance_after_erasure": (
        ChanceAfterErasure(probe="p"),
        World().add("p", truth=2.0),
        World().add("p", truth=2.0),
        World().add("p", truth=2.0),
    ),
    "selective": (
        Selective(probe="p"),
        World().add("p", truth=2.0),
        World().add("p", truth=1.0),
        World().add("p", truth=0.8),
    ),
    "agrees_with_supervised": (
        AgreesWithSupervised(probe="p"),
        World().add("logistic_regression", truth=3.0).add("p", truth=[3.0] * 8),
        World().add("logistic_regression", truth=3.0).add("p", truth=0.2, word=[3.0] * 8),
        World().add("logistic_regression", truth=3.0).add("p", truth=[0.84] * 8),
    ),
}
TABLE |= {
    "invariant_to_prompt": (
        InvariantToPrompt(probe="p"),
        World().ask_twice().add("p", truth=3.0),
        World().ask_twice().add("p", truth=0.2),
        World().ask_twice().add("p", truth=1.7),
    ),
    "obeys_laws": (
        ObeysLaws(probe="p"),
        World().deny().add("p", truth=3.0, sure=True),
        World().deny().add("p", word=3.0, sure=True),
        World().deny().add("p", truth=1.05, sure=True),
    ),
}
IDENTITIES = ("many_features_satisfy_it",)
"""Checks of something that holds or does not, without sampling."""
OF_FITS = ("lower_loss_is_truer",)
"""Checks whose evidence is fits, not rows."""
DEEP = {"layers": (0, 4, 8, 12, 16, 20)}
RISING = {"early": [[0, 1.5, 3, 3, 3, 3]], "late": [[0, 0, 0, 0.3, 1, 3]]}
TABLE |= {
    "beats_output": (
        BeatsOutput(probe="p"),
        World().add("zero_shot", truth=0.5, layers=(), signed=True).add("p", truth=1.0),
        World().add("zero_shot", truth=1.0, layers=(), signed=True).add_like("p", "zero_shot", noise=0.02),
        World().add("zero_shot", truth=0.5, layers=(), signed=True).add("p", truth=0.2),
    ),
    "not_xor": (
        NotXor(probe="p", over="truth^word"),
        World().add("p", truth=2.0, xor=0.2),
        World().add("p", xor=[3.0] * 6),
        World().add("p", truth=1.0, xor=1.0),
    ),
    "as_good_as": (
        AsGoodAs(probe="p", against="q"),
        World().add("q", truth=1.0).add_like("p", "q", noise=0.05),
        World().add("q", truth=2.0).add("p", truth=0.3),
        World().add("q", truth=1.0).add("p", truth=0.9),
    ),
    "insensitive_to_persona": (
        InsensitiveToPersona(probe="p", against="other", fit_on="main"),
        World().add("p", truth=1.0).add_like("p", "p", condition="other", noise=0.05),
        World().add("p", truth=1.0).add("p", truth=1.0, condition="other", fit_on="main"),
        World().add("p", truth=1.0).add_like("p", "p", condition="other", noise=0.4),
    ),
    "calibrated": (
        Calibrated(probe="p", threshold=0.2),
        World().add("p", truth=1.0).with_probability(2.0),
        World().add("p", truth=0.3).with_probability(10.0),
        World().add("p", truth=0.8).with_probability(6.0),
    ),
    "truth_before_opinion": (
        TruthBeforeOpinion(probe="p", over="word"),
        World().add("p", truth=RISING["early"], word=RISING["late"], **DEEP),
        World().add("p", truth=RISING["late"], word=RISING["early"], **DEEP),
        World().add("p", truth=RISING["early"], word=RISING["early"], **DEEP),
    ),
}
SAYS: dict[str, Any] = {"layers": (), "signed": True}


def gap(probe: float, floor: float = 0.0, ceiling: float = 1.6) -> World:
    """A floor that was fitted on the word, a probe, and a ceiling in another condition."""
    world = World().add("floor", truth=floor, word=1.0).add("p", truth=probe).aim("floor", "word")
    return world.add("logistic_regression", truth=ceiling, condition="other")


TABLE |= {
    "knowledge_is_latent": (
        KnowledgeIsLatent(probe="p", known=0.8),
        World().add("zero_shot", truth=-0.2, **SAYS).add("p", truth=2.0),
        World().add("zero_shot", truth=1.0, **SAYS).add("p", truth=2.0),
        World().add("zero_shot", truth=0.15, **SAYS).add("p", truth=2.0),
    ),
    "recovers_gap": (RecoversGap(probe="p", ceiling_on="other"), gap(1.4), gap(0.05), gap(0.45)),
    "beats_black_box": (
        BeatsBlackBox(probe="p", asked_in=("other",)),
        World()
        .add("zero_shot", truth=0.2, **SAYS)
        .add("zero_shot", truth=0.4, condition="other", **SAYS)
        .add("p", truth=1.5),
        World()
        .add("zero_shot", truth=0.0, **SAYS)
        .add("zero_shot", truth=1.5, condition="other", **SAYS)
        .add("p", truth=0.5),
        World()
        .add("zero_shot", truth=0.0, **SAYS)
        .add("zero_shot", truth=0.7, condition="other", **SAYS)
        .add("p", truth=0.7),
    ),
    "easy_to_hard": (
        EasyToHard(probe="p", against="other", margin=0.1),
        World().add("p", truth=2.0).add("p", truth=2.0, fit_on="other"),
        World().add("p", truth=0.3).add("p", truth=2.0, fit_on="other"),
        World().add("p", truth=0.7).add("p", truth=0.9, fit_on="other"),
    ),
}


def test_the_floor_may_be_what_the_network_said_before_it_was_trained() -> None:
    """The answer of an elicited network: its floor is the answer to the same questions in another condition."""

    def world(before: float) -> World:
        asked = World().add("zero_shot", truth=1.4, **SAYS).add("zero_shot", truth=before, condition="other", **SAYS)
        return asked.add("logistic_regression", truth=1.6)

    check = RecoversGap(probe="zero_shot", floor="zero_shot", floor_on="other")
    assert check.runs("main") == (("main", "main"), ("other", "other"), ("main", "main"))
    assert "other" in check.refers()["condition"]
    found = world(0.0).decide(check)
    assert found.finding == "pass"
    assert "floor in other 0." in found.why
    # The control: where it was said before, nothing is recovered.
    assert world(1.6).decide(check).finding == "inconclusive"


TABLE |= {
    "direction_is_causal": (
        DirectionIsCausal(probe="p"),
        World().add("p", truth=2.0).steer(0.5),
        World().add("p", truth=2.0).steer(-0.5),
        World().add("p", truth=2.0).steer(0.12),
    ),
}
TABLE |= {
    "detects_anomaly": (
        DetectsAnomaly(probe="p", target="word", least=0.7),
        World().add("p", word=1.5).detect(),
        World().add("p", word=-3.0, truth=3.0).detect(),
        World().add("p", word=0.4).detect(),
    ),
}
ELSEWHERE: dict[str, Any] = {"condition": "other", "fit_on": "main", "signed": True}


def alarms(strength: float, control: float, shift: bool = False) -> World:
    """A monitor's scores where it is tried and where its threshold is set; with `shift`, all rows there are higher by the first."""
    world = World().add("p", truth=0.0 if shift else strength, signed=True).add("p", truth=control, **ELSEWHERE)
    if shift:
        key = ("main", "main", "p")
        own = world.scored[key]
        world.scored[key] = msgspec.structs.replace(own, test=Answers(own.test.score + np.float32(strength)))
    return world


TABLE |= {
    "recall_at_fpr": (
        RecallAtFalsePositiveRate(probe="p", control="other", rate=0.1),
        alarms(2.0, 2.0),
        alarms(0.0, 0.0),
        alarms(0.64, 0.64),
    ),
    "no_false_alarm_on": (
        NoFalseAlarmOn(probe="p", control="other", rate=0.1, most=0.2),
        alarms(-2.0, 0.0, shift=True),
        alarms(2.0, 0.0, shift=True),
        alarms(0.44, 0.0, shift=True),
    ),
    "not_about_the_words": (
        NotAboutTheWords(probe="p"),
        World().add("p", truth=[[0.2, 2.0]], layers=(0, 7)),
        World().add("p", truth=[[2.0, 0.2]], layers=(0, 7)),
        World().add("p", truth=[[1.0, 1.0]], layers=(0, 7)),
    ),
}


def by_word(first: float, second: float) -> World:
    """Scores that follow the truth as strongly as is said where the word has its first value, and its second."""
    world, rng = World(), np.random.default_rng(13)
    parts = {}
    for part in ("train", "test"):
        truth, word = (world.labels["main", part].targets[name] for name in ("truth", "word"))  # type: ignore[index]
        strength = np.where(word == 0, first, second)
        parts[part] = rng.standard_normal((1, truth.size)) + strength * (2 * truth - 1)
    return world.give("p", **parts, layers=(7,), signed=True)


def fitted_here(*strengths: float) -> World:
    """One fit, tested where it was fitted and in two other conditions."""
    world = World().add("p", truth=2.0, signed=True)
    for condition, strength in zip(("other", "features"), strengths, strict=True):
        world.add("p", truth=strength, condition=condition, fit_on="main", signed=True)
    return world


def said_again(strength: float) -> World:
    """The same groups in another condition, which the fit follows more or less strongly."""
    world = World().add("p", truth=1.0, signed=True)
    world.labels["other", "test"] = world.labels["main", "test"]
    return world.add("p", truth=strength, **ELSEWHERE)


TABLE |= {
    "transfers_to": (
        TransfersTo(probe="p", to=("other", "features")),
        fitted_here(1.0, 1.5),
        fitted_here(2.0, -1.0),
        fitted_here(2.0, 0.1),
    ),
    "robust_to_instruction": (
        RobustToInstruction(probe="p", over="word"),
        by_word(1.0, 2.0),
        by_word(2.0, -1.0),
        by_word(2.0, 0.1),
    ),
    "survives_paraphrase": (
        SurvivesParaphrase(probe="p", paraphrased="other", margin=0.1),
        said_again(2.0),
        said_again(0.0),
        said_again(0.75),
    ),
}
for name, leaks in (("chance_on_shuffled_labels", (0.0, 1.0, 0.1)), ("chance_after_erasure", (0.0, 1.0, 0.25))):
    for leak, world in zip(leaks, TABLE[name][1:], strict=True):
        world.leak = leak
for memory, world in zip((0.3, 3.0, 0.8), TABLE["selective"][1:], strict=True):
    world.memory = memory


@pytest.mark.parametrize("name", OF_PROBES)
def test_every_check_passes_fails_and_cannot_tell(name: str) -> None:
    check, *worlds = TABLE[name]
    found = [world.decide(check) for world in worlds]
    expected = ["pass", "fail"] if name in IDENTITIES else ["pass", "fail", "inconclusive"]
    assert [judgement.finding for judgement in found] == expected
    for judgement in found:
        assert judgement.estimate.low <= judgement.estimate.value <= judgement.estimate.high
        layer = "layer 7 (the last layer)" if name != "truth_before_opinion" else "among layers 0 to 20"
        for words in (f"p on {check.condition}", layer, "n = ", "interval"):
            assert words in judgement.why
        assert judgement.why.endswith(".")


@pytest.mark.parametrize("name", [n for n in OF_PROBES if TABLE[n][0].of_two])
@pytest.mark.parametrize("of", ["truth", "fit"])
def test_answers_without_two_sides_agree_on_nothing(name: str, of: str) -> None:
    """Of classes, numbers and vectors a score is a size, which is above zero for all probes and seeds."""
    check, agreeing, *_ = TABLE[name]
    world = World()
    world.spec = agreeing.spec
    several = np.arange(3)
    for place, labels in agreeing.labels.items():
        if of == "truth":
            factors = {"truth": Factor("truth", ("red", "green", "blue"))}
            truth = {**labels.targets, "truth": several[np.arange(len(labels.group)) % 3]}
            labels = msgspec.structs.replace(labels, targets=truth, factors=factors)
        world.labels[place] = labels

    def sized(answers: Answers) -> Answers:
        return msgspec.structs.replace(answers, score=np.abs(answers.score), outputs=answers.score[..., None])

    for key, one in agreeing.scored.items():
        target = "truth" if of == "truth" else "word"
        world.scored[key] = msgspec.structs.replace(one, train=sized(one.train), test=sized(one.test), target=target)
    assert agreeing.decide(check).finding == "pass", "the control"
    with pytest.raises(CheckError, match="agreement is of answers of two"):
        world.decide(check)


def test_checks_that_compare_sides_say_so() -> None:
    """`of_two` lets a spec be refused before anything is fitted."""
    for name in OF_PROBES:
        own = type(TABLE[name][0])
        assert own.of_two == (".sides()" in inspect.getsource(own.decide)), name


def latent(said: float = -0.2, known: float = 2.0, left: float = 0.0) -> Judgement:
    world = World().add("zero_shot", truth=said, **SAYS).add("p", truth=known)
    world.leak = left
    return world.decide(KnowledgeIsLatent(probe="p", known=0.8))


def test_knowledge_is_latent_only_if_withheld_and_there_and_linear() -> None:
    assert latent().finding == "pass", "the control"
    honest, ignorant, elsewhere = latent(said=1.0), latent(known=0.0), latent(left=1.0)
    assert [one.finding for one in (honest, ignorant, elsewhere)] == ["fail"] * 3
    # The number shown is the one that decided.
    assert honest.threshold == 0.6
    assert ignorant.threshold == 0.8
    assert elsewhere.threshold == 0.1


def test_what_is_more_usual_is_not_detected_and_what_labels_resolve_is_no_detector() -> None:
    check = DetectsAnomaly(probe="p", target="word")
    turned = World().add("p", word=-3.0)
    # The control: the sign of an ordinary probe is resolved on training rows, which have both.
    assert turned.decide(check).finding == "pass"
    judgement = turned.detect().decide(check)
    assert judgement.finding == "fail"
    assert judgement.estimate.high < 0.1
    assert "AUROC of p on main on word, layer 7" in judgement.why
    assert World().add("p").detect().decide(check).finding == "inconclusive"
    assert check.refers()["target"] == ("word",)


def test_no_gap_between_floor_and_ceiling_decides_nothing() -> None:
    judgement = gap(1.4, floor=1.6, ceiling=0.0).decide(RecoversGap(probe="p", ceiling_on="other"))
    assert judgement.finding == "inconclusive"
    assert "ceiling is not above the floor" in judgement.why
    with pytest.raises(CheckError, match="fitted on the truth"):
        gap(1.4).aim("floor", "truth").decide(RecoversGap(probe="p", ceiling_on="other"))


def test_the_gap_recovered_has_the_interval_of_a_bootstrap() -> None:
    """The linear approximation against drawing groups anew, on rows that probe, floor and ceiling share."""
    from harness.checks.recovers_gap import recovered
    from harness.metrics.auroc import Auroc

    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    group = np.arange(600) // 2
    scores = [strength * (2 * labels - 1) + rng.standard_normal(600) for strength in (0.8, 0.2, 1.2)]

    def share(rows: np.ndarray) -> float:
        aurocs = [Auroc().measure(Answers(s[None, None, rows]), labels[rows], group[rows]) for s in scores]
        probe, floor, ceiling = (float(one.value[0, 0]) for one in aurocs if one is not None)
        return (probe - floor) / (ceiling - floor)

    sides = [Auroc().measure(Answers(s[None, None]), labels, group) for s in scores]
    found = recovered(*sides)  # type: ignore[arg-type]
    assert found.value == pytest.approx(share(np.arange(600)))
    drawn = [
        share(np.concatenate([[2 * g, 2 * g + 1] for g in np.sort(rng.integers(300, size=300))])) for _ in range(400)
    ]
    assert found.high - found.value == pytest.approx(1.97 * np.std(drawn), rel=0.2)
    # Sides that share no groups vary by themselves: the interval is wider than where errors cancel.
    apart = [msgspec.structs.replace(side, group=group + 1000 * n) for n, side in enumerate(sides)]  # type: ignore[type-var]
    assert recovered(*apart).high != found.high  # type: ignore[arg-type]


def test_easy_to_hard_compares_two_fits() -> None:
    with pytest.raises(CheckError, match="compared with itself"):
        World().add("p", truth=1.0).decide(EasyToHard(probe="p"))


@pytest.mark.parametrize("name", [n for n in OF_PROBES if hasattr(TABLE[n][0], "metric")])
def test_auroc_decides_too(name: str) -> None:
    check, *worlds = TABLE[name]
    check = type(check)(**{field: getattr(check, field) for field in check.__struct_fields__} | {"metric": "auroc"})
    found = [world.decide(check).finding for world in worlds]
    assert found[:2] == ["pass", "fail"]


@pytest.mark.parametrize("name", [n for n in OF_PROBES if n not in (*IDENTITIES, *OF_FITS)])
def test_one_group_is_inconclusive_and_says_why(name: str) -> None:
    check, world, _, _ = TABLE[name]
    before = dict(world.labels)
    for (condition, part), labels in list(world.labels.items()):
        if part == "test":
            world.labels[condition, part] = msgspec.structs.replace(labels, group=np.zeros_like(labels.group))
    judgement = world.decide(check)
    world.labels = before
    assert judgement.finding == "inconclusive"
    assert math.isnan(judgement.estimate.low)
    assert "one group only" in judgement.why
    assert world.decide(check).finding == "pass", "the control: with its groups it passes"


def test_one_label_among_the_test_rows_is_inconclusive_and_says_why() -> None:
    world = World().add("p", truth=2.0, word=0.0)
    test = world.labels["main", "test"]
    world.labels["main", "test"] = Labels({**test.targets, "truth": np.ones_like(test.targets["truth"])}, test.group)
    judgement = world.decide(TracksTruth(probe="p", over="word", metric="auroc"))
    assert judgement.finding == "inconclusive"
    assert "not defined" in judgement.why


def test_the_layer_of_the_probe_is_the_layer_of_what_it_is_compared_with() -> None:
    world = World(layer="validation")
    world.add("p", truth=[[2.0, 0.0]]).add("random", truth=[[0.0, 2.0]] * 6)
    judgement = world.decide(BeatsRandom(probe="p"))
    assert judgement.finding == "pass"
    assert "layer 3 (best validation AUROC)" in judgement.why
    # Control: at a layer of the reader's choosing, the random directions win.
    assert world.decide(BeatsRandom(probe="p", layer=7)).finding == "fail"
    assert world.decide(BeatsRandom(probe="p", layer="last")).finding == "fail"


def test_a_margin_is_a_stronger_claim() -> None:
    world = World().add("zero_shot", truth=0.2, layers=(), signed=True).add("p", truth=1.0)
    assert world.decide(BeatsZeroShot(probe="p")).finding == "pass"
    demanding = world.decide(BeatsZeroShot(probe="p", margin=0.5))
    assert (demanding.finding, demanding.threshold) == ("fail", 0.5)


def test_bimodal_seeds_make_tracks_truth_undecided() -> None:
    """Half of the seeds on the truth and half on the word: neither is what the method finds."""
    half = np.arange(10) % 2
    world = World().add("p", truth=4.0 * half, word=4.0 * (1 - half))
    assert world.decide(TracksTruth(probe="p", over="word")).finding == "inconclusive"


def test_seeds_of_two_kinds_are_counted_and_decide_by_their_share() -> None:
    said = World().add("zero_shot", truth=1.0, layers=(), signed=True)
    nine = said.add("p", truth=[2.5] * 29 + [0.0]).draw("p").decide(BeatsZeroShot(probe="p"))
    assert nine.finding == "pass"
    assert "Seeds are of two kinds: by themselves 29 of 30 pass and 1 fail" in nine.why
    # A few that are far below pull the mean below the threshold, though nearly half are above it.
    word = np.array([0.0] * 28 + [6.0] * 32)
    many = World().add("p", truth=[0.4] * 28 + [0.0] * 32, word=word).draw("p")
    judgement = many.decide(TracksTruth(probe="p", over="word"))
    assert judgement.estimate.high < 0
    assert judgement.finding == "inconclusive"
    assert "not surely most" in judgement.why
    # The control: what all do is no mixture.
    alike = World().add("p", word=[6.0] * 30).draw("p").decide(TracksTruth(probe="p", over="word"))
    assert alike.finding == "fail"
    assert "two kinds" not in alike.why


def test_random_directions_are_many_whatever_the_seeds() -> None:
    lucky = World().add("random", truth=[3.0]).add("p", truth=1.0)
    assert lucky.decide(BeatsRandom(probe="p")).finding == "fail", "the control: one direction that is no random one"
    lucky.draw("random")
    judgement = lucky.decide(BeatsRandom(probe="p"))
    assert judgement.finding == "pass"
    assert judgement.estimate.seeds == 200


def test_a_run_with_one_seed_compares_with_two_hundred_directions(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "harness: 1\nname: one\nmodel: {bed: planted, d_model: 24, layers: 2}\ndata: {limit: 120}\nlayer: last\n"
        "probes: [mean_difference, ccs]\nchecks:\n  - {kind: beats_random, probe: mean_difference}\n"
        "  - {kind: beats_random, probe: ccs, name: ccs}\n"
    )
    found = pipeline.run(path, out=tmp_path / "reports", page=False).checks
    assert "200 seeds" in found["why"][0]
    assert found["finding"][1] == "inconclusive"
    assert "1 of the 6 seeds" in found["why"][1]


def test_signs_are_resolved_before_seeds_are_compared() -> None:
    alternating = 3.0 * (-1.0) ** np.arange(8)
    judgement = World().add("p", truth=alternating).decide(StableAcrossSeeds(probe="p"))
    assert judgement.finding == "pass"


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_too_few_seeds_cannot_show_stability(seeds: int) -> None:
    judgement = World().add("p", truth=[3.0] * seeds).decide(StableAcrossSeeds(probe="p"))
    assert judgement.finding == "inconclusive"
    assert "seeds" in judgement.why
    assert "no value" in judgement.why


def test_agreement_is_that_of_all_pairs_and_its_interval_covers() -> None:
    rng = np.random.default_rng(3)

    def draw() -> np.ndarray:
        shared, strength = rng.standard_normal(80), 1.5 + rng.random((6, 1))
        return np.sign(shared * strength + rng.standard_normal((6, 80)))

    one = draw()
    one[2, :4] = 0
    pairs = [(one[s] * one[t] + 1) / 2 for s in range(6) for t in range(s)]
    found = over_seeds(pairwise_agreement(one, np.arange(80))).one(0)
    assert found.value == pytest.approx(np.mean(pairs))
    truth = np.mean([over_seeds(pairwise_agreement(draw(), np.arange(80))).one(0).value for _ in range(3000)])
    hits = [over_seeds(pairwise_agreement(draw(), np.arange(80))).one(0) for _ in range(1000)]
    assert 0.92 <= np.mean([e.low <= truth <= e.high for e in hits]) <= 0.995


def test_where_chance_is_the_best_that_knows_nothing_only_more_is_a_leak() -> None:
    for value, both, above in ((-0.3, "fail", "pass"), (0.0, "pass", "pass"), (0.3, "fail", "fail")):
        rows = np.tile(np.repeat([0.0, 1.0], [50, 50]), (10, 1, 1)) + value
        measured = msgspec.structs.replace(row_mean(rows, np.arange(100), 0.0, 1.0), drawn=False)
        found = [chance(measured, 0.15, "a score", only_above=only).finding for only in (False, True)]
        assert found == [both, above], value


def test_shuffles_are_asked_for_at_the_probes_layer_and_once() -> None:
    world = World(layer=3).add("p", truth=2.0)
    evidence = world.evidence
    check = ChanceOnShuffledLabels(probe="p", shuffles=30)
    first, second = check.decide(evidence), check.decide(evidence)
    assert world.refits == [("p", "main", "main", 3, 30)]
    assert first == second
    assert "30 shuffles" in first.why


def test_erasure_is_asked_for_at_the_probes_layer_of_the_factor_that_is_judged() -> None:
    world = World(layer=3).add("p", truth=2.0, word=2.0)
    world.leak = 2.0
    check = ChanceAfterErasure(probe="p", of="word", by="logistic_regression", times=4)
    judgement = world.decide(check)
    assert judgement.finding == "fail"
    assert world.refits == [("p", "main", "main", 3, Erasure(of="word", by="logistic_regression", times=4))]
    assert "on word minus 0.5, word erased by logistic_regression (4 times), layer 3" in judgement.why
    assert check.refers()["target"] == ("word",)
    with pytest.raises(CheckError, match="reads no states"):
        World().add("zero_shot", truth=1.0, layers=()).decide(ChanceAfterErasure(probe="zero_shot"))
    with pytest.raises(ValueError, match="a second time finds nothing"):
        ChanceAfterErasure(probe="p", times=2)


def test_memory_is_measured_on_the_labels_that_were_fitted() -> None:
    world = World().add("p", truth=2.0)
    found = world.evidence.of("p", "main").memorised(shuffles=7)
    again = world.refit("p", "main", "main", 7, 7)
    by_hand = ((again.train.score[:, 0] > 0) == again.train_labels).mean(axis=-1)
    np.testing.assert_allclose(found.value[:, 0], by_hand)
    assert (by_hand > 0.99).all()
    # Control: against the truth the same answers are chance.
    assert abs(((again.train.score[:, 0] > 0) == world.labels["main", "train"].targets["truth"]).mean() - 0.5) < 0.1


def test_agreement_with_supervised_is_the_share_of_equal_answers() -> None:
    world = World().add("logistic_regression", truth=1.0).add("p", truth=[1.0, 0.0, -2.0])
    judgement = world.decide(AgreesWithSupervised(probe="p", threshold=0.2))
    own, other = (world.evidence.of(name, "main").answers().score[:, 0] > 0 for name in ("p", "logistic_regression"))
    assert judgement.estimate.value == pytest.approx((own == other[0]).mean(), abs=1e-6)


def test_transfer_is_judged_where_it_is_tested() -> None:
    world = World().add("p", truth=2.0, condition="other", fit_on="main")
    judgement = world.decide(TracksTruth(probe="p", condition="other", fit_on="main", over="word"))
    assert judgement.finding == "pass"
    assert "p (fitted on main) on other" in judgement.why


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            TracksTruth(probe="p", condition="other", over="word"),
            r"add \{fit_on: other, tested_on: \[other\]\} to transfer",
        ),
        (TracksTruth(probe="q", over="word"), 'the probe "q", which gave no answers on "main"; those that did: p'),
        (TracksTruth(probe="p", over="colour"), r'no "colour" among the targets of main: truth, truth\^word, word'),
        (TracksTruth(probe="p", over="truth"), "compared with itself"),
        (BeatsRandom(probe="p", against="p"), "compared with itself"),
        (AgreesWithSupervised(probe="p", against="p"), "compared with itself"),
        (BeatsUntrained(probe="p", against="other"), r"give it model: \{weights: random\}"),
        (BeatsUntrained(probe="p", condition="untrained"), "untrained itself"),
        (SaeProbeBeatsStates(probe="p", against="other"), '"main" reads states; name one with'),
        (
            SaeProbeBeatsStates(probe="p", condition="features", against="features"),
            "name in `against` one that reads states",
        ),
        (InvariantToPrompt(probe="p"), "two templates or more"),
        (ObeysLaws(probe="p"), r"there: none\); use the data source compounds"),
    ],
)
def test_what_the_spec_does_not_run_is_said_with_its_remedy(check: Check, message: str) -> None:
    with pytest.raises(CheckError, match=message) as caught:
        World().add("p", truth=1.0).decide(check)
    assert caught.value.exit_code == EXIT_USAGE


def test_a_layer_that_is_not_kept_is_said() -> None:
    with pytest.raises(UsageError, match="3, 7"):
        World().add("p", truth=1.0).decide(TracksTruth(probe="p", over="word", layer=5))


@pytest.mark.parametrize("name", OF_PROBES)
def test_every_check_documents_itself_and_names_what_it_needs(name: str) -> None:
    check = TABLE[name][0]
    assert all(option.doc for option in kind.options(type(check)))
    assert {"Statistic", "Test", "Threshold"} <= {word.rstrip(":") for word in (type(check).__doc__ or "").split()}
    assert type(check).source
    fields = {field for _, field, _, _ in string.Formatter().parse(type(check).claim) if field}
    assert {"probe", "condition"} <= fields <= set(check.__struct_fields__)
    refers = check.refers()
    assert set(refers) == {"probe", "condition", "target", "measurement"}
    assert "p" in refers["probe"]
    assert "main" in refers["condition"]
    for option, sort in (("against", ("probe", "condition")), ("over", ("target",))):
        if value := getattr(check, option, None):
            assert any(value in refers[part] for part in sort)
    assert "other" in msgspec.structs.replace(check, fit_on="other").refers()["condition"]


def test_checks_become_rows_in_the_order_of_the_spec() -> None:
    check, passes, fails, unsure = TABLE["tracks_truth"]
    named = TracksTruth(probe="p", over="word", name="the word", expect="fail")
    frame = checks_table([(named, fails.decide(named)), (check, unsure.decide(check)), (named, passes.decide(named))])
    assert frame["check"].to_list() == ["the word", "tracks_truth", "the word"]
    assert frame["verdict"].to_list() == ["as_expected", "not_judged", "unexpected"]
    assert frame["expect"].to_list() == ["fail", None, "fail"]
    assert frame["threshold"].to_list() == [0, 0, 0]
    assert frame["high"][0] < 0
