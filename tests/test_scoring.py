"""Signs, labels, layers and tables."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from harness.contracts import Answers, Factor
from harness.errors import DataError, UsageError
from harness.metrics.accuracy import Accuracy
from harness.metrics.auroc import Auroc
from harness.metrics.brier import Brier
from harness.metrics.ccs_loss import CcsLoss
from harness.scoring.layer_choice import choose_layer, on_validation
from harness.scoring.score import (
    Labels,
    Scored,
    accuracies,
    group_ids,
    measure,
    resolved,
    restart_accuracy,
    score,
    shuffled_labels,
    training_sign,
    with_beside,
)
from harness.scoring.tables import (
    RESTARTS,
    RESULTS,
    SEEDS,
    checks_table,
    restarts_table,
    results_table,
    seeds_table,
    to_csv,
    verdict,
)

TRAIN, TEST = 80, 60


def made_labels(rng: np.random.Generator, rows: int) -> Labels:
    targets = {name: rng.permutation(np.arange(rows) % 2) for name in ("truth", "word")}
    return Labels(targets, group_ids(f"{rows}-{i}" for i in range(rows)))


@pytest.fixture
def labels() -> dict[Any, Labels]:
    rng = np.random.default_rng(1)
    parts = (("train", TRAIN), ("validation", 40), ("test", TEST))
    return {(c, part): made_labels(rng, rows) for c in ("plain", "banana") for part, rows in parts}


def answers(labels: Labels, strength: Any, noise: float = 1.0, target: str = "truth", seed: int = 0) -> Answers:
    """Scores along a target, `strength` (seed, layer), negative where the probe has it the wrong way round."""
    strength = np.asarray(strength, dtype=np.float32)
    side = (2 * labels.targets[target] - 1).astype(np.float32)
    rng = np.random.default_rng([seed, len(side)])
    value = strength[..., None] * side + noise * rng.standard_normal((*strength.shape, len(side)), dtype=np.float32)
    return Answers(value, 1 / (1 + np.exp(-value)))


def scored(
    labels: dict[Any, Labels], strength: Any, fit_on: str = "plain", tested_on: str = "plain", **more: Any
) -> Scored:
    layers = more.pop("layers", tuple(range(np.shape(strength)[1])))
    target = more.pop("target", "truth")
    return Scored(
        **{
            "fit_on": fit_on,
            "tested_on": tested_on,
            "probe": "ccs",
            "layers": layers,
            "train": answers(labels[fit_on, "train"], strength, target=target),
            "validation": answers(labels[fit_on, "validation"], strength, target=target),
            "test": answers(labels[tested_on, "test"], strength, target=target),
            **more,
        }
    )


# signs


def test_sign_is_resolved_on_training_rows_for_each_seed_and_layer(labels: dict[Any, Labels]) -> None:
    one = scored(labels, [[3, -3], [-3, 3]])
    train, test = labels["plain", "train"], labels["plain", "test"]
    assert training_sign(one, train, "truth").tolist() == [[1, -1], [-1, 1]]
    found = measure(one, train, test, "truth", Accuracy())
    assert found is not None
    assert (found.value > 0.95).all()
    # Control: without a sign, half of them are wrong.
    assert (accuracies(one.test.score, test.targets["truth"]) > 0.95).tolist() == [[True, False], [False, True]]


def test_test_rows_have_no_say_in_the_sign(labels: dict[Any, Labels]) -> None:
    train, test = labels["plain", "train"], labels["plain", "test"]
    one = scored(labels, [[3.0]], test=answers(test, [[-3.0]]))
    found = measure(one, train, test, "truth", Accuracy())
    assert found is not None
    assert found.value.item() < 0.05
    turned = msgspec.structs.replace(train, targets={**train.targets, "truth": 1 - train.targets["truth"]})
    found = measure(one, turned, test, "truth", Accuracy())
    assert found is not None
    assert found.value.item() > 0.95


def test_transfer_takes_the_sign_of_the_condition_that_was_fitted(labels: dict[Any, Labels]) -> None:
    one = scored(labels, [[-3.0]], fit_on="plain", tested_on="banana")
    found = measure(one, labels["plain", "train"], labels["banana", "test"], "truth", Auroc())
    assert found is not None
    assert found.value.item() > 0.95
    assert measure(one, labels["plain", "train"], labels["banana", "test"], "word", Auroc()).value.item() < 0.75  # type: ignore[union-attr]


def test_a_probe_that_says_which_side_is_true_keeps_its_sign_against_the_truth_only(labels: dict[Any, Labels]) -> None:
    liar = scored(labels, [[-3.0]], signed=True)
    train, test = labels["plain", "train"], labels["plain", "test"]
    assert measure(liar, train, test, "truth", Auroc()).value.item() < 0.05  # type: ignore[union-attr]
    on_word = scored(labels, [[-3.0]], signed=True, target="word")
    assert measure(on_word, train, test, "word", Auroc()).value.item() > 0.95  # type: ignore[union-attr]


def test_labels_of_a_control_resolve_its_sign(labels: dict[Any, Labels]) -> None:
    train = labels["plain", "train"]
    wrong = np.stack([train.targets["truth"], 1 - train.targets["truth"]])
    one = scored(labels, [[3.0], [3.0]], train_labels=wrong)
    assert training_sign(one, train, "truth").tolist() == [[1], [-1]]
    assert training_sign(one, train, "word").shape == (2, 1)


def test_exactly_half_right_is_not_turned() -> None:
    labels = Labels({"truth": np.array([0, 1, 0, 1])}, np.arange(4))
    one = scored({("plain", p): labels for p in ("train", "validation", "test")}, [[0.0]])
    half = msgspec.structs.replace(one, train=Answers(np.array([[[1, 1, -1, -1]]], np.float32)))
    assert training_sign(half, labels, "truth").item() == 1


def test_every_target_is_scored_on_every_metric_and_what_stands_beside(labels: dict[Any, Labels]) -> None:
    members = np.full((1, 2, TEST, 2), 0.4, np.float32)
    one = scored(labels, [[-3.0, 0.0]])
    one = msgspec.structs.replace(one, test=Answers(one.test.score, one.test.probability, members))
    found = {(s.target, s.metric): s for s in score([one], labels, (Accuracy(), Auroc(), Brier(), CcsLoss()))}
    metrics = {"accuracy", "accuracy_oracle", "auroc", "brier"}
    assert set(found) == {(t, m) for t in ("truth", "word") for m in metrics} | {("truth", "ccs_loss")}
    # The loss is that of the probe as fitted: turned round, p = 0.6 would score 0.4.
    assert found["truth", "ccs_loss"].mean.value == pytest.approx([0.2, 0.2])
    assert found["truth", "brier"].mean.value[0] < 0.1
    side = resolved(one, labels["plain", "train"], "truth").score[0, 0]
    assert found["truth", "auroc"].mean.value[0] == pytest.approx(
        roc_auc_score(labels["plain", "test"].targets["truth"], side)
    )


def test_metrics_that_stand_beside_come_once() -> None:
    kinds = [m.kind() for m in with_beside([Accuracy(), *with_beside([Accuracy()]), Auroc()])]
    assert sorted(kinds) == ["accuracy", "accuracy_oracle", "auroc"]


# restarts


def with_restarts(labels: dict[Any, Labels], loss: Any, strength: Any) -> Scored:
    """`strength` and `loss` are (seed, restart, layer)."""
    strength = np.asarray(strength, dtype=float)
    flat = strength.reshape(-1, strength.shape[-1])
    parts = {}
    for part in ("train", "test"):
        rows = labels["plain", part]
        right = accuracies(answers(rows, flat, noise=0.3).score, rows.targets["truth"])
        parts[f"restart_{part}"] = right.reshape(1, *strength.shape)
    return scored(
        labels, strength[:, 0], restart_loss=np.asarray(loss, np.float32), restart_targets=("truth",), **parts
    )


def test_each_restart_has_a_sign_of_its_own_and_the_lowest_loss_is_picked(labels: dict[Any, Labels]) -> None:
    one = with_restarts(labels, [[[0.3], [0.1], [np.nan]]], [[[3.0], [-3.0], [0.0]]])
    accuracy = restart_accuracy(one, "truth")
    assert accuracy is not None
    assert accuracy.shape == (1, 3, 1)
    assert (accuracy[0, :2] > 0.95).all()
    assert restart_accuracy(one, "word") is None
    frame = restarts_table([one, scored(labels, [[1.0]])], labels)
    assert frame is not None
    assert list(frame.columns) == list(RESTARTS)
    row = frame.row(0, named=True)
    assert row["picked"] == round(float(accuracy[0, 1, 0]), 4)
    assert row["min"] < 0.8 < row["max"]
    assert row["loss_min"] is None, "a diverged restart leaves no quantile of the loss"
    assert restarts_table([scored(labels, [[1.0]])], labels) is None


def test_signs_are_resolved_on_the_rows_that_the_spec_allows(labels: dict[Any, Labels]) -> None:
    # A probe that follows a persona who is wrong on most rows, and says the opposite of the truth there.
    train = labels["plain", "train"]
    agrees = np.arange(TRAIN) % 4 == 0
    truth = train.targets["truth"]
    persona = np.where(agrees, truth, 1 - truth)
    told = Labels({"truth": truth, "persona": persona}, train.group)
    limited = msgspec.structs.replace(told, sign_rows=agrees)
    parts = {("plain", part): told for part in ("train", "validation", "test")}
    one = scored(parts, [[5.0]], target="persona")
    assert training_sign(one, told, "truth") == -1
    assert training_sign(one, limited, "truth") == 1
    assert training_sign(one, told, "persona") == training_sign(one, limited, "persona") == 1
    assert accuracies(one.train.score, truth)[0, 0] < 0.3
    assert accuracies(one.train.score, truth, agrees)[0, 0] > 0.95


# groups and shuffles


def test_groups_have_the_same_id_everywhere_and_data_sets_are_kept_apart() -> None:
    one, other = group_ids(["a", "b", "a"], "reviews"), group_ids(["b", "a"], "reviews")
    assert one[0] == one[2] == other[1]
    assert one[1] == other[0] != one[0]
    assert group_ids(["a"], "cities")[0] != one[0]
    assert one.dtype == np.int64
    assert group_ids([]).dtype == np.int64


def test_shuffled_labels_keep_counts_and_groups_and_lose_the_rest() -> None:
    rng = np.random.default_rng(2)
    group = np.repeat(group_ids(map(str, range(60))), 3)
    labels = np.repeat(rng.permutation(np.arange(60) % 2), 3)
    order = rng.permutation(len(group))
    group, labels = group[order], labels[order]
    shuffled = shuffled_labels(labels, group, 200, 7)
    assert (shuffled.sum(axis=1) == labels.sum()).all()
    assert all(len(np.unique(line[group == g])) == 1 for line in shuffled[:5] for g in np.unique(group))
    agreement = (shuffled == labels).mean(axis=1)
    assert agreement.mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(shuffled[:20], shuffled_labels(labels, group, 20, 7))
    assert not np.array_equal(shuffled, shuffled_labels(labels, group, 200, 8))


def test_minimal_pairs_are_shuffled_within_their_group_too() -> None:
    group, labels = np.repeat(np.arange(50), 2), np.tile([0, 1], 50)
    agreement = (shuffled_labels(labels, group, 100, 1) == labels).mean(axis=1)
    assert agreement.mean() == pytest.approx(0.5, abs=0.03)
    assert agreement.max() < 0.8


@pytest.mark.parametrize(("labels", "group"), [([0, 1], [3, 3]), ([1, 1], [0, 1])])
def test_labels_that_cannot_be_shuffled_are_refused(labels: list[int], group: list[int]) -> None:
    with pytest.raises(DataError, match="cannot be shuffled"):
        shuffled_labels(np.array(labels), np.array(group), 3, 0)


# layers


def chosen(labels: dict[Any, Labels], one: Scored, rule: Any, validation: bool = True) -> tuple[int | None, str]:
    choice = choose_layer(one, rule, labels["plain", "train"], labels["plain", "validation"] if validation else None)
    assert choice.layer is None or one.layers[choice.index] == choice.layer
    return choice.layer, choice.rule


def test_fixed_rules_and_numbers(labels: dict[Any, Labels]) -> None:
    one = scored(labels, np.zeros((1, 5)), layers=(0, 6, 12, 18, 24))
    assert chosen(labels, one, "middle") == (12, "the middle layer")
    assert chosen(labels, one, "last") == (24, "the last layer")
    assert chosen(labels, one, 18)[0] == 18
    assert chosen(labels, one, -1)[0] == 24
    assert chosen(labels, one, -5)[0] == 0
    for missing in (7, 25, -6):
        with pytest.raises(UsageError, match="0, 6, 12, 18, 24"):
            chosen(labels, one, missing)
    with pytest.raises(UsageError, match='no rule "best"'):
        chosen(labels, one, "best")


def test_a_probe_without_layers_has_its_only_one(labels: dict[Any, Labels]) -> None:
    one = scored(labels, [[1.0]], layers=())
    for rule in ("middle", "validation", "lowest_loss", 12):
        assert chosen(labels, one, rule)[0] is None


def test_validation_rows_choose_and_test_rows_do_not(labels: dict[Any, Labels]) -> None:
    one = scored(labels, [[0.0, 0.5, -4.0, 1.0], [0.0, 0.5, 4.0, 1.0]])
    misleading = msgspec.structs.replace(one, test=answers(labels["plain", "test"], np.array([[9.0, 0, 0, 0]] * 2)))
    assert chosen(labels, one, "validation") == chosen(labels, misleading, "validation") == (2, "best validation AUROC")
    with pytest.raises(UsageError, match=r"data\.split"):
        chosen(labels, msgspec.structs.replace(one, validation=None), "validation", validation=False)
    same = msgspec.structs.replace(one, validation=answers(labels["plain", "validation"], np.full((2, 4), 50.0)))
    same = msgspec.structs.replace(same, train=answers(labels["plain", "train"], np.full((2, 4), 50.0)))
    assert chosen(labels, same, "validation")[0] == 0, "the earliest of equals"


@pytest.mark.parametrize("rule", ["validation", "earliest_informative"])
@pytest.mark.parametrize("kind", ["class", "number"])
def test_a_layer_without_a_number_is_never_chosen(kind: str, rule: Any) -> None:
    """However bad the others are: R² has no lower end."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 1)).astype(np.float32) if kind == "number" else np.arange(40)[:, None] % 2
    factor = Factor("truth", () if kind == "number" else ("no", "yes"), kind=kind)  # type: ignore[arg-type]
    labels = Labels({"truth": values if kind == "number" else values[:, 0]}, np.arange(40), factors={"truth": factor})

    def one(*layers: np.ndarray) -> Scored:
        outputs = np.stack(layers)[None].astype(np.float32)
        own = Answers(outputs[..., 0], outputs=outputs if kind == "number" else None)
        return Scored(
            fit_on="a", tested_on="a", probe="p", layers=tuple(range(len(layers))), train=own, test=own, validation=own, signed=True
        )  # fmt: skip

    bad, worse, none = 4.0 - values, 9.0 - values, np.full(values.shape, np.nan)
    value = on_validation(one(none, worse, bad, none), labels, labels)
    assert value is not None
    assert np.isfinite(value).tolist() == [False, True, True, False]
    assert choose_layer(one(none, worse, bad, none), "validation", labels, labels).layer in (1, 2)
    good = 0.1 * rng.standard_normal(values.shape) + values
    assert choose_layer(one(none, bad, good, none), rule, labels, labels).layer == 2
    with pytest.raises(UsageError, match="no score on the validation rows of a at any layer"):
        choose_layer(one(none, none), "validation", labels, labels)


