"""Names that come alive in a csv, in Markdown, in a page or on a screen come alive in none of them."""

from __future__ import annotations

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from tests.attacks.scene import Scene
from tests.attacks.table import PLANTED

LIVE = (
    "=HYPERLINK('http://example.invalid')",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    " =1+1",
    "＝1+1",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![](http://example.invalid/x.png)",
    "a|b`c$d$",
    "\u202egnp.exe",
)


class Alive(HTMLParser):
    """What an HTML parser finds in a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def assert_tame(folder: Path) -> list[str]:
    """No cell of a report's tables is a formula, and nothing in its Markdown is HTML or a link; the cells come back."""
    cells = []
    for path in folder.glob("*.csv"):
        with path.open(newline="") as opened:
            cells += [cell for row in csv.reader(opened) for cell in row]
    for cell in cells:
        numeric = cell.replace(".", "").replace("-", "").isdigit()
        assert numeric or not cell.lstrip().startswith(tuple("=+-@＝＋－＠\t\r")), cell
    report = (folder / "report.md").read_text()
    outside_code = "".join(part for i, part in enumerate(report.split("```")) if i % 2 == 0)
    outside_code = "\n".join("".join(line.split("`")[::2]) for line in outside_code.splitlines())
    for alive in ("<img", "<script", "](javascript", "](http"):
        assert alive not in outside_code.replace("\\]", "]\\")
    return cells


@pytest.mark.parametrize("name", LIVE)
def test_names_come_alive_nowhere(scene: Scene, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a probe, of a check, and the description, from the spec to csv, Markdown and screen."""
    # Figures and page are drawn with all of the names below, together.
    monkeypatch.setattr("harness.stages.figure_stage.pictured", lambda *scores: {})
    probes = json.dumps([{"kind": "mean_difference", "name": name}])
    checks = json.dumps([{"kind": "beats_random", "name": name, "probe": name, "condition": "main"}])
    text = PLANTED.replace("[mean_difference]", probes) + f"about: {json.dumps(name)}\nchecks: {checks}\n"
    said = scene.run("run", scene.write("x.yaml", text), "--quiet", "--no-page")
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    folder = scene.inside / "reports" / "x"
    cells = assert_tame(folder)
    assert any(name.strip() in cell for cell in cells), "the name itself is still there"
    # And back: the report of a stranger is compared and rendered without harm.
    assert scene.run("diff", folder, folder).code == 0


def test_a_page_of_live_names_has_the_tags_of_a_page_of_tame_ones(scene: Scene) -> None:
    found = []
    for each in (["tame" + str(i) for i in range(len(LIVE))], LIVE):
        probes = json.dumps([{"kind": "mean_difference", "name": name} for name in each])
        said = scene.run("run", scene.write("x.yaml", PLANTED.replace("[mean_difference]", probes)), "--quiet")
        assert said.code == 0, said.err
        scene.assert_unharmed(said)
        tags = Alive((scene.inside / "reports" / "x" / "report.html").read_text()).tags
        assert not [key for _, attributes in tags for key in attributes if key.startswith("on")]
        assert not [a for _, a in tags if any(str(a.get(key, "")).startswith("javascript") for key in ("href", "src"))]
        found.append(sorted(tag for tag, _ in tags if tag not in ("span", "code")))
    assert found[0] == found[1]


TEXTS = """
harness: 1
name: x
model: {id: model, dtype: float32}
data: {source: {file: d.csv, group: who, factors: [tone]}, limit: 60}
prompt: {template: "Is {{ text }} warm: {{ answer }}", answers: ANSWERS}
distractors: {word: {kind: random_word, words: WORDS}}
conditions: {plain: {}, live: {distractors: [word]}}
probes: [{kind: ccs, restarts: 2, epochs: 20}]
autopsy: [ccs]
geometry: true
leaderboard: true
"""


def test_data_come_alive_nowhere(scene: Scene, tiny_llama: Path) -> None:
    """Texts, answers, groups, factors and the words of distractors, in every table, figure and page that shows them."""
    shutil.copytree(tiny_llama, scene.inside / "model")
    rows = [(f"{LIVE[n % 12]} {n}", n % 2, LIVE[(n // 2) % 2], LIVE[n % 12] + str(n)) for n in range(80)]
    with (scene.inside / "d.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([("text", "label", "tone", "who"), *rows])
    spec = TEXTS.replace("ANSWERS", json.dumps(LIVE[6:8])).replace("WORDS", json.dumps([LIVE[0], LIVE[8]]))
    said = scene.run("run", scene.write("x.yaml", spec), "--quiet")
    scene.assert_unharmed(said)
    assert said.code == 0, said.err
    folder = scene.inside / "reports" / "x"
    assert_tame(folder)
    assert "onerror" in str(pl.read_parquet(folder / "autopsy_rows.parquet")["text"].to_list()), (
        "the text itself is still there"
    )
    for figure in (folder / "figures").glob("*.svg"):
        assert not {tag for tag, _ in Alive(figure.read_text()).tags} & {"img", "script", "a"}
    tags = Alive((folder / "report.html").read_text()).tags
    pictures = [attributes.get("src") or "" for tag, attributes in tags if tag == "img"]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in pictures), "our own figures only"
    assert not [key for _, attributes in tags for key in attributes if key.startswith("on")]
