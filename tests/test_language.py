"""The language: what reads as what, what is refused, and where and how the refusal says so."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness import language
from harness.analyses import asked
from harness.beds.planted import Planted
from harness.commands.listing import LISTS, example, listing
from harness.contracts import kind
from harness.data.cities import Cities
from harness.errors import SpecError, UsageError
from harness.language.schema.validation import sound
from harness.language.syntax.document import MAX_VALUES, compose, resolve
from harness.language.syntax.nodes import plain
from harness.spec import Model, Spec, Transfer

SNAPSHOTS = Path(__file__).parent / "snapshots"

BASE = """\
harness: 1
name: small
model: some-model
data: cities
probes: [ccs]
"""

WATCHED = """\
harness: 1
name: small
model: {bed: modular_addition}
probes: [logistic_regression]
"""

BANANA_SHED = """\
harness: 1
name: banana-shed                     # a slug; the report goes to reports/banana-shed/
about: >-
  Does an unsupervised probe find sentiment, or a random word that we appended? (Farquhar et al. 2023, §4.1)

model:
  id: smollm2-135m-instruct           # an asset, a Hub id, a local folder, a .gguf file, or {bed: NAME, …}
  revision: main
  weights: pretrained                 # or: random (same architecture, untrained)
  precision: fast                     # or exact, which is float32
  dtype: bfloat16                     # or float16; what the processor multiplies fast, if left out

data:
  source: movie-reviews               # built-in or asset; or {hub: stanfordnlp/imdb, split: test, text: text, label: label};
  limit: 1000                         # or {file: my.csv, text: statement, label: y} for csv, jsonl, parquet
  balance: true
  split: {train: 0.6, test: 0.4}      # 'validation' too, where a layer or a hyperparameter is chosen

prompt:
  template: |
    Consider the following example:
    {{ text }}
    Between positive and negative, the sentiment of this example is {{ answer }}
  answers: [negative, positive]       # index = label; or 'templates:' with several named ones

distractors:
  word: {kind: random_word, words: [Banana, Shed], at: end}   # at: end (the paper) or after_text (the interview)

conditions:                           # named overrides of everything above; none = one condition, 'main'
  plain: {}
  banana: {distractors: [word]}
  untrained: {distractors: [word], model: {weights: random}}

activations: {layers: all, token: last, site: residual}

probes:
  - ccs
  - {kind: ccs, name: ccs-sphere, init: sphere}
  - crc_tpc
  - kmeans
  - mean_difference
  - logistic_regression
  - random

transfer: [{fit_on: plain, tested_on: [plain, banana]}]   # default: each condition on itself
seeds: 50
metrics: [accuracy, auroc]

checks:
  - {kind: beats_random, probe: logistic_regression, condition: plain, expect: pass}
  - {kind: tracks_truth, probe: ccs, condition: banana, over: word, expect: fail}
"""

TEN_FAULTS = """\
harness: 1
name: Ten Faults
model: {id: some-model, dtype: float33}
data:
  source: citties
  limt: 100
  split: {train: 0.6, test: 0.5}
prompt:
  template: |
    Where is {{ city }}?
    {{ answer }
  answers: [true, No]
conditions:
  plain: {}
  banana: {distractors: [wrd]}
distractors:
  word: random_word
probes:
  - ccs
  - {kind: crc_tpc, learning_rate: 0.1}
checks:
  - {kind: beats_random, probe: css, condition: plain, expect: pass}
"""


def write(folder: Path, text: str | bytes, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str, *sets: str) -> Spec:
    return language.read(write(folder, text), sets)


def problems(folder: Path, text: str | bytes, *sets: str) -> list[str]:
    """The problems of a spec, without the folder's name."""
    with pytest.raises(SpecError) as caught:
        language.read(write(folder, text), sets)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def only_problem(folder: Path, text: str | bytes, *sets: str) -> str:
    found = problems(folder, text, *sets)
    assert len(found) == 1, found
    return found[0]


# YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("No", "yes", "on", "off", "y", "1:30", "2020-01-01", "0b1", "1_000", "<<", "=")),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *(("1e-3", 1e-3), ("1.", 1.0), (".5", 0.5), ("-1.5E+3", -1500.0), ("012", 12), ("0o17", 15), ("0xfF", 255)),
        *(("+7", 7), ("-0", 0), ("nUll", "nUll"), ("1e", "1e"), ("0o8", "0o8"), ("tRue", "tRue"), (".", ".")),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_quoted_scalars_are_text_whatever_they_look_like() -> None:
    root, faults = compose("a: 'true'\nb: \"1\"\nc: |\n  null\nd: >-\n  2\n", "f")
    assert not faults
    assert root is not None
    assert plain(root) == {"a": "true", "b": "1", "c": "null\n", "d": "2"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text("abc: #'\"{}[]\né", max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("ab c:", min_size=1, max_size=4), inner, max_size=3)
        ),
        max_leaves=12,
    ),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_what_pyyaml_writes_is_read_back(value: Any, flow: bool) -> None:
    root, faults = compose(yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True), "f")
    assert not faults
    assert (None if root is None else plain(root)) == value


def test_nodes_know_their_lines_and_columns() -> None:
    root, _ = compose("a:\n  - {b: 1,\n     c: [x]}\n", "f")
    assert root is not None
    table = root.get("a").items[0]  # type: ignore[union-attr]
    assert (table.entries["c"].place.line, table.entries["c"].place.column) == (3, 6)
    deepest = table.get("c").items[0]
    assert (deepest.place.line, deepest.place.column, deepest.path) == (3, 10, "a[0].c[0]")


