"""The page, the index over pages, and their server: what stands in them, and that they are small and ask for nothing."""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from harness.analyses.geometry import Geometry
from harness.analyses.geometry.measures import FITS, MEASURES
from harness.errors import UsageError
from harness.page import chart_data, html, report_index, row_data, serving
from harness.page.from_markdown import sections_of
from harness.report.content import Look
from harness.report.outline import Outline
from harness.report.sections import Beside
from harness.scoring.tables import CHECKS, to_csv
from tests import small_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & \u202eevil"


def geometry(of: Outline) -> Beside:
    condition = {"condition": pl.String}
    tables = {
        "geometry.parquet": pl.DataFrame(schema=condition | dict(MEASURES)),
        "states.parquet": small_report.states(of),
        "fits.parquet": pl.DataFrame(schema=condition | dict(FITS)),
    }
    return Beside(looks=(Look(Geometry(), tables),))


def page(of: Outline, layers: int = 5, seeds: int = 6, text: str = "Is this one of {} rows?", count: int = 40) -> str:
    scores = small_report.scores(of, layers, seeds)
    extras = html.Extras(
        beside=geometry(of),
        rows=small_report.rows(of, count, text),
        spec_text="name: small\n",
        text="## A prompt\n\nShown once.\n",
    )
    return html.render(of, scores.results, scores.each_seed, pl.DataFrame(schema=CHECKS), {}, extras).decode()


