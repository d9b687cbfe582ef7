"""The autopsy names what was planted, and where nothing was planted it names something no oftener than it says."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, rankdata, spearmanr

from harness import language, pipeline
from harness.analyses.autopsy.examine import Body, Found, examine
from harness.analyses.autopsy.explained import explained
from harness.analyses.autopsy.features import Feature, distinct, library
from harness.analyses.autopsy.going_together import LEVEL, associate, centred_ranks, permuted_rows
from harness.analyses.autopsy.surface import features as surface_features
from harness.contracts import Answers, Factor
from harness.errors import SpecError
from harness.maths.solutions import agreement, clusters, solutions
from harness.spec import Autopsy
from harness.store import Store
from tests.report_tables import full_table

ROWS = 240
FACTORS = (
    Factor("truth", ("negative", "positive")),
    Factor("word", ("Banana", "Shed")),
    Factor("tone", ("low", "high")),
)
NOUNS = ("film", "plot", "cast", "scene", "score", "story")


def texts(rows: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of random words, marks and numbers, and the two answers."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        words = random.choice(NOUNS, size=random.integers(3, 12)).tolist()
        text = " ".join(words).capitalize() + ("!" if random.random() < 0.3 else ".")
        text += f" Rated {random.integers(100)}." if random.random() < 0.5 else ""
        made.append(tuple(f"Consider: {text} It is {answer}." for answer in ("negative", "positive")))
    return made  # type: ignore[return-value]


def labels(rows: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng([seed, 1])
    return {factor.name: random.permutation(np.arange(rows) % 2) for factor in FACTORS}


def some_library(seed: int, rows: int = ROWS) -> list[Feature]:
    pairs = texts(rows, seed)
    odds = np.random.default_rng([seed, 2]).standard_normal(rows)
    return library(FACTORS, labels(rows, seed), {"zero_shot": odds}, pairs, [len(first) // 4 for first, _ in pairs])


def look(score: np.ndarray, found: list[Feature], group: np.ndarray | None = None, **options: object) -> Found:
    """An autopsy of scores (seed, row)."""
    rows = score.shape[1]
    body = Body(
        answers=Answers(score[:, None].astype(np.float32)),
        truth=np.arange(rows) % 2,
        group=np.arange(rows) if group is None else group,
        features=found,
        answer_names=("negative", "positive"),
        texts=[f"row {i}" for i in range(rows)],
    )
    return examine(body, Autopsy(probe="p", **{"permutations": 400, "rows": 2, **options}))  # type: ignore[arg-type]


PLANTED = (
    "truth",
    "Banana/Shed ⊕ answer",
    "low/high ⊕ answer",
    "truth ⊕ Banana/Shed ⊕ answer",
    "Banana/Shed ⊕ low/high ⊕ answer",
    "the model's own answer (zero_shot)",
    "contains the word “plot”",
    "contains ! (exclamation mark)",
    "length in characters",
    "contains a number",
)


@pytest.mark.parametrize("world", range(20))
def test_the_planted_feature_is_named_first(world: int) -> None:
    """20 of 20: ten features in two worlds each, answers that follow them with a tenth of the rows turned."""
    name = PLANTED[world % len(PLANTED)]
    found = some_library(world)
    planted = next(f for f in found if name in (f.name, *f.same_as))
    random = np.random.default_rng([world, 3])
    side = np.sign(centred_ranks(planted.values[None])[0] + 1e-9)
    seeds = side * np.where(random.random((5, ROWS)) < 0.03, -1, 1) * (-1.0) ** np.arange(5)[:, None]
    turned = np.where(random.random(ROWS) < 0.07, -1, 1)
    told = look(seeds * turned * random.uniform(0.5, 1, (5, ROWS)), found)
    (solution,) = told.solutions
    assert solution["seeds"] == 5, "signs of seeds are no other solution"
    assert solution["latched_on"] == planted.name
    assert solution["p"] == pytest.approx(1 / 401)
    assert abs(solution["association"]) > 0.7  # type: ignore[arg-type]
    assert solution["explained_by_it"] > 0.35  # type: ignore[operator]


def test_nothing_is_named_in_null_worlds_more_often_than_the_level() -> None:
    """100 worlds without anything, rows in pairs that are answered alike: three seeds, over a hundred features."""
    group = np.arange(ROWS) // 2
    named = {"by groups": 0, "by rows": 0}
    found = some_library(0, ROWS // 2)
    # Both rows of a group have the same text, and so the same features.
    doubled = [Feature(f.name, f.family, np.repeat(f.values, 2)) for f in found]
    values = np.stack([f.values for f in doubled])
    for world in range(100):
        random = np.random.default_rng([world, 4])
        answers = np.repeat(np.sign(random.standard_normal((3, ROWS // 2))), 2, axis=1)
        for name, of in (("by groups", group), ("by rows", np.arange(ROWS))):
            named[name] += bool((associate(answers, values, of, 300).p <= LEVEL).any())
    most = int(binom.ppf(0.999, 100, LEVEL))
    assert named["by groups"] <= most
    assert named["by rows"] > most, "the control: permuting rows of groups one by one finds what is not there"


def test_the_level_is_used_up() -> None:
    """A test that never names anything would pass the one before: with one feature, p-values are uniform."""
    p = []
    for world in range(200):
        random = np.random.default_rng([world, 5])
        answers = np.sign(random.standard_normal((1, 60)))
        p.append(associate(answers, random.standard_normal((1, 60)), np.arange(60), 199).p[0, 0])
    assert binom.ppf(0.001, 200, 0.25) <= sum(value <= 0.25 for value in p) <= binom.ppf(0.999, 200, 0.25)


def test_the_association_is_twice_the_auroc_minus_one() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    answers = np.sign(random.standard_normal((2, 80)))
    features = np.stack([random.standard_normal(80), random.integers(3, size=80), answers[0] > 0, np.ones(80)])
    found = associate(answers, features, np.arange(80), 99)
    for a in range(2):
        for f in range(4):
            expected = 2 * roc_auc_score(answers[a] > 0, features[f]) - 1
            assert found.value[a, f] == pytest.approx(expected)
    assert found.value[0, 2] == 1
    assert found.p[0, 3] == 1, "what does not vary cannot be named"


def test_one_test_has_the_p_value_of_a_plain_permutation_test() -> None:
    random = np.random.default_rng(1)
    answers = np.sign(random.standard_normal((1, 50)))
    feature = random.standard_normal((1, 50)) + 0.25 * answers
    order = permuted_rows(np.arange(50), 500, 0)
    ranks = rankdata(feature[0])
    sums = np.array([answers[0, o] @ ranks for o in order])
    every = np.append(sums, answers[0] @ ranks)
    far = np.abs(every - every.mean())
    assert associate(answers, feature, np.arange(50), 500).p[0, 0] == pytest.approx(
        (far[:-1] >= far[-1]).sum() / 501 + 1 / 501
    )


def test_more_features_make_larger_p_values_and_a_strong_one_does_not_hide_a_weaker() -> None:
    random = np.random.default_rng(2)
    answers = np.sign(random.standard_normal((1, 200)))
    strong, weak = answers[0] + 0.1 * random.standard_normal(200), 0.35 * answers[0] + random.standard_normal(200)
    noise = random.standard_normal((150, 200))
    alone = associate(answers, weak[None], np.arange(200), 999).p[0, 0]
    crowded = associate(answers, np.stack([weak, *noise]), np.arange(200), 999).p[0, 0]
    assert alone <= 0.002 < crowded <= LEVEL
    stepped = associate(answers, np.stack([weak, strong, *noise]), np.arange(200), 999).p[0]
    assert stepped[1] == 0.001
    assert stepped[0] <= LEVEL
    assert associate(answers, np.stack([weak, *noise]), np.zeros(200), 99).p.min() < 1, (
        "rows of one group change places"
    )


def test_permutations_keep_groups_together() -> None:
    group = np.array([7, 7, 7, 1, 1, 1, 4, 4, 9, 2, 2, 2])
    order = permuted_rows(group, 200, 0)
    assert (np.sort(order, axis=1) == np.arange(12)).all()
    for moved in order:
        for number in np.unique(group):
            assert len(np.unique(group[moved[group == number]])) == 1
    assert (group[order[:, 8]] == 9).all(), "a group whose size no other has stays"
    assert len(np.unique(group[order[:, 0]])) == 3
    assert len(np.unique(order[:, 6])) == 2, "rows within a group change places"
    assert (permuted_rows(group, 200, 0) == order).all()
    assert not (permuted_rows(group, 200, 1) == order).all()


def test_the_share_explained_is_that_of_held_out_rows() -> None:
    random = np.random.default_rng(3)
    bits = random.integers(2, size=(2, 500)).astype(float)
    score = 2 * bits[0] + bits[1] + random.standard_normal(500) * 0.5
    share = explained(score, bits, np.arange(500))
    assert share == pytest.approx(1.25 / 1.5, abs=0.03)
    assert explained(score, bits[:1], np.arange(500)) == pytest.approx(1 / 1.5, abs=0.05)
    noise = random.standard_normal((60, 100))
    assert explained(score[:100], noise, np.arange(100)) < 0, "in training rows they would explain much"
    assert np.isnan(explained(np.ones(100), noise, np.arange(100)))
    assert np.isnan(explained(score[:100], noise, np.zeros(100)))


def test_seeds_are_clustered_by_their_answers() -> None:
    random = np.random.default_rng(4)
    camps = np.sign(random.standard_normal((3, 400)))
    which = [0, 1, 0, 0, 1, 2]
    score = camps[which] * np.where(random.random((6, 400)) < 0.02, -1, 1) * np.array([1, 1, -1, 1, -5, 1])[:, None]
    found = solutions(score)
    assert [solution.seeds for solution in found] == [(0, 2, 3), (1, 4), (5,)]
    for solution, camp in zip(found, camps, strict=True):
        assert abs(solution.answer @ camp) / 400 > 0.95
    same = agreement(score)
    alike = (np.sign(score[0]) == np.sign(score[2])).mean()
    assert same[0, 2] == pytest.approx(max(alike, 1 - alike))
    assert len(set(clusters(same, 0.999))) > 3, "a stricter threshold tells more apart"
    assert len(solutions(score[:1])) == 1
    weight = np.zeros(400)
    weight[:10] = 1
    assert agreement(score, weight)[0, 1] == agreement(score[:, :10])[0, 1]


def test_what_is_the_same_on_all_rows_is_said_once() -> None:
    base = np.array([0.0, 1, 1, 0])
    kept = distinct(
        [Feature(n, "surface", v) for n, v in (("a", base), ("b", 1 - base), ("c", base * 7), ("d", base * 0), ("e", np.arange(4.0)))]
    )  # fmt: skip
    assert [(f.name, f.same_as) for f in kept] == [("a", ("b", "c")), ("e", ())]
    found = some_library(0)
    assert len(found) > 30
    ranks = centred_ranks(np.stack([f.values for f in found]))
    correlation = np.corrcoef(ranks) - np.eye(len(found))
    assert np.abs(correlation).max() < 1 - 1e-9


def test_names_say_what_a_probe_of_statements_computes() -> None:
    names = [f.name for f in some_library(0)]
    assert names[:3] == ["truth", "Banana/Shed ⊕ answer", "low/high ⊕ answer"]
    same = (FACTORS[0], Factor("alice", ("negative", "positive")))
    named = library(same, {"truth": np.arange(8) % 2, "alice": np.arange(8) // 4}, {}, [], [])
    assert [f.name for f in named] == ["truth", "alice ⊕ answer", "truth ⊕ alice ⊕ answer"]


def test_the_surface_of_texts() -> None:
    lines = ["A film, 3 stars!", "a PLOT of 1,000 words", "The end. The end. Banana"] * 4
    found = {s.name: s.values[:3].tolist() for s in surface_features([(line, line) for line in lines], [1, 2, 3] * 4)}
    assert found["length in characters"] == [16, 21, 24]
    assert found["length in tokens"] == [1, 2, 3]
    assert found["contains ! (exclamation mark)"] == [1, 0, 0]
    assert found["number of . (full stop)"] == [0, 0, 2]
    assert found["has a word in capitals"] == [0, 1, 0]
    assert found["begins with a capital"] == [1, 0, 1]
    assert found["the largest number"] == [3, 1000, 0]
    assert found["contains the word “end”"] == [0, 0, 1]
    assert found["the last word is “banana”"] == [0, 0, 1]
    assert found["share of words that are repeated"][2] == pytest.approx(2 / 5)
    assert list(surface_features([], [])) == []
    strange = [("", ""), ("٣٤ ١", "x"), ("9" * 5000, "."), ("...1.2.3,4", "")]
    assert all(np.isfinite(s.values).all() for s in surface_features(strange, [0] * 4))


def test_a_probe_of_constant_answers_and_rows_without_features() -> None:
    told = look(np.ones((2, ROWS)), some_library(0))
    assert told.solutions[0]["latched_on"] is None
    assert told.solutions[0]["yes"] == 1
    empty = look(np.random.default_rng(0).standard_normal((2, ROWS)), [])
    assert [s["tested"] for s in empty.solutions] == [0, 0]
    assert empty.features == []


def test_rows_are_the_surest_and_the_most_wrong() -> None:
    score = np.linspace(-1, 1, ROWS)[None]
    rows = [(r["list"], r["text"], r["answer"], r["truth"]) for r in look(score, []).rows]
    truth = [("negative", "positive")[i % 2] for i in range(ROWS)]
    assert rows[0] == ("surest", "row 0", "negative", truth[0])
    assert rows[2:] == [
        ("most wrong", "row 1", "negative", "positive"),
        ("most wrong", f"row {ROWS - 2}", "positive", "negative"),
    ]


def test_fifty_seeds_take_about_a_second() -> None:
    random = np.random.default_rng(6)
    answers, features = np.sign(random.standard_normal((50, 400))), random.standard_normal((150, 400))
    start = time.process_time()
    associate(answers, features, np.arange(400), 1000)
    assert time.process_time() - start < 6, "about one second on an idle core"


SPEC = """
harness: 1
name: planted
model: {bed: planted, d_model: 16, layers: 3, STRENGTHS}
data: {limit: 200}
probes: [{kind: ccs, restarts: 2, epochs: 150}, crc_tpc]
seeds: 6
layer: last
autopsy: [ccs, {probe: crc_tpc, permutations: 500, rows: 1}]
checks:
  - {kind: single_solution, probe: ccs, expect: pass}
  - {kind: many_features_satisfy_it, probe: ccs, expect: pass}
  - {kind: lower_loss_is_truer, probe: ccs}
