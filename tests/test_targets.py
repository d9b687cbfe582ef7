"""XORs of factors, and probes that are fitted on another target than the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import language, pipeline
from harness.contracts import Source, kind
from harness.errors import DataError, SpecError
from harness.maths.association import association
from harness.scoring.score import shuffled_labels, with_xors, xor_name
from harness.spec import Spec
from tests.report_tables import full_table

HEAD = """\
harness: 1
name: spec
model: {bed: planted, truth: 1.0, distractor: 3.0, xor: 4.0}
"""
PLANTED = (
    HEAD
    + """\
data: {limit: 400, split: {train: 0.5, validation: 0.1, test: 0.4}}
xors: [[truth, word]]
probes:
  - crc_tpc
  - {kind: mean_difference, target: word}
  - {kind: mean_difference, target: truth^word}
  - {kind: logistic_regression, target: word}
layer: last
checks:
  - {kind: beats_random, probe: mean_difference@truth^word, target: truth^word, expect: pass}
  - {kind: beats_random, probe: mean_difference@truth^word, margin: 0.2, expect: fail}
  - {kind: tracks_truth, probe: crc_tpc, over: truth^word, expect: fail}
  - {kind: chance_on_shuffled_labels, probe: mean_difference@word, shuffles: 60, margin: 0.1, expect: pass}