@pytest.mark.parametrize(
    ("more", "where", "message"),
    [
        ("name: again\n", "6:1: name", "twice, first at 2:1"),
        ("about: !!python/object:os.system x\n", "6:8: about", "the tag !!python/object:os.system is not allowed"),
        ("about: !mine x\n", "6:8: about", "the tag !mine is not allowed"),
        ("---\na: 1\n", "6:1", "a second document"),
        ("prompt:\n\tchat: true\n", "7:1", "a tab stands where YAML wants spaces"),
        ("prompt:\n  answers:\n  \t- x\n", "8:3", "a tab stands where YAML wants spaces"),
        ("about: caf\x07\n", "6:11", "the control character U+0007"),
        ('about: "\\0"\n', "6:8: about", "the control character U+0000"),
        ('about: "\\ud800"\n', "6:8: about", "the control character U+D800"),
        ("about: *gone\n", "6:8: about", "no anchor &gone"),
        ("a: &a [x, *a]\n", "6:11: a[1]", "contains itself"),
        ("prompt:\n  <<: {chat: true}\n", "7:3: prompt", "merge keys"),
        ("distractors: {1: random_word}\n", "6:15: distractors", 'quote it: "1"'),
        ("distractors: {true: random_word}\n", "6:15: distractors", 'quote it: "true"'),
        ("about: this: that\n", "6:12", "a second ': ' in one line"),
        ("about: @home\n", "6:8", 'text cannot begin with "@"; quote it'),
        ("about: [a, b\n", "7:1", "not valid YAML"),
        ("seeds: .inf\n", "6:8: seeds", "not a finite number"),
        ("seeds: 1e999\n", "6:8: seeds", "not a finite number"),
        (f"seeds: {'9' * 5000}\n", "6:8: seeds", "not a finite number"),
        (f"about: {'[' * 5000}\n", "6:48", "more than 40 lists and mappings"),
    ],
)
def test_yaml_that_could_surprise_is_refused_where_it_stands(
    tmp_path: Path, more: str, where: str, message: str
) -> None:
    found = problems(tmp_path, BASE + more)
    assert any(line.startswith(f"spec.yaml:{where}: ") and message in line for line in found), found


def test_the_same_spec_without_those_lines_is_fine(tmp_path: Path) -> None:
    assert read(tmp_path, BASE).name == "small"


def test_bytes_that_are_no_utf8_are_refused_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    assert "6:11: the byte 0xe9 is not UTF-8" in only_problem(tmp_path, BASE.encode() + b"about: caf\xe9\n")
    assert "not UTF-8" in only_problem(tmp_path, BASE.encode("utf-16"))
    assert "U+0000" in only_problem(tmp_path, BASE.encode() + b"\0")
    assert language.read(write(tmp_path, b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())).name == "small"


def test_an_alias_bomb_is_refused_at_once_and_an_alias_is_not(tmp_path: Path) -> None:
    bomb = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20))
    started = time.perf_counter()
    found = only_problem(tmp_path, BASE + "a: &a [x, x, x]\n" + bomb)
    assert f"more than {MAX_VALUES:,} values once aliases are expanded" in found
    assert time.perf_counter() - started < 2
    long_text = "about: &long '" + "x" * 500_000 + "'\n"
    copies = f"distractors: {{w: {{kind: random_word, words: [{', '.join(['*long'] * 50)}]}}}}\n"
    assert "values once aliases are expanded" in only_problem(tmp_path, BASE + long_text + copies)
    spec = read(tmp_path, BASE + "prompt: {answers: &a [No, Yes]}\nconditions: {one: {prompt: {answers: *a}}}\n")
    assert spec.conditions[0].prompt.answers == ("No", "Yes")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "hello\n", "- a\n"])
def test_a_file_without_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "a spec is a mapping that begins with `harness: 1`" in only_problem(tmp_path, text)


def test_missing_and_too_large_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        language.read(tmp_path / "gone.yaml")
    with pytest.raises(SpecError, match="not a regular file"):
        language.read(tmp_path)
    assert "larger than 1 MiB" in only_problem(tmp_path, BASE + "#" * (1 << 20))


# The whole


def test_the_example_of_the_design_reads_as_it_stands(tmp_path: Path) -> None:
    spec = read(tmp_path, BANANA_SHED)
    assert [condition.name for condition in spec.conditions] == ["plain", "banana", "untrained"]
    assert [condition.distractors for condition in spec.conditions] == [(), ("word",), ("word",)]
    models = [condition.model for condition in spec.conditions]
    assert [model.weights for model in models if isinstance(model, Model)] == ["pretrained", "pretrained", "random"]
    assert {model.id for model in models if isinstance(model, Model)} == {"smollm2-135m-instruct"}
    assert spec.conditions[0].data.source is not None
    assert spec.conditions[0].data.source.kind() == "movie_reviews"
    names = ["ccs", "ccs-sphere", "crc_tpc", "kmeans", "mean_difference", "logistic_regression", "random", "zero_shot"]
    assert [probe.name for probe in spec.probes] == names
    assert [metric.kind() for metric in spec.metrics] == ["accuracy", "accuracy_oracle", "auroc"]
    assert spec.transfer == (Transfer(fit_on="plain", tested_on=("plain", "banana")),)
    # The second check looks at banana, where only probes fitted on plain are tested.
    assert [check.fit_on for check in spec.checks] == [None, "plain"]
    assert (spec.seeds, spec.layer, [check.expect for check in spec.checks]) == (50, "middle", ["pass", "fail"])


@pytest.mark.parametrize(
    "written", ["violation_negation", "{kind: violation-negation}", "{kind: violation, law: negation}"]
)
def test_an_alias_is_its_kind_with_the_options_that_it_stands_for(tmp_path: Path, written: str) -> None:
    text = f"{BASE}metrics: [{written}]\n"
    (metric,) = read(tmp_path, text).metrics
    assert (metric.kind(), metric.title, metric.law) == ("violation", "violation_negation", "negation")  # type: ignore[attr-defined]
    # An editor sees what was written.
    jsonschema.validate(yaml.safe_load(text), language.json_schema())


