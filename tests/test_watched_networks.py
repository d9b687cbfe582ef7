"""Networks that are watched while they are trained: numbers with known values, claims on planted curves, and a spec from end to end."""

from __future__ import annotations

import math
import operator
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import numpy as np
import polars as pl
import pytest
import torch

from harness import language, pipeline
from harness.analyses.measurements import spectra
from harness.analyses.measurements.curves import _looks, _title, bends
from harness.analyses.measurements.measurement_stage import halfway
from harness.contracts import Claim, Finding, Halfway, Judgement, Measurement, Watch, kind
from harness.errors import CheckError, SpecError
from harness.execution.run import Run
from harness.maths.learning_coefficient import Sampling, learning_coefficients
from harness.maths.over_networks import over_networks
from harness.networks.checkpoints import Checkpoints
from harness.networks.layout import Layout
from harness.networks.recipe import Recipe
from harness.networks.small_network import Sizes, SmallNetwork, embedded, passed
from harness.networks.stacked import Stacked
from harness.networks.trained_bed import Further, TrainedBed, Training
from harness.networks.training_together import train_together
from harness.networks.watched import Watched
from harness.plan.few_seeds import undecided
from harness.store import Store
from harness.worlds.modular_arithmetic import ModularArithmetic
from harness.worlds.world import World
from tests.exact_addition import exact_addition
from tests.report_tables import full_table

WORLD = ModularArithmetic(prime=11)
MODEL = "model: {bed: modular_addition, prime: 11, waves: [2], d_model: 16, heads: 2, d_mlp: 24, train: {networks: 6, steps: 40, every: 20}}"
MEASURED = ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "restricted_loss", "weight_norm", "foretold")
SPEC = f"""\
harness: 1
name: watched
{MODEL}
data: {{limit: 121}}
conditions:
  late: {{}}
  early: {{model: {{step: 20}}}}
  untrained: {{model: {{step: 0}}}}
  fewer: {{model: {{train: {{then: {{fraction: 0.1, steps: 20, every: 20}}}}}}}}
probes: [logistic_regression, {{kind: ridge, target: cos_2}}]
metrics: [accuracy, r2]
measurements: [{", ".join(MEASURED)}]
checks:
  - {{kind: progress_before_grokking, condition: late}}
  - {{kind: keeps_above, condition: late, least: -1}}
  - {{kind: ungroks_below, condition: fewer, greatest: -1}}
  - {{kind: frequencies_from_initialisation, condition: late}}
  - {{kind: keeps_above, name: at_first, condition: untrained, measurement: weight_norm, least: 0}}
"""


def planned(folder: Path, text: str = SPEC) -> pipeline.Plan:
    path = folder / "watched.yaml"
    path.write_text(text)
    return pipeline.planned(language.read(path), folder, Store(folder / "store"))


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        planned(folder, text)
    return [str(problem) for problem in caught.value.problems]


# ---------------------------------------------------------------- measurements


def by_hand(folder: Path, factor: float = 4.0) -> Watched:
    """A network that adds with frequencies 2 and 5, without an error, as it was before and after a training that did nothing."""
    made = exact_addition(WORLD, (2, 5), factor)
    recipe = Recipe(world=WORLD, network=made.network, fraction=0.4)
    kept = Checkpoints(folder, "by hand")
    kept.keep(Stacked.begun(made.parameters), checkpoint=True)
    return Watched([recipe], kept, 0)


class Waves(SmallNetwork, frozen=True, kw_only=True):
    """Its embedding of a number is cos and sin of some waves; it multiplies those of both numbers, and answers with Σ cos w(a + b − c)."""

    frequencies: tuple[int, ...]
    embedding: ClassVar[str] = "embed"

    def layout(self, sizes: Sizes) -> Layout:
        return Layout({"embed": (sizes.vocabulary, 2 * len(self.frequencies))})

    def initial(self, sizes: Sizes, seed: int, scale: float = 1.0) -> torch.Tensor:
        table = torch.cat([self._turned(sizes.classes), torch.zeros(1, 2 * len(self.frequencies))])
        return self.layout(sizes).flat({"embed": table})

    def layers(self) -> tuple[str, ...]:
        return ("product",)

    def logits(self, parameters: Any, questions: torch.Tensor, at: Any = passed) -> torch.Tensor:
        a, b = (embedded(parameters["embed"], questions[..., place]) for place in (0, 1))
        half = len(self.frequencies)
        cosine = a[..., :half] * b[..., :half] - a[..., half:] * b[..., half:]
        sine = a[..., half:] * b[..., :half] + a[..., :half] * b[..., half:]
        return 5 * at("product", torch.cat([cosine, sine], dim=-1)) @ self._turned(parameters["embed"].shape[1] - 1).T

    def _turned(self, numbers: int) -> torch.Tensor:
        turn = 2 * math.pi * torch.arange(numbers)[:, None] * torch.tensor(self.frequencies) / numbers
        return torch.cat([turn.cos(), turn.sin()], dim=1)


def measured(watched: Watched, name: str, **options: Any) -> float:
    (found,) = kind.find("measurements", name)(**options).measure(watched)  # type: ignore[attr-defined]
    return float(found)