def data_of(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    decoded = json.loads(found[1])
    assert isinstance(decoded, dict)
    return decoded


def test_a_page_is_small() -> None:
    small = page(small_report.outline())
    assert len(small.encode()) < 200_000
    of = small_report.outline(4, 8, layers=31)
    large = page(of, 31, 50, "A rather long text of a prompt, as reviews are. " * 40, 2000)
    assert len(large.encode()) < 3_000_000
    assert len(data_of(large)["lines"]) == 4  # type: ignore[arg-type]


def test_what_the_page_has_of_report_md_alone_is_there() -> None:
    text = page(small_report.outline())
    assert "A prompt</h2>" in text and "Shown once." in text
    assert re.search(r'<a href="#part-\d+">A prompt</a>', text)
    anchors = re.findall(r'<a href="#([^"]+)">', text)
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    assert len({*anchors}) == len(anchors) > 5


def test_scripts_put_text_in_as_text_and_ask_for_nothing() -> None:
    scripts = {
        path.name: path.read_text("utf-8") for path in files("harness.page").iterdir() if path.name.endswith(".js")
    }  # type: ignore[attr-defined]
    assert len(scripts) == 6
    words = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(|\.src\b|https?://(?!www\.w3\.org/2000/svg)"
    for name, script in scripts.items():
        assert not re.search(words, script), name
    assert re.search(words, "place.innerHTML = text"), "the control"


def test_nothing_hostile_leaves_its_place() -> None:
    hostile = msgspec.structs.replace(small_report.outline(targets=("truth", HOSTILE)), name=HOSTILE, about=HOSTILE)
    shown, tame = page(hostile, text=HOSTILE.replace("{", "").replace("}", "")), page(small_report.outline())
    assert shown.count("<script") == tame.count("<script") == 2
    assert shown.count("<img") == tame.count("<img")
    assert "\u202e" not in shown and "\\u202e" not in shown


def test_rows_stand_once_and_what_is_said_of_them_beside() -> None:
    of = small_report.outline()
    found = row_data.row_data(small_report.rows(of))
    assert [one["name"] for one in found["conditions"]] == ["condition_0", "condition_1"]
    assert len(found["said"]) == 6
    one, said = found["conditions"][0], found["said"][0]
    assert one["texts"][3] == "3: Is this one of 40 rows?" and one["ids"][3] == "e3"
    assert (said["method"], said["layer"], said["right"][3:6], said["probability"][4:6]) == (
        "probe_0",
        "4",
        [0, 1000, 500],
        [100, None],
    )
    assert said["answer"]["of"][4:6] == [said["answer"]["words"].index("no"), -1]
    assert [label["name"] for label in one["labels"]] == ["truth", "word"]
    assert row_data.row_data(None) == {"conditions": [], "said": []}


def test_many_rows_and_long_texts_are_cut_and_it_is_said() -> None:
    of = small_report.outline(4, 8)
    found = row_data.row_data(small_report.rows(of, 3000, "word " * 500))
    (kept,) = {len(one["texts"]) for one in found["conditions"]}
    assert kept < 3000 == found["conditions"][0]["whole"]
    assert sum(len(text) for one in found["conditions"] for text in one["texts"]) < 1_000_000
    assert {len(one["right"]) for one in found["said"]} == {kept}
    assert " … " in found["conditions"][0]["texts"][0]


def test_a_point_of_the_cloud_is_a_row_only_where_all_are() -> None:
    of = small_report.outline()
    rows = row_data.row_data(small_report.rows(of))["conditions"]
    assert [cloud["rows"] for cloud in chart_data.clouds_of(small_report.states(of), rows)] == [0, 1]
    assert [cloud["rows"] for cloud in chart_data.clouds_of(small_report.states(of, 39), rows)] == [None, None]
    assert [cloud["rows"] for cloud in chart_data.clouds_of(small_report.states(of), [])] == [None, None]


def test_seeds_come_out_as_they_went_in(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = small_report.scores(small_report.outline())

    def decoded() -> dict[tuple[int, int, int], dict[str, list[float]]]:
        packed = chart_data.seed_data(scores)
        values = np.frombuffer(base64.b64decode(packed["values"]), dtype="<u2")
        found = {}
        for t, p, k, layers, counts, start in packed["places"]:
            ends = np.cumsum([start, *counts])
            spans = zip(layers, ends[:-1], ends[1:], strict=True)
            scale = (packed["high"] - packed["low"]) / 65534
            found[t, p, k] = {layer: (packed["low"] + values[a:b] * scale).tolist() for layer, a, b in spans}
        return found

    cells = scores.seeds_by_layer(scores.transfers[1], "probe_0", "word")
    for layer, values in decoded()[1, 0, 1].items():
        assert values == pytest.approx([seed.value for seed in cells[layer]], abs=2e-5)
    assert len(decoded()[1, 0, 1]) == 5
    monkeypatch.setattr(chart_data, "_MOST_SEEDS", 120)
    assert [*decoded()[1, 0, 1]] == ["0", "3", "4"], "the summary layer stays"


def test_a_heading_within_a_prompt_begins_no_section() -> None:
    text = "# Title\n\nfirst\n\n## One\n\n````text\n## not this\n```\n````\n\n## Two\nend"
    assert [title for title, _ in sections_of(text)] == ["One", "Two"]
    assert "not this" in sections_of(text)[0][1]
    assert sections_of("no heading") == []


def test_rows_that_no_run_has_made_are_refused() -> None:
    of = small_report.outline()
    scores, rows = small_report.scores(of), small_report.rows(of)

    def rendered(changed: pl.DataFrame) -> bytes:
        return html.render(
            of, scores.results, scores.each_seed, pl.DataFrame(schema=CHECKS), {}, html.Extras(rows=changed)
        )

    assert rendered(rows)
    lists = [rows.with_columns(pl.lit(["x"]).alias(column)) for column in ("probability", "right", "text")]
    lacking = [rows.drop(column) for column in ("probability", "text", "template", "right", "answer", "probe")]
    for changed in (*lists, *lacking):
        with pytest.raises(UsageError, match="is not of a run"):
            rendered(changed)


# ---- the index and its server


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Two reports of this version, one of none, and something else."""
    for k, name in enumerate(("first one", "second")):
        folder = tmp_path / name
        folder.mkdir()
        of = small_report.outline(name=name)
        scores = small_report.scores(of, seed=k)
        (folder / "manifest.json").write_bytes(msgspec.json.encode({"report": msgspec.to_builtins(of)}))
        (folder / "results.csv").write_text(to_csv(scores.results))
        (folder / "checks.csv").write_text(to_csv(pl.DataFrame(schema=CHECKS)))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("secret")
    return tmp_path


def test_the_index_has_what_both_measured(reports: Path) -> None:
    made = report_index.write(reports)
    assert [path.parent.name for path in made.pages] == ["first one", "second"]
    assert len(made.refused) == 1 and "old" in made.refused[0]
    text = made.index.read_text()
    assert '<a href="first%20one/report.html">first one</a>' in text
    first, second = data_of(text)["reports"]  # type: ignore[misc]
    # Two pairs, three probes, two factors, two metrics, at the summary layer alone.
    assert len(first["rows"]) == len(second["rows"]) == 24
    assert {first["words"][row[5]] for row in first["rows"]} == {"4"}
    assert first["rows"] != second["rows"]


def test_an_index_over_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no report; name the folder of reports with --out"):
        report_index.write(tmp_path)


@pytest.fixture
def port(reports: Path) -> Iterator[int]:
    report_index.write(reports)
    server = serving.server_of(reports)
    assert server.server_address[0] == "127.0.0.1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "127.0.0.1", 200),
        ("/index.html", "localhost:1", 200),
        ("/second/report.html?x=1", "127.0.0.1", 200),
        ("/first%20one/report.html", "127.0.0.1", 200),
        ("/second/manifest.json", "127.0.0.1", 404),
        ("/second/", "127.0.0.1", 404),
        ("/notes.txt", "127.0.0.1", 404),
        ("/../notes.txt", "127.0.0.1", 404),
        ("/second/../second/report.html", "127.0.0.1", 404),
        ("/%2e%2e/x/report.html", "127.0.0.1", 404),
        ("/second%00/report.html", "127.0.0.1", 404),
        # A stranger's page whose name was made to point here.
        ("/", "evil.example", 404),
    ],
)
def test_the_server_hands_out_pages_and_nothing_else(port: int, path: str, host: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == status
    assert (b"<html" in body) == (status == 200)


def test_a_port_that_is_taken_is_said(port: int, reports: Path) -> None:
    with pytest.raises(UsageError, match="name another with --port"):
        serving.server_of(reports, port)