def test_lowest_loss(labels: dict[Any, Labels]) -> None:
    loss = np.array([[0.3, 0.1, 0.1], [0.3, 0.2, 0.2]], np.float32)
    assert chosen(labels, scored(labels, np.ones((2, 3)), loss=loss), "lowest_loss") == (1, "lowest training loss")
    layer, rule = chosen(labels, scored(labels, np.ones((2, 3))), "lowest_loss")
    assert layer == 1
    assert "no loss" in rule
    broken = np.array([[np.nan, 0.5, 0.4]], np.float32)
    assert chosen(labels, scored(labels, np.ones((1, 3)), loss=broken), "lowest_loss")[0] == 2


def test_earliest_informative(labels: dict[Any, Labels]) -> None:
    one = scored(labels, [[0.0, 0.0, 0.5, 6.0, 6.0, 7.0, 6.0]])
    assert chosen(labels, one, "earliest_informative") == (3, "earliest informative on validation rows")
    without = msgspec.structs.replace(one, validation=None)
    assert chosen(labels, without, "earliest_informative", validation=False) == (
        3,
        "earliest informative on training rows",
    )
    layer, rule = chosen(labels, scored(labels, np.zeros((1, 7))), "earliest_informative")
    assert layer == 3
    assert "none is informative" in rule