def test_a_network_made_by_hand_measures_as_it_must(tmp_path: Path) -> None:
    watched = by_hand(tmp_path)
    numbers = torch.arange(11, dtype=torch.float64)
    logits = 4 * sum(torch.cos(2 * math.pi * k * numbers / 11) for k in (2, 5))
    loss = float(logits.logsumexp(0) - logits[0])
    for name in ("train_loss", "test_loss", "restricted_loss"):
        assert measured(watched, name) == pytest.approx(loss, abs=1e-3)
    assert measured(watched, "excluded_loss") == pytest.approx(math.log(11), abs=1e-3)
    assert measured(watched, "restricted_loss", frequencies="random", seed=1) > 1
    assert measured(watched, "variance_explained") == pytest.approx(1, abs=1e-6)
    assert measured(watched, "key_frequencies") == 2
    assert [measured(watched, "variance_explained", most=most) for most in (1, 2, 6)] == pytest.approx([0.5, 1, 1])
    assert measured(watched, "restricted_loss", questions="all") == pytest.approx(loss, abs=1e-3)
    assert [measured(watched, name) for name in ("train_accuracy", "test_accuracy")] == [1, 1]
    norm = measured(watched, "weight_norm")
    assert norm == pytest.approx(float(watched.flat.norm()), rel=1e-6)
    # The answer's logit is 8, and the mean of cosines over all classes is 0.
    assert measured(watched, "efficiency", logit=None) == pytest.approx(8 / norm, rel=1e-3)


def test_what_is_decodable_is_told_from_what_is_not(tmp_path: Path) -> None:
    watched = by_hand(tmp_path)
    # Four waves of the sum stand in the stream; at "=", where the network answers, the embedding is the same for all questions.
    assert measured(watched, "decodable") > 0.9
    assert measured(watched, "decodable", layer=0) < 0.3


def by_heart(folder: Path, known: float, networks: int = 8) -> Watched:
    """Networks that know the answers to what they are trained on, as a table does, and have noise for all else."""
    world = ModularArithmetic(prime=23)
    network = exact_addition(world, (2,)).network
    recipes = [Recipe(world=world, network=network, fraction=0.4, order=seed, seed=seed) for seed in range(networks)]
    watched = Watched(recipes, Checkpoints(folder, ""), 0)
    logits = torch.randn(networks, world.rows, 23, generator=torch.Generator().manual_seed(1))
    logits.scatter_add_(2, watched.answers[..., None], known * watched.trained_on[..., None])
    watched.places = {"logits": logits}
    return watched


def test_what_is_known_by_heart_is_no_circuit(tmp_path: Path) -> None:
    ending, start = by_heart(tmp_path, 15.0), by_heart(tmp_path, 0.0)
    start.final = ending
    test = kind.find("measurements", "test_loss")()
    for options, circuit in (({}, False), ({"frequencies": "each_step"}, False), ({"questions": "all"}, True)):
        restricted = kind.find("measurements", "restricted_loss")(**options)
        each = restricted.measure(ending)  # type: ignore[attr-defined]
        assert (each < math.log(23) / 2 if circuit else each > math.log(23) - 0.1).all()
        values = {
            one.title: np.stack([one.measure(at) for at in (start, ending)], axis=1)  # type: ignore[attr-defined]
            for one in (restricted, test)
        }
        own = Watches(main=Watch((0, 100), values, dict.fromkeys(values, Halfway(math.log(23) / 2, rising=False))))
        assert finding("progress_before_grokking", own, never=True) == ("pass" if circuit else "fail")
        assert finding("progress_before_grokking", own) == "fail"


def test_frequencies_of_each_step_are_as_many_as_in_the_end(tmp_path: Path) -> None:
    ending, start = by_heart(tmp_path, 15.0), by_heart(tmp_path, 0.0)
    start.final = ending
    ending.keys = [tuple(range(1, 2 + network)) for network in range(8)]
    kept = kind.find("measurements", "restricted_loss")(frequencies="each_step").kept(start)  # type: ignore[attr-defined]
    assert [len(one) for one in kept] == [len(one) for one in ending.keys]
    assert any(len(own) != len(end) for own, end in zip(start.keys, ending.keys, strict=True))


def test_random_frequencies_are_no_keys_and_the_same_in_any_company(tmp_path: Path) -> None:
    watched = by_heart(tmp_path, 15.0)
    watched.keys = [(1, 4), (2, 3, 5, 11), (3,), tuple(range(1, 11)), (6, 7), (8, 9), (5,), (1, 2, 3)]
    drawn = [
        kind.find("measurements", "restricted_loss")(frequencies="random", seed=seed).kept(watched)  # type: ignore[attr-defined]
        for seed in range(20)
    ]
    for each in drawn:
        assert not any(set(own) & set(keys) for own, keys in zip(each, watched.keys, strict=True))
        assert [len(own) for own in each] == [2, 4, 1, 1, 2, 2, 1, 3]
    assert len({tuple(each) for each in drawn}) == 20
    watched.keys = [(1, 2, 3, 4), *watched.keys[1:]]
    again = kind.find("measurements", "restricted_loss")(frequencies="random").kept(watched)  # type: ignore[attr-defined]
    assert again[1:] == drawn[0][1:]