def test_a_spec_with_ten_faults_gets_ten_located_errors_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, TEN_FAULTS)
    command = [sys.executable, "-m", "harness", "validate", path.name]
    environment = {"PYTHONPATH": str(Path(kind.__file__).parents[2]), "PATH": "", "HOME": str(tmp_path)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    took_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert done.returncode == 2, done.stderr
    expected = (SNAPSHOTS / "ten_faults.txt").read_text()
    assert done.stderr == expected
    assert len(expected.splitlines()) == 10
    assert all(re.match(r"spec\.yaml:\d+:\d+: [a-z]", line) for line in expected.splitlines())
    # Of the processor, which a busy machine does not lengthen much; it takes well under one.
    assert took_s < 4


def test_reading_imports_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path, BANANA_SHED)
    code = (
        "import sys; from pathlib import Path; from harness import language; "
        f"language.read(Path({str(path)!r})); language.json_schema(); "
        "print([m for m in ('torch', 'transformers', 'polars', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_language_imports_no_library() -> None:
    code = (
        "import sys; import harness.language; "
        "print([m for m in ('yaml', 'jsonschema', 'jinja2', 'numpy', 'msgspec') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Short forms and defaults


def test_short_forms_are_their_long_ones(tmp_path: Path) -> None:
    long = """\
harness: 1
name: small
model: {id: some-model}
data: {source: {kind: cities}}
distractors: {w: {kind: random_word}}
probes: [{kind: ccs}]
metrics: [{kind: accuracy}, {kind: auroc}]
"""
    short = BASE + "distractors: {w: random-word}\n"
    assert read(tmp_path, short) == read(tmp_path, long)
    assert read(tmp_path, BASE) != read(tmp_path, long)


def test_a_mapping_without_kind_is_the_kind_whose_option_it_names(tmp_path: Path) -> None:
    prompt = "prompt: {template: '{{ text }} {{ answer }}'}\n"
    spec = read(tmp_path, BASE.replace("data: cities", "data: {source: {hub: a/b, split: test}}") + prompt)
    source = spec.conditions[0].data.source
    assert source is not None
    assert (source.kind(), msgspec.to_builtins(source)["hub"]) == ("hub", "a/b")
    spec = read(tmp_path, BASE.replace("data: cities", "data: {source: {file: my.csv, label: y}}") + prompt)
    source = spec.conditions[0].data.source
    assert source is not None
    assert (source.kind(), msgspec.to_builtins(source)["file"]) == ("file", "my.csv")
    nameless = BASE.replace("data: cities", "data: {source: {population: 5}}")
    assert "data.source: no kind is named" in only_problem(tmp_path, nameless)


def test_a_bed_needs_no_data_and_a_model_does(tmp_path: Path) -> None:
    bed = BASE.replace("some-model", "{bed: planted, xor: 2}").replace("data: cities\n", "")
    spec = read(tmp_path, bed)
    assert spec.conditions[0].model == Planted(xor=2.0)
    assert spec.conditions[0].data.source is None
    assert [probe.name for probe in spec.probes] == ["ccs", "random", "logistic_regression"]
    assert "main has no data" in only_problem(tmp_path, BASE.replace("data: cities\n", ""))
    assert "planted is a test bed" in only_problem(tmp_path, BASE.replace("some-model", "planted"))
    found = problems(tmp_path, bed + "data: cities\nprompt: {chat: true}\n")
    assert [line.split(": ")[1] for line in found] == ["data", "prompt"]
    assert "token ids" in only_problem(tmp_path, bed + "distractors: {w: random_word}\n")


def test_without_conditions_there_is_one_with_every_distractor(tmp_path: Path) -> None:
    spec = read(tmp_path, BASE + "distractors: {w: random_word}\n")
    assert [(condition.name, condition.distractors) for condition in spec.conditions] == [("main", ("w",))]
    assert spec.transfer == (Transfer(fit_on="main", tested_on=("main",)),)
    # The control: declared, but in no condition.
    spec = read(tmp_path, BASE + "distractors: {w: random_word}\nconditions: {plain: {}}\n")
    assert spec.conditions[0].distractors == ()
    assert list(spec.distractors) == ["w"]


def test_baselines_are_added_unless_refused_or_there(tmp_path: Path) -> None:
    assert [probe.name for probe in read(tmp_path, BASE).probes] == [
        "ccs",
        "random",
        "zero_shot",
        "logistic_regression",
    ]
    assert [probe.name for probe in read(tmp_path, BASE + "baselines: false\n").probes] == ["ccs"]
    there = BASE.replace("[ccs]", "[{kind: random, name: floor}, zero_shot, {kind: logistic_regression, l2: 3}]")
    assert [probe.name for probe in read(tmp_path, there).probes] == ["floor", "zero_shot", "logistic_regression"]
    clash = BASE.replace("[ccs]", "[{kind: ccs, name: random}]")
    assert "the name of a baseline" in only_problem(tmp_path, clash)


def test_a_baseline_under_another_name_is_not_there_under_its_own(tmp_path: Path) -> None:
    """Nothing of its kind is added beside it, so that a check or autopsy of the kind's name would end the run."""
    named = BASE.replace("[ccs]", "[ccs, {kind: zero_shot, name: said}]")
    asked = "checks: [{kind: beats_random, probe: %s, condition: main}]\n"
    for line in (asked, "autopsy: [%s]\n"):
        said = only_problem(tmp_path, named + line % "zero_shot")
        assert 'no probe "zero_shot"; did you mean "said", which is of that kind?' in said
        # The controls: its own name, and the baseline where it is added.
        assert read(tmp_path, named + line % "said")
        assert read(tmp_path, BASE + line % "zero_shot")


def test_whole_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    spec = read(tmp_path, BASE.replace("[ccs]", "[{kind: ccs, restarts: 5.0}]") + "seeds: 1e1\nlayer: 3.0\n")
    assert (spec.seeds, type(spec.seeds), spec.layer, type(spec.layer)) == (10, int, 3, int)
    assert msgspec.to_builtins(spec.probes[0])["restarts"] == 5
    assert "seeds: the number 1.5 stands where a whole number is wanted" in only_problem(
        tmp_path, BASE + "seeds: 1.5\n"
    )


# Conditions


def test_conditions_merge_deeply_and_each_is_whole(tmp_path: Path) -> None:
    text = """\
harness: 1
name: small
model: {id: a, dtype: float32}
data: {source: {kind: cities, population: 70000}, limit: 50}
prompt: {template: "{{ answer }}", answers: [No, Yes], max_tokens: 9}
probes: [ccs]
conditions:
  same: {}
  other: {model: {id: b}, data: {source: {population: 90000}, seed: 3}, prompt: {answers: [a, b, c]}, activations: {layers: [0]}}
  kinds: {data: {source: comparisons}, prompt: {templates: {one: "x {{ answer }}"}}}
  bed: {model: {bed: planted}}
"""
    same, other, kinds, bed = read(tmp_path, text).conditions
    assert (other.model, same.model) == (Model(id="b", dtype="float32"), Model(id="a", dtype="float32"))
    assert isinstance(other.data.source, Cities)
    assert (other.data.source.population, other.data.limit, other.data.seed) == (90000, 50, 3)
    assert (other.prompt.answers, other.prompt.max_tokens, other.activations.layers) == (("a", "b", "c"), 9, (0,))
    # Another kind replaces the old one with its options, and `templates` drive out `template`.
    assert kinds.data.source is not None
    assert (kinds.data.source.kind(), kinds.data.limit) == ("comparisons", 50)
    assert (kinds.prompt.template, list(kinds.prompt.templates), kinds.prompt.answers) == (None, ["one"], ("No", "Yes"))
    assert isinstance(bed.model, Planted)


OPINIONS = (
    BASE.replace("cities", "topics")
    + """\
distractors:
  alice: {kind: explicit_opinion, agreement: 0.25}
conditions:
  plain: {}
  as_is: {distractors: [alice]}
  louder: {distractors: {alice: {strength: 8}}}
  unchanged: {distractors: {alice: {}}}
"""
)


def test_a_condition_may_give_a_distractor_other_options(tmp_path: Path) -> None:
    spec = read(tmp_path, OPINIONS)
    found = {c.name: (c.distractors, spec.distractors_of(c)["alice"].strength) for c in spec.conditions}  # type: ignore[attr-defined]
    assert found == {
        "plain": ((), 2), "as_is": (("alice",), 2), "louder": (("alice",), 8), "unchanged": (("alice",), 2)
    }  # fmt: skip
    assert spec.distractors_of(spec.condition("louder"))["alice"].agreement == 0.25  # type: ignore[attr-defined]
    assert [bool(c.altered) for c in spec.conditions] == [False, False, True, False]
    later = read(tmp_path, OPINIONS, "conditions.louder.distractors.alice.strength=5")
    assert later.distractors_of(later.condition("louder"))["alice"].strength == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "strength: 8",
            "strength: 9",
            "spec.yaml:11:44: conditions.louder.distractors.alice.strength: 9 is out of range",
        ),
        ("strength: 8", "strenth: 8", 'the distractor explicit_opinion has no "strenth"; did you mean "strength"'),
        ("{alice: {strength: 8}}", "{alise: {strength: 8}}", 'no distractor "alise"; did you mean "alice"'),
        ("{alice: {strength: 8}}", "{alice: {views: [a]}}", "two different views are needed"),
        ("{alice: {strength: 8}}", "{alice: 8}", "conditions.louder.distractors.alice: "),
        ("plain: {}", "plain: {data: {sign_on: alise}}", 'no distractor or known factor "alise"; did you mean "alice"'),
        ("plain: {}", "plain: {data: {half: Compny}}", 'no answer "Compny"; did you mean "Company"'),
        ("plain: {}", "plain: {data: {half: Film, balance: false}}", "`half` says how to balance"),
    ],
)
def test_wrong_options_in_a_condition_are_explained_there(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in OPINIONS
    assert expected in only_problem(tmp_path, OPINIONS.replace(old, new))


def test_an_error_in_a_condition_is_reported_where_it_was_written(tmp_path: Path) -> None:
    text = (
        BASE + "conditions:\n  one: {}\n  two: {model: {dtype: floot32}}\n  three: {data: {split: {validation: 0.2}}}\n"
    )
    found = problems(tmp_path, text)
    assert found[0].startswith("spec.yaml:8:24: conditions.two.model.dtype: ")
    assert found[1].startswith("spec.yaml:9:25: conditions.three.data.split: the shares must sum to one")
    # A fault of the base is one fault, however many conditions share it.
    shared = (
        BASE.replace("some-model", "{id: a, dtyp: auto}")
        + "conditions: {one: {}, two: {model: {revision: x}}, three: {}}\n"
    )
    assert only_problem(tmp_path, shared) == 'spec.yaml:3:16: model.dtyp: `model` has no "dtyp"; did you mean "dtype"?'


def test_a_model_may_stand_in_every_condition_and_nowhere_else(tmp_path: Path) -> None:
    text = BASE.replace("model: some-model\n", "") + "conditions: {one: {model: a}, two: {model: b}}\n"
    assert [condition.model for condition in read(tmp_path, text).conditions] == [Model(id="a"), Model(id="b")]
    assert "condition two has no model" in only_problem(tmp_path, text.replace("{model: b}", "{}"))


# Wrong values


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("small", "Banana Shed", '2:7: name: "Banana Shed" is not a good name: lower-case letters, digits, - and _, 64 at most; such as "banana-shed"'),
        ("small", "|\n  abc", '2:7: name: "abc" ends with a line break; write it on one line'),
        ("harness: 1", "harness: 2", "1:10: harness: this program reads version 1 of the language: write `harness: 1`, or use the program that the spec was written for"),
        ("harness: 1\n", "", "1:1: the key `harness` is missing; begin with `harness: 1`"),
        ("probes: [ccs]\n", "", "1:1: the key `probes` is missing: Methods to compare: `harness list probes`"),
        ("[ccs]", "ccs", '5:9: probes: the text "ccs" stands where a list of probes is wanted; write a list: [ccs]'),
        ("[ccs]", "[cs]", '5:10: probes[0]: no probe "cs"; did you mean "ccs"?'),
        ("[ccs]", "[{kind: mean_diference}]", '5:17: probes[0].kind: no probe "mean_diference"; did you mean "mean_difference"?'),
        ("[ccs]", "[ccs, ccs]", '5:15: probes[1]: two probes are called "ccs" (the other is probes[0]); give one of them a `name`'),
        ("[ccs]", '[{kind: ccs, restarts: "5"}]', '5:32: probes[0].restarts: the text "5" stands where a whole number is wanted; take the quotes away'),
        ("[ccs]", "[{kind: ccs, restarts: 0}]", "5:32: probes[0].restarts: 0 is out of range: it must be at least 1, at most 1000"),
        ("[ccs]", "[{kind: ccs, bias: yes}]", '5:28: probes[0].bias: the text "yes" stands where true or false is wanted; write true or false'),
        ("[ccs]", "[{kind: ccs, normalise: men}]", '5:33: probes[0].normalise: no normalisation "men"; did you mean "mean"?'),
        ("[ccs]", "[{kind: ccs, iterations: 2}]", '5:22: probes[0].iterations: the probe ccs has no "iterations"; it is an option of kmeans'),
        ("cities", "hub", "4:7: data: data set hub needs `hub`, so write it as a mapping"),
        ("cities", "{source: cities, limit: 3}", "4:31: data.limit: 3 is out of range: it must be at least 4"),
        ("[ccs]", "[ccs]\nprompt: {answers: [1, No]}", '6:20: prompt.answers[0]: the number 1 stands where text is wanted; quote it: "1"'),
        ("[ccs]", "[ccs]\nprompt: {answers: [No]}", "6:19: prompt.answers: at least two answers are needed; index = label, as in [No, Yes]"),
        ("[ccs]", "[ccs]\nprompt: {answers: [No, No]}", "6:24: prompt.answers[1]: the answer No stands here twice; take one of them out"),
        ("[ccs]", "[ccs]\nprompt: {template: hello}", "5:10: probes[0]: ccs needs contrast pairs, and the template of main shows no answer, so that its rows are statements; let {{ answer }} stand in the template, take ccs out, or let `probes` under `transfer` name it elsewhere only"),
        ("[ccs]", "[ccs]\nprompt:\n  template: |\n    a\n\n    {{ answer }\n", "10:1: prompt.template: the template cannot be used: unexpected '}'"),
        ("[ccs]", "[ccs]\nprompt: {template: '{{ answer }}', templates: {a: '{{ answer }}'}}", "6:10: prompt.template: `template` and `templates` are both given; put the one template among the named ones"),
        ("cities", "{source: cities, split: {train: 0.5, test: 0.4}}", "4:31: data.split: the shares must sum to one, and train 0.5 + test 0.4 is 0.9; write all of them"),
        ("[ccs]", "[ccs]\nlayer: validation", "6:8: layer: condition main has no validation rows to choose a layer by; write data.split: {train: 0.5, validation: 0.2, test: 0.3}, or choose another rule"),
        ("[ccs]", "[ccs]\nmetrics: [violation_negatoin]", '6:11: metrics[0]: no metric "violation_negatoin"; did you mean "violation_negation"?'),
        ("[ccs]", "[ccs]\nmetrics: [{kind: violation_negation, law: negation}]", '6:38: metrics[0].law: the metric violation_negation has no "law"; it is an option of violation'),
        ("[ccs]", "[ccs]\nmetrics: [violation-negation, {kind: violation, law: negation}]", "6:31: metrics[1]: the metric violation_negation stands here twice; take one of them out"),
        ("[ccs]", "[ccs]\nlayer: midle", '6:8: layer: no layer "midle"; did you mean "middle"?'),
        ("[ccs]", "[ccs]\nactivations: {layers: [1, 2]}\nlayer: 3", "7:8: layer: layer 3 is not among activations.layers, [1, 2]; add it there"),
        ("[ccs]", "[ccs]\nactivations: {layers: {from: 1, too: 2}}", '6:33: activations.layers.too: `activations.layers` has no "too"; did you mean "to"?'),
        ("[ccs]", "[ccs]\nactivations: {layers: {from: 5, to: 2}}", "6:23: activations.layers: no layer is left: from 5 to 2; the smaller number comes first"),
        ("[ccs]", "[ccs]\nmetrics: [accuracy, accuracy]", "6:21: metrics[1]: the metric accuracy stands here twice; take one of them out"),
        ("[ccs]", "[ccs]\ntransfer: [{fit_on: man, tested_on: [main]}]", '6:21: transfer[0].fit_on: no condition "man"; did you mean "main"?'),
        ("[ccs]", "[ccs]\ntransfer: [{fit_on: main, tested_on: [main, main]}]", "6:45: transfer[0].tested_on[1]: fitted on main and tested on main stands here twice; take one of them out"),
        ("[ccs]", "[ccs]\ndistractors: {truth: random_word}", '6:15: distractors.truth: a distractor cannot be called "truth": the data have a column of that name; choose another'),
        ("[ccs]", "[ccs]\nconditions: {a: {distractors: [w]}}", '6:32: conditions.a.distractors[0]: no distractor "w"; none is declared, so add it under `distractors`'),
        ("[ccs]", "[ccs]\nconditions: {a: {probes: [ccs]}}", '6:18: conditions.a.probes: `conditions.a` has no "probes"; known: model, data, prompt, activations, plant, features, distractors'),
        ("[ccs]", "[ccs]\nconditions: {a: }", "6:16: conditions.a: nothing stands where a mapping is wanted; write {} for an empty mapping"),
        ("[ccs]", "[ccs]\nchecks: [{kind: beats_random, probe: css}]", '6:38: checks[0].probe: no probe "css"; did you mean "ccs"?'),
        ("[ccs]", "[ccs]\nchecks: [{kind: tracks_truth, probe: ccs, over: word}]", '6:49: checks[0].over: no target "word"'),
        ("[ccs]", "[ccs]\nchecks: [{kind: beats_random, probe: ccs, layer: midle}]", '6:50: checks[0].layer: no layer rule "midle"; did you mean "middle"?'),
        ("[ccs]", "[ccs]\nchecks: [{kind: beats_random, probe: ccs, expect: passes}]", '6:51: checks[0].expect: no expect "passes"; did you mean "pass"?'),
        ("[ccs]", "[ccs]\nconditions: {a: {}}\nchecks: [{kind: beats_random, probe: ccs}]", '7:10: checks[0]: no condition "main"; known: a'),
        ("[ccs]", "[ccs]\nchecks: [&c {kind: beats_random, probe: ccs}, *c]", "the same check stands at checks[0] already; take one of them out"),
        ("[ccs]", "[ccs]\nanalyses: [geometry]", '6:12: analyses[0]: the analysis "geometry" has a key of its own: write `geometry: true` at the top of the spec'),
        ("[ccs]", "[ccs]\nanalyses: [{kind: answer-costs}]", '6:19: analyses[0].kind: the analysis "answer_costs" has a key of its own: write `leaderboard: true` at the top'),
        ("[ccs]", "[ccs]\nanalyses: [geometri]", '6:12: analyses[0]: no analysis "geometri"; known: attention_heads, patching, polysemantic_neurons, sparse_autoencoders, thresholds'),
        ("[ccs]", "[ccs]\nanalyses: [{kind: 3}]", "6:19: analyses[0].kind: the number 3 stands where one of attention_heads, patching, polysemantic_neurons, sparse_autoencoders, thresholds is wanted"),
        ("[ccs]", "[ccs]\nanalyses: [{kind: thresholds, probes: [ccs, css]}]", '6:45: analyses[0].probes[1]: no probe "css"; did you mean "ccs"?'),
        ("[ccs]", "[ccs]\nanalyses: [{kind: polysemantic_neurons, probes: [k_spars]}]", '6:50: analyses[0].probes[0]: no probe "k_spars"'),
        ("[ccs]", "[ccs]\nanalyses: [{kind: attention_heads, conditions: [main, mian]}]", '6:55: analyses[0].conditions[1]: no condition "mian"; did you mean "main"?'),
        ("[ccs]", "[ccs]\nanalyses: [{kind: sparse_autoencoders, on: [{condition: mian, l1: [0.1]}]}]", '6:57: analyses[0].on[0].condition: no condition "mian"; did you mean "main"?'),
        ("[ccs]", "[ccs]\nanalyses: geometry", "6:11: analyses: the text \"geometry\" stands where a list of analyses is wanted"),
        ("[ccs]", "[ccs]\nharnes: 1", '6:1: harnes: a spec has no "harnes"; did you mean "harness"?'),
    ],
)  # fmt: skip
def test_a_wrong_value_is_explained_where_it_stands(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert read(tmp_path, BASE)
    assert expected in only_problem(tmp_path, BASE.replace(old, new))


def test_a_check_must_look_where_probes_are_fitted_and_tested(tmp_path: Path) -> None:
    text = BASE + (
        "conditions: {a: {}, b: {}, c: {}}\n"
        "transfer: [{fit_on: a, tested_on: [a, b, c]}, {fit_on: b, tested_on: [c]}]\n"
        "checks: [{kind: beats_random, probe: ccs, condition: %s}]\n"
    )
    assert getattr(read(tmp_path, text % "a").checks[0], "fit_on", "?") is None
    assert getattr(read(tmp_path, text % "b").checks[0], "fit_on", "?") == "a"
    assert "fitted on c and tested on c, which the spec does not run" in only_problem(tmp_path, text % "c")
    assert getattr(read(tmp_path, text % "c, fit_on: b").checks[0], "fit_on", "?") == "b"


def test_a_misspelt_kind_is_one_error_although_checks_spell_it_right(tmp_path: Path) -> None:
    text = BASE.replace("[ccs]", "[mean_diference]") + "checks: [{kind: beats_random, probe: mean_difference}]\n"
    assert "probes[0]: no probe" in only_problem(tmp_path, text)


# --set


@pytest.mark.parametrize(
    "option",
    ["revision: v2", "adapter: quirky-cities", "side: encoder", "trust_remote_code: true", "allow_pickle: true"],
)
def test_another_model_has_nothing_that_belongs_to_the_one_of_the_spec(option: str, tmp_path: Path) -> None:
    text = BASE.replace("model: some-model\n", f"model: {{id: some-model, {option}, precision: fast}}\n")
    name = option.partition(":")[0]
    text += "conditions: {own: {}, same: {model: some-model}, other: {model: judge}, more: {model: {id: judge, OPTION}}}\n".replace(
        "OPTION", option
    )
    own, same, other, more = (condition.model for condition in read(tmp_path, text).conditions)
    assert isinstance(own, Model)
    assert own == same
    assert other == Model(id="judge", precision="fast"), "how it computes holds for all"
    assert more == msgspec.structs.replace(own, id="judge")
    assert getattr(own, name) != getattr(other, name)


def test_settings_override_and_are_located_by_themselves(tmp_path: Path) -> None:
    sets = (
        "model.dtype=float32",
        "probes[0].restarts=3",
        "prompt.answers=[No, Yes]",
        "data.limit=null",
        "about=1e-3 x",
    )
    spec = read(tmp_path, BASE, *sets)
    condition = spec.conditions[0]
    assert isinstance(condition.model, Model)
    assert (condition.model, condition.prompt.answers) == (Model(id="some-model", dtype="float32"), ("No", "Yes"))
    assert (condition.data.limit, spec.about) == (None, "1e-3 x")
    assert msgspec.to_builtins(spec.probes[0])["restarts"] == 3
    assert read(tmp_path, BASE.replace("data: cities\n", ""), "model.bed=planted").conditions[0].model == Planted()
    expected = '--set model.dtype=floot32: model.dtype: no dtype "floot32"; did you mean "float32"?'
    assert only_problem(tmp_path, BASE, "model.dtype=floot32") == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("model.dtyp=auto", '--set model.dtyp=auto: model.dtyp: `model` has no "dtyp"; did you mean "dtype"?'),
        ("probes[9].restarts=1", "--set probes[9].restarts=1: probes[9]: there is no such entry: probes has 1 entries"),
        ("name", "--set name: write KEY=VALUE"),
        ("a..b=1", "--set a..b=1: write KEY=VALUE"),
        ("include=other.yaml", "--set include=other.yaml: include: files are included by the spec only"),
        ("about={a: 1", "--set about={a: 1: not valid YAML"),
        ("about=true", '--set about=true: about: true stands where text is wanted; quote it: "true"'),
        ("about=!x y", "--set about=!x y: about: the tag !x is not allowed"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, setting: str, expected: str) -> None:
    assert only_problem(tmp_path, BASE, setting).startswith(expected)


# include


def test_includes_merge_under_the_spec_and_keep_their_places(tmp_path: Path) -> None:
    write(tmp_path, "model: {id: base, dtype: float16}\nseeds: 3\nmetrics: [brier]\n", "shared/base.yaml")
    write(tmp_path, "include: base.yaml\nmodel: {dtype: float32}\nprobes: [ccs, kmeans]\n", "shared/more.yaml")
    text = "harness: 1\nname: small\ninclude: [shared/more.yaml]\ndata: cities\nprobes: [crc_tpc]\nbaselines: false\n"
    spec = read(tmp_path, text)
    assert spec.conditions[0].model == Model(id="base", dtype="float32")
    assert (spec.seeds, [probe.name for probe in spec.probes]) == (3, ["crc_tpc"])
    assert [metric.kind() for metric in spec.metrics] == ["brier"]
    write(tmp_path, "model: {id: base, dtype: floot16}\nsead: 3\n", "shared/base.yaml")
    found = problems(tmp_path, text)
    assert found == ['shared/base.yaml:2:1: sead: a spec has no "sead"; did you mean "seeds"?']


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("gone.yaml", "spec.yaml:6:10: include: gone.yaml: there is no such file"),
        ("[one.yaml]", "one.yaml:1:10: include: includes go round in a loop: spec.yaml → one.yaml → spec.yaml"),
        (
            "notes.txt",
            'spec.yaml:6:10: include: "notes.txt" cannot be included; name a file that ends in .yaml or .yml',
        ),
        ("old.yaml", "old.yaml:1:10: harness: this program reads version 1"),
        ("folder.yaml", "spec.yaml:6:10: include: folder.yaml: not a regular file"),
        ("bad.yaml", "bad.yaml:1:5: a second ': ' in one line"),
    ],
)
def test_wrong_includes_are_refused_where_they_stand(tmp_path: Path, include: str, expected: str) -> None:
    write(tmp_path, "include: spec.yaml\n", "one.yaml")
    write(tmp_path, "x", "notes.txt")
    write(tmp_path, "harness: 2\n", "old.yaml")
    write(tmp_path, "a: b: c\n", "bad.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert only_problem(tmp_path, BASE + f"include: {include}\n").startswith(expected)


# Nothing but a Spec or a SpecError


WRONG = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "ccs", "true", [], [None], {}, {"kind": "ccs"}, {"x": []}, [[]]]
)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in below for place in places(value, (*path, key)))]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root, _ = compose(BANANA_SHED, "f")
    assert root is not None
    tree = plain(root)
    for _ in range(data.draw(st.integers(1, 3))):  # faults together, since each must cope with the others
        *way, last = data.draw(st.sampled_from(places(tree)[1:]))
        spot = tree
        for step in way:
            spot = spot[step]
        if data.draw(st.booleans()) and isinstance(spot, dict):
            spot[data.draw(st.sampled_from(["kind", "name", "bed", "id", "hub", "layers"]))] = deepcopy(
                data.draw(WRONG)
            )
        else:
            spot[last] = deepcopy(data.draw(WRONG))
    path = write(tmp_path_factory.getbasetemp(), json.dumps(tree), "fuzzed.yaml")
    with contextlib.suppress(SpecError):
        assert language.read(path).conditions


