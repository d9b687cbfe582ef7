"""States that somebody else made: what is exported and read again gives the same numbers, whatever form the array has."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from harness import language, pipeline
from harness.contracts import Pairs
from harness.contracts.data import TAKEN
from harness.contracts.kind import find
from harness.errors import DataError, SpecError, UsageError
from harness.fitting.fit import Fitting, score, training_pairs
from harness.imported.arrays import open_array
from harness.imported.own_rows import ImportedRows
from harness.imported.states_card import Card, Columns, open_folder
from harness.imported.states_folder import write_folder
from harness.machine.progress import Reporter
from harness.prompts.building import build, own_examples
from harness.prompts.examples import PART
from harness.scoring.score import Labels
from harness.spec import Activations, Condition, Data, Prompt, StatesFolder, Target
from harness.store import Store
from harness.subjects.imported import ImportedStates
from tests.test_cli import harness

PLANTED = """harness: 1
name: planted
model: {bed: planted, layers: 3, d_model: 16, truth: 2.0}
data: {limit: 60}
probes: [mean_difference, logistic_regression, ccs]
seeds: 2
"""
IMPORTED = PLANTED.replace("name: planted", "name: imported").replace(
    "{bed: planted, layers: 3, d_model: 16, truth: 2.0}", "{states: states/main}"
)
ROWS, LAYERS, WIDTH = 12, 3, 4


def card(**changes: Any) -> dict[str, Any]:
    return {
        "harness_states": 1, "states": "states.npy", "rows": "rows.csv", "columns": {"label": "y", "group": "who"},
        "answers": ["no", "yes"],
    } | changes  # fmt: skip


def folder_of(place: Path, array: np.ndarray, table: pl.DataFrame | None = None, **changes: Any) -> Path:
    """A folder of states as somebody else may have written it."""
    place.mkdir(parents=True, exist_ok=True)
    if table is None:
        table = pl.DataFrame(
            {"y": [number % 2 for number in range(ROWS)], "who": [f"g{number // 2}" for number in range(ROWS)]}
        )
    table.write_csv(place / "rows.csv")
    np.save(place / "states.npy", array)
    (place / "states.json").write_text(json.dumps(card(**changes)))
    return place


def condition_of(name: str, **data: Any) -> Condition:
    """All rows of a folder of states."""
    return Condition(
        name="main",
        model=StatesFolder(states=name),
        data=Data(limit=None, **data),
        prompt=Prompt(),
        distractors=(),
        activations=Activations(),
    )


def labels_of(base: Path) -> list[int]:
    """The labels of all rows of the folder `s`, in its order."""
    rows = ImportedRows(open_folder("s", base), PART)
    return own_examples(rows, Data(limit=None, balance=False), ROWS).examples.sort("example")["label"].to_list()


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("form", ["safetensors", "npy", "zarr"])
def test_what_is_exported_gives_the_same_numbers(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.yaml").write_text(PLANTED)
    (tmp_path / "imported.yaml").write_text(IMPORTED)
    said = harness("export", "planted.yaml", "--out", "states", "--format", form, "--store", "store", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "3 × 60 × 2 × 16 numbers, 60 rows" in said.stdout
    reports = {}
    for name in ("planted", "imported"):
        done = pipeline.run(
            tmp_path / f"{name}.yaml", store=Store(tmp_path / "store"), reporter=Reporter(quiet=True), page=False
        )
        reports[name] = pl.read_csv(done.folder / "results.csv").drop("run", strict=False)
    numbers = [name for name, dtype in reports["planted"].schema.items() if dtype.is_numeric()]
    ours, theirs = (reports[name].select(numbers).to_numpy() for name in ("planted", "imported"))
    assert np.nanmax(np.abs(ours - theirs)) <= 1e-6
    assert reports["planted"].drop(numbers).equals(reports["imported"].drop(numbers))
    again = harness("export", "planted.yaml", "--out", "states", "--store", "store", folder=tmp_path)
    assert again.returncode == 2 and "is not empty" in again.stderr


TOKENS = """harness: 1
name: planted
model: {id: ROOT, dtype: float32}
data: {source: {file: w.csv}, limit: null}
prompt: {template: "Say {% span word %}{{ text }}{% endspan %} now", answers: ["no", "yes"]}
activations: {layers: [1, 2], read: {span: word, pool: each}}
baselines: false
probes: [logistic_regression]
"""
WAYS = {
    "planted": PLANTED.replace("truth: 2.0}", "truth: 0.0}\nplant: {strength: 3.0}"),
    "named as a column": TOKENS.replace(", read: {span: word, pool: each}", "") + "distractors: {row: {kind: coin}, group_: {kind: coin}}\n",
    "tokens": TOKENS,
    "tokens, asked in two ways": TOKENS.replace('prompt: {template: "', 'prompt: {templates: {b: "Or {% span word %}{{ text }}{% endspan %}", a: "').replace(' now"', ' now"}'),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_whatever_is_exported_is_what_probes_were_given(
    way: str, tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted directions, factors that are called like a column of the table, tokens as rows: read again, the numbers are the same."""
    monkeypatch.chdir(tmp_path)
    words = [f"{('red', 'blue')[number % 2]} thing {number}" for number in range(40)]
    pl.DataFrame({"text": words, "label": [number % 2 for number in range(40)]}).write_csv(tmp_path / "w.csv")
    own = WAYS[way].replace("ROOT", str(tiny_llama))
    (tmp_path / "planted.yaml").write_text(own)
    store = Store(tmp_path / "store")
    said = harness("export", "planted.yaml", "--out", "states", "--store", "store", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    read = [
        line
        for line in own.split("\n")
        if not line.startswith(("model", "plant", "distractors", "prompt", "activations", "data"))
    ]
    imported = "\n".join(read).replace("name: planted", "name: imported") + "model: {states: states/main}\n"
    (tmp_path / "imported.yaml").write_text(imported + "data: {limit: null, balance: false}\n")
    tables = []
    for name in ("planted", "imported"):
        done = pipeline.run(tmp_path / f"{name}.yaml", store=store, reporter=Reporter(quiet=True), page=False)
        found = pl.read_csv(done.folder / "results.csv")
        tables.append(
            found.filter(pl.col("probe") != "random").select("probe", "layer", "target", "metric", "value", "n")
        )
    keys = ["probe", "layer", "target", "metric"]
    ours, theirs = (table.sort(keys) for table in tables)
    assert ours.select(*keys, "n").equals(theirs.select(*keys, "n"))
    assert np.nanmax(np.abs(ours["value"].to_numpy() - theirs["value"].to_numpy())) <= 1e-6
    if way == "planted":
        assert theirs.filter(probe="mean_difference", target="truth", metric="accuracy")["value"].max() > 0.9


@pytest.mark.parametrize(
    "axes", [("row", "layer", "d_model"), ("layer", "row", "d_model"), ("d_model", "layer", "row")]
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_arrays_are_read_by_layer_whatever_their_order(axes: tuple[str, ...], dtype: str, tmp_path: Path) -> None:
    whole = random(LAYERS, ROWS, WIDTH).astype(dtype)
    own = np.moveaxis(whole, [0, 1, 2], [axes.index(axis) for axis in ("layer", "row", "d_model")])
    folder_of(tmp_path / "s", np.ascontiguousarray(own), axes=axes, layers=[0, 5, 9])
    array = open_array(open_folder("s", tmp_path))
    assert array.layers == (0, 5, 9)
    read = array.read(5, [7, 2, 2, 11])
    assert torch.equal(read[:, 0], torch.from_numpy(whole[1][[7, 2, 2, 11]]).float())


def test_an_array_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the array, no more is taken out at once than was allowed."""
    monkeypatch.setattr("harness.imported.arrays._AT_ONCE", 4 * WIDTH * 5)
    whole = random(LAYERS, ROWS, WIDTH)
    opened = open_folder("s", folder_of(tmp_path / "s", whole, axes=["layer", "row", "d_model"]).parent)
    array, taken = open_array(opened), []

    def watched(at: tuple[slice, ...]) -> torch.Tensor:
        taken.append(array.take(at).numel())
        return array.take(at)

    read = type(array)(opened, array.shape, watched).read(1, range(ROWS))
    assert torch.equal(read[:, 0], torch.from_numpy(whole[1]))
    assert taken == [5 * WIDTH, 5 * WIDTH, 2 * WIDTH]


def test_a_subject_of_states_says_what_it_has(tmp_path: Path) -> None:
    folder_of(tmp_path / "s", random(ROWS, LAYERS, WIDTH), layers=[2, 4, 6])
    subject = ImportedStates(open_folder("s", tmp_path))
    assert (subject.layers, subject.only_layers, subject.d_model, subject.views) == (7, (2, 4, 6), WIDTH, 1)
    assert not (subject.says or subject.alterable or subject.tokenizer) and subject.untrainable
    before = subject.identity
    folder_of(tmp_path / "s", random(ROWS, LAYERS, WIDTH) + 1, layers=[2, 4, 6])
    assert ImportedStates(open_folder("s", tmp_path)).identity != before, "other numbers are other states"
    rows = ImportedRows(open_folder("s", tmp_path), "part").load(0, 0)
    assert rows["tokens_0"].to_list() == [[number, 0] for number in range(ROWS)]
    assert rows["group"].to_list() == [f"g{number // 2}" for number in range(ROWS)]


def test_statements_are_probed_and_what_needs_a_network_says_so(tmp_path: Path) -> None:
    """A planted direction is found in states without a network; the network's own answer is left out, and the report says so."""
    random_rows = np.random.default_rng(3)
    label = np.arange(80) % 2
    array = random_rows.standard_normal((80, 2, 8)).astype(np.float32)
    array[:, 1, 0] += 4 * label
    table = pl.DataFrame(
        {"y": ["yes" if one else "no" for one in label], "who": [f"g{number}" for number in range(80)]}
    )
    folder_of(tmp_path / "s", array, table)
    spec = tmp_path / "x.yaml"
    spec.write_text("harness: 1\nname: x\nmodel: {states: s}\nprobes: [logistic_regression]\nseeds: 2\n")
    store = Store(tmp_path / "store")
    done = pipeline.run(spec, store=store, out=tmp_path / "r", reporter=Reporter(quiet=True), page=False)
    found = pl.read_csv(done.folder / "results.csv").filter(
        pl.col("metric") == "auroc", pl.col("probe") == "logistic_regression"
    )
    assert found["value"].max() > 0.95
    assert "zero_shot" not in found["probe"].to_list()
    assert not list((tmp_path / "store").glob("states/*")), "states are read where they lie"
    spec.write_text(spec.read_text() + "interventions: [logistic_regression]\n")
    with pytest.raises(Exception, match="states that somebody made and has no answer"):
        pipeline.run(spec, store=store, out=tmp_path / "r", reporter=Reporter(quiet=True), page=False)


OF_PAIRS = {
    "a probe of pairs": ({"probes": "[ccs]"}, "ccs needs contrast pairs, and the rows of main are statements"),
    "another one": ({"probes": "[vinc]"}, "vinc needs contrast pairs, and the rows of main are statements"),
    "geometry": ({"geometry": "true"}, "geometry looks at x⁺ − x⁻, and the rows of main are statements"),
    "autopsy": ({"autopsy": "[lda]"}, "autopsy looks at answers to questions, and the rows of main are statements"),
    "of two": (
        {"probes": "[mean_difference]", "answers": ["a", "b", "c"]},
        "mean_difference is fitted on binary targets, and truth of main is one of several classes",
    ),
    "of numbers": ({"probes": "[ridge]", "answers": ["a", "b", "c"]}, "and truth of main is one of several classes"),
    "metric": ({"metrics": "[brier]", "answers": ["a", "b", "c"]}, "none of the metrics measures it"),
    "transfer": (
        {
            "conditions": "{main: {model: {states: s}}, pairs: {model: {bed: planted, layers: 3, d_model: 4}}}",
            "transfer": "[{fit_on: pairs, tested_on: [main]}]",
        },
        r"a probe of contrast pairs \(pairs\) cannot be tested on statements \(main\)",
    ),
}


@pytest.mark.parametrize("case", OF_PAIRS)
def test_what_is_said_of_statements_is_said_of_imported_ones(case: str, tmp_path: Path) -> None:
    """The card says how many views a row has and what its truth is: nothing else is opened to refuse a spec with its place."""
    options, message = OF_PAIRS[case]
    given = {"probes": "[lda]", **options}
    folder_of(tmp_path / "s", SOUND, answers=given.pop("answers", ["no", "yes"]))  # type: ignore[arg-type]
    lines = "".join(f"{key}: {value}\n" for key, value in given.items())
    spec = tmp_path / "x.yaml"
    model = "" if "conditions" in given else "model: {states: s}\n"
    spec.write_text(f"harness: 1\nname: x\n{model}baselines: false\n{lines}")
    with pytest.raises(SpecError, match=message):
        language.read(spec)
    # The control: what statements can have.
    spec.write_text("harness: 1\nname: x\nmodel: {states: s}\nprobes: [logistic_regression]\n")
    language.read(spec)


@pytest.mark.parametrize("probe", ["ccs", "lda", "mean_difference"])
def test_rows_of_another_number_of_views_are_not_scored(probe: str) -> None:
    """Whatever let them through: states of two views are not broadcast over one."""
    truth = np.arange(40) % 2
    both = torch.from_numpy(random(1, 40, 2, WIDTH))
    labels = Labels({"truth": truth}, np.arange(40))
    fitting = Fitting({"train": Pairs(both, torch.zeros(40, dtype=torch.int64))}, {"train": labels})
    kind = find("probes", probe)()
    readout = kind.fit(training_pairs(kind, fitting), range(1))  # type: ignore[attr-defined]
    places = {"fit_on": "a", "tested_on": "b", "layers": (0,)}
    scored = score(readout, kind, fitting, fitting.states["train"], labels, **places)  # type: ignore[arg-type]
    assert scored.test.score.shape[-1] == 40, "the control"
    one = Pairs(both[:, :, :1], torch.zeros(40, dtype=torch.int64))
    with pytest.raises(UsageError, match="was fitted on rows of 2 views and is applied to rows of 1"):
        score(readout, kind, fitting, one, labels, **places)  # type: ignore[arg-type]


DIVIDED = {
    "seed": ("{}", "{seed: 1}", "give both conditions the same data.seed"),
    "shares": ("{}", "{split: {train: 0.4, test: 0.6}}", "give both conditions the same data.seed"),
    "rows": ("{limit: 60}", "{limit: 40}", "give both conditions the same data.seed"),
    "target": ("{}", "{target: {column: f, kind: binary}}", "two targets of the same rows are two splits"),
}


@pytest.mark.parametrize("what", DIVIDED)
def test_rows_that_were_learnt_from_are_not_tested_elsewhere(what: str, tmp_path: Path) -> None:
    """Whatever makes the parts of two conditions of the same rows differ; the control is two conditions of one split."""
    first, second, message = DIVIDED[what]
    table = pl.DataFrame(
        {"y": np.arange(80) % 2, "f": ["p", "p", "q", "q"] * 20, "who": [f"g{number}" for number in range(80)]}
    )
    folder_of(tmp_path / "s", random(80, 1, WIDTH), table, factors={"f": ["p", "q"]})
    spec = tmp_path / "x.yaml"
    head = "harness: 1\nname: x\nmodel: {states: s}\nbaselines: false\nprobes: [lda]\ntransfer: [{fit_on: a, tested_on: [a, b]}]\n"
    options = {
        "store": Store(tmp_path / "store"), "out": tmp_path / "r", "reporter": Reporter(quiet=True), "page": False
    }  # fmt: skip
    spec.write_text(f"{head}conditions: {{a: {{data: {first}}}, b: {{data: {second}}}}}\n")
    with pytest.raises(DataError, match=f"groups of rows are fitted in a and tested in b; .*{message}"):
        pipeline.run(spec, **options)  # type: ignore[arg-type]
    spec.write_text(f"{head}conditions: {{a: {{data: {first}}}, b: {{data: {first}}}}}\n")
    pipeline.run(spec, **options)  # type: ignore[arg-type]


def test_unequal_classes_that_nothing_is_known_of_are_chance(tmp_path: Path) -> None:
    """A fit on shuffled labels answers by the shares of the classes, which is right less often than always saying the commonest."""
    rng = np.random.default_rng(0)
    codes = rng.choice(3, 300, p=[0.7, 0.15, 0.15])
    states = rng.standard_normal((300, 1, 60)).astype(np.float32)
    states[:, 0, :3] += 4 * np.eye(3)[codes]
    table = pl.DataFrame({"y": codes, "who": [f"g{number}" for number in range(300)]})
    folder_of(tmp_path / "s", states, table, answers=["a", "b", "c"])
    spec = tmp_path / "x.yaml"
    spec.write_text(
        "harness: 1\nname: x\nmodel: {states: s}\ndata: {balance: false}\nbaselines: false\nprobes: [{kind: logistic_regression, l2: 0.1}]\n"
        "metrics: [accuracy]\nchecks: [{kind: chance_on_shuffled_labels, probe: logistic_regression, shuffles: 10}]\n"
    )
    done = pipeline.run(
        spec, store=Store(tmp_path / "store"), out=tmp_path / "r", reporter=Reporter(quiet=True), page=False
    )
    (found,) = done.checks.iter_rows(named=True)
    assert found["finding"] == "pass" and found["value"] < -0.05
    known = pl.read_csv(done.folder / "results.csv").filter(metric="accuracy", target="truth")
    assert known["value"].max() > 0.75, "the control: there is something to know"


SOUND = random(ROWS, LAYERS, WIDTH)
SPOILED = SOUND.copy()
SPOILED[4, 1, 2] = np.nan
FEW = pl.DataFrame({"y": [0, 1], "who": ["a", "b"]})


@pytest.mark.parametrize(
    ("array", "table", "changes", "message"),
    [
        (SOUND, FEW, {}, r"s/rows\.csv: 2 rows, and the array has 12"),
        (SPOILED, None, {}, r"s/states\.npy: row 5 is not finite at layer 1"),
        (SOUND.astype(np.int64), None, {}, r"s/states\.npy: numbers of the format int64; states are float16"),
        (SOUND.astype("U4"), None, {}, r"s/states\.npy: numbers of the format str"),
        (SOUND[0], None, {}, r"s/states\.npy: 2 axes, .* the card names 3: row, layer, d_model"),
        (SOUND, None, {"layers": [0, 1]}, r"3 layers, and the card numbers 2"),
        (SOUND, None, {"axes": ["row", "view", "layer", "d_model"]}, r"3 axes"),
        (SOUND[:, :, None], None, {"axes": ["row", "layer", "view", "d_model"]}, r"1 views; a contrast pair has two"),
        (SOUND[:0], None, {}, r"holds nothing"),
        (SOUND, None, {"axes": ["row", "row", "layer"]}, r"s/states\.json: .axes. names layer, row and d_model"),
        (SOUND, None, {"columns": {"label": "z"}}, r's/states\.json: rows\.csv has no column "z"; its columns: y, who'),
        (
            SOUND,
            None,
            {"answers": ["far", "near"], "columns": {"label": "who"}},
            r'row 1: the label "g0" is neither an answer nor its index; labels are 0 \(far\), 1 \(near\)',
        ),
        (SOUND, None, {"columns": {"label": "y", "split": "who"}}, r'row 1, column "who": "g0" is none of train'),
        (SOUND, None, {"columns": {"label": "y", "example": "who"}}, r'row 1, column "who": "g0" names two rows'),
        (SOUND, None, {"factors": {"who": ["a", "b"]}}, r'column "who": "g0" is none of its values: a, b'),
        (SOUND, None, {"states": "../s/states.npy"}, r"s/states\.json: .* leads out of its folder"),
        (SOUND, None, {"rows": "/etc/passwd"}, r"s/states\.json: .* leads out of its folder"),
        (SOUND, None, {"states": "other.npy"}, r's/states\.json: there is no "other\.npy"'),
        (SOUND, None, {"states": "rows.csv"}, r"an array ends in \.safetensors, \.npy, \.zarr"),
        (SOUND, None, {"more": 1}, r"s/states\.json: .*unknown field .more."),
        (SOUND, None, {"rows": "."}, r's/states\.json: `rows`: "\." is no file; name the table'),
        (
            SOUND,
            None,
            {"factors": {"who": ["a"]}},
            r's/states\.json: `factors`: "who" has two different values at least',
        ),
        (
            SOUND,
            None,
            {"factors": {"who": ["a", "a"]}},
            r's/states\.json: `factors`: "who" has two different values at least',
        ),
        (SOUND, None, {"factors": {"y": ["0", "1"]}}, r's/states\.json: `factors`: "y" needs another name'),
        (SOUND, None, {"factors": {"\x1fsplit": ["0", "1"]}}, r"s/states\.json: `factors`: .* needs another name"),
    ],
)
def test_what_does_not_fit_together_is_said_with_its_place(
    array: np.ndarray, table: pl.DataFrame | None, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder_of(tmp_path / "s", array, table, **changes)
    with pytest.raises((DataError, UsageError), match=message):
        opened = open_folder("s", tmp_path)
        labels_of(tmp_path)
        open_array(opened).read(1, range(ROWS))


OF_ROWS = pl.DataFrame(
    {
        "y": [number * 0.25 for number in range(ROWS)],
        "who": [f"g{number // 2}" for number in range(ROWS)],
        "size": [5 - number for number in range(ROWS)],
        "shape": [("round", "flat", "square")[number % 3] for number in range(ROWS)],
        "place": [f"{number} {-number}" for number in range(ROWS)],
    }
)


@pytest.mark.parametrize(
    ("target", "values", "truth"),
    [
        ({"kind": "number"}, (), OF_ROWS["y"].to_list()),
        ({"kind": "number", "column": "y"}, (), OF_ROWS["y"].to_list()),
        ({"kind": "number", "column": "size"}, (), OF_ROWS["size"].to_list()),
        ({"kind": "classes", "column": "shape"}, ("flat", "round", "square"), [1, 0, 2] * 4),
        ({"kind": "vector", "column": "place"}, (), [[number, -number] for number in range(ROWS)]),
    ],
)
def test_any_column_of_a_folder_is_a_target_of_any_kind(
    target: dict[str, Any], values: tuple[str, ...], truth: list[Any], tmp_path: Path
) -> None:
    folder_of(tmp_path / "s", SOUND, OF_ROWS)
    made = build(condition_of("s", target=Target(**target), balance=False), {}, tmp_path, None)
    assert made.factors[0].values == values
    assert made.frame.sort("example")["truth"].to_list() == truth
    # Rows are chosen by any column, too.
    kept = condition_of("s", target=Target(kind="number", column="size"), where={"shape": ("flat", "round")})
    assert sorted(build(kept, {}, tmp_path, None).frame["truth"]) == sorted(
        size for size, shape in OF_ROWS.select("size", "shape").iter_rows() if shape != "square"
    )


def test_a_column_that_a_folder_has_not_is_said_with_the_key_that_names_it(tmp_path: Path) -> None:
    folder_of(tmp_path / "s", SOUND, OF_ROWS)
    for key, options in (
        ("data.target.column", {"target": Target(kind="number", column="sise")}),
        ("data.where", {"where": {"sise": 1}}),
    ):
        with pytest.raises(DataError, match=rf'^{key}: s/rows\.csv has no column "sise"; did you mean "size"\?'):
            build(condition_of("s", **options), {}, tmp_path, None)


@pytest.mark.parametrize("views", [1, 2])
def test_no_factor_has_the_name_of_another_column(views: int, tmp_path: Path) -> None:
    states = random(ROWS, views, LAYERS, WIDTH)
    axes = ["row", "view", "layer", "d_model"]
    if views == 1:
        states, axes = states[:, 0], ["row", "layer", "d_model"]
    for name in (*sorted(TAKEN), "number", "line", "right", "token"):
        table = pl.DataFrame(
            {"y": [0, 1] * 6, "who": [f"g{number // 2}" for number in range(ROWS)], name: ["a", "a", "b"] * 4}
        )
        folder_of(tmp_path / "s", states, table, axes=axes, factors={name: ["a", "b"]})
        if name in TAKEN:
            with pytest.raises(UsageError, match=rf's/states\.json: `factors`: "{name}" needs another name'):
                open_folder("s", tmp_path)
        else:
            made = build(condition_of("s"), {}, tmp_path, None)
            assert [factor.name for factor in made.factors] == ["truth", name]
            of_rows = dict(made.frame.select("text", name).iter_rows())
            assert len(made.frame) == ROWS * views and set(of_rows.values()) == {0, 1}


def test_written_and_read_again(tmp_path: Path) -> None:
    whole = torch.from_numpy(random(LAYERS, ROWS, 2, WIDTH))
    table = pl.DataFrame({"y": ["no", "yes"] * 6})
    given = Card(
        harness_states=1, states="", rows="", columns=Columns(label="y"), axes=("layer", "row", "view", "d_model"), layers=(1, 2, 3)
    )  # fmt: skip
    for form in ("npy", "safetensors", "zarr"):
        write_folder(tmp_path / form, given, table, lambda at: whole[at], tuple(whole.shape), form)  # type: ignore[arg-type]
        array = open_array(open_folder(form, tmp_path))
        for number, layer in enumerate(array.layers):
            assert torch.equal(array.read(layer, range(ROWS)), whole[number])


NAMES = [
    ("no", "yes"), ("True", "False"), ("false", "true"), (" No", " Yes"), ("1.0", "2.0"), ("007", "008"), ("0", "1"), ("+", "-"),
    ("red", "green", "blue"), ("2.50", "1.5", "3"), ("NaN", "x"),
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_labels_are_what_they_were_written_as(names: tuple[str, ...], form: str, tmp_path: Path) -> None:
    """Whatever the answers are called: a cell that stands for the second is the second."""
    codes = [number % len(names) for number in range(ROWS)]
    table = pl.DataFrame({"y": [names[code] for code in codes], "who": [f"g{number // 2}" for number in range(ROWS)]})
    folder_of(tmp_path / "s", SOUND, table, answers=names, rows=f"rows.{form}")
    table.write_parquet(tmp_path / "s" / "rows.parquet")
    assert labels_of(tmp_path) == codes


@pytest.mark.parametrize("limit", [None, 6])
def test_groups_that_straddle_a_split_of_somebody_else_are_refused(limit: int | None, tmp_path: Path) -> None:
    """All rows count, also where few are drawn; the control is the same table with every group in one part."""
    whole = ["train", "train", "validation", "validation", "test", "test"] * 2
    parted = [*whole[:-1], "train"]
    columns = {"label": "y", "group": "who", "split": "part"}
    for parts in (whole, parted):
        table = pl.DataFrame({"y": [0, 1] * 6, "who": [f"g{number // 2}" for number in range(ROWS)], "part": parts})
        folder_of(tmp_path / "s", SOUND, table, columns=columns)
        rows, data = ImportedRows(open_folder("s", tmp_path), PART), Data(limit=limit)
        if parts is whole:
            assert own_examples(rows, data, ROWS).examples["split"].n_unique() == 3
        else:
            with pytest.raises(DataError, match=r's/rows\.csv: the group "g5" stands in several parts of the split'):
                own_examples(rows, data, ROWS)


def test_rows_are_chosen_of_imported_ones_and_of_a_beds(tmp_path: Path) -> None:
    """`data.where` keeps what it names, wherever rows come from, with the parts of the split that all groups have; the control is without."""
    table = pl.DataFrame(
        {
            "y": ["no", "yes", "odd"] * 40,
            "who": [f"g{number // 2}" for number in range(120)],
            "f": ["p", "p", "q", "q"] * 30,
        }
    )
    folder_of(tmp_path / "s", random(120, 1, WIDTH), table, factors={"f": ["p", "q"]})
    imported, bed = ImportedRows(open_folder("s", tmp_path), PART), find("beds", "planted")(statements=True)
    with pytest.raises(DataError, match='label "odd" is neither an answer nor its index'):
        own_examples(imported, Data(limit=None), 120)
    for rows, column, value, code in ((imported, "f", "q", 1), (bed, "word", bed.factors[0].values[1], 1)):  # type: ignore[attr-defined]
        answers = {"label": ("no", "yes")} if rows is imported else {}
        all_of = own_examples(rows, Data(limit=None, balance=False, where=answers), 120).examples
        kept = own_examples(rows, Data(limit=None, balance=False, where={**answers, column: value}), 120).examples
        own = all_of.filter(pl.col(column).to_physical() == code)
        assert 0 < len(kept) < len(all_of)
        assert (
            kept.select("example", "label", "split")
            .sort("example")
            .equals(own.select("example", "label", "split").sort("example"))
        )
        with pytest.raises(DataError, match=r"data\.where: .* has no column"):
            own_examples(rows, Data(where={"nowhere": 1}), 120)


def test_rows_by_the_million_are_no_values_of_python(tmp_path: Path) -> None:
    """Their table has a kilobyte of Python's memory for each row at most, names and hashes included; a dictionary of each has several."""
    count = 20_000
    labels = {"y": [number % 2 for number in range(count)], "who": [f"g{number // 2}" for number in range(count)]}
    folder_of(tmp_path / "s", random(count, 1, 2), pl.DataFrame(labels))
    made = Condition(
        name="main", model=StatesFolder(states="s"), data=Data(limit=None), prompt=Prompt(), distractors=(), activations=Activations()
    )  # fmt: skip
    tracemalloc.start()
    table = build(made, {}, tmp_path, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.frame.height == count
    assert peak < 1024 * count


def test_half_of_a_label_is_taken_of_any_rows(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    table = pl.DataFrame({"y": names * 40, "who": [f"g{number}" for number in range(120)]})
    folder_of(tmp_path / "s", random(120, 1, WIDTH), table, answers=names)
    rows = ImportedRows(open_folder("s", tmp_path), PART)
    counts = own_examples(rows, Data(limit=40, half="b"), 120).examples["label"].value_counts().sort("label")
    assert counts["count"].to_list() == [10, 20, 10]
    with pytest.raises(DataError, match='"d" is none of the answers'):
        own_examples(rows, Data(half="d"), 120)


def test_labels_that_are_names_and_indices_of_different_answers_are_not_guessed(tmp_path: Path) -> None:
    def labels(cells: list[int], names: list[str]) -> list[int]:
        table = pl.DataFrame({"y": cells, "who": [f"g{number}" for number in range(ROWS)]})
        folder_of(tmp_path / "s", SOUND, table, answers=names)
        return labels_of(tmp_path)

    indices = [number % 3 for number in range(ROWS)]
    assert labels(indices, ["1", "2", "3"]) == indices, "not all are names, so that they are indices"
    with pytest.raises(DataError, match="can be read as answers or as their indices, and the two differ"):
        labels(indices, ["2", "1", "0"])


def test_the_shipped_states_give_the_numbers_of_what_they_were_made_from(tmp_path: Path) -> None:
    """specs/imported_states.yaml: its two conditions agree to 1e-6, and its folder is what `harness export` writes today."""
    spec = Path(__file__).parent.parent / "specs" / "imported_states.yaml"
    done = pipeline.run(spec, store=Store(tmp_path / "store"), out=tmp_path, reporter=Reporter(quiet=True), page=False)
    found = pl.read_csv(done.folder / "results.csv")
    names = ["probe", "layer", "target", "metric"]
    ours, theirs = (found.filter(fit_on=name).sort(names) for name in ("generated", "imported"))
    assert len(ours) and ours.select(names).equals(theirs.select(names))
    for column in ("value", "low", "high"):
        assert np.nanmax(np.abs(ours[column].to_numpy() - theirs[column].to_numpy())) <= 1e-6
    said = harness(
        "export", spec, "--condition", "generated", "--out", tmp_path / "again", "--store", tmp_path / "store"
    )
    assert said.returncode == 0, said.stderr
    shipped, again = spec.parent / "states" / "planted", tmp_path / "again" / "generated"
    assert (shipped / "states.safetensors").read_bytes() == (again / "states.safetensors").read_bytes()
    assert pl.read_parquet(shipped / "rows.parquet").equals(pl.read_parquet(again / "rows.parquet"))