def test_what_a_network_computes_with_is_missed_when_it_is_erased(tmp_path: Path) -> None:
    """Networks that know the sum of two numbers by waves 2 and 5 of their embedding alone."""
    world = ModularArithmetic(prime=11)
    made = Waves(frequencies=(2, 5))
    recipe = Recipe(world=world, network=made, fraction=0.4)
    kept = Checkpoints(tmp_path, "by waves")
    kept.keep(Stacked.begun(made.initial(recipe.sizes, 0)[None]), checkpoint=True)
    watched = Watched([recipe], kept, 0)
    assert watched.keys == [(2, 5)]
    assert measured(watched, "test_accuracy") == 1
    assert measured(watched, "erased") < 0.3
    assert measured(watched, "erased", frequencies="random") == 1
    assert measured(watched, "wave_r2", layer=0) == pytest.approx(1, abs=1e-3)
    assert measured(watched, "wave_r2", layer=0, frequencies="random") < 0.1


def test_waves_are_read_off_the_states_where_they_stand(tmp_path: Path) -> None:
    watched = by_hand(tmp_path)
    assert measured(watched, "wave_r2") > 0.99
    assert measured(watched, "wave_r2", layer=0) < 0.1
    assert measured(watched, "wave_r2", frequencies="random") < 0.1


SAMPLED = {"chains": 3, "burn_in": 5, "draws": 20, "step_size": 1e-4}


def test_parameters_that_change_nothing_have_no_learning_coefficient(tmp_path: Path) -> None:
    """Without keys no query matters; with them in the stream, the unembedding does."""
    watched = by_hand(tmp_path)
    whole, query, unembed = (
        measured(watched, "learning_coefficient", weights=weights, **SAMPLED) for weights in ("", "1.query", "unembed")
    )
    assert query == pytest.approx(0, abs=1e-6)
    assert 0.01 < unembed < whole
    other = measured(watched, "learning_coefficient", weights="unembed", on="test", **SAMPLED)
    assert other != unembed


def test_a_learning_coefficient_is_that_of_the_plain_loss_in_any_company(folder: Path) -> None:
    plan = planned(folder)
    stage = plan.of("network")[0]
    kept = Run(plan, Store(folder / "store")).get(stage)
    of = kind.find("measurements", "learning_coefficient")
    every = of(each=2, **SAMPLED)
    late, early, none = (Watched(stage.recipes, kept, step) for step in (40, 0, 20))
    assert np.isnan(every.measure(none)).all()  # type: ignore[attr-defined]
    assert np.isfinite(every.measure(early)).all()  # type: ignore[attr-defined]
    found = every.measure(late)  # type: ignore[attr-defined]
    for place, recipe in enumerate(stage.recipes):
        layout = recipe.network.layout(recipe.sizes)
        rows = WORLD.training_rows(recipe.fraction, recipe.order)

        def loss(
            flat: torch.Tensor, step: int, recipe: Recipe = recipe, layout: Layout = layout, rows: torch.Tensor = rows
        ) -> torch.Tensor:
            logits = recipe.network.logits(layout.views(flat), WORLD.questions()[rows][None])
            right = logits.gather(-1, WORLD.answers()[rows].expand(len(flat), -1)[..., None])[..., 0]
            return (logits.logsumexp(-1) - right).mean(1)

        options = {**SAMPLED, "rows": len(rows), "localisation": 100.0, "seed": recipe.seed}
        (plain,) = learning_coefficients(loss, kept.parameters(40)[place][None], Sampling(**options))  # type: ignore[arg-type]
        assert found[place] == pytest.approx(plain.value, rel=1e-3, abs=1e-3)
    assert len(set(found.round(6))) == len(found)


def test_foretold_is_the_auroc_of_the_embedding_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = by_hand(tmp_path)
    numbers = torch.arange(11, dtype=torch.float32)
    for strongest, expected in (((2, 5), 1.0), ((1, 3, 4), 0.0)):
        flat = watched.flat.clone()
        first = watched.recipes[0]
        embed = first.network.layout(first.sizes).views(flat)["embed"][0]
        embed[:] = 0
        for column, k in enumerate(strongest):
            embed[:11, column] = torch.cos(2 * math.pi * k * numbers / 11)
        monkeypatch.setattr(type(first.network), "initial", lambda *_, flat=flat: flat[0])
        assert measured(Watched(watched.recipes, watched.checkpoints, 0), "foretold") == expected


def test_multiplication_is_addition_of_logarithms(tmp_path: Path) -> None:
    """Logits that are waves of the logarithm of a product hold all their variance in that frequency, whatever the operation's order of numbers."""
    world = ModularArithmetic(prime=11, operation="multiply")
    order = world.in_group_order().tolist()
    logarithm = {number: power for power, number in enumerate(order)}
    recipe = Recipe(world=world, network=exact_addition(WORLD, (2,)).network)
    watched = Watched([recipe], Checkpoints(tmp_path, ""), 0)
    logits = torch.zeros(1, world.rows, 11)
    for row, answer in enumerate(world.answers().tolist()):
        for number in order:
            logits[0, row, number] = math.cos(2 * math.pi * 3 * (logarithm[answer] - logarithm[number]) / 10)
    watched.places = {"logits": logits}
    assert watched.keys == [(3,)]
    assert float(watched.shares[0, 2]) == pytest.approx(1, abs=1e-9)
    assert watched.cube[0].flatten(0, 1).argmax(-1).tolist() == watched.cube_answers[0].tolist()