# Schema, starter, listing


def test_the_schema_is_valid_and_described() -> None:
    schema = language.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert all(part["description"] for part in schema["properties"].values())
    assert schema["$defs"]["probes.ccs"]["properties"]["restarts"]["default"] == 10
    assert {"movie-reviews", "movie_reviews"} <= set(schema["$defs"]["data"]["allOf"][0]["then"]["enum"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": {"id": "m", "dtype": "float32"}},
        {"data": {"source": {"hub": "stanfordnlp/imdb", "split": "test", "text": "text", "label": "label"}}},
        {"data": {"source": {"file": "my.csv", "text": "statement", "label": "y"}}},
        {"data": "movie-reviews"},
        {"include": "other.yaml", "layer": 3, "activations": {"layers": {"from": 0, "to": 30, "step": 2}}},
    ],
)
def test_short_forms_are_valid_for_an_editor(changes: dict[str, Any]) -> None:
    root, _ = compose(BASE, "f")
    assert root is not None
    jsonschema.validate({**plain(root), **changes}, language.json_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"idd": "m"}},
        {"model": {"bed": "plante"}},
        {"data": "hub"},
        {"data": {"source": {"hub": "a", "splt": "b"}}},
        {"probes": ["cs"]},
        {"analyses": ["geometry"]},
        {"probes": [{"kind": "ccs", "restarts": 0}]},
        {"harness": 2},
        {"name": "abc\n"},
        {"activations": {"layers": {"too": 1}}},
        {"conditions": {"a": {"probes": []}}},
    ],
)
def test_wrong_specs_are_wrong_for_an_editor_too(changes: dict[str, Any]) -> None:
    root, _ = compose(BASE, "f")
    assert root is not None
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**plain(root), **changes}, language.json_schema(), jsonschema.Draft202012Validator)