"""
WORLDS = {
    "truth": "truth: 5.0",
    "banana/shed ⊕ answer": "truth: 1.0, distractor: 6.0",
    "truth ⊕ banana/shed ⊕ answer": "truth: 0.0, distractor: 1.0, xor: 6.0",
}


@pytest.mark.parametrize("name", WORLDS)
def test_fitted_probes_of_planted_worlds(tmp_path: Path, name: str) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.replace("STRENGTHS", WORLDS[name]))
    store = Store(tmp_path / "store")
    outcome = pipeline.run(tmp_path / "spec.yaml", out=tmp_path, store=store)
    assert not outcome.unexpected
    found = full_table(outcome.folder, "autopsy_solutions")
    assert set(found["probe"]) == {"ccs", "crc_tpc"}
    assert set(found["latched_on"]) == {name}
    assert found.filter(probe="ccs")["seeds"].to_list() == [6]
    assert (found.filter(probe="ccs")["share_both"] > 0.5).all()
    assert f"**{name}** (6 of 6 seeds)" in (outcome.folder / "report.md").read_text()
    assert "What the probes latched on to" in (outcome.folder / "report.html").read_text()
    assert full_table(outcome.folder, "autopsy_rows").filter(probe="crc_tpc").height <= 2
    again = pipeline.run(tmp_path / "spec.yaml", out=tmp_path / "again", store=store, page=False)
    assert again.cached
    anew = pipeline.run(tmp_path / "spec.yaml", out=tmp_path / "anew", store=Store(tmp_path / "s2"), page=False)
    for file in ("autopsy.parquet", "autopsy_solutions.parquet", "autopsy_rows.parquet", "report.md"):
        assert (outcome.folder / file).read_bytes() == (again.folder / file).read_bytes()
        assert (outcome.folder / file).read_bytes() == (anew.folder / file).read_bytes()


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("[cs]", "did you mean"),
        ("[{probe: ccs, condition: mian}]", "main"),
        ("[ccs, {probe: ccs, rows: 3}]", "already"),
        ("[{probe: ccs, permutations: 3}]", "at least 99"),
        ("ccs", "list"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, written: str, says: str) -> None:
    spec = SPEC.replace("STRENGTHS", "truth: 1.0")
    start = spec.index("autopsy:")
    (tmp_path / "spec.yaml").write_text(spec[:start] + f"autopsy: {written}\n")
    with pytest.raises(SpecError, match=says):
        language.read(tmp_path / "spec.yaml")


def test_ranks_are_those_of_spearman() -> None:
    random = np.random.default_rng(8)
    one, other = random.integers(4, size=(2, 90)).astype(float)
    ranks = centred_ranks(np.stack([one, other]))
    assert np.corrcoef(ranks)[0, 1] == pytest.approx(spearmanr(one, other).statistic)