@pytest.mark.parametrize(
    ("operation", "done"), [("add", operator.add), ("subtract", operator.sub), ("multiply", operator.mul)]
)
def test_rows_are_questions_with_their_answers_and_waves(operation: str, done: Callable[[int, int], int]) -> None:
    bed = msgspec.convert({"prime": 11, "operation": operation, "waves": [2]}, kind.find("beds", "modular_addition"))
    rows = bed.load(1000, 3)  # type: ignore[attr-defined]
    assert len(rows) == (100 if operation == "multiply" else 121)
    for name, answer, cosine, tokens in rows.select("example", "label", "cos_2", "tokens_0").iter_rows():
        a, b = map(int, name.split("-"))
        assert answer == done(a, b) % 11
        assert tokens == [a, b, 11]
        assert cosine == pytest.approx(math.cos(4 * math.pi * answer / 11))
    some = bed.load(22, 3)  # type: ignore[attr-defined]
    assert some.equals(rows[:22])
    counts = some["label"].value_counts()["count"].to_list()
    assert max(counts) - min(counts) <= 1
    assert not some.equals(bed.load(22, 4))  # type: ignore[attr-defined]


# ---------------------------------------------------------------- claims

STEPS = (0, 10, 20, 30, 40)
LOSS, SHARE = Halfway(1.0, rising=False), Halfway(0.5, rising=True)


class Watches:
    """Evidence that has measurements and nothing else."""

    def __init__(self, **watches: Watch):
        self._watches = watches

    def watch(self, condition: str) -> Watch:
        return self._watches[condition]


def test_losses_and_accuracies_on_the_same_questions_look_alike() -> None:
    looks = _looks(["train_loss", "test_loss", "restricted_loss", "test_accuracy", "decodable"])
    assert looks == {"train_loss": 0, "test_loss": 1, "restricted_loss": 2, "test_accuracy": 1, "decodable": 3}


def test_the_title_of_the_curves_says_what_gets_halfway_first() -> None:
    both = watch(test_loss=[4, 4, 4, 0, 0], train_loss=[4, 0, 0, 0, 0], restricted_loss=[4, 4, 4, 4, 4])
    said = _title({"grokked": both})
    assert said.startswith("grokked: halfway are train_loss at step ") and ", test_loss at step " in said
    assert "restricted" not in said
    assert (
        _title({"grokked": watch(test_loss=[4, 4, 4, 4, 4])}) == "grokked: no measurement gets halfway in all networks"
    )


def watch(networks: int = 8, **curves: Sequence[float]) -> Watch:
    """Curves over `STEPS` that all networks share; of names with `loss` they fall."""
    values = {name: np.tile(np.array(curve, dtype=np.float64), (networks, 1)) for name, curve in curves.items()}
    return Watch(STEPS, values, {name: LOSS if "loss" in name else SHARE for name in curves if "norm" not in name})


def finding(name: str, evidence: Watches, **options: Any) -> Finding:
    check = kind.find("checks", name)(**options)
    assert isinstance(check, Claim)
    return check.decide(evidence).finding  # type: ignore[arg-type]


EARLY, LATE, NEVER, BACK = [2, 2, 0.5, 0.1, 0], [3, 3, 3, 0.5, 0], [3, 3, 3, 3, 3], [2, 0.5, 2, 2, 0.5]
GROKS = {"train_loss": [2, 0, 0, 0, 0], "weight_norm": [9, 9, 8, 7, 5], "restricted_loss": EARLY, "test_loss": LATE}


def test_a_measurement_has_moved_from_the_step_on_at_which_it_stays() -> None:
    own = watch(1, early_loss=EARLY, never_loss=NEVER, back_loss=BACK, rises=[0, 0, 1, 1, 1], there=[1, 1, 1, 1, 1])
    moved = {title: own.moved(title).tolist() for title in own.values}
    found = [*moved["early_loss"], *moved["back_loss"], *moved["rises"], *moved["there"]]
    # On a straight line: from 2 to .5 a third of the way is left where it is 1.
    assert found == pytest.approx([10 + 10 * 2 / 3, 30 + 10 * 2 / 3, 15, 0])
    assert math.isnan(moved["never_loss"][0])


def test_what_is_beyond_halfway_before_training_gets_there_only_from_below() -> None:
    bar = Halfway(1.0, rising=True, axis="loss", returns=True)
    values = {"excluded": np.array([[2.0, 0, 0, 2, 2], [2, 2, 2, 2, 2], [2, 0, 0, 0, 0]])}
    moved = Watch(STEPS, values, {"excluded": bar}).moved("excluded")
    assert moved[0] == 25
    assert np.isnan(moved[1:]).all()
    assert halfway("loss_without", 11) == Halfway(math.log(11) / 2, rising=True, axis="loss", returns=True)
    assert not halfway("loss", 11).returns  # type: ignore[union-attr]


