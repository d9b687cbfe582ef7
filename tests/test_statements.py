"""Rows of one view and targets of every kind: read, divided, shuffled, fitted, scored and judged, on planted states and made-up tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import yaml

from harness import language, pipeline
from harness.beds.planted import COLOURS, Planted
from harness.contracts import BINARY, CLASSES, KINDS, NUMBER, VECTOR, Factor
from harness.contracts.data import TAKEN
from harness.contracts.kind import find
from harness.errors import DataError, SpecError
from harness.models.card import describe
from harness.prompts.building import build, views_of
from harness.prompts.examples import arrange, sampled
from harness.prompts.statement_labels import labelled
from harness.scoring.score import Labels, shuffled_labels
from harness.spec import Activations, Condition, Data, Model, Prompt, Split, Target
from harness.store import Store
from harness.subjects.language_model import LanguageModel

HERE = Path(__file__).parent
RANDOM = np.random.default_rng(5)


def things(count: int = 60) -> pl.DataFrame:
    """A table of a file: a name, a weight, a kind of three, a place of two numbers, and groups of two."""
    return pl.DataFrame(
        {
            "text": [f"thing {n}" for n in range(count)],
            "weight": [n * 0.5 for n in range(count)],
            "shape": [("round", "square", "flat")[n % 3] for n in range(count)],
            "place": [f"{n % 7} {-n % 5}" for n in range(count)],
            "group": [n // 2 for n in range(count)],
        }
    )


def condition(folder: Path, table: pl.DataFrame, *, template: str = "{{ text }}", **target: Any) -> Condition:
    table.write_csv(folder / "things.csv")
    source = find("data", "file")(file="things.csv", group="group")  # type: ignore[call-arg]
    data = Data(source=source, limit=None, target=Target(**target) if target else None)  # type: ignore[arg-type]
    return Condition(
        name="main",
        model=Model(id="any"),
        data=data,
        prompt=Prompt(template=template),
        distractors=(),
        activations=Activations(),
    )


def test_a_template_without_an_answer_makes_statements(tmp_path: Path) -> None:
    made = condition(tmp_path, things(), column="shape", kind="classes")
    table = build(made, {}, tmp_path, None)
    assert (table.views, views_of(made, tmp_path)) == (1, 1)
    assert table.frame["answer"].unique().to_list() == [0]
    assert table.frame.height == 60
    assert table.factors[0] == Factor("truth", ("flat", "round", "square"))
    shapes = dict(zip(things()["text"], things()["shape"], strict=True))
    names = [table.factors[0].values[code] for code in table.frame["truth"]]
    assert names == [shapes[text] for text in table.frame["text"]]
    # The control: with an answer in it, two prompts are made of each row.
    pair = msgspec.structs.replace(made, prompt=Prompt(template="{{ text }} {{ answer }}", answers=("no", "yes")))
    assert views_of(pair, tmp_path) == 2


@pytest.mark.parametrize(
    ("column", "kind", "of"),
    [("shape", "classes", CLASSES), ("weight", "number", NUMBER), ("place", "vector", VECTOR)],
)
def test_labels_of_every_kind_come_through_prompts_and_keep_to_their_rows(
    column: str, kind: str, of: object, tmp_path: Path
) -> None:
    table = build(condition(tmp_path, things(), column=column, kind=kind), {}, tmp_path, None)
    truth = table.factors[0]
    assert truth.target is of
    values = truth.target.values(table.frame["truth"])
    assert len(values) == table.frame.height
    assert values.dtype == (np.int64 if truth.target.in_classes else np.float32)
    assert values.shape[1:] == {"classes": (), "number": (1,), "vector": (2,)}[kind]
    written = dict(zip(things()["text"], things()[column], strict=True))
    for text, cell in zip(table.frame["text"], table.frame["truth"].to_list(), strict=True):
        if kind == "number":
            assert cell == pytest.approx(written[text])
        elif kind == "vector":
            assert " ".join(f"{number:.0f}" for number in cell) == written[text].replace("-0", "0")


def test_numbers_are_divided_by_quantiles_and_classes_in_proportion(tmp_path: Path) -> None:
    table = things(400).with_columns(pl.int_range(400).alias("group"))
    of = condition(tmp_path, table, column="weight", kind="number")
    numbers = sampled(of.data, (), tmp_path).examples
    for part in ("train", "test"):
        own = numbers.filter(pl.col("split") == part)["label"].to_numpy()
        # A tenth of the numbers is a tenth of each part.
        tenths = np.histogram(own, np.linspace(0, 200, 11))[0]
        assert tenths.min() >= len(own) / 10 - 1
        assert tenths.max() <= len(own) / 10 + 1
    classes = sampled(condition(tmp_path, table, column="shape", kind="classes").data, (), tmp_path).examples
    counts = classes.group_by("split", "label").len()
    assert set(counts.filter(pl.col("split") == "test")["len"]) <= {53, 54}
    groups = numbers.group_by("group").agg(pl.col("split").n_unique())
    assert groups["split"].max() == 1


BAD_TARGETS = {
    "no such column": ({"column": "hue", "kind": "classes"}, r'no column "hue"'),
    "text as a number": ({"column": "shape", "kind": "number"}, r'row 1.*"round" is no number'),
    "three values as two": ({"column": "shape", "kind": "binary"}, "has 3 values; write kind: classes"),
    "a class that is not named": ({"column": "shape", "kind": "classes", "values": ("round", "flat")}, r'row 2, column "shape": "square" is none of the values'),
    "a number as a vector of three": ({"column": "place", "kind": "vector", "values": ("x", "y", "z")}, "is no vector of 3 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_a_target_that_the_data_do_not_have_is_refused_with_its_row(case: str, tmp_path: Path) -> None:
    options, message = BAD_TARGETS[case]
    made = condition(tmp_path, things(), **options)
    with pytest.raises(DataError, match=message):
        build(made, {}, tmp_path, None)


def test_a_number_that_is_none_and_a_class_of_one_member_are_refused(tmp_path: Path) -> None:
    table = pl.DataFrame({"label": ["1.5", "inf", "2"]})
    with pytest.raises(DataError, match=r'row 2.*"inf" is no number'):
        labelled(table, Target(kind="number"), "label", "here", {})
    lonely = things().with_columns(shape=pl.when(pl.col("text") == "thing 5").then(pl.lit("hollow")).otherwise("shape"))
    made = condition(tmp_path, lonely, column="shape", kind="classes")
    with pytest.raises(DataError, match='the class "hollow" stands in 1 group'):
        build(made, {}, tmp_path, None)
    data = msgspec.structs.replace(made.data, balance=False)
    with pytest.raises(
        DataError, match='the class "hollow" stands in 1 group, and cannot be split so that every part has every label'
    ):
        build(msgspec.structs.replace(made, data=data), {}, tmp_path, None)
    # The control: without it there is nothing to refuse.
    assert build(condition(tmp_path, things(), column="shape", kind="classes"), {}, tmp_path, None).frame.height == 60


NO_TARGETS: dict[str, tuple[dict[str, Any], pl.Series, str]] = {
    "a number beyond float32": ({"kind": "number"}, pl.Series(["1", "1e39", "2"]), 'row 2, column "c": "1e39" is beyond the numbers of 32 bits'),
    "a number beyond float64": ({"kind": "number"}, pl.Series(["1", "1e999", "2"]), 'row 2, column "c": "1e999" is no number'),
    "a large float": ({"kind": "number"}, pl.Series([1.0, 2.0, -4e38]), 'row 3, column "c": "-4e[+]38" is beyond'),
    "a vector beyond float32": ({"kind": "vector"}, pl.Series(["1 2", "3 4e40"]), 'row 2, column "c": "3 4e40" is beyond'),
    "lists beyond float32": ({"kind": "vector"}, pl.Series([[1.0, 2.0], [3.0, 4e40]]), 'row 2, column "c": .* is beyond'),
    "numbers that float32 takes for one": ({"kind": "number"}, pl.Series([16777216, 16777217]), "all rows of here have the number"),
    "lists as numbers": ({"kind": "number"}, pl.Series([[1, 2], [3, 4]]), 'row 1, column "c": .* is no number'),
    "lists as classes": ({"kind": "classes"}, pl.Series([["a"], ["b"]]), 'row 1, column "c": .* is none of the values'),
    "bytes as classes": ({"kind": "classes"}, pl.Series([b"a", b"b"]), 'row 1, column "c": .* is none of the values'),
    "structs as a vector": ({"kind": "vector"}, pl.Series([{"x": 1.0}, {"x": 2.0}]), 'row 1, column "c": .* is no vector'),
    "lists of lists as a vector": ({"kind": "vector"}, pl.Series([[[1.0]], [[2.0]]]), 'row 1, column "c": .* is no vector'),
    "a vector that is missing": ({"kind": "vector"}, pl.Series([[1.0, 2.0], None, None]), 'row 2, column "c": "None" is no vector of 2 numbers'),
    "a vector with a hole": ({"kind": "vector"}, pl.Series([[1.0, 2.0], [3.0, None]]), 'row 2, column "c": .* is no vector of 2 numbers'),
    "a shorter vector": ({"kind": "vector"}, pl.Series([[1.0, 2.0], [3.0], [4.0, 5.0]]), 'row 2, column "c": .* is no vector of 2 numbers'),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_TARGETS)
def test_a_cell_that_is_no_target_is_refused_with_its_place(case: str) -> None:
    options, cells, message = NO_TARGETS[case]
    with pytest.raises(DataError, match=message):
        labelled(pl.DataFrame({"c": cells}), Target(**options), "c", "here", {})


def test_no_more_classes_than_a_probe_tells_apart(tmp_path: Path) -> None:
    """Whatever names them; a pair has two sides whatever its answers."""
    labels = [f"a{number % 1001}" for number in range(2002)]
    table = things(2002).with_columns(label=pl.Series(labels), group=pl.int_range(2002))
    names = tuple(f"a{number}" for number in range(1001))
    target = condition(tmp_path, table, column="label", kind="classes")
    answers = msgspec.structs.replace(condition(tmp_path, table), prompt=Prompt(template="{{ text }}", answers=names))
    for made, says in (
        (target, 'column "label" of things.csv has 1,001 values'),
        (answers, "prompt.answers: 1,001 answers"),
    ):
        with pytest.raises(DataError, match=says):
            build(made, {}, tmp_path, None)
    pairs = Prompt(template="{{ text }} {{ answer }}", answers=names)
    assert build(msgspec.structs.replace(answers, prompt=pairs), {}, tmp_path, None).frame.height == 2 * 2002


LEFT_OUT: dict[str, tuple[dict[str, Any], str, str]] = {
    # What stands in a row that is left out, and what is said where it is kept.
    "no number": ({"column": "weight", "kind": "number"}, "n/a", 'row 8, column "weight": "n/a" is no number'),
    "a number beyond float32": ({"column": "weight", "kind": "number"}, "1e39", 'row 8, column "weight": "1e39" is beyond'),
    "no vector": ({"column": "place", "kind": "vector"}, "nowhere", 'row 8, column "place": "nowhere" is no vector'),
    "another class than those named": ({"column": "shape", "kind": "classes", "values": ("round", "square", "flat")}, "?", 'row 8, column "shape": "[?]" is none'),
    "a third of two": ({"column": "half", "kind": "binary"}, "?", 'column "half" of things.csv has 3 values'),
    "a class of one member": ({"column": "shape", "kind": "classes"}, "hollow", "cannot be split so that every part"),
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT_OUT)
def test_where_leaves_out_rows_of_which_the_target_is_none(case: str, tmp_path: Path) -> None:
    """The control keeps them, and is refused with the row of the file."""
    options, bad, says = LEFT_OUT[case]
    sound = things().with_columns(
        keep=pl.lit("yes"), half=pl.Series(["low", "high"] * 30), weight=pl.col("weight").cast(pl.String)
    )
    odd = {"text": "odd", "keep": "no", "group": 99, options["column"]: bad}
    broken = sound.head(1).with_columns(
        pl.lit(value, dtype=sound.schema[name]).alias(name) for name, value in odd.items()
    )
    table = pl.concat([sound.head(7), broken, sound.tail(53)])

    def drawn(**where: str) -> pl.DataFrame:
        made = condition(tmp_path, table, **options)
        return sampled(msgspec.structs.replace(made.data, where=where, balance=False), (), tmp_path).examples

    kept, without = drawn(keep="yes"), sampled(condition(tmp_path, sound, **options).data, (), tmp_path).examples
    assert len(kept) == 60
    assert "odd" not in kept["text"]
    assert kept["label"].n_unique() == without["label"].n_unique()
    assert kept.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    with pytest.raises(DataError, match=says):
        drawn()


def test_groups_stay_whole_where_numbers_are_divided() -> None:
    table = pl.DataFrame(
        {
            "example": [str(n) for n in range(40)],
            "group": [str(n // 4) for n in range(40)],
            "label": [float(n) for n in range(40)],
        }
    )
    rows = arrange(table, Data(limit=None, split=Split(train=0.5, test=0.5)), "here", kind=NUMBER)
    assert rows.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(rows["split"]) == {"train", "test"}


def test_shuffles_move_whole_labels_of_any_kind() -> None:
    group = np.arange(20)
    for values in (RANDOM.integers(5, size=20), RANDOM.standard_normal((20, 3)).astype(np.float32)):
        shuffled = shuffled_labels(values, group, 4, 0)
        assert shuffled.shape == (4, *values.shape)
        assert shuffled.dtype == values.dtype
        for one in shuffled:
            assert sorted(map(str, one.tolist())) == sorted(map(str, values.tolist()))
            assert not np.array_equal(one, values)


def test_labels_are_cut_by_rows_whatever_they_are() -> None:
    vector = RANDOM.standard_normal((6, 3)).astype(np.float32)
    labels = Labels(
        {"truth": np.arange(6) % 2, "place": vector}, np.arange(6), factors={"place": Factor("place", kind="vector")}
    )
    some = labels.at(row=[1, 4])
    assert np.array_equal(some.targets["place"], vector[[1, 4]])
    assert list(some.binary) == ["truth"]
    assert labels.kind_of("truth") is BINARY


@pytest.mark.parametrize("name", ["classes", "number", "vector"])
def test_a_score_is_put_on_the_scale_of_a_target_by_training_rows(name: str) -> None:
    kind = KINDS[name]  # type: ignore[index]
    score = RANDOM.standard_normal((2, 3, 200))
    if kind.in_classes:
        values = np.searchsorted([-0.5, 0.5], score[0, 1])
    else:
        values = np.stack([2 * score[0, 1] + 5, -score[0, 1]], axis=1).astype(np.float32)[
            :, : 1 if name == "number" else 2
        ]
    said = kind.guessed(score, values, score, 3)
    assert said.shape == (2, 3, 200, 3 if kind.in_classes else values.shape[1])
    if kind.in_classes:
        assert np.allclose(np.exp(said).sum(axis=-1), 1, atol=1e-5)
        found = (said.argmax(axis=-1) == values).mean(axis=-1)
        assert found[0, 1] > 0.85
        assert found[1, 0] < 0.6
    else:
        off = np.square(said - values).mean(axis=(-1, -2))
        assert off[0, 1] < 1e-8
        assert off[1, 0] > 0.5


def spec_of(**options: Any) -> dict[str, Any]:
    """A run of the planted bed with statements, a class of five, a number and a vector, at one layer only."""
    model = {
        "bed": "planted",
        "statements": True,
        "colour": 4,
        "size": 3,
        "place": 3,
        "only_at": 2,
        "answer": 0,
        "context": 0,
    }
    return {
        "harness": 1,
        "name": "kinds",
        "model": model,
        "data": {"limit": 500, "split": {"train": 0.6, "test": 0.4}},
        "activations": {"layers": [1, 2]},
        "layer": 2,
        "seeds": 6,
        "rows": False,
        **options,
    }


def ran(tmp_path: Path, **options: Any) -> pipeline.Outcome:
    path = tmp_path / "kinds.yaml"
    path.write_text(yaml.safe_dump(spec_of(**options)))
    return pipeline.run(path, out=tmp_path / "reports", store=Store(tmp_path / "store"), page=False)


PLANTED = {
    "truth": ({}, "logistic_regression", "accuracy", 0.9),
    "colour": ({"column": "colour", "kind": "classes"}, "logistic_regression", "accuracy", 0.8),
    "size": ({"column": "size", "kind": "number"}, "ridge", "r2", 0.7),
    "place": ({"column": "place", "kind": "vector"}, "ridge", "r2", 0.7),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_at_one_layer_is_found_there_and_nowhere_else(what: str, tmp_path: Path) -> None:
    target, probe, metric, found = PLANTED[what]
    data = {**spec_of()["data"], **({"target": target} if target else {})}
    checks = [
        {"kind": "chance_on_shuffled_labels", "probe": probe, "metric": metric, "shuffles": 20, "margin": 0.1},
        {"kind": "beats_random", "probe": probe, "metric": metric},
        {"kind": "selective", "probe": probe, "metric": metric},
    ]
    outcome = ran(tmp_path, data=data, probes=[probe, "random"], baselines=False, metrics=[metric], checks=checks)
    results = pl.read_parquet(outcome.folder / "results.parquet")
    own = results.filter(pl.col("probe") == probe, pl.col("target") == "truth", pl.col("metric") == metric)
    by_layer = dict(own.select("layer", "value").iter_rows())
    chance = {"truth": 0.5, "colour": 1 / len(COLOURS)}.get(what, 0.0)
    assert by_layer[2] > found
    assert by_layer[1] < chance + 0.12
    findings = dict(outcome.checks.select("check", "finding").iter_rows())
    assert findings["beats_random"] == "pass"
    assert findings["chance_on_shuffled_labels"] == "pass"
    text = (outcome.folder / "report.md").read_text()
    assert ("## What was said, beside what is true" in text) == (what != "truth")


def test_a_factor_may_be_a_number_and_a_probe_be_fitted_on_it(tmp_path: Path) -> None:
    outcome = ran(
        tmp_path, probes=[{"kind": "ridge", "target": "size"}, "logistic_regression"], baselines=False, metrics=["accuracy", "r2"],
    )  # fmt: skip
    results = pl.read_parquet(outcome.folder / "results.parquet").filter(pl.col("layer") == 2)
    value = dict(results.select(pl.concat_str("probe", "target", "metric", separator=" "), "value").iter_rows())
    assert value["ridge@size size r2"] > 0.7
    assert value["logistic_regression truth accuracy"] > 0.9
    # A probe of the truth is put on the number's scale, and tells nothing of it; one of the number answers in its own terms only.
    assert value["logistic_regression size r2"] < 0.1
    assert "ridge@size truth accuracy" not in value


def test_the_planted_bed_is_the_same_where_nothing_else_is_asked_for() -> None:
    plain, more = Planted(), Planted(colour=2, size=1)
    table, other = plain.load(20, 3), more.load(20, 3)
    assert table.equals(other.select(table.columns))
    tokens = table["tokens_1"].to_list()
    moved = more.states(tokens) - plain.states(tokens)
    assert float(moved[0].abs().max()) == 0
    assert float(moved[-1].abs().max()) > 0.1
    statements = Planted(statements=True)
    assert statements.states(statements.load(20, 3)["tokens_0"].to_list()).equal(plain.states(tokens))


PROBLEMS = {
    "needs pairs": ({"probes": ["ccs"]}, "ccs needs contrast pairs"),
    "of a number": ({"probes": ["lda"], "metrics": ["r2"], "data": {"target": {"column": "size", "kind": "number"}}}, "lda is fitted on binary or classes targets, and truth of main is a number; use ridge"),
    "a metric": ({"probes": ["ridge"], "data": {"target": {"column": "size", "kind": "number"}}}, "none of the metrics measures it; write metrics: [r2]"),
    "a check": ({"probes": ["ridge"], "metrics": ["r2"], "data": {"target": {"column": "size", "kind": "number"}}, "checks": [{"kind": "beats_random", "probe": "ridge"}]}, "accuracy does not measure truth of main, which is a number; write metric: r2"),
    "agreement": ({"probes": ["lda"], "data": {"target": {"column": "colour", "kind": "classes"}}, "checks": [{"kind": "stable_across_seeds", "probe": "lda"}]}, "stable_across_seeds compares answers of two values, and the truth of main is one of several classes"),
    "a target of pairs": ({"probes": ["lda"], "model": {"bed": "planted", "layers": 3, "colour": 1.0}, "data": {"target": {"column": "colour", "kind": "classes"}}}, "data.target: of a contrast pair the truth is which answer is right; take `target` out"),
    "a layer that is not there": ({"probes": ["lda"], "model": {"bed": "planted", "layers": 3, "only_at": 3}}, "model.only_at: no layer 3; this bed has layers 0 to 2"),
    "half of what is no answer": ({"probes": ["lda"], "data": {"half": "red"}}, 'data.half: no answer "red"; known: no, yes'),
    "half of what is not balanced": ({"probes": ["lda"], "data": {"half": "no", "balance": False}}, "data.half: `half` says how to balance, and `balance` is false"),
    "geometry": ({"probes": ["lda"], "geometry": True}, "geometry looks at x⁺ − x⁻, and the rows of main are statements"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_a_spec_says_with_the_place_what_does_not_go_together(case: str, tmp_path: Path) -> None:
    options, message = PROBLEMS[case]
    path = tmp_path / "kinds.yaml"
    path.write_text(yaml.safe_dump(spec_of(**options)))
    with pytest.raises(SpecError) as caught:
        language.read(path)
    assert message in str(caught.value)
    assert f"{path}:" in str(caught.value)


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
def test_the_head_of_a_large_file_says_nothing_of_what_comes_later(kind: str, tmp_path: Path) -> None:
    """A file that is sorted by its target is as good as any; the control is one in which all rows have one value."""
    rows, spec = 40_000, tmp_path / "x.yaml"
    spec.write_text(
        "harness: 1\nname: x\nmodel: smollm2-135m-instruct\n"
        + f"data: {{source: {{file: big.csv}}, limit: 60, target: {{column: shade, kind: {kind}}}}}\n"
        + f'prompt: {{template: "{{{{ text }}}}"}}\nprobes: [{"ridge" if kind == "number" else "lda"}]\nmetrics: [{"r2" if kind == "number" else "auroc"}]\nbaselines: false\n'
    )
    for sorted_by, refused in (([0] * (rows // 2) + [1] * (rows // 2), False), ([0] * 50, True)):
        texts = [f"a statement about the thing of number {number:06d}" for number in range(len(sorted_by))]
        table = pl.DataFrame(
            {"text": texts, "shade": sorted_by, "label": [number % 2 for number in range(len(sorted_by))]}
        )
        table.write_csv(tmp_path / "big.csv")
        if refused:
            with pytest.raises(SpecError, match=r"at least two are needed|has 1 values"):
                language.read(spec, look=True)
        else:
            assert (tmp_path / "big.csv").stat().st_size > 2**20
            language.read(spec, look=True)


@pytest.mark.parametrize("template", ["{{ q }}", "{{ q }} {{ answer }}"])
def test_no_factor_of_a_file_has_the_name_of_another_column(template: str, tmp_path: Path, tiny_llama: Path) -> None:
    tokenizer = LanguageModel(describe(Model(id=str(tiny_llama)), tmp_path)).load_tokenizer()
    places = []
    for name in (*sorted(TAKEN), "number", "line", "right", "token"):
        table = pl.DataFrame(
            {"q": [f"thing {n}" for n in range(40)], "y": [n % 2 for n in range(40)], name: ["a", "a", "b", "b"] * 10}
        )
        table.write_csv(tmp_path / "things.csv")
        source = find("data", "file")(file="things.csv", text="q", label="y", factor_columns=(name,))  # type: ignore[call-arg]
        made = Condition(
            name="main", model=Model(id="any"), data=Data(source=source, limit=None), distractors=(), activations=Activations(),  # type: ignore[arg-type]
            prompt=Prompt(template=template, answers=("no", "yes")),
        )  # fmt: skip
        if name in TAKEN:
            with pytest.raises(DataError, match=f'things.csv: the factor column "{name}" needs another name'):
                build(made, {}, tmp_path, tokenizer)
        else:
            found = build(made, {}, tmp_path, tokenizer)
            assert [factor.name for factor in found.factors] == ["truth", name]
            # The control: whatever it is called, it moves no answer.
            places.append(found.frame.sort("text").select("answer_start", "answer_end").rows())
    assert places[0] == places[1] == places[2] == places[3]