"""
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Spec]:
    def read(text: str) -> Spec:
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return language.read(path)

    return read


def test_an_xor_is_one_where_its_factors_differ_and_left_out_where_one_is_missing() -> None:
    targets = {"truth": np.array([0, 0, 1, 1]), "word": np.array([0, 1, 0, 1])}
    found = with_xors(targets, [("truth", "word"), ("truth", "colour")])
    assert list(found) == ["truth", "word", "truth^word"]
    assert found[xor_name(("truth", "word"))].tolist() == [0, 1, 1, 0]
    assert with_xors(targets, []) == targets


def test_xors_are_scored_and_probes_find_what_they_are_fitted_on(tmp_path: Path) -> None:
    path = tmp_path / "planted.yaml"
    path.write_text(PLANTED)
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    assert not outcome.unexpected, outcome.checks
    results = full_table(outcome.folder, "results")
    last = results.filter(layer="3", metric="accuracy")
    value = {(row["probe"], row["target"]): row["value"] for row in last.iter_rows(named=True)}
    for probe, own in (
        ("crc_tpc", "truth^word"),
        ("mean_difference@word", "word"),
        ("mean_difference@truth^word", "truth^word"),
        ("logistic_regression@word", "word"),
        ("logistic_regression", "truth"),
    ):
        for target in ("truth", "word", "truth^word"):
            assert (value[probe, target] > 0.8) == (target == own), (probe, target)
    report = (outcome.folder / "report.md").read_text()
    assert "| `logistic_regression@word` | labels of word | 3 |" in report
    assert "| `logistic_regression` | labels | 3 |" in report
    assert "| truth | word | truth^word | follows |" in report
    assert "accuracy of mean_difference@word on main on word minus 0.5, training labels shuffled" in report


def test_an_xor_that_comes_later_makes_only_scores_and_report_anew(tmp_path: Path) -> None:
    path = tmp_path / "planted.yaml"
    path.write_text(HEAD + "data: {limit: 80}\nprobes: [{kind: ccs, restarts: 3, epochs: 50}]\n")
    pipeline.run(path, out=tmp_path / "reports", page=False)
    path.write_text(path.read_text() + "xors: [[truth, word]]\n")
    outcome = pipeline.run(path, out=tmp_path / "reports", page=False)
    # Restarts are scored where they are fitted: without a new score they would know nothing of the XOR.
    assert "truth^word" in full_table(outcome.folder, "restarts")["target"].to_list()
    stages = json.loads((outcome.folder / "manifest.json").read_text())["stages"]
    assert {stage["kind"] for stage in stages if stage["cached"]} >= {"prompts", "activations", "fit"}, (
        "what stands is kept"
    )


def test_a_probe_is_named_after_its_target_unless_it_has_a_name(read: Callable[[str], Spec]) -> None:
    more = "probes: [{kind: lda, target: word}, {kind: lda, target: word, name: of-word}, lda]\n"
    assert [probe.name for probe in read(HEAD + more).probes] == [
        *("lda@word", "of-word", "lda", "random", "logistic_regression")
    ]


def test_a_probe_of_another_target_is_no_baseline(read: Callable[[str], Spec]) -> None:
    more = "probes: [{kind: logistic_regression, target: word}]\n"
    assert "logistic_regression" in [probe.name for probe in read(HEAD + more).probes]
    # The control: one that is fitted on the truth is the baseline itself.
    more = "probes: [{kind: logistic_regression, name: mine}]\n"
    assert "logistic_regression" not in [probe.name for probe in read(HEAD + more).probes]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("xors: [[truth, wrd]]", '4:16: xors[0][1]: no factor "wrd"; did you mean "word"?'),
        ("xors: [[truth, truth]]", "4:8: xors[0]: the XOR of a factor with itself is always the same"),
        ("xors: [[truth, word], [word, truth]]", "4:23: xors[1]: the XOR of truth and word stands at xors[0] already"),
        ("xors: [[truth]]", "4:8: xors[0]: this needs at least 2, and there is 1"),
        ("xors: [word]", '4:8: xors[0]: the text "word" stands where a list of texts is wanted'),
        (
            "xors: [[truth, word]]\nprobes: [{kind: lda, target: word^truth}]",
            '5:30: probes[0].target: no target "word^truth"; did you mean "truth^word"?',
        ),
        ("probes: [{kind: lda, target: truth^word}]", "; add [truth, word] to `xors`"),
        ("probes: [{kind: lda, target: wrd}]", 'probes[0].target: no target "wrd"; did you mean "word"?'),
        ("probes: [{kind: ccs, target: word}]", "4:30: probes[0].target: ccs is never handed labels"),
        ("checks: [{kind: beats_random, probe: lda, target: wrd}]", 'checks[0].target: no target "wrd"'),
    ],
)
def test_wrong_targets_are_explained_where_they_stand(read: Callable[[str], Spec], more: str, expected: str) -> None:
    more = more + ("" if "probes" in more else "\nprobes: [lda]") + "\n"
    with pytest.raises(SpecError) as caught:
        read(HEAD + more)
    (problem,) = str(caught.value).splitlines()
    assert expected in problem


@pytest.mark.parametrize("factor", ["population", "colour"])
def test_only_factors_of_two_values_can_be_combined(read: Callable[[str], Spec], factor: str) -> None:
    text = (
        "harness: 1\nname: spec\nmodel: m\ndata: cities\n"
        "distractors: {colour: {kind: random_word, words: [Red, Green, Blue]}}\n"
        f"xors: [[truth, {factor}]]\nprobes: [lda]\n"
    )
    with pytest.raises(SpecError, match="only factors of two values can be combined or fitted"):
        read(text)
    assert read(text.replace("Green, ", "").replace(f"truth, {factor}", "truth, colour")).xors == (("truth", "colour"),)


def test_a_target_that_the_rows_do_not_have_is_said(tmp_path: Path, tiny_llama: Path) -> None:
    rows = "".join(f"thing {n},{n % 2},{n // 2 % 2}\n" for n in range(40))
    (tmp_path / "things.csv").write_text("text,label,shade\n" + rows)
    (tmp_path / "others.csv").write_text("text,label\n" + "".join(f"thing {n},{n % 2}\n" for n in range(40)))
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"harness: 1\nname: spec\nmodel: {{id: {tiny_llama}, dtype: float32}}\n"
        'prompt: {template: "{{ text }}: {{ answer }}", answers: ["no", "yes"]}\n'
        "conditions:\n"
        "  a: {data: {source: {file: things.csv, factors: [shade]}}}\n"
        "  b: {data: {source: {file: FILE, text: text}}}\n"
        "xors: [[truth, shade]]\n"
        "probes: [{kind: mean_difference, target: truth^shade}]\n"
    )
    text = path.read_text()
    path.write_text(text.replace("FILE, text: text", "others.csv"))
    with pytest.raises(DataError, match=r'mean_difference@truth\^shade is to be fitted on "truth\^shade".*have: truth'):
        pipeline.run(path, out=tmp_path / "reports", page=False)
    path.write_text(text.replace("FILE, text: text", "things.csv, factors: [shade]"))
    results = full_table(pipeline.run(path, out=tmp_path / "reports", page=False).folder, "results")
    assert set(results["target"]) == {"truth", "shade", "truth^shade"}


def test_shuffles_are_of_what_the_probe_is_fitted_on() -> None:
    """`score_shuffled` permutes the target's labels, and the sign rests on them."""
    import torch

    from harness.contracts import Pairs
    from harness.fitting.fit import Fitting, score_shuffled
    from harness.scoring.score import Labels

    rng = np.random.default_rng(0)
    targets = {"truth": rng.permutation(np.arange(60) % 2), "word": rng.permutation(np.arange(60) % 2)}
    labels = Labels(targets, np.arange(60))
    pairs = Pairs(torch.from_numpy(rng.standard_normal((1, 60, 2, 8)).astype(np.float32)), torch.zeros(60, dtype=int))
    probe = kind.find("probes", "mean_difference")(target="word")
    where = {"fit_on": "a", "tested_on": "a", "layers": (0,)}
    found = score_shuffled(probe, Fitting({"train": pairs}, {"train": labels}), pairs, 4, 0, **where)  # type: ignore[arg-type]
    assert found.target == "word"
    assert found.train_labels is not None
    assert (found.train_labels == shuffled_labels(targets["word"], np.arange(60), 4, 0)).all()
    assert (found.train_labels != shuffled_labels(targets["truth"], np.arange(60), 4, 0)).any()


def test_statements_and_negations_are_crossed() -> None:
    source = kind.find("data", "cities_and_negations")()
    assert isinstance(source, Source)
    rows = source.load(0, Path())
    assert rows.group_by("group").len()["len"].unique().to_list() == [4]
    assert association(rows["label"].to_list(), rows["negated"].to_list()).phi == 0
    affirmed = kind.find("data", "cities")().load(0, Path())  # type: ignore[attr-defined]
    own = {(row["city"], row["country"]): row["label"] for row in affirmed.iter_rows(named=True)}
    for row in rows.iter_rows(named=True):
        assert row["label"] ^ row["negated"] == own[row["city"], row["country"]]
        assert (" is not in " in row["statement"]) == bool(row["negated"])