def test_order_is_told_within_a_stored_step() -> None:
    own = Watches(main=watch(restricted_loss=[3, 3, 0.2, 0, 0], test_loss=[3, 3, 0.8, 0, 0]))
    assert finding("progress_before_grokking", own) == "pass"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (EARLY, LATE, "pass"),
        (EARLY, NEVER, "fail"),
        (LATE, EARLY, "fail"),
        (EARLY, EARLY, "fail"),
        (NEVER, NEVER, "fail"),
    ],
)
def test_progress_is_first_or_it_is_not(first: list[float], second: list[float], expected: str) -> None:
    own = Watches(main=watch(restricted_loss=first, test_loss=second))
    assert finding("progress_before_grokking", own) == expected
    assert finding("progress_before_grokking", own, never=True) == (
        "pass" if (first, second) == (EARLY, NEVER) else expected
    )


def test_what_is_known_is_latent_until_it_is_said() -> None:
    curves = {"decodable": [0, 0, 1, 1, 1], "test_accuracy": [0, 0, 0, 0, 1], "weight_norm": [1, 1, 1, 1, 1]}
    own, options = Watches(main=watch(**curves)), {"moves": "decodable", "before": "test_accuracy"}
    assert finding("progress_before_grokking", own, **options) == "pass"
    with pytest.raises(CheckError, match="weight_norm has no scale"):
        finding("progress_before_grokking", own, moves="weight_norm", before="test_accuracy")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "pass"),
        ({"restricted_loss": LATE}, "fail"),
        ({"test_loss": NEVER}, "fail"),
        ({"weight_norm": [5, 6, 7, 8, 9]}, "fail"),
        ({"train_loss": LATE}, "fail"),
    ],
)
def test_each_of_three_phases_counts(changed: dict[str, list[float]], expected: str) -> None:
    assert finding("three_phases", Watches(main=watch(**{**GROKS, **changed}))) == expected


def test_too_short_a_delay_is_no_grokking() -> None:
    own = Watches(main=watch(**GROKS))
    assert [finding("three_phases", own, delay=delay) for delay in (5.5, 5.7)] == ["pass", "fail"]


def test_what_ends_high_is_kept_and_what_falls_is_lost() -> None:
    kept, lost, never = ([1, 1, 1, 1, 1], [1, 1, 0.6, 0.3, 0.1], [0, 0, 0, 0, 0])
    each = [Watches(main=watch(test_accuracy=curve)) for curve in (kept, lost, never)]
    assert [finding("keeps_above", one) for one in each] == ["pass", "fail", "fail"]
    assert [finding("ungroks_below", one) for one in each] == ["fail", "pass", "fail"]


def test_a_watch_ends_where_it_is_asked_to() -> None:
    own = watch(1, rises=[0, 0, 1, 1, 1])
    assert own.until(10).steps == (0, 10)
    assert own.until(10).values["rises"].tolist() == [[0, 0]]
    assert math.isnan(own.until(10).moved("rises")[0])
    assert own.until(40).moved("rises").tolist() == own.moved("rises").tolist()


class Other(World, frozen=True, kw_only=True):
    """Whose answers are no sums."""

    vocabulary = context = classes = 2  # type: ignore[assignment]

    def answers(self) -> torch.Tensor:
        return torch.zeros(4, dtype=torch.int64)


class OfGroups(TrainedBed, frozen=True, kw_only=True):
    """A bed whose world is that of a group that is not cyclic."""

    @property
    def world(self) -> World:
        return Other()


def test_waves_are_measured_of_cyclic_groups_only() -> None:
    cyclic, other = kind.find("beds", "modular_addition")(prime=11), OfGroups(d_model=16, heads=2, d_mlp=8)  # type: ignore[call-arg]
    told = set()
    # Those of one world say so themselves.
    for name in set(kind.names("measurements")) - {"representation", "bits_found"}:
        asked = kind.find("measurements", name)()
        assert isinstance(asked, Measurement)
        if asked.learnt == "sequences" or "is of features" in asked.problem(cyclic):  # type: ignore[arg-type]
            continue
        assert asked.problem(cyclic) == ""  # type: ignore[arg-type]
        told |= {name} if "is of waves" in asked.problem(other) else set()
    assert told == {
        "erased",
        "excluded_loss",
        "foretold",
        "gini",
        "interference",
        "key_frequencies",
        "patched",
        "restricted_loss",
        "variance_explained",
        "wave_r2",
    }


def test_a_spike_at_the_last_step_decides_nothing_where_more_steps_are_asked() -> None:
    own = Watches(main=watch(test_accuracy=[0, 0, 1, 1, 0.2]))
    assert [finding("keeps_above", own, median_of=count) for count in (1, 3, 9)] == ["fail", "pass", "fail"]


def test_less_decay_is_slower_or_not() -> None:
    slow, fast, kept = ([1, 1, 1, 0.4, 0.1], [1, 0.4, 0.1, 0.1, 0.1], [1, 1, 1, 1, 1])
    own = Watches(slow=watch(test_accuracy=slow), fast=watch(test_accuracy=fast), kept=watch(test_accuracy=kept))
    name = "slower_ungrokking_with_less_decay"
    pairs = [("slow", "fast"), ("fast", "slow"), ("kept", "slow"), ("kept", "kept")]
    found = [finding(name, own, condition=one, against=other) for one, other in pairs]
    assert found == ["pass", "fail", "pass", "fail"]
    uneven = Watches(main=watch(6, test_accuracy=slow), other=watch(7, test_accuracy=fast))
    with pytest.raises(CheckError, match="cannot be paired"):
        finding(name, uneven, against="other")


