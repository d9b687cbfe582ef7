"""Kinds that installed packages add: the page about them, to the letter; what is broken, or claims a name; what is not installed."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report_tables import full_table

HERE = Path(__file__).parent
PAGE = (HERE.parent / "specs" / "KINDS.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^`([\w./-]+)`\n```\w+\n(.*?)^```$", PAGE, flags=re.M | re.S))
SPEC = BLOCKS.pop("outside.yaml")

PLANTED = """\
harness: 1
name: planted
model: {bed: planted}
data: {limit: 60}
probes: [mean_difference]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, written out and installed into a folder of its own."""
    source = tmp_path_factory.mktemp("source") / "outside-kinds"
    for name, text in BLOCKS.items():
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    target = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True)
    return target


def harness(
    *arguments: str | Path,
    path: Path | None = None,
    cwd: Path,
    code: int = 0,
    program: tuple[str, ...] = ("-m", "harness"),
) -> str:
    """What the program says, with a folder of packages installed. Asserts the exit code."""
    paths = [str(HERE.parent), *([] if path is None else [str(path)])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "400"}
    command = [sys.executable, *program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def package(folder: Path, name: str, entries: dict[str, str], **modules: str) -> Path:
    """A package as an installer leaves it behind: its modules, and the metadata beside them."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{entry} = {value}\n" for entry, value in entries.items())
    (info / "entry_points.txt").write_text(f"[harness.kinds]\n{lines}")
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    return folder


METRIC = (
    '"""A metric."""\nfrom harness.contracts import Metric\n\n\n'
    'class {name}(Metric, frozen=True, kw_only=True):\n    """A metric that is never asked for."""\n'
)


def test_the_page_shows_the_package_that_lies_beside_the_tests() -> None:
    files = {path for path in (HERE / "outside").rglob("*") if path.suffix in (".py", ".toml")}
    assert {str(path.relative_to(HERE / "outside")): path.read_text(encoding="utf-8") for path in files} == BLOCKS
    assert len(BLOCKS) == 7


def test_kinds_of_an_installed_package_are_listed_and_explained(installed: Path, tmp_path: Path) -> None:
    shown = harness("list", path=installed, cwd=tmp_path)
    assert all(name in shown for name in ("median_difference", "scores_above", "coloured_boxes", "separation"))
    assert "cannot be used" not in shown
    one = harness("list", "probes", "median-difference", path=installed, cwd=tmp_path)
    assert "It comes from the package outside-kinds 0.1." in one
    assert "The quantile of each dimension that stands for a class; 0.5 is the median." in one
    assert "Statements" not in one and "a number; at least 0.1, at most 0.9" in one
    analysis = harness("list", "analyses", "separation", path=installed, cwd=tmp_path)
    assert "From which distance on the report calls the classes apart." in analysis
    assert "analyses:\n  - {kind: separation, apart: 1}" in analysis
    # The control: without the package there is nothing of it.
    assert not any(name in harness("list", cwd=tmp_path) for name in ("median_difference", "separation"))


def test_the_schema_has_them(installed: Path, tmp_path: Path) -> None:
    schema = json.loads(harness("schema", path=installed, cwd=tmp_path))
    options = schema["$defs"]["probes.median_difference"]["properties"]
    assert options["quantile"] == {
        "type": "number",
        "minimum": 0.1,
        "maximum": 0.9,
        "default": 0.5,
        "description": "The quantile of each dimension that stands for a class; 0.5 is the median.",
    }
    assert {"checks.scores_above", "data.coloured_boxes"} <= set(schema["$defs"])
    assert schema["$defs"]["analyses.separation"]["properties"]["apart"]["maximum"] == 10
    assert schema["properties"]["analyses"]["items"] == {"$ref": "#/$defs/analyses"}
    without = json.loads(harness("schema", cwd=tmp_path))
    assert {name for name in schema["$defs"] if name not in without["$defs"]} == {
        "probes.median_difference",
        "checks.scores_above",
        "data.coloured_boxes",
        "analyses.separation",
    }


