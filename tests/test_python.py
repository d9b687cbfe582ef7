"""The face to Python: light to import, the same as the command line, and as its page says."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness
from harness import language
from harness.contracts import kind
from harness.language.spec_reader import keys_of
from harness.language.syntax.writing_yaml import as_yaml
from harness.spec import Activations, Data, Prompt
from harness.spec.plain import spec_content
from tests.test_cli import harness as command
from tests.test_pipeline import write_planted

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "specs" / "PYTHON.md"
SHIPPED = sorted((ROOT / "specs").glob("*.yaml"))


def in_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_page_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestParser().get_doctest(PAGE.read_text(encoding="utf-8"), {}, PAGE.name, str(PAGE), 0)
    said: list[str] = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(found, out=said.append)
    assert (failed, "".join(said)) == (0, "")
    assert tried > 15
    for name in harness.__all__:
        assert name in PAGE.read_text(encoding="utf-8") or name in (
            "Difference",
            "Planned",
            "Problem",
            "Report",
            "UsageError",
        )


def test_importing_is_light_and_using_a_name_brings_its_module() -> None:
    assert in_python("import sys, harness; print([m for m in sys.modules if m.startswith('harness.')])") == "[]"
    heavy = "('torch', 'transformers', 'polars', 'numpy', 'scipy')"
    look = f"print([m for m in {heavy} if m in sys.modules])"
    each = "; ".join(f"harness.{name}" for name in harness.__all__)
    assert in_python(f"import sys, harness; {each}; {look}") == "[]"
    built = "harness.Spec(name='a', model={'bed': 'planted'}, probes=['ccs'])"
    assert "torch" not in in_python(f"import sys, harness; {built}; {look}")


def test_every_name_is_there_and_no_other() -> None:
    assert {*harness.__all__} <= {*dir(harness)}
    assert all(getattr(harness, name) for name in harness.__all__)
    with pytest.raises(AttributeError, match="no attribute 'plann'"):
        _ = harness.plann  # type: ignore[attr-defined]


def test_plan_is_a_function_also_once_the_folder_of_that_name_is_imported() -> None:
    code = "import harness, harness.plan.plan; from harness.plan import bed_claims; print(callable(harness.plan), bed_claims.__name__)"
    assert in_python(code) == "True harness.plan.bed_claims"


# Specs


def test_a_spec_of_structs_is_the_spec_of_plain_values() -> None:
    ccs, bed, banana = (
        kind.find(*names) for names in (("probes", "ccs"), ("beds", "planted"), ("distractors", "random_word"))
    )
    made = harness.Spec(name="a", model=bed(), probes=[ccs(restarts=3)], data=Data(limit=40))
    assert made == harness.Spec(
        name="a", model={"bed": "planted"}, probes=[{"kind": "ccs", "restarts": 3}], data={"limit": 40}
    )
    assert made != made.replace(data={"limit": 60})
    file = kind.find("data", "file")
    asked = harness.Spec(
        name="b",
        model="some-model",
        data=Data(source=msgspec.convert({"file": "my.csv", "factors": ["who"]}, file)),
        prompt=Prompt(template="{{ text }}\n  {{ answer }}", answers=("no", "yes")),
        activations=Activations(layers=(1, 2)),
        distractors={"word": banana(words=("1e-3", "on"))},
        probes=("ccs",),
    )
    condition = asked.resolved.conditions[0]
    assert condition.prompt.template == "{{ text }}\n  {{ answer }}"
    assert asked.resolved.distractors["word"].words == ("1e-3", "on")  # type: ignore[attr-defined]
    assert condition.data.source is not None
    assert condition.data.source.factors[0].name == "who"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_goes_through_python_and_back(path: Path) -> None:
    made = harness.Spec.from_yaml(path)
    again = harness.Spec.from_yaml(made.to_yaml())
    assert again == made
    assert spec_content(made.resolved) == spec_content(language.read(path))


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")) | st.sampled_from(
    ["No", "yes", "on", "1e-3", "0o17", "0x1F", "1_000", "null", "~", "", ".5", "1:30", " x ", "a\nb", "a\n", "\n", "- a", "{{ a }}", "#", "a: b", ".inf", "2001-01-01", "<<", "=", "@a", "a\n\n  b\n"]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcdef"), st.recursive(TEXTS | st.integers(-(2**53), 2**53) | st.booleans() | st.none() | st.floats(-1e9, 1e9), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3), max_leaves=6), min_size=1))  # fmt: skip
def test_what_is_written_is_read_as_the_same_values(keys: dict[str, object]) -> None:
    assert keys_of(as_yaml(keys)) == keys


def test_what_yaml_has_no_form_for_is_refused_with_its_place() -> None:
    with pytest.raises(harness.UsageError, match=r"data\.where: a set has no form in YAML"):
        harness.Spec(name="a", model="m", data={"where": {1, 2}}, probes=["ccs"])


def test_a_spec_is_saved_once(tmp_path: Path) -> None:
    spec = harness.Spec(name="a", model={"bed": "planted"}, probes=["ccs"])
    place = spec.save(tmp_path)
    assert language.read(place).name == "a"
    with pytest.raises(harness.UsageError, match=r"a\.yaml is there already"):
        spec.save(tmp_path)


# Runs and reports


@pytest.fixture
def planted(tmp_path: Path) -> harness.Report:
    return harness.run(write_planted(tmp_path), out=tmp_path / "reports", page=False)


def test_a_report_is_what_its_files_say(planted: harness.Report, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "planted"
    report = harness.load(folder)
    assert report.seeds is not None and report.seeds.height == pl.read_parquet(folder / "seeds.parquet").height
    for name, table in (("results", report.results), ("checks", report.checks)):
        assert table.height == len((folder / f"{name}.csv").read_text().splitlines()) - 1
    assert report.results.schema["layer"] == report.results.schema["n"] == pl.Int64
    assert report.results.schema["value"] == report.checks.schema["low"] == pl.Float64
    assert report.rows is not None and report.rows.height == pl.read_parquet(folder / "rows.parquet").height
    assert (report.name, report.manifest) == ("planted", json.loads((folder / "manifest.json").read_text()))
    assert repr(report) == repr(planted)
    pl.DataFrame({"example": ["a"]}).write_parquet(folder / "rows.parquet")
    rows = harness.load(folder).rows
    assert rows is not None
    assert rows["example"].to_list() == ["a"]


def test_the_difference_is_what_the_command_prints(planted: harness.Report, tmp_path: Path) -> None:
    other = harness.run(write_planted(tmp_path), sets=["data.seed=3"], out=tmp_path / "other", page=False)
    found = harness.diff(planted, other)
    printed = command("diff", planted.place, other.place, "--json")
    assert found == json.loads(printed.stdout)
    assert found.unexpected == (printed.returncode == 1)
    assert found["moved"]
    assert harness.diff(planted, planted.place)["moved"] == []


def test_a_notebook_shows_what_a_stranger_wrote_as_text(planted: harness.Report, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "planted"
    checks = (folder / "checks.csv").read_text()
    (folder / "checks.csv").write_text(checks.replace("beats_random", "<script>x</script>"))
    shown = harness.load(folder)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<th>finding</th>" in shown
    summary = planted._at_summary_layers()
    assert 0 < summary.height <= planted.results.filter(pl.col("target") == "truth").height
    assert summary.height == summary.unique(["fit_on", "tested_on", "probe", "metric"]).height


def test_what_is_no_report_is_refused_in_a_sentence(planted: harness.Report, tmp_path: Path) -> None:
    with pytest.raises(harness.UsageError, match="no folder"):
        harness.load(tmp_path / "nowhere")
    folder = tmp_path / "reports" / "planted"
    (folder / "results.csv").write_text("layer,value\n1,x\n")
    with pytest.raises(harness.UsageError, match=r"results\.csv is no table of a report"):
        _ = harness.load(folder).results


def test_relative_paths_of_a_built_spec_start_at_the_folder(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("text,label\n" + "".join(f"number {n},{n % 2}\n" for n in range(30)))
    spec = harness.Spec(
        name="mine",
        model="some-model",
        data={"source": {"file": "my.csv"}},
        prompt={"template": "{{ text }} {{ answer }}", "answers": ["no", "yes"]},
        probes=["ccs"],
    )
    assert harness.validate(spec, folder=tmp_path) == ()
    (problem,) = harness.validate(spec, folder=tmp_path / "elsewhere")
    assert (problem.path, "there is no such file" in problem.message) == ("data.source.file", True)