def test_efficiencies_cross_or_they_do_not() -> None:
    own = Watches(
        **{
            name: watch(efficiency=[0, 0, 0, 0, end])
            for name, end in (("few", 3.0), ("some", 1.9), ("many", 1.0), ("all", 2.0))
        }
    )
    name, options = "efficiency_crosses", {"condition": "all"}
    assert finding(name, own, memorising=("few", "some", "many"), **options) == "pass"
    assert finding(name, own, memorising=("few", "all"), **options) == "fail"
    assert finding(name, own, memorising=("some", "many"), **options) == "fail"
    judged = kind.find("checks", name)(memorising=("few", "some", "many"), **options).decide(own)  # type: ignore[attr-defined]
    assert "below it from some on" in judged.why


class Sized(Watches):
    """Evidence on networks that were trained on with so many of 121 questions, by weight decay and size: what they know in the end."""

    def __init__(self, ends: dict[tuple[float, int], Sequence[float]]):
        super().__init__(
            **{
                _sized(*key): Watch(STEPS, {"test_accuracy": np.array(own)[:, None].repeat(5, 1)}, {})
                for key, own in ends.items()
            }
        )
        made = kind.find("beds", "modular_addition")
        self.beds = {
            _sized(decay, size): made(  # type: ignore[call-arg]
                prime=11,
                train=Training(steps=10, then=Further(fraction=size / 121, steps=40, weight_decay=decay)),
            )
            for decay, size in ends
        }
        self.spec = SimpleNamespace(condition=lambda name: SimpleNamespace(model=self.beds[name]))

    def judged(self, **options: Any) -> Judgement:
        first, *others = self.beds
        check = kind.find("checks", "critical_size_ignores_weight_decay")(
            condition=first, sizes=tuple(others), **options
        )  # type: ignore[call-arg]
        assert isinstance(check, Claim)
        return check.decide(self)  # type: ignore[arg-type]


def _sized(decay: float, size: int) -> str:
    return f"on_{size}_{decay}"


NEARLY = np.linspace(-0.02, 0.02, 8)


@pytest.mark.parametrize(("at_four", "expected"), [((0.1, 0.5, 1), "pass"), ((0, 0, 1), "fail"), ((0.2, 1, 1), "fail")])
def test_the_critical_size_depends_on_weight_decay_or_it_does_not(at_four: tuple[float, ...], expected: str) -> None:
    ends = {(1.0, size): end + NEARLY for size, end in zip((10, 20, 40), (0, 0.5, 1), strict=True)}
    ends |= {(4.0, size): end + NEARLY for size, end in zip((10, 20, 40), at_four, strict=True)}
    judged = Sized(ends).judged(margin=0.25)
    assert judged.finding == expected
    # .5 is between 20 and 40 in half of the networks, a hundredth from 20.
    assert "1: 20 [" in judged.why
    # Of one half between 10 and 40, log2 is that of 20; of 0 at 20 and 1 at 40, halfway in the logarithm: 28.
    assert ("4: 28 [" in judged.why) == (at_four == (0, 0, 1))
    (value,) = re.findall(r"which was (\S+) after half of the steps", judged.why)
    assert float(value.replace("−", "-")) == pytest.approx(judged.estimate.value, abs=1e-3), "nothing moves here"


def test_networks_that_cross_nowhere_have_no_critical_size() -> None:
    ends = {(decay, size): np.full(8, float(size > 15)) for decay in (1.0, 4.0) for size in (10, 20)}
    ends[4.0, 20] = np.array([1.0] * 3 + [0.0] * 5)
    assert "3 of the 6 networks" in Sized(ends).judged().why
    assert Sized(ends).judged().finding == "inconclusive"
    with pytest.raises(CheckError, match="one number of questions"):
        Sized({key: ends[key] for key in ((1.0, 10), (1.0, 20), (4.0, 10))}).judged()
    with pytest.raises(CheckError, match="all conditions have a weight decay of 1"):
        Sized({**{key: ends[key] for key in ((1.0, 10), (1.0, 20))}, (1.0, 5): np.zeros(8)}).judged()


def test_what_knows_a_part_and_stays_there_semi_groks() -> None:
    curves = {"part": [0, 0, 0.5, 0.51, 0.5], "rising": [0, 0, 0, 0.3, 0.5], "none": [0] * 5, "all": [0, 1, 1, 1, 1]}
    found = {name: finding("semi_groks_near", Watches(main=watch(test_accuracy=own))) for name, own in curves.items()}
    assert found == {"part": "pass", "rising": "fail", "none": "fail", "all": "fail"}


@pytest.mark.parametrize(("centre", "expected"), [(0.8, "pass"), (0.5, "inconclusive"), (0.2, "fail")])
def test_frequencies_are_foretold_or_not(centre: float, expected: str) -> None:
    values = centre + np.linspace(-0.1, 0.1, 8)[:, None].repeat(len(STEPS), 1)
    own = Watches(main=Watch(STEPS, {"foretold": values}, {}))
    assert finding("frequencies_from_initialisation", own) == expected


