"""The pages say what is: every example is a spec, every command exists with its options, every link leads to a file."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from harness import language, pipeline
from harness.cli import app
from harness.errors import SpecError
from harness.execution.run import Run
from harness.machine.resources import Resources
from harness.report.intervals import Score
from harness.report.wording import evidence
from harness.store import Store
from tests.readme_tables import PAGES, ROOT

LONGEST_README = 160
"""Lines that a newcomer reads to the end."""

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_EXAMPLE = re.compile(r"(?:^<!-- (?P<how>[a-z ]+): (?P<name>\S+) -->\n)?^```yaml\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)  # fmt: skip
_CODE = re.compile(r"(?<!`)`(?P<text>[^`]+)`(?!`)")
_LINK = re.compile(r"\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


# ---------------------------------------------------------------- examples


def specs_of(page: Path, folder: Path) -> Iterator[Path]:
    """The examples of a page as files of a folder that has the shipped specs, too; a part of a spec includes what it lies over."""
    for path in (ROOT / "specs").glob("*.yaml"):
        shutil.copy(path, folder)
    for number, found in enumerate(_EXAMPLE.finditer(page.read_text("utf-8"))):
        text = found["text"]
        if text.startswith("bed: 1\n"):
            continue
        assert found["how"] in ("example", "own data", "over"), f"what is this block of {page}?\n{text}"
        if found["how"] == "over":
            path = folder / f"part_{number}.yaml"
            text = f"harness: 1\nname: part-{number}\ninclude: {found['name']}\n{text}"
        else:
            path = folder / found["name"]
        path.write_text(text)
        yield path


@each_page
def test_every_example_is_a_spec(page: Path, tmp_path: Path) -> None:
    for path in specs_of(page, tmp_path):
        assert language.read(path).probes, path.read_text()


def test_the_networks_of_the_examples_can_be_planned(tmp_path: Path) -> None:
    """Those that are for a larger machine, too: a plan says how long they take, and trains nothing."""
    page = ROOT / "specs" / "README.md"
    said = {}
    for path in specs_of(page, tmp_path):
        spec = language.read(path)
        if spec.measurements:
            plan = pipeline.planned(spec, tmp_path, Store(tmp_path / "store"))
            run = Run(plan, Store(tmp_path / "store"), resources=Resources(threads=2))
            said[spec.name] = plan.of("network")[0].cost(run).note
    assert set(said) >= {"addition", "composition", "published"}
    assert re.search(
        r"8 networks of 226,\d+ parameters, 15,000 steps of 3,831 questions.* about \S+ h on 2 threads",
        said["published"],
    )


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- over: cities.yaml -->\n```yaml\nprobes: [css]\n```\n")
    (path,) = specs_of(page, tmp_path)
    with pytest.raises(SpecError, match='no probe "css"'):
        language.read(path)


def test_the_language_by_example_uses_every_key(tmp_path: Path) -> None:
    page = ROOT / "specs" / "README.md"
    used = set(re.findall(r"^(\w+):", "\n".join(path.read_text() for path in specs_of(page, tmp_path)), re.MULTILINE))
    words = " ".join(_CODE.findall(_without_tables(page.read_text("utf-8"))))
    missing = [key for key in language.json_schema()["properties"] if key not in used and not re.search(rf"\b{key}\b", words)]  # fmt: skip
    assert not missing, "a key without an example or a sentence"


def _without_tables(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("|"))


# ---------------------------------------------------------------- commands


def snippets(text: str) -> Iterator[str]:
    """What stands as code in a page: lines of shell blocks, continued ones as one, and code within sentences."""
    for found in _FENCE.finditer(text):
        if found["language"] == "sh":
            yield from found["text"].replace("\\\n", " ").splitlines()
    for found in _CODE.finditer(_FENCE.sub("", text)):
        yield " ".join(found["text"].split())


def mentions(text: str) -> Iterator[list[str]]:
    """Every mention of a command in a page, as the words after `harness`."""
    for snippet in snippets(text):
        for command in re.findall(r"(?:^|&& |-m )harness ([^&;#'\"]*(?:'[^']*'[^&;#'\"]*)*)", snippet):
            yield shlex.split(command)


def wrong_with(words: list[str]) -> str:
    """What is wrong with a mention of a command; empty if nothing is."""
    command: Any = typer.main.get_command(app)
    known = _options(command)
    for word in words:
        if word.startswith("-"):
            name = word.partition("=")[0]
            if name not in known:
                return f"{command.name} has no option {name}"
        elif inner := _commands(command):
            if word in inner:
                command = inner[word]
                known = _options(command)
            # The value of an option of the whole program stands in capitals.
            elif not word.isupper():
                return f"{command.name} has no command {word}"
    return ""


def _commands(command: Any) -> dict[str, Any]:
    """The commands of a group, by name; none where it is no group."""
    return getattr(command, "commands", {})


def _options(command: Any) -> set[str]:
    names = ((*one.opts, *one.secondary_opts) for one in command.params)
    return {"--help", "-h", *itertools.chain.from_iterable(names)}


@each_page
def test_every_command_exists_with_its_options(page: Path) -> None:
    text = page.read_text("utf-8")
    found = list(mentions(text))
    assert found
    assert not [fault for words in found if (fault := wrong_with(words))]


@each_page
def test_every_option_alone_is_one_of_some_command(page: Path) -> None:
    known = set(_every_option(typer.main.get_command(app)))
    options = {snippet.split()[0].partition("=")[0] for snippet in snippets(page.read_text("utf-8")) if snippet.startswith("--")}  # fmt: skip
    assert options <= known, options - known


def _every_option(command: Any) -> Iterator[str]:
    yield from _options(command)
    for one in _commands(command).values():
        yield from _every_option(one)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("`harness run a.yaml --set seeds=1`", ""),
        ("`harness run a.yaml --sets seeds=1`", "run has no option --sets"),
        ("`harness bed verfy quirky`", "bed has no command verfy"),
        ("```sh\ncd x && harness rows a \\\n  --wrongly\n```\n", "rows has no option --wrongly"),
        ("```sh\ntorchrun -m harness run a --page   # --not-meant\n```\n", ""),
    ],
)
def test_a_wrong_command_is_found(text: str, fault: str) -> None:
    (words,) = mentions(text)
    assert wrong_with(words).endswith(fault)
    assert bool(wrong_with(words)) == bool(fault)


@each_page
def test_every_module_that_is_run_is_there(page: Path) -> None:
    for name in re.findall(r"python -m\s+(tests[\w.]*)", page.read_text("utf-8")):
        assert importlib.util.find_spec(name), name


# ---------------------------------------------------------------- links


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_to_a_file(page: Path) -> None:
    for found in _LINK.finditer(page.read_text("utf-8")):
        target = page.parent / found["target"] if found["target"] else page
        assert target.exists(), found["target"]
        assert not found["anchor"] or found["anchor"] in anchors(target.read_text("utf-8")), found[0]


def test_every_report_and_every_page_is_linked() -> None:
    linked = {
        (page.parent / found["target"]).resolve() for page in PAGES for found in _LINK.finditer(page.read_text("utf-8"))
    }
    reports, pages = (ROOT / "reports").glob("*/report.md"), (*(ROOT / "specs").glob("*.md"), *PAGES[1:])
    assert not [str(path) for path in (*reports, *pages) if path.resolve() not in linked]


# ---------------------------------------------------------------- the README


def test_the_readme_is_read_to_the_end() -> None:
    text = PAGES[0].read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_README
    for marker in ("run", "tests"):
        assert re.search(rf"<!-- {marker} -->\n```sh\npython3 -m venv", text)
    assert "sed -n '/<!-- tests -->/" in (ROOT / ".ci" / "run").read_text()


def test_the_figures_in_the_readme_are_those_of_the_report() -> None:
    """The table is written for newcomers, so that no command prints it: its cells are looked up one by one."""
    with (ROOT / "reports" / "banana-shed" / "results.csv").open(newline="") as file:
        scores = {
            (row["probe"], row["fit_on"], row["target"]): Score(
                *(float(row[name]) for name in ("value", "low", "high"))
            )
            for row in csv.DictReader(file)
            if row["layer"] == "20" and row["metric"] == "accuracy" and row["fit_on"] == row["tested_on"]
        }
    places = (("plain", "truth"), ("banana", "truth"), ("banana", "word"), ("untrained", "word"))
    methods = {"CCS": "ccs", "top": "crc_tpc", "logistic": "logistic_regression"}
    rows = re.findall(r"^\| (CCS|top|logistic)[^|]*\|(.*)\|$", PAGES[0].read_text("utf-8"), re.MULTILINE)
    assert [first for first, _ in rows] == list(methods)
    for first, cells in rows:
        for (condition, target), cell in zip(places, cells.split("|"), strict=True):
            shown = cell.replace("*", "").strip()
            expected = evidence(scores[methods[first], condition, target])
            assert expected.startswith(shown), (first, condition, target)