@pytest.mark.slow
def test_the_spec_of_the_page_runs(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(SPEC)
    harness("run", "outside.yaml", path=installed, cwd=tmp_path)
    (check,) = csv.DictReader((tmp_path / "reports/outside/checks.csv").open())
    assert (check["check"], check["finding"], check["verdict"]) == ("scores_above", "pass", "as_expected")
    scores = {row["probe"] for row in csv.DictReader((tmp_path / "reports/outside/results.csv").open())}
    assert {"median_difference", "mean_difference", "random"} <= scores
    distances = {
        row["probe"]: (float(row["distance"]), row["apart"])
        for row in full_table(tmp_path / "reports/outside", "separation").iter_rows(named=True)
    }
    assert set(distances) == scores
    assert distances["median_difference"][0] > 1.5 > distances["random"][0]
    assert (distances["median_difference"][1], distances["random"][1]) == (True, False)
    report = (tmp_path / "reports/outside/report.md").read_text()
    assert "## How far apart the classes lie" in report and "(figures/separation.svg)" in report
    assert (tmp_path / "reports/outside/figures/separation.svg").read_text().startswith("<svg")
    assert "separation" in harness("plan", "outside.yaml", path=installed, cwd=tmp_path)
    # The control: what is not asked for is made by nobody, and what a former run left of it is taken away.
    (tmp_path / "outside.yaml").write_text(SPEC.partition("analyses:")[0])
    harness("run", "outside.yaml", path=installed, cwd=tmp_path)
    assert "classes lie" not in (tmp_path / "reports/outside/report.md").read_text()
    assert not list((tmp_path / "reports/outside").rglob("separation.*"))
    wrong = SPEC.replace("quantile: 0.4", "quantle: 0.4").replace("bar: 0.7", "bar: 7").replace("apart: 1.5", "apat: 2")
    (tmp_path / "outside.yaml").write_text(wrong)
    said = harness("validate", "outside.yaml", path=installed, cwd=tmp_path, code=2)
    assert (
        'outside.yaml:9:31: probes[0].quantle: the probe median_difference has no "quantle"; did you mean "quantile"'
        in said
    )
    assert "checks[0].bar: 7 is out of range: it must be at least 0, below 1" in said
    assert 'outside.yaml:16:24: analyses[0].apat: the analysis separation has no "apat"; did you mean "apart"?' in said
    for asked, expected in (
        ("separatoin", 'analyses[0]: no analysis "separatoin"; did you mean "separation"?'),
        ("{kind: separation, apart: 0}", "analyses[0].apart: 0 is out of range: it must be above 0, at most 10"),
        (
            "separation, {kind: separation, apart: 2}",
            "analyses[1]: separation stands at analyses[0] already; take one of them out",
        ),
    ):
        (tmp_path / "outside.yaml").write_text(f"{PLANTED}analyses: [{asked}]\n")
        assert expected in harness("validate", "outside.yaml", path=installed, cwd=tmp_path, code=2)


def test_a_data_set_from_outside_is_asked_of_a_language_model(
    installed: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    text = f"harness: 1\nname: boxes\nmodel: {{id: {tiny_llama}, dtype: float32}}\ndata: {{source: coloured-boxes, limit: 60}}\n"
    (tmp_path / "boxes.yaml").write_text(text + "probes: [median_difference]\nseeds: 2\n")
    harness("run", "boxes.yaml", path=installed, cwd=tmp_path)
    targets = {row["target"] for row in csv.DictReader((tmp_path / "reports/boxes/results.csv").open())}
    assert targets == {"truth", "warm"}


def test_the_walk_over_all_kinds_covers_installed_ones(installed: Path) -> None:
    chosen = (
        "tests/test_kinds.py",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "-k",
        "median_difference or coloured_boxes",
    )
    said = harness(*chosen, path=installed, cwd=HERE.parent, program=("-m", "pytest"))
    assert "4 passed" in said


def keys(folder: Path, path: Path) -> dict[str, str]:
    plan = json.loads(harness("plan", "outside.yaml", "--json", path=path, cwd=folder))
    return {f"{stage['kind']} {stage['label']}": stage["key"] for stage in plan["stages"]}


def test_another_version_of_the_package_makes_its_part_again(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text(SPEC)
    own = tmp_path / "own"
    package(own, "outside-kinds", dict(re.findall(r'^"(\S+)" = "(\S+)"$', BLOCKS["pyproject.toml"], flags=re.M)))
    for name, text in BLOCKS.items():
        if name.endswith(".py"):
            (own / name).parent.mkdir(parents=True, exist_ok=True)
            (own / name).write_text(text)
    before = keys(tmp_path, own)
    assert before == keys(tmp_path, installed)
    probe = own / "outside_kinds/median_difference.py"
    probe.write_text(BLOCKS["outside_kinds/median_difference.py"].replace("/ 2)", "/ 3)"))
    after = keys(tmp_path, own)
    moved = {name.split()[0] for name in before if before[name] != after[name]}
    assert {"fit", "score", "checks"} <= moved
    assert not moved & {"prompts", "activations"}
    assert before["fit main · mean_difference"] == after["fit main · mean_difference"]
    for file, old, new, made_again in (
        ("separated.py", "/ 2)", "/ 3)", {"separation", "figures", "report"}),
        ("__init__.py", "apart from", "well apart from", {"report"}),
    ):
        path = own / "outside_kinds/separation" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        last, after = after, keys(tmp_path, own)
        moved = {name for name in last if last[name] != after[name]}
        assert {name.split()[0] for name in moved} == made_again
        # Of the figures, its own alone.
        assert [name for name in moved if name.startswith("figures")] == ["figures outside, separation"] * (
            file != "__init__.py"
        )


def test_a_broken_package_is_named_where_it_is_used(tmp_path: Path) -> None:
    path = package(
        tmp_path / "path",
        "Broken-Box",
        {
            "probes.no_such_module": "nowhere.to_be_found",
            "probes.two_in_one": "two",
            "probes.a_metric": "a_metric",
            "metrics.plain_class": "plain:Plain",
            "metrics.fine": "fine",
            "metrics.leaves": "leaves",
            "what.ever": "fine",
            "checks.Loud Name": "fine",
            "nameless": "fine",
        },
        two=METRIC.format(name="One") + METRIC.format(name="Two"),
        a_metric=METRIC.format(name="AMetric"),
        plain="class Plain: pass\n",
        fine=METRIC.format(name="Fine"),
        leaves="raise SystemExit('gone')\n",
    )
    (tmp_path / "planted.yaml").write_text(PLANTED)
    harness("validate", "planted.yaml", path=path, cwd=tmp_path)
    shown = harness("list", path=path, cwd=tmp_path)
    head = "of the package Broken-Box 1.0 cannot be used: "
    for line in (
        f"the probe \"no_such_module\" {head}importing nowhere.to_be_found failed with ModuleNotFoundError: No module named 'nowhere'",
        f'the probe "two_in_one" {head}two defines 2 kinds and not one; write `package.module:Class`',
        f'the probe "a_metric" {head}a_metric belongs to metrics, not to probes',
        f'the metric "plain_class" {head}plain:Plain is no kind',
        f'the metric "leaves" {head}importing leaves failed with SystemExit: gone',
        f'the entry "what.ever" {head}name an entry FOLDER.NAME',
        f'the check "Loud Name" {head}name an entry FOLDER.NAME',
        f'the entry "nameless" {head}name an entry FOLDER.NAME',
    ):
        assert line in shown, line
    assert shown.count("cannot be used") == 8 + 8, "once in front of each line, and once in it"
    assert "fine" in shown
    (tmp_path / "planted.yaml").write_text(PLANTED.replace("[mean_difference]", "[mean_difference, no_such_module]"))
    said = harness("validate", "planted.yaml", path=path, cwd=tmp_path, code=2)
    assert f'planted.yaml:5:27: probes[1]: the probe "no_such_module" {head}importing nowhere' in said
    assert head in harness("list", "probes", "two_in_one", path=path, cwd=tmp_path, code=2)
    assert "a_metric belongs to metrics" in harness("list", "probes", path=path, cwd=tmp_path)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    path = package(
        tmp_path / "path", "taker", {"probes.ccs": "fine", "metrics.mine": "fine"}, fine=METRIC.format(name="Fine")
    )
    package(path, "other", {"metrics.mine": "fine"})
    (tmp_path / "planted.yaml").write_text(PLANTED)
    harness("validate", "planted.yaml", path=path, cwd=tmp_path)
    (tmp_path / "planted.yaml").write_text(PLANTED.replace("mean_difference", "ccs") + "metrics: [mine]\n")
    said = harness("validate", "planted.yaml", path=path, cwd=tmp_path, code=2)
    assert (
        'probes[0]: the probe "ccs" of the package taker 1.0 cannot be used: the harness has one of that name itself'
        in said
    )
    assert 'the metric "mine" of the package other 1.0 cannot be used: taker 1.0 has one of that name too' in said
    shown = harness("list", path=path, cwd=tmp_path)
    # Of two versions on the path, the first is the one that Python imports.
    package(tmp_path / "later", "taker", {"metrics.hidden": "fine"})
    (tmp_path / "later" / "taker-1.0.dist-info").rename(tmp_path / "later" / "taker-2.0.dist-info")
    (tmp_path / "later" / "taker-2.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Taker\nVersion: 2.0\n"
    )
    both = Path(f"{path}{os.pathsep}{tmp_path / 'later'}")
    assert harness("list", path=both, cwd=tmp_path) == shown
    assert shown.count('the probe "ccs"') == 1 and shown.count('the metric "mine"') == 1
    assert "contrast-consistent search" in harness("list", "probes", "ccs", path=path, cwd=tmp_path)


def test_what_lies_in_the_folder_of_a_spec_is_not_installed(tmp_path: Path) -> None:
    """Whoever runs a stranger's spec in the stranger's folder runs none of his code, as a module or as a package."""
    text = "open('it-ran', 'w')\n" + METRIC.format(name="Stranger")
    package(tmp_path, "stranger", {"metrics.stranger": "stranger"}, stranger=text)
    (tmp_path / "planted.yaml").write_text(PLANTED + "metrics: [stranger]\n")
    assert 'no metric "stranger"' in harness("validate", "planted.yaml", cwd=tmp_path, code=2)
    assert "stranger" not in harness("list", "metrics", cwd=tmp_path)
    assert not (tmp_path / "it-ran").exists()
    # The control: installed, it is a metric.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "stranger" in harness("list", "metrics", path=tmp_path, cwd=elsewhere)
    assert (elsewhere / "it-ran").exists()


def test_entry_points_are_read_when_names_are_asked_for_and_not_before(tmp_path: Path) -> None:
    code = (
        "import sys, harness.cli, harness.contracts.kind, harness.language\nfrom harness.contracts import outside; "
        "print(outside.entries.cache_info().currsize); harness.contracts.kind.names('probes'); "
        "print(outside.entries.cache_info().currsize, 'torch' in sys.modules)"
    )
    assert harness(cwd=tmp_path, program=("-c", code)).split() == ["0", "1", "False"]


ANALYSIS = """\
\"\"\"An analysis.\"\"\"
from typing import ClassVar

from harness.contracts import Analysis


class {name}(Analysis, frozen=True):
    \"\"\"An analysis that makes nothing.\"\"\"

    files: ClassVar[tuple[str, ...]] = ({file!r},)

    def stages(self, plan):
        return ()

    def tables(self, run, stages):
        return {{}}
"""


def test_tables_of_analyses_have_plain_names_of_their_own(tmp_path: Path) -> None:
    files = {
        "upward": "../escaped.parquet",
        "spaced": "a b.parquet",
        "other": "table.txt",
        "scores": "results.parquet",
        "as_ours": "geometry.parquet",
        "first": "same.parquet",
        "second": "same.parquet",
    }
    entries = {f"analyses.{name}": name for name in files}
    modules = {name: ANALYSIS.format(name=name.title().replace("_", ""), file=file) for name, file in files.items()}
    path = package(tmp_path / "path", "tables", entries, **modules)
    (tmp_path / "planted.yaml").write_text(PLANTED)
    harness("validate", "planted.yaml", path=path, cwd=tmp_path)
    shown = harness("list", path=path, cwd=tmp_path)
    head = "of the package tables 1.0 cannot be used: "
    plainly = "is no name for a table; write one of a-z, 0-9, - and _ that ends in .parquet, such as"
    refused = (
        f'the analysis "upward" {head}"../escaped.parquet" {plainly} upward.parquet',
        f'the analysis "spaced" {head}"a b.parquet" {plainly} spaced.parquet',
        f'the analysis "other" {head}"table.txt" {plainly} other.parquet',
        f'the analysis "scores" {head}every report has a table results.parquet already; choose another name, such as scores.parquet',
        f'the analysis "as_ours" {head}the analysis geometry has a table geometry.parquet already; choose another name',
    )
    for line in refused:
        assert line in shown, line
    (tmp_path / "planted.yaml").write_text(PLANTED + "analyses: [upward, first, second]\n")
    said = harness("validate", "planted.yaml", path=path, cwd=tmp_path, code=2)
    assert f"planted.yaml:6:12: analyses[0]: {refused[0]}" in said
    assert "analyses[2]: first and second both have a table same.parquet; take one of them out" in said
    (tmp_path / "planted.yaml").write_text(PLANTED + "analyses: [second]\n")
    harness("validate", "planted.yaml", path=path, cwd=tmp_path)


def test_a_stage_that_is_called_as_another_is_refused(tmp_path: Path) -> None:
    """What came of one would be taken for the other's."""
    stage = """

from harness.plan.stage import Stage
from tests.report_tables import full_table


class Taken(Stage, frozen=True, kw_only=True):
    kind: ClassVar[str] = "score"
    place = ("main", "main", "mean_difference")

    def made_from(self):
        return {}
"""
    text = ANALYSIS.format(name="Taker", file="taker.parquet").replace("return ()", "yield Taken()") + stage
    path = package(tmp_path / "path", "taker", {"analyses.taker": "taker"}, taker=text)
    (tmp_path / "planted.yaml").write_text(PLANTED + "analyses: [taker]\n")
    said = harness("plan", "planted.yaml", path=path, cwd=tmp_path, code=2)
    assert (
        'two stages are called "score main, main, mean_difference" (harness.stages.fit_stages.Score and taker.Taken)'
        in said
    )
    path = package(tmp_path / "other", "taker", {"analyses.taker": "taker"}, taker=text.replace('"score"', '"taken"'))
    assert "taken" in harness("plan", "planted.yaml", path=path, cwd=tmp_path)