def test_five_networks_say_nothing_of_others_and_half_of_them_decide_nothing() -> None:
    few = watch(5, restricted_loss=EARLY, test_loss=LATE)
    assert finding("progress_before_grokking", Watches(main=few)) == "inconclusive"
    both = {
        name: np.concatenate([few.values[name], few.values[other]])
        for name, other in (("restricted_loss", "test_loss"), ("test_loss", "restricted_loss"))
    }
    assert finding("progress_before_grokking", Watches(main=Watch(STEPS, both, few.halfway))) == "inconclusive"
    foretold = Watch(STEPS, {"foretold": np.full((5, len(STEPS)), 0.9)}, {})
    assert finding("frequencies_from_initialisation", Watches(main=foretold)) == "inconclusive"


def test_a_mean_over_networks_covers_what_it_is_drawn_from() -> None:
    draw = np.random.default_rng(3).normal(2.0, 1.0, (2000, 8))
    found = [over_networks(values) for values in draw]
    assert 0.935 < np.mean([one.low < 2.0 < one.high for one in found]) < 0.965
    assert over_networks(np.array([1.0, np.nan])).value == 1.0
    assert over_networks(np.array([np.nan])).why


def test_a_line_keeps_the_points_at_which_it_bends() -> None:
    flat, rising = [(float(x), 0.0) for x in range(10)], [(float(x), x - 9.0) for x in range(10, 20)]
    assert bends(flat + rising, 0.001) == [(0, 0), (9, 0), (19, 10)]
    # However slowly it bends, no point is further off than that.
    parabola = [(float(x), x * x / 100) for x in range(50)]
    kept = bends(parabola, 0.1)
    assert len(kept) < 15
    assert all(abs(np.interp(x, *zip(*kept, strict=True)) - y) <= 0.1 for x, y in parabola)
    assert bends([(0.0, 1.0)], 0.1) == [(0, 1)]
    assert bends([], 0.1) == []


# ---------------------------------------------------------------- a spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("watched")
    (made / "watched.yaml").write_text(SPEC)
    pipeline.run(made / "watched.yaml", out=made, page=False, store=Store(made / "store"))
    return made


def test_a_training_is_made_once_for_all_that_read_it(folder: Path) -> None:
    plan = planned(folder)
    assert [stage.place for stage in plan.of("network")] == [("late", "early", "untrained"), ("fewer",)]
    assert plan.of("network")[1].inputs == (plan.of("network")[0],)
    cost = plan.of("network")[0].cost(Run(plan, Store(folder / "other")))
    assert cost.rows_to_do == 6 * 48
    assert "6 networks" in cost.note
    assert all(one.cached for one in plan.stored(Store(folder / "store")).values())


def test_what_is_measured_is_what_the_networks_do(folder: Path) -> None:
    """An oracle: the same recipes trained by hand, asked question by question."""
    found = full_table(folder / "watched", "measurements").filter(condition="late")
    bed = planned(folder).spec.condition("late").model
    kept = train_together(bed.recipes, bed.steps, folder / "oracle")  # type: ignore[union-attr]
    for place, recipe in enumerate(bed.recipes):  # type: ignore[union-attr]
        views = recipe.network.layout(recipe.sizes).views(kept.parameters(40)[place : place + 1])
        own = set(WORLD.training_rows(recipe.fraction, recipe.order).tolist())
        right, loss = 0, 0.0
        for row, (question, answer) in enumerate(zip(WORLD.questions(), WORLD.answers().tolist(), strict=True)):
            if row not in own:
                logits = recipe.network.logits(views, question[None, None])[0, 0].double()
                right += int(logits.argmax()) == answer
                loss += float(logits.logsumexp(0) - logits[answer])
        others = WORLD.rows - len(own)
        for name, expected in (("test_accuracy", right / others), ("test_loss", loss / others)):
            at = found.filter(measurement=name, step=40, network=place)["value"]
            assert at.item() == pytest.approx(expected, abs=1e-5)


def test_what_foretells_is_the_embedding_before_all_training(folder: Path) -> None:
    found = full_table(folder / "watched", "measurements").filter(measurement="foretold")
    ended = found.filter(condition="late", step=40).sort("network")["value"]
    assert found.filter(condition="fewer", step=0).sort("network")["value"].equals(ended)


def test_the_report_says_what_was_measured_and_decided(folder: Path) -> None:
    text = (folder / "watched" / "report.md").read_text()
    assert "## Training" in text
    assert "`test_loss`" in text
    assert {"training.svg", "spectra.svg"} & {path.name for path in (folder / "watched" / "figures").iterdir()}
    checks = pl.read_csv(folder / "watched" / "checks.csv")
    findings = dict(zip(checks["check"], checks["finding"], strict=True))
    assert findings["keeps_above"] == "pass"
    assert findings["ungroks_below"] == "fail"
    said = dict(zip(checks["check"], checks["why"], strict=True))
    assert "weight_norm at step 0 " in said["at_first"], "networks are those of the step that the condition reads"
    results = full_table(folder / "watched", "results")
    assert results.filter(probe="ridge", target="cos_2", metric="r2")["value"].is_finite().all()
    assert set(checks["probe"]) == {""}, "a claim about networks is about no probe"