# tables


def every_score(labels: dict[Any, Labels]) -> list[Any]:
    several = [
        scored(labels, np.full((3, 12), 1.0), probe="kmeans"),
        scored(labels, np.full((3, 12), 1.0), probe="ccs", tested_on="banana"),
        scored(labels, [[1.0]], layers=(), probe="ccs"),
    ]
    return score(several, labels, (Accuracy(),))


def test_results_have_the_promised_columns_in_a_stable_order(labels: dict[Any, Labels]) -> None:
    scores = every_score(labels)
    frame = results_table(scores)
    assert ",".join(frame.columns) == "fit_on,tested_on,probe,layer,target,metric,value,low,high,n,seeds"
    assert frame.equals(results_table(scores[::-1]))
    ccs = frame.filter(target="truth", metric="accuracy", tested_on="banana")
    assert ccs["layer"].to_list() == [str(i) for i in range(12)]
    plain = frame.filter(target="truth", metric="accuracy", tested_on="plain")
    assert plain.select("probe", "layer").rows() == [("ccs", "all"), *(("kmeans", str(i)) for i in range(12))]
    assert set(frame.filter(probe="kmeans")["seeds"]) == {3}
    first = next(s for s in scores if s.tested_on == "banana" and s.target == "truth" and s.metric == "accuracy")
    estimate = first.mean.one(4)
    assert ccs.row(4, named=True)["low"] == round(estimate.low, 4)
    assert ccs.row(4, named=True)["n"] == TEST


