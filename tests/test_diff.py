"""What moved between two reports; and that no report, however strange, does more than be refused."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.report import read
from harness.report.compare import ReportFolder, as_json, as_markdown, as_text, compare, exit_code
from harness.report.compare.moves import Difference

RESULTS_HEAD = ",".join(read.RESULTS)
CHECKS_HEAD = ",".join(read.CHECKS)

CCS = "banana,banana,ccs,24,word,accuracy,{},{},{},400,50"
TPC = "banana,banana,crc_tpc,24,word,accuracy,0.9800,0.9600,0.9900,400,1"
LOSS = "banana,banana,ccs,24,truth,ccs_loss,{},,,400,50"
CHECK = "tracks_truth,ccs,banana,{},{},{},-0.4500,-0.5000,-0.4000,0.0000,why"

BASE = (CCS.format("0.9500", "0.9300", "0.9700"), TPC, LOSS.format("0.1000"))
FAILED = (CHECK.format("fail", "fail", "as_expected"),)


def make(folder: Path, results: Iterable[str] = BASE, checks: Iterable[str] = FAILED) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.csv").write_text("\n".join([RESULTS_HEAD, *results]) + "\n")
    (folder / "checks.csv").write_text("\n".join([CHECKS_HEAD, *checks]) + "\n")
    return folder


def difference(
    tmp_path: Path, results: Sequence[str] = BASE, checks: Sequence[str] = FAILED, name: str = "new"
) -> Difference:
    old = make(tmp_path / "old")
    return compare(ReportFolder.open(str(old)), ReportFolder.open(str(make(tmp_path / name, results, checks))))


def shown(found: Difference, width: int = 200) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    console.print(as_text(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "beyond"), [(("0.5000", "0.4700", "0.5300"), True), (("0.9450", "0.9250", "0.9650"), False)]
)
def test_a_row_whose_summary_layer_moved_is_judged(tmp_path: Path, value: tuple[str, str, str], beyond: bool) -> None:
    ccs = [row.replace(",24,", ",20,") for row in (CCS.format(*value), LOSS.format("0.1000"))]
    found = difference(tmp_path, (TPC, *ccs))
    (moved,) = found.layers
    assert {row.metric: row.beyond for row in moved.rows} == {"accuracy": beyond, "ccs_loss": None} and not found.moved
    assert exit_code(found) == beyond
    assert ("1 row with it beyond the interval" in shown(found)) == beyond
    assert not any(row.beyond for one in compare(*tolerant(tmp_path), tolerance=0.6).layers for row in one.rows)


def tolerant(folder: Path) -> tuple[ReportFolder, ReportFolder]:
    return ReportFolder.open(str(folder / "old")), ReportFolder.open(str(folder / "new"))


def test_the_same_is_no_difference(tmp_path: Path) -> None:
    found = difference(tmp_path)
    assert found.nothing
    assert exit_code(found) == 0
    assert "no difference: 3 rows the same" in shown(found)


@pytest.mark.parametrize(
    ("value", "low", "high", "beyond", "code"),
    [
        ("0.9400", "0.9200", "0.9600", False, 0),
        ("0.9101", "0.8900", "0.9300", True, 1),
        ("0.5200", "0.4700", "0.5700", True, 1),
        ("0.5200", "", "", None, 0),
        ("0.5200", "0.9000", "0.9700", None, 0),
        ("", "", "", None, 0),
        ("nan", "inf", "1e999", None, 0),
    ],
)
def test_a_value_that_moved(tmp_path: Path, value: str, low: str, high: str, beyond: bool | None, code: int) -> None:
    found = difference(tmp_path, (CCS.format(value, low, high), *BASE[1:]))
    (row,) = found.moved
    assert row.key == ("banana", "banana", "ccs", "24", "word", "accuracy")
    assert row.beyond is beyond
    assert exit_code(found) == code


def test_the_rule_is_the_interval_of_the_change(tmp_path: Path) -> None:
    """√(0.02² + 0.02²) = 0.0283: just inside and just outside."""
    inside = CCS.format("0.9218", "0.9018", "0.9418")
    outside = CCS.format("0.9216", "0.9016", "0.9416")
    assert exit_code(difference(tmp_path, (inside, *BASE[1:]), name="a")) == 0
    assert exit_code(difference(tmp_path, (outside, *BASE[1:]), name="b")) == 1


@pytest.mark.parametrize(
    ("checks", "moved", "code"),
    [
        (FAILED, 0, 0),
        ((CHECK.format("pass", "fail", "unexpected"),), 1, 1),
        ((CHECK.format("pass", "pass", "as_expected"),), 1, 1),
        ((CHECK.format("fail", "", "not_judged"),), 1, 1),
        ((), 1, 1),
        ((*FAILED, CHECK.format("pass", "pass", "as_expected")), 1, 0),
        ((*FAILED, CHECK.format("pass", "fail", "unexpected")), 1, 1),
    ],
)
def test_checks_that_moved(tmp_path: Path, checks: Sequence[str], moved: int, code: int) -> None:
    found = difference(tmp_path, checks=checks)
    assert len(found.checks) == moved
    assert exit_code(found) == code


def test_the_most_important_first(tmp_path: Path) -> None:
    rows = [f"a,a,p,{layer},truth,accuracy,0.5000,0.4500,0.5500,100,1" for layer in range(4)]
    moved = [
        "a,a,p,0,truth,accuracy,0.5100,0.4600,0.5600,100,1",
        "a,a,p,1,truth,accuracy,0.7000,0.6500,0.7500,100,1",
        "a,a,p,2,truth,accuracy,0.9000,0.8500,0.9500,100,1",
        "a,a,p,4,truth,accuracy,0.5000,0.4500,0.5500,100,1",
    ]
    old = ReportFolder.open(str(make(tmp_path / "old", rows)))
    new = ReportFolder.open(str(make(tmp_path / "new", moved)))
    found = compare(old, new)
    assert [row.key[3] for row in found.moved] == ["2", "1", "0"]
    assert [key[3] for key in found.added] == ["4"]
    assert [key[3] for key in found.removed] == ["3"]
    text = shown(found)
    assert "3 of 3 rows at summary layers moved, 2 beyond the interval; 1 row added; 1 row removed" in text
    assert text.index("+0.40") < text.index("+0.20") < text.index("+0.01")


def test_json_and_markdown_say_the_same(tmp_path: Path) -> None:
    found = difference(tmp_path, (CCS.format("0.5200", "0.4700", "0.5700"), *BASE[1:2], LOSS.format("")))
    data = json.loads(as_json(found))
    assert data["exit_code"] == 1
    assert [row["beyond"] for row in data["moved"]] == [True, None]
    assert data["moved"][0]["new"] == {"value": 0.52, "low": 0.47, "high": 0.57}
    assert data["moved"][1]["new"]["value"] is None
    text = as_markdown(found)
    assert (
        "| `ccs` | banana, layer 24 | word | accuracy | 0.95 [0.93, 0.97] | 0.52 [0.47, 0.57] | −0.43 | yes |" in text
    )
    assert data["summary"] in text


def test_nothing_hostile_reaches_the_screen(tmp_path: Path) -> None:
    name = "[bold]x[/bold]\x1b[31m\x1b]0;title\x07|<b>\u202e`"
    row = BASE[0].replace("ccs", name)
    make(tmp_path / "old", (row,), [FAILED[0].replace("ccs", name)])
    make(tmp_path / "new", (row.replace("0.9500,0.9300,0.9700", "0.1000,0.0900,0.1100"),), [])
    found = compare(ReportFolder.open(str(tmp_path / "old")), ReportFolder.open(str(tmp_path / "new")))
    text, markdown = shown(found), as_markdown(found)
    assert "[bold]x[/bold]|<b>`" in text
    for output in (text, markdown, json.dumps(json.loads(as_json(found)), ensure_ascii=False)):
        assert not any(c in output for c in "\x1b\x07\u202e")
    assert r"\[bold\]x\[/bold\]\|&lt;b&gt;\`" in markdown
    assert "<b>" not in markdown


def test_what_a_spreadsheet_is_kept_from_is_read_back(tmp_path: Path) -> None:
    folder = make(tmp_path / "r", (BASE[0].replace("ccs", "'=cmd()"), BASE[1].replace("crc_tpc", "'quoted'")))
    assert {key[2] for key in ReportFolder.open(str(folder)).results} == {"=cmd()", "'quoted'"}


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("results.csv", None, "is missing; is .* a report's folder"),
        ("results.csv", b"", "column fit_on is missing"),
        ("results.csv", b"a,b\n1,2\n", "column fit_on is missing"),
        ("results.csv", RESULTS_HEAD.replace("probe", "layer").encode(), "column probe is missing"),
        ("results.csv", RESULTS_HEAD.replace("seeds", "value").encode(), "column value is named twice"),
        ("results.csv", f"{RESULTS_HEAD}\n1,2,3\n".encode(), r"results.csv:2: 3 cells"),
        (
            "results.csv",
            f"{RESULTS_HEAD}\n{BASE[0].replace('0.9300', 'x1')}\n".encode(),
            r':2: low: "x1" is not a number',
        ),
        ("results.csv", f"{RESULTS_HEAD}\n{BASE[0]}\n{BASE[0]}\n".encode(), "two rows for banana, banana, ccs"),
        ("results.csv", b"\xff\xfe\x00\x01", "not UTF-8"),
        ("results.csv", RESULTS_HEAD.encode() + b'\n"' + b"a" * 200_000, "not CSV"),
        ("results.csv", RESULTS_HEAD.encode() + b'\n"a"b,c\n', "not CSV"),
        ("checks.csv", b"\x1b[2Jcheck\n", "column check is missing"),
        (
            "checks.csv",
            f"{CHECKS_HEAD}\n{FAILED[0].replace('-0.4500', chr(27) + '[2J')}\n".encode(),
            '"" is not a number',
        ),
    ],
)
def test_malformed_reports_are_refused(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    folder = make(tmp_path / "r")
    assert ReportFolder.open(str(folder)).results
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=fault) as caught:
        ReportFolder.open(str(folder))
    assert "\x1b" not in str(caught.value)


def test_large_and_strange_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(b"x" * 101)
    assert len(read.file_bytes(path, 101)) == 101
    with pytest.raises(UsageError, match="larger than"):
        read.file_bytes(path, 100)
    with pytest.raises(UsageError, match="not an ordinary file"):
        read.file_bytes(Path("/dev/zero"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match="not an ordinary file"):
        read.file_bytes(path)


@given(
    st.binary() | st.text().map(str.encode) | st.text("\"',\r\n\0=0a").map(lambda t: f"{RESULTS_HEAD}\n{t}".encode())
)
def test_any_bytes_are_rows_or_a_usage_error(content: bytes) -> None:
    try:
        rows = list(read.rows(content, read.RESULTS, "results.csv"))
    except UsageError:
        return
    assert all(len(row) == len(read.RESULTS) and isinstance(row[6], float) for row in rows)


# ---- git


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose branch `main` has a report that is another in the work tree; the current folder."""
    root = tmp_path / "repository"
    make(root / "reports" / "x")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "one")):
        subprocess.run(("git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments), check=True)
    make(root / "reports" / "x", (CCS.format("0.5200", "0.4700", "0.5700"), *BASE[1:]))
    monkeypatch.chdir(root)
    return root


def test_a_revision_is_read_without_touching_the_work_tree(repository: Path) -> None:
    before = (repository / "reports/x/results.csv").read_bytes()
    old, new = ReportFolder.open("main:reports/x"), ReportFolder.open("reports/x")
    ccs = ("banana", "banana", "ccs", "24", "word", "accuracy")
    assert old.results[ccs].value == pytest.approx(0.95)
    assert new.results[ccs].value == pytest.approx(0.52)
    assert exit_code(compare(old, new)) == 1
    assert compare(old, ReportFolder.open("HEAD:./reports/x/")).nothing
    assert (repository / "reports/x/results.csv").read_bytes() == before
    assert not (repository / ".git/index.lock").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reports/y", "no folder reports/y; give"),
        ("nosuch:reports/x", 'no revision "nosuch"'),
        ("main:reports/y", "is missing in that revision"),
        ("main:../reports/x", "without / at the start and without .."),
        ("main:/etc", "without / at the start"),
        ("main:reports/x\n", "without / at the start|is missing"),
        ("main:", "is missing in that revision"),
        (":reports/x", "no revision"),
        ("", "no report"),
        ("a\0b", "no report"),
        ("--output=pwned:reports/x", "no revision"),
        ("--upload-pack=touch pwned:reports/x", "no revision"),
        ("-p:reports/x", "no revision"),
        ("main^{tree}:reports/x", "no revision"),
        ("x" * 5000, "no folder"),
    ],
)
def test_what_names_no_report(repository: Path, text: str, fault: str) -> None:
    before = sorted(path.name for path in repository.iterdir())
    with pytest.raises(UsageError, match=fault):
        ReportFolder.open(text)
    assert sorted(path.name for path in repository.iterdir()) == before


def test_a_table_that_is_a_folder_in_git(repository: Path) -> None:
    (repository / "odd" / "results.csv").mkdir(parents=True)
    (repository / "odd" / "results.csv" / "file").write_text("x")
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run((*git, "add", "odd"), check=True)
    subprocess.run((*git, "commit", "-qm", "two"), check=True)
    with pytest.raises(UsageError, match="no file in that revision"):
        ReportFolder.open("main:odd")


def test_values_equal_but_missing_are_equal(tmp_path: Path) -> None:
    found = difference(tmp_path, (*BASE[:2], LOSS.format("0.1000")))
    assert found.nothing
    old = make(tmp_path / "a", (LOSS.format(""),))
    assert math.isnan(next(iter(ReportFolder.open(str(old)).results.values())).value)
    assert compare(
        ReportFolder.open(str(old)), ReportFolder.open(str(make(tmp_path / "b", (LOSS.format("nan"),))))
    ).nothing