def test_probes_read_the_step_that_a_condition_names(folder: Path) -> None:
    plan = planned(folder)
    run = Run(plan, Store(folder / "store"))
    tokens = [[3, 4, 11], [5, 0, 11]]
    states = {
        name: run.conditions.subject(name).states(tokens, (0, 1)) for name in ("late", "early", "untrained", "fewer")
    }
    assert len({states[name].numpy().tobytes() for name in states}) == 4
    # At "=" the embedding is the same for all questions, and the last layer is not.
    assert torch.equal(states["late"][0, 0], states["late"][0, 1])
    assert not torch.equal(states["late"][1, 0], states["late"][1, 1])
    bed = plan.spec.condition("untrained").model
    first = bed.recipes[0]  # type: ignore[union-attr]
    initial = first.network.layout(first.sizes).views(first.network.initial(first.sizes, 0)[None])
    assert torch.equal(states["untrained"][0, 0], initial["embed"][0, 11] + initial["position"][0, 2])
    assert plan.spec.condition("untrained").untrained
    assert not plan.spec.condition("early").untrained


def test_a_killed_training_is_gone_on_from_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path)
    stage, store = plan.of("network")[0], Store(tmp_path / "store")
    underway = store.place("network", f"{stage.key}~underway")
    train_together(stage.recipes, [0, 20], underway)
    kept = (underway / "00000020.safetensors").stat().st_mtime_ns
    made = Run(plan, store).get(stage)
    assert made.steps == (0, 20, 40)
    assert not underway.exists()
    (whole,) = (folder / "store" / "network").glob(f"{stage.key}*")
    for step in made.steps:
        name = f"{step:08}.safetensors"
        assert (made.folder / name).read_bytes() == (whole / name).read_bytes()
    assert kept
    shutil.rmtree(tmp_path / "store")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("prime: 11", "prime: 12", "12 is no odd prime up to 1009; give one, such as 11 or 13"),
        ("steps: 40", "steps: 40, fraction: 0", "train.fraction: 0 "),
        ("steps: 40", "steps: 40, fraction: 1", "train.fraction: 1 "),
        ("steps: 40", "steps: 40, fraction: 0.001", "0.001 of 121 questions leaves none to train on"),
        ("networks: 6", "networks: 1000000", "train.networks: 1000000 "),
        ("{step: 20}", "{step: 21}", "step: 21 is not stored; the nearest that are: 20 and 40"),
        ("{step: 20}", "{which: 6}", "which: there is no network 6"),
        (
            "steps: 40",
            "steps: 40, learning_rate: 0.5, weight_decay: 2",
            "train.weight_decay: 2 times a learning_rate of 0.5 takes 1 of every parameter off",
        ),
        (
            "fraction: 0.1,",
            "fraction: 0.1, weight_decay: 500,",
            "train.then.weight_decay: 500 times a learning_rate of 0.005 takes 2.5 of every parameter off",
        ),
        ("heads: 2", "heads: 3", "3 heads cannot share a width of 16"),
        (
            "{kind: keeps_above, condition: late, least: -1}",
            "{kind: keeps_above, condition: late, measurement: gini}",
            'no measurement "gini"',
        ),
        (
            "weight_norm, foretold",
            "foretold, {kind: decodable, layer: 2}",
            "layer: 2 is none of the 2 layers of this transformer",
        ),
        (
            "weight_norm, foretold",
            "foretold, {kind: learning_coefficient, weights: in}",
            "weights: no parameter of this transformer begins with 'in'",
        ),
        ("weight_norm, foretold", "foretold, foretold", 'two measurements are called "foretold"'),
    ],
)
def test_bad_input_is_told_with_its_place(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in SPEC
    found = problems(tmp_path, SPEC.replace(old, new, 1))
    told = [one for one in found if says.split(": ")[-1] in one]
    assert told, found
    line = next(number for number, text in enumerate(SPEC.replace(old, new, 1).splitlines(), 1) if new in text)
    assert f"watched.yaml:{line}:" in told[0]


def test_checks_that_so_few_networks_cannot_decide_are_told_before(tmp_path: Path) -> None:
    assert not undecided(planned(tmp_path).spec)
    (told,) = undecided(planned(tmp_path, SPEC.replace("networks: 6", "networks: 5")).spec)
    assert "checks[0] (progress_before_grokking)" in told
    assert "write `train: {networks: 6}` or more" in told


def test_what_no_network_of_ours_answers_cannot_be_measured(tmp_path: Path) -> None:
    text = (
        SPEC[: SPEC.index("conditions:")].replace(MODEL, "model: {bed: planted}")
        + "probes: [ccs]\nmeasurements: [test_loss]\n"
    )
    assert any("no condition has networks of its own" in one for one in problems(tmp_path, text))


def test_a_frequency_that_never_leaves_the_axis_is_not_drawn() -> None:
    def lines(faint: float) -> int:
        shares = {1: [0.0, 0.8], 2: [0.3, 0.0], 3: [0.0, faint]}
        rows = [
            {"condition": "main", "network": 0, "frequency": k, "step": step, "share": share, "key": k == 1}
            for k, own in shares.items()
            for step, share in zip((0, 100), own, strict=True)
        ]
        surface = spectra.draw(pl.DataFrame(rows))
        assert surface is not None
        return sum('class="l ' in part for part in surface.parts)

    assert (lines(0.2), lines(0.001)) == (3, 2)