def test_seeds_are_the_results_per_seed(labels: dict[Any, Labels]) -> None:
    scores = every_score(labels)
    seeds, results = seeds_table(scores), results_table(scores)
    assert ",".join(seeds.columns) == "fit_on,tested_on,probe,layer,target,metric,seed,value,low,high,n"
    assert seeds.equals(seeds_table(scores[::-1]))
    keys = ["fit_on", "tested_on", "probe", "layer", "target", "metric"]
    means = seeds.group_by(keys).agg(pl.col("value").mean().alias("mean"), pl.len()).join(results, on=keys)
    assert means.height == results.height
    assert (means["len"].cast(pl.Int64) == means["seeds"]).all()
    np.testing.assert_allclose(means["mean"], means["value"], atol=2e-4)
    one = next(s for s in scores if s.probe == "kmeans" and s.metric == "accuracy" and s.target == "word")
    row = seeds.filter(probe="kmeans", metric="accuracy", target="word", layer="10", seed=2).row(0, named=True)
    assert row["value"] == round(one.each.one((2, 10)).value, 4)
    assert row["high"] == round(one.each.one((2, 10)).high, 4)


def test_empty_tables_keep_their_columns() -> None:
    assert to_csv(results_table([])) == ",".join(RESULTS) + "\n"
    assert to_csv(seeds_table([])) == ",".join(SEEDS) + "\n"
    assert to_csv(checks_table([])).startswith(
        "check,probe,condition,finding,expect,verdict,value,low,high,threshold,why"
    )