def test_the_example_of_the_design_is_valid_for_an_editor() -> None:
    root, _ = compose(BANANA_SHED, "f")
    assert root is not None
    jsonschema.validate(plain(root), language.json_schema(), jsonschema.Draft202012Validator)


def test_the_starter_is_a_spec_with_its_alternatives(tmp_path: Path) -> None:
    text = language.starter("my-question")
    spec = read(tmp_path, text)
    assert spec.name == "my-question"
    assert spec.conditions[0].data.limit == 200
    # Every alternative that stands in a comment by itself can be taken.
    alternatives = re.findall(r"^ *#  ?( ?(?:model|source|transfer|untrained|- ).*)$", text, re.MULTILINE)
    assert len(alternatives) >= 6
    for line in alternatives:
        assert compose(line.strip(), "f")[1] == [], line
    bed = re.sub(r"^(data|prompt|distractors|conditions|checks):.*\n((  .*)?\n)*", "", text, flags=re.MULTILINE)
    bed = bed.replace("model: smollm2-135m-instruct", "model: {bed: planted, distractor: 6.0}").replace(
        "layer: validation", ""
    )
    assert isinstance(read(tmp_path, bed).conditions[0].model, Planted)
    with pytest.raises(UsageError, match="not a good name"):
        language.starter("My Question")


