"""Reports, manifests and repositories from strangers, in `diff` and wherever git is asked."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness.page import report_index
from harness.report.folder import COMMITTED
from tests.attacks.scene import Scene
from tests.attacks.table import PLANTED, Attack, names, refused, soon
from tests.test_diff import CHECKS_HEAD, FAILED, RESULTS_HEAD, make


def report(
    results: str | bytes = "", checks: str | bytes = "", command: str = "diff"
) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        make(scene.inside / "a")
        make(scene.inside / "b")
        for name, content in (("results.csv", results), ("checks.csv", checks)):
            if content:
                scene.write(f"b/{name}", content)
        return (command, "a", "b")

    return prepare


def strange(change: Callable[[Path, Scene], Any]) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        make(scene.inside / "a")
        make(scene.inside / "b")
        (scene.inside / "b" / "results.csv").unlink()
        change(scene.inside / "b" / "results.csv", scene)
        return ("diff", "a", "b")

    return prepare


def revision(text: str) -> Callable[[Scene], Sequence[str]]:
    def prepare(scene: Scene) -> Sequence[str]:
        repository(scene)
        return ("diff", "--", text, "HEAD:reports/x")

    return prepare


def repository(scene: Scene) -> None:
    """A stranger's repository whose configuration runs things."""
    make(scene.inside / "reports" / "x")
    run = lambda *a: subprocess.run(["git", "-C", scene.inside, *a], check=True, capture_output=True)  # noqa: E731
    run("init", "-q")
    run("add", ".")
    run("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    touch = f"touch {scene.canary}"
    for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "core.pager"):
        run("config", key, touch)
    run("config", "core.sshCommand", touch)
    run("config", "remote.origin.url", f"ext::sh -c {touch}")
    run("config", "remote.origin.promisor", "true")
    run("config", "protocol.ext.allow", "always")
    (scene.inside / ".git" / "info").mkdir(exist_ok=True)
    (scene.inside / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    os.utime(scene.inside / "reports" / "x" / "results.csv", (0, 0))


ROW = "a,a,p,{},truth,accuracy,0.5,0.4,0.6,10,1\n"

REPORTS: list[Attack] = [
    ("no columns", report("x\n1\n"), "column fit_on is missing"),
    ("columns twice", report(RESULTS_HEAD + ",value\n"), "named twice"),
    ("rows twice", report(RESULTS_HEAD + "\n" + ROW.format(1) * 2), "two rows for"),
    ("words for numbers", report(RESULTS_HEAD + "\n" + ROW.format(1).replace("0.5", "\x1b[2J")), "is not a number"),
    (
        "rows without end",
        report(RESULTS_HEAD + "\n" + "".join(map(ROW.format, range(10_001)))),
        "more than 10,000 rows",
    ),
    ("a long cell", report(RESULTS_HEAD + "\n" + "x" * 200_000), "not CSV"),
    ("an open quote", report(RESULTS_HEAD + '\n"'), "not CSV"),
    ("bytes", report(b"\xff\xfe" * 100), "not UTF-8"),
    ("a link to a device", strange(lambda path, scene: path.symlink_to("/dev/zero")), "leads out of its folder"),
    (
        "a link out",
        strange(lambda path, scene: path.symlink_to(scene.outside / "secret.csv")),
        "leads out of its folder",
    ),
    ("a link to itself", strange(lambda path, scene: path.symlink_to("results.csv")), "cannot be read"),
    ("a pipe", strange(lambda path, scene: os.mkfifo(path)), "not an ordinary file"),
    ("a folder", strange(lambda path, scene: path.mkdir()), "not an ordinary file"),
    ("an option for a revision", revision("--output=canary:reports/x"), "no revision"),
    ("another option", revision("--upload-pack=touch canary:reports/x"), "no revision"),
    ("an option that ends options", revision("--end-of-options:reports/x"), "no revision"),
    ("a revision with an escape", revision("\x1b[2J:reports/x"), "no revision"),
    ("a folder that climbs", revision("HEAD:../outside"), "without .."),
    ("an absolute folder", revision("HEAD:/etc"), "from the repository's root"),
    ("an address", revision("https://example.invalid/x"), "from the repository's root"),
    ("a reflog with a command", revision("@{-1}$(touch canary):reports/x"), "no revision"),
    ("a manifest of brackets", lambda s: ("report", s.write("r/manifest.json", "[" * 99999).parent), "report"),
]


@pytest.mark.parametrize("attack", REPORTS, ids=names(REPORTS))
def test_reports_from_strangers(scene: Scene, attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.report.read.MOST_COMPARED", 10_000)
    refused(scene, attack)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything that its page shows."""
    from harness import pipeline
    from harness.store import Store

    home = tmp_path_factory.mktemp("written")
    probes = "[{kind: ccs, restarts: 2, epochs: 20}, mean_difference]"
    text = PLANTED.replace("[mean_difference]", probes) + "autopsy: [ccs]\ngeometry: true\nseeds: 2\n"
    (home / "x.yaml").write_text(text)
    pipeline.run(home / "x.yaml", out=home / "reports", store=Store(home / "store"), page=False)
    return home / "reports" / "x"


Spoil = Callable[[Path], Any]


def described(**changes: Callable[[Any], Any]) -> Spoil:
    """Changes what the manifest says of the report, by name."""

    def spoil(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        for name, change in changes.items():
            manifest["report"][name] = change(manifest["report"][name])
        path.write_text(json.dumps(manifest))

    return spoil


def repeated(name: str, row: int, times: int) -> Spoil:
    """A row of a table so often, with a number behind each of its texts."""

    def spoil(folder: Path) -> None:
        table = pl.read_parquet(folder / name)
        one = pl.concat([table[row : row + 1]] * times).with_row_index("k")
        texts = [column for column, kind in table.schema.items() if kind == pl.String]
        many = one.with_columns(pl.col(texts) + pl.col("k").cast(pl.String)).drop("k")
        pl.concat([table, many]).write_parquet(folder / name)

    return spoil


def states(columns: Sequence[str], rows: int, condition: str = "main") -> Spoil:
    def spoil(folder: Path) -> None:
        numbers = pl.DataFrame({"n": range(rows)}).select(pl.col("n").cast(pl.String))["n"]
        table = {
            "condition": [condition.format(n) for n in numbers],
            "layer": [1] * rows,
            **{f"pc{n}": [0.0] * rows for n in (1, 2, 3)},
            **{f"factor_{name}": "class " + numbers for name in columns},
        }
        pl.DataFrame(table).write_parquet(folder / "states.parquet")

    return spoil


def directions(count: int) -> Spoil:
    """So many pairs of directions, on the condition and at the layer that are shown."""

    def spoil(folder: Path) -> None:
        table = pl.read_parquet(folder / "geometry.parquet")
        place = pl.read_parquet(folder / "states.parquet").row(0, named=True)
        one = table[:1].with_columns(
            condition=pl.lit(place["condition"]), layer=pl.lit(place["layer"], dtype=table.schema["layer"])
        )
        many = pl.concat([one] * count).with_row_index("k")
        named = many.with_columns(
            measure=pl.lit("cosine"), a="a" + pl.col("k").cast(pl.String), b="b" + pl.col("k").cast(pl.String)
        ).drop("k")
        named.write_parquet(folder / "geometry.parquet")

    return spoil


def bomb(folder: Path) -> None:
    """A table of a few kilobytes that is 2.5 gigabytes in memory, written piece by piece."""
    text = pl.lit("x" * 2500).alias("text")
    pl.LazyFrame({"n": range(999_999)}).select(text).sink_parquet(folder / "rows.parquet", row_group_size=20_000)


def each(count: int, one: Any = "{}") -> Callable[[list[Any]], list[Any]]:
    return lambda found: [json.loads(json.dumps(one or found[0]).replace("{}", str(n))) for n in range(count)]


PAGES: list[tuple[str, Spoil]] = [
    ("factors without end", states([str(n) for n in range(9000)], 40)),
    ("conditions without end", states(["truth"], 20_000, "c{}")),
    (
        "names times names times names",
        described(
            transfers=each(2000, ["a{}", "b"]),
            targets=each(2000, "t{}"),
            probes=each(2000, {"name": "p{}", "role": "labels"}),
        ),
    ),
    ("claims without end", described(claims=each(30_000))),
    ("a description without end", lambda f: os.truncate(f / "manifest.json", 300 << 20)),
    ("a table of names with each other", directions(20_000)),
    ("autopsies without end", repeated("autopsy_solutions.parquet", 0, 20_000)),
    ("rows of autopsies without end", repeated("autopsy_rows.parquet", 0, 60_000)),
    ("a table that is larger than any", lambda f: os.truncate(f / "states.parquet", 17 << 20)),
    ("a text a million times", bomb),
]


@pytest.mark.parametrize("page", PAGES, ids=[page[0] for page in PAGES])
def test_pages_of_strangers_reports(scene: Scene, written: Path, page: tuple[str, Spoil]) -> None:
    """A page is made, or one sentence says what it was too much of; in the time and memory that any attack has."""
    _, spoil = page
    shutil.copytree(written, scene.inside / "r")
    spoil(scene.inside / "r")
    with soon():
        said = scene.run("report", "r")
    scene.assert_unharmed(said)
    assert said.code in (0, 2), said.err
    if said.code:
        assert "r" in said.err and len(said.err.strip().splitlines()) == 1
        assert not (scene.inside / "r" / "report.html").exists()


def test_classes_by_the_hundred_thousand_are_shown(scene: Scene, written: Path) -> None:
    shutil.copytree(written, scene.inside / "r")
    states(["truth"], 100_000)(scene.inside / "r")
    with soon():
        said = scene.run("report", "r")
    scene.assert_unharmed(said)
    assert said.code == 0 or "takes more than" in said.err, said.err


LIVE = "\x1b]0;owned\x07\x9b31m\u202e"

ROWS: list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = [
    *(
        (f"a column of {what}", lambda rows, value=value: rows.with_columns(probe=value), "r/rows.parquet: ")
        for what, value in (("numbers", pl.lit(7)), ("lists", pl.concat_list(pl.lit("a"))), ("bytes", pl.lit(b"\xff")))
    ),
    ("a factor of numbers", lambda rows: rows.with_columns(factor_truth=pl.lit(1.0)), "the column factor_truth holds"),
    ("scores of text", lambda rows: rows.with_columns(score=pl.lit("\x1b[2J")), "the column score holds"),
    ("rows of no example", lambda rows: rows.with_columns(example=pl.lit(None, pl.String)), "is empty in some rows"),
    ("columns by the thousand", lambda rows: rows.with_columns(**{f"factor_{n}": pl.lit("x") for n in range(2000)}), "columns"),
    ("a text a million times", lambda rows: pl.concat([rows[:1]] * 1000).with_columns(text=pl.lit("x" * 1_000_000)), "r/rows.parquet: "),
    ("numbers that are none", lambda rows: rows.with_columns(score=pl.lit(None, pl.Float64), right=pl.lit(None, pl.Float64)), ""),
    ("numbers without end", lambda rows: rows.with_columns(pl.lit(math.inf).alias(name) for name in ("score", "right", "confidence")), ""),
    ("texts that steer", lambda rows: rows.with_columns(pl.lit(LIVE).alias(name) for name in ("text", "probe", "example")), ""),
    ("a factor that steers", lambda rows: rows.with_columns(pl.lit(LIVE).alias(f"factor_{LIVE}")), ""),
]  # fmt: skip


@pytest.mark.parametrize("kind", ROWS, ids=[one[0] for one in ROWS])
def test_rows_of_strangers_reports(
    scene: Scene, written: Path, kind: tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]
) -> None:
    """They are shown, or refused with the place."""
    _, change, says = kind
    shutil.copytree(written, scene.inside / "r")
    change(pl.read_parquet(written / "rows.parquet")).write_parquet(scene.inside / "r" / "rows.parquet")
    for options in [()] if says else [(), ("--json",), ("--wrong", "--sort", "score", "-n", "3")]:
        with soon():
            said = scene.run("rows", "r", *options)
        scene.assert_unharmed(said)
        assert said.code == (2 if says else 0), said.err
        assert says in said.err
        assert says or said.out


def test_an_index_is_not_larger_than_people_can_open(
    scene: Scene, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is left out, with a sentence, and so is what takes too much to read. The control: without the limit, it fits."""
    for name in "abcd":
        shutil.copytree(written, scene.inside / "reports" / name)
    dict(PAGES)["names times names times names"](scene.inside / "reports" / "a")
    said = scene.run("report", "--all")
    assert said.out.count("left out: ") == 1 and "over 3 reports" in said.out
    one = len(report_index.entry({name: (written / name).read_bytes() for name in COMMITTED}, "b", "b"))
    monkeypatch.setattr(report_index, "_MOST_BYTES", 2 * one + 10)
    said = scene.run("report", "--all")
    scene.assert_unharmed(said)
    assert said.out.count("left out: ") == 2 and "would make the index larger" in said.out
    assert "over 2 reports" in said.out


def test_an_index_does_not_try_hostile_reports_one_by_one_for_ever(
    scene: Scene, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has more rows than a report of ours, which is seen before they are looked at; together they may take no longer than one."""
    for name in "abc":
        shutil.copytree(written, folder := scene.inside / "reports" / name)
        head, first, *_ = (folder / "results.csv").read_text().splitlines()
        (folder / "results.csv").write_text("\n".join([head, *[first] * 100_001]) + "\n")
    with soon():
        said = scene.run("report", "--all")
    scene.assert_unharmed(said)
    assert said.code == 2 and "more than 100,000 rows" in said.err
    shutil.copytree(written, scene.inside / "reports" / "d")
    assert "over 1 report" in scene.run("report", "--all").out
    monkeypatch.setattr(report_index, "_MOST_IN_VAIN_S", 0.0)
    said = scene.run("report", "--all")
    assert said.code == 2 and "finding that out takes too long" in said.err


@pytest.mark.parametrize("name", ["results.csv", "checks.csv", "seeds.parquet", "geometry.parquet", "states.parquet"])
def test_fields_that_are_empty_or_infinite(written: Path, tmp_path: Path, name: str) -> None:
    """Whatever stands in one column: the page is made, or refused with the place."""
    from harness.errors import UsageError
    from harness.page.from_folder import from_folder

    folder = tmp_path / "r"
    shutil.copytree(written, folder)
    (folder / "results.parquet").unlink()
    refusals: list[tuple[str, float | None, str]] = []
    table = pl.read_csv(written / name, infer_schema=False) if name.endswith("csv") else pl.read_parquet(written / name)
    for column, kind in table.schema.items():
        for cell in (None, math.inf, math.nan, -1e308):
            if name.endswith("csv"):
                table.with_columns(pl.lit(None if cell is None else str(cell)).alias(column)).write_csv(folder / name)
            elif kind in (pl.Float64, pl.Float32) or cell is None:
                table.with_columns(pl.lit(cell, dtype=kind).alias(column)).write_parquet(folder / name)
            try:
                from_folder(folder)
            except UsageError as error:
                refusals.append((column, cell, str(error)))
    assert [one for one in refusals if name not in one[2] and "beside the report" not in one[2]] == []


def test_a_strangers_repository_runs_nothing(scene: Scene) -> None:
    """Looked at by `diff` and for the manifest. The control: git by itself runs what the configuration names."""
    repository(scene)
    said = scene.run("diff", "HEAD:reports/x", "reports/x")
    assert said.code == 0, said.err
    scene.assert_unharmed(said)
    scene.assert_unharmed(scene.run("run", scene.write("x.yaml", PLANTED), "--quiet", "--no-page"))
    manifest = json.loads((scene.inside / "reports" / "x" / "manifest.json").read_text())
    assert manifest["runs"][-1]["git"]["dirty"] is False
    subprocess.run(["git", "-C", scene.inside, "status"], capture_output=True, check=False)
    assert scene.canary.exists()


def test_numbers_that_are_none_and_checks_by_the_thousand(scene: Scene) -> None:
    rows = RESULTS_HEAD + "\n" + ROW.format(1).replace("0.5,0.4,0.6", "nan,-inf,1e999") + ROW.format(2)
    checks = CHECKS_HEAD + "\n" + (FAILED[0] + "\n") * 20_000
    with soon():
        said = scene.run(*report(rows, checks)(scene))
    scene.assert_unharmed(said)
    assert said.code == 0
    assert "19,999 checks moved" in said.out


@pytest.mark.parametrize("link", ["reports/x", "reports/x/figures"])
def test_a_report_is_not_written_through_a_link(scene: Scene, link: str) -> None:
    place = scene.inside / link
    place.parent.mkdir(parents=True)
    place.symlink_to(scene.outside)
    said = scene.run("run", scene.write("x.yaml", PLANTED), "--quiet", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 2
    assert "is a symbolic link" in said.err
