"""Every scored row: what it says, that it agrees with the scores, and that a spec may keep rows out of all files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness import pipeline
from harness.errors import UsageError
from harness.report.beside import rows_of, write_full
from harness.report.row_list import Asked, as_lines, chosen
from harness.store import Store
from tests.report_tables import full_table
from tests.test_pipeline import write_text


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    path = write_text(folder, tiny_llama)
    pipeline.run(path, out=folder / "reports", store=Store(folder / "store"), page=False)
    return folder


def report_of(ran: Path) -> Path:
    (found,) = (ran / "reports").iterdir()
    return found


def test_rows_add_up_to_the_scores(ran: Path) -> None:
    rows = full_table(report_of(ran), "rows")
    results = full_table(report_of(ran), "results").filter(metric="accuracy", target="truth")
    found = rows.group_by("fit_on", "tested_on", "probe", "layer").agg(pl.col("right").mean(), pl.len())
    both = found.join(results, on=["fit_on", "tested_on", "probe", "layer"])
    assert both.height == found.height > 2
    np.testing.assert_allclose(both["right"], both["value"], atol=2e-4)
    assert (both["len"] == both["n"]).all()


def test_a_row_says_what_it_is(ran: Path) -> None:
    rows = full_table(report_of(ran), "rows")
    row = rows.row(0, named=True)
    prompt = (ran / "colours.csv").read_text()
    assert "[" in row["text"] and row["example"] and row["group"]
    assert any(line.split(",")[0] in row["text"] for line in prompt.splitlines()[1:])
    assert {row["factor_truth"], row["answer"]} <= {"no", "yes"}
    right = rows.filter(pl.col("right").is_in([0.0, 1.0]))
    assert ((right["answer"] == right["factor_truth"]) == (right["right"] == 1)).all()
    sure = rows.filter(pl.col("probability").is_not_null())
    np.testing.assert_allclose(sure["confidence"], (2 * sure["probability"] - 1).abs(), atol=2e-4)


def test_rows_are_chosen_and_sorted(ran: Path) -> None:
    rows = full_table(report_of(ran), "rows")
    probe = rows["probe"][0]
    wrong = chosen(rows, Asked(probe=probe, wrong=True))
    assert (wrong["right"] < 0.5).all() and set(wrong["probe"]) == {probe}
    first = chosen(rows, Asked(sort="score"))["score"].drop_nulls().to_list()
    assert first == sorted(first, reverse=True)
    yes = chosen(rows, Asked(where=("truth=yes",)))
    assert set(yes["factor_truth"]) == {"yes"} and 0 < yes.height < rows.height
    assert json.loads(next(as_lines(wrong)).splitlines()[0])["probe"] == probe


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (Asked(probe="ccss"), "no method"),
        (Asked(on="nowhere"), "no condition"),
        (Asked(where=("truth",)), "write FACTOR=VALUE"),
        (Asked(where=("trut=yes",)), "no factor"),
        (Asked(where=("truth=maybe",)), 'no truth "maybe"'),
    ],
)
def test_what_no_row_has_is_refused(ran: Path, asked: Asked, fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        chosen(full_table(report_of(ran), "rows"), asked)


def test_what_lies_beside_is_made_again_from_the_store(ran: Path, tmp_path: Path) -> None:
    whole = {path.name: path.read_bytes() for path in report_of(ran).iterdir() if path.is_file()}
    clone = tmp_path / "clone"
    shutil.copytree(report_of(ran), clone, ignore=shutil.ignore_patterns("*.parquet", "spec.yaml", ".gitignore"))
    store = Store(ran / "store")
    assert rows_of(clone, store).equals(full_table(report_of(ran), "rows")), "found in the store by the manifest"
    write_full(clone, store)
    assert {path.name: path.read_bytes() for path in clone.iterdir() if path.is_file()} == whole
    with pytest.raises(UsageError, match="run its spec again"):
        write_full(clone, Store(tmp_path / "empty"))
    manifest = json.loads((clone / "manifest.json").read_text())
    (clone / "manifest.json").write_text(json.dumps({**manifest, "stages": [{"kind": "report", "key": "../../x"}]}))
    with pytest.raises(UsageError):
        write_full(clone, store)


def test_the_command_prints_rows_and_cuts_no_word(ran: Path) -> None:
    command = [sys.executable, "-m", "harness", "rows", str(report_of(ran)), "-n", "3"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"COLUMNS": "60", "PATH": "/usr/bin"}
    )
    assert "3 of " in done.stdout and "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 60


def test_rows_that_are_not_to_be_kept_are_in_no_file(tmp_path: Path, tiny_llama: Path) -> None:
    path = write_text(tmp_path, tiny_llama)
    secret = "shade"
    assert secret in (tmp_path / "colours.csv").read_text()
    autopsy = "autopsy: [mean_difference]\n"
    path.write_text(path.read_text() + autopsy)
    store = Store(tmp_path / "store")

    def texts(out: str, *sets: str) -> int:
        folder = pipeline.run(path, sets=sets, out=tmp_path / out, store=store).folder
        tables = [str(pl.read_parquet(one).to_dicts()) for one in folder.glob("*.parquet")]
        files = [
            one.read_bytes().decode(errors="replace")
            for one in folder.rglob("*")
            if one.is_file() and one.suffix != ".parquet"
        ]
        return sum(f"{secret} number" in text for text in (*tables, *files))

    assert texts("kept") > 2, "the control"
    assert texts("not-kept", "rows=false") == 0
    folder = next((tmp_path / "not-kept").iterdir())
    with pytest.raises(UsageError, match="keeps no rows"):
        rows_of(folder, store)