def shown(*arguments: str) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(listing(*arguments))
    return console.export_text()


@pytest.mark.parametrize("folder", kind.FOLDERS)
def test_every_kind_is_listed_with_its_options(folder: str) -> None:
    lines = shown(folder)
    for name in kind.names(folder):
        assert re.search(rf"^{name} ", lines, re.MULTILINE)
        page = shown(folder, name.replace("_", "-"))
        for option in kind.options(kind.find(folder, name)):
            assert re.search(rf"^ {option.name} ", page, re.MULTILINE), f"{name}: {option.name}"
            for struct in (one for one in (option.type, *get_args(option.type)) if isinstance(one, type)):
                for inner in kind.options(struct) if issubclass(struct, msgspec.Struct) else ():
                    assert re.search(rf"^ {option.name}.{inner.name} ", page, re.MULTILINE), f"{name}: {inner.name}"


@pytest.mark.parametrize("name", kind.built_in("analyses"))
def test_an_analysis_says_how_a_spec_asks_for_it(tmp_path: Path, name: str) -> None:
    base = WATCHED if name == "measurements" else BASE.replace("[ccs]", "[ccs, mean_difference]")
    if name == "patching":
        base += 'conditions: {clean: {}, corrupted: {prompt: {template: "{{ city }} {{ answer }}"}}}\n'
    spec = read(tmp_path, f"{base}{example('analyses', kind.find('analyses', name))}\n")
    assert [analysis.kind() for analysis in asked(spec)] == [name]
    # The control: a spec that asks for none has none.
    assert not asked(read(tmp_path, BASE))