def test_csv_is_the_same_bytes_everywhere_and_harms_no_spreadsheet() -> None:
    frame = pl.DataFrame(
        {
            "probe": ["=1+1", "@sum", "+x", "-x", "\t=1", " =2", "plain", 'a,"b"', None],
            "layer": ["0", "12", "-1", "all", "1", "2", "3", "4", "5"],
            "value": [0.5, -0.00001, -0.0, float("nan"), None, 1 / 3, 1e-9, 123456.0, -0.25],
            "n": [1, 2, 3, 4, 5, 6, 7, 8, None],
        }
    )
    text = to_csv(frame)
    rows = list(csv.reader(io.StringIO(text)))[1:]
    assert [row[0] for row in rows] == ["'=1+1", "'@sum", "'+x", "'-x", "'\t=1", "' =2", "plain", 'a,"b"', ""]
    assert [row[1] for row in rows][:3] == ["0", "12", "-1"]
    assert [row[2] for row in rows] == [
        "0.5000", "0.0000", "0.0000", "", "", "0.3333", "0.0000", "123456.0000", "-0.2500",
    ]  # fmt: skip
    assert [row[3] for row in rows] == ["1", "2", "3", "4", "5", "6", "7", "8", ""]
    assert "\r" not in text
    assert text.endswith("\n")


def test_verdicts() -> None:
    assert verdict("pass", "pass") == verdict("inconclusive", "inconclusive") == "as_expected"
    assert verdict("inconclusive", "pass") == verdict("fail", "pass") == "unexpected"
    assert verdict("fail", None) == "not_judged"


def test_missing_value_is_an_empty_cell(labels: dict[Any, Labels]) -> None:
    one = scored(labels, [[1.0, 1.0]])
    broken = one.test.score.copy()
    broken[0, 1, 0] = np.nan
    scores = score([msgspec.structs.replace(one, test=Answers(broken))], labels, (Auroc(),))
    rows = to_csv(results_table(scores)).splitlines()
    assert ",1,truth,auroc,,,,60,1" in rows[3]
