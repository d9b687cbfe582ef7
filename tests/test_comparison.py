"""harness compare: every number stands in a report, and nothing else does; no report does more than be refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import msgspec
import pytest

from harness.errors import UsageError
from harness.page.writing import write
from harness.report import outline
from harness.report.compare.side_by_side import Asked, Compared, Named, compared
from harness.report.intervals import Score
from harness.report.read import CHECKS
from harness.report.wording import evidence
from tests.readme_tables import FINDINGS, PAGES, made, regenerated
from tests.report_tables import full_table
from tests.test_report import HOSTILE, make_report

ACCURACY = Asked(metric="accuracy")


def folder(path: Path, **options: str) -> Path:
    write(make_report(**options), path, page=False)  # type: ignore[arg-type]
    return path


def opened(*paths: Path) -> list[Compared]:
    return [Compared.open(str(path)) for path in paths]


def cells(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]


def test_every_method_stands_there_at_its_own_layer(tmp_path: Path) -> None:
    (report,) = opened(folder(tmp_path / "a"))
    head, _, *rows = cells(compared([report], ACCURACY))
    assert head == ["fitted → tested", "method (accuracy)", "banana-shed"]
    results = full_table(tmp_path / "a", "results")
    expected = [
        [row["fit_on"], f"`{row['probe']}`", evidence(Score(row["value"], row["low"], row["high"]))]
        for row in results.filter(target="truth", metric="accuracy").iter_rows(named=True)
        # The last layer was chosen, which is not the best one on the test rows.
        if row["layer"] in ("4", "all")
    ]
    assert sorted(rows) == sorted(expected)
    assert len(rows) == 10


def test_labels_put_pairs_of_different_names_into_one_row(tmp_path: Path) -> None:
    reports = opened(folder(tmp_path / "a"), folder(tmp_path / "b", ccs="ccs-sphere"))
    asked = Asked(
        metric="accuracy",
        places=(Named("honest", "plain"), Named("lying", "banana:banana")),
        targets=(Named("truth", "truth"), Named("other", "word")),
        probes=("logistic_regression", "ccs*"),
    )
    head, _, *rows = cells(compared(reports, asked))
    assert head == ["fitted → tested", "method (accuracy)", "target", "banana-shed", "banana-shed"]
    assert [row[:3] for row in rows] == [
        [place, f"`{probe}`", target]
        for place in ("honest", "lying")
        for probe in ("logistic_regression", "ccs", "ccs-sphere")
        for target in ("truth", "other")
    ]
    by_name = {tuple(row[:3]): row[3:] for row in rows}
    assert by_name["lying", "`ccs`", "other"][0].startswith("0.9")
    assert by_name["lying", "`ccs`", "other"][1] == "–", "the other report calls it otherwise"
    assert by_name["lying", "`ccs-sphere`", "other"][1].startswith("0.9")
    checks = compared(reports, Asked(metric="accuracy", checks=("beats_*",)))
    assert cells(checks)[2:] == [["`beats_random`", "0.40 [0.30, 0.50] pass", "0.40 [0.30, 0.50] pass"]]


def test_two_scores_for_one_cell_are_refused(tmp_path: Path) -> None:
    reports = opened(folder(tmp_path / "a"))
    both = Asked(metric="accuracy", places=(Named("here", "plain"), Named("here", "banana")))
    with pytest.raises(UsageError, match=r"2 scores .* labels of their own"):
        compared(reports, both)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(metric="acuracy"), 'no metric "acuracy" in these reports; did you mean "accuracy"?'),
        (Asked(metric="accuracy", probes=("cs",)), 'no method "cs" in these reports; did you mean "ccs"?'),
        (Asked(metric="accuracy", targets=(Named("w", "ward"),)), 'no target "ward"'),
        (Asked(metric="accuracy", checks=("gap_*",)), 'no check "gap_*"'),
        (Asked(metric="accuracy", places=(Named("x", "plain:banan"),)), 'no report has "plain:banan"'),
        (Asked(metric="brier", targets=(Named("word", "word"),), probes=("zero_shot",), places=(Named("p", "plain"),)), ""),
    ],
)  # fmt: skip
def test_what_no_report_has_is_an_error(tmp_path: Path, asked: Asked, expected: str) -> None:
    reports = opened(folder(tmp_path / "a"))
    if not expected:
        assert "`zero_shot`" in compared(reports, asked), "the control: what is there is shown"
        return
    with pytest.raises(UsageError) as error:
        compared(reports, asked)
    assert expected in str(error.value)


@pytest.mark.parametrize("text", ["", "=", "a=", "=plain"])
def test_a_label_needs_a_name_and_a_name_a_label(text: str) -> None:
    with pytest.raises(UsageError, match="names nothing"):
        Named.parse(text)
    assert Named.parse("a=b") == Named("a", "b")
    assert Named.parse("b") == Named("b", "b")


def test_names_of_strangers_stay_text(tmp_path: Path) -> None:
    report = make_report(word=HOSTILE.replace("\x1b", ""))
    named = {"name": HOSTILE, "transfers": ((HOSTILE, HOSTILE),), "probes": (outline.ProbeOutline(HOSTILE, "labels"),)}
    hostile = msgspec.structs.replace(outline.of(report), **named)
    write(report, tmp_path / "a", page=False)
    manifest = tmp_path / "a" / "manifest.json"
    content = json.loads(manifest.read_bytes()) | {"report": msgspec.to_builtins(hostile)}
    manifest.write_text(json.dumps(content))
    results = tmp_path / "a" / "results.csv"
    with results.open("a", newline="") as file:
        csv.writer(file).writerow([HOSTILE, HOSTILE, HOSTILE, "", "truth", "accuracy", 0.5, 0.4, 0.6, 10, 1])
    text = compared(opened(tmp_path / "a"), ACCURACY)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert {line.count(" | ") for line in text.splitlines()} == {2}


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("manifest.json", b"[", "is not JSON"),
        ("manifest.json", b"[]", "is not a JSON object"),
        ("manifest.json", b"[" * 100_000, "is not JSON"),
        ("manifest.json", b'{"report": {"name": 1}}', "does not describe a report"),
        ("results.csv", b"fit_on\n", "column tested_on is missing"),
        ("results.csv", b"\xff", "not UTF-8"),
        ("checks.csv", ",".join(CHECKS).encode() + b"\na,b,c,d,e,f,x,1,1,1,w\n", "is not a number"),
        ("checks.csv", None, "is missing"),
    ],
)
def test_strange_reports_are_refused(tmp_path: Path, name: str, content: bytes | None, expected: str) -> None:
    place = folder(tmp_path / "a")
    assert opened(place), "the control: it was a report"
    if content is None:
        (place / name).unlink()
    else:
        (place / name).write_bytes(content)
    with pytest.raises(UsageError, match=expected):
        opened(place)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_generated_tables_are_those_of_today(page: Path) -> None:
    text = page.read_text("utf-8")
    assert regenerated(text) == text, "python -m tests.readme_tables makes them anew"


def test_what_was_found_has_tables_of_reports() -> None:
    assert len([one for one in made(FINDINGS.read_text("utf-8")) if one.startswith("harness compare")]) >= 3


@pytest.mark.parametrize("number", [0, "keys", "specs"])
def test_a_table_that_is_out_of_date_is_made_anew(number: int | str) -> None:
    command = made(FINDINGS.read_text("utf-8"))[number] if isinstance(number, int) else number
    text = "before\n\n<!-- {} -->\n| old |\n| --- |\n\nafter | not a table\n"
    found = regenerated(text.format(command))
    assert "| old |" not in found
    assert found.startswith(f"before\n\n<!-- {command} -->\n| ")
    assert found.endswith(" |\n\nafter | not a table\n")
    assert regenerated(found) == found