@pytest.mark.parametrize(
    "folder", [folder for folder in kind.FOLDERS if folder not in ("normalisations", "beds", "analyses")]
)
def test_every_example_of_the_listing_is_valid(folder: str) -> None:
    for name in kind.names(folder):
        root, faults = compose(example(folder, kind.find(folder, name)), "f")
        assert not faults
        value = root
        for step in {"data": ("data", "source"), "distractors": ("distractors", "word")}.get(folder, (folder, 0)):
            value = value.items[step] if isinstance(step, int) else value.get(step)  # type: ignore[union-attr]
        assert value is not None
        assert sound(value, folder), plain(value)


def test_listings_without_a_name_and_of_models() -> None:
    assert all(name in shown() for name in LISTS)
    assert "smollm2-135m-instruct" in shown("models")
    assert "SHA-256" in shown("models", "smollm2-135m-instruct")
    for wrong, meant in (
        (("probs",), "probes"),
        (("probes", "cs"), "ccs"),
        (("models", "smollm2"), "smollm2-135m-instruct"),
    ):
        with pytest.raises(UsageError, match=f'did you mean "{meant}"|known: .*{meant}'):
            listing(*wrong)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("smollm2-135m-instuct", '3:8: model: no model "smollm2-135m-instuct"; did you mean "smollm2-135m-instruct"?'),
        ("{id: smollm2-135m-instuct}", '3:13: model.id: no model "smollm2-135m-instuct"; did you mean "smollm2-135m-instruct"?'),
        ("./nowhere", "3:8: model: no folder nowhere"),
        ("movie-reviews", '3:8: model: the asset "movie-reviews" is a text, not a model'),
        ("a/b/c", "3:8: model: no folder a/b/c, and a name on the Hub is OWNER/NAME"),
        ("nowhere.gguf", "3:8: model: no file nowhere.gguf"),
    ],
)  # fmt: skip
def test_a_model_that_leads_nowhere_is_refused_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, said: str
) -> None:
    from harness import pipeline

    monkeypatch.chdir(tmp_path)
    path = Path("spec.yaml")
    path.write_text(BASE.replace("some-model", model))
    for refused in (lambda: language.read(path, look=True), lambda: pipeline.run(path)):
        with pytest.raises(SpecError) as found:
            refused()
        assert str(found.value) == f"spec.yaml:{said}"
    # The controls: a folder, an asset and what only the Hub knows.
    (tmp_path / "here").mkdir()
    for fine in ("./here", "smollm2-135m-instruct", "nobody/nothing", "some-model"):
        path.write_text(BASE.replace("some-model", fine))
        language.read(path, look=True)


def test_a_key_that_is_misspelt_is_not_missing_too(tmp_path: Path) -> None:
    found = only_problem(tmp_path, BASE.replace("probes:", "probe:"))
    assert found == 'spec.yaml:5:1: probe: a spec has no "probe"; did you mean "probes"?'
    # The control: one that is nowhere is missing.
    assert "the key `probes` is missing" in only_problem(tmp_path, BASE.replace("probes: [ccs]\n", ""))
