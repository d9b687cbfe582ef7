"""The figures of a report: few, small, of one colour for one thing, and they say what they show."""

from __future__ import annotations

import hashlib
import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import polars as pl
import pytest

from harness.report import figures
from harness.report.figures import canvas, palette, selection
from harness.report.folder import MOST_FIGURES
from harness.report.scores import Scores
from harness.scoring.noise_floor import NoiseFloor
from tests.small_report import outline, scores

LARGEST = outline(22, 20, ("truth", *(f"factor_{k}" for k in range(7))))
"""As many pairs of conditions, methods and factors as the largest of our specs has of each."""


def drawn(of: Scores) -> dict[str, str]:
    return {name: picture.svg.decode() for name, picture in figures.shown(figures.render(of)).items()}


def words(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")]


@pytest.mark.slow
def test_figures_are_small_however_large_the_report() -> None:
    largest, small = drawn(scores(LARGEST, layers=31, seeds=50)), drawn(scores(outline()))
    assert len(small) <= len(largest) <= MOST_FIGURES
    assert sum(map(len, largest.values())) < 90_000
    assert max(map(len, largest.values())) < 60_000
    # The control: what is small has nothing left out.
    for of, left_out in ((LARGEST, True), (outline(), False)):
        captions = [picture.caption for picture in figures.render(scores(of)).values()]
        assert {"Left out" in caption for caption in captions} == {left_out}


def test_a_panel_has_few_series() -> None:
    large = scores(LARGEST)
    for transfer in large.transfers:
        assert len(selection.factors(large, transfer)) <= selection.MOST_FACTORS


def test_what_is_shown_hangs_on_no_number() -> None:
    one, other = scores(LARGEST, seed=1), scores(LARGEST, seed=2)
    assert selection.transfers(one, 8) == selection.transfers(other, 8)
    assert len(selection.transfers(one, 8)) == 8
    names = [re.findall(r">((?:probe|condition)_\d+)", "".join(drawn(of).values())) for of in (one, other)]
    assert names[0] == names[1] != []


def test_pairs_of_two_conditions_have_half_of_the_place() -> None:
    plain = outline(10)
    crossed = msgspec.structs.replace(plain, transfers=(*plain.transfers, *((f"a{k}", f"b{k}") for k in range(10))))
    shown = selection.transfers(
        Scores(crossed, *(pl.DataFrame(schema={**scores(plain).each_seed.schema, "seeds": pl.Int64}),) * 2), 4
    )
    assert sum(t.fit_on != t.tested_on for t in shown) == 2
    assert any(crossed.standing.get(t.tested_on) for t in shown)


def test_one_factor_has_one_colour_and_one_mark() -> None:
    for svg in drawn(scores(outline())).values():
        for k, name in enumerate(("truth", "word")):
            assert f'class="f k{k}"' in svg and name in words(svg)
            assert palette.MARKS[k] in svg
    assert len({*palette.FACTORS}) == len(palette.FACTORS) == len({*palette.MARKS}) == selection.MOST_FACTORS


def test_colours_can_be_seen_on_both_papers() -> None:
    """Contrast of at least 3 for marks and 4.5 for words, as WCAG 2.1 asks (1.4.11, 1.4.3)."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a: str, b: str) -> float:
        dark, bright = sorted((light(a), light(b)))
        return (bright + 0.05) / (dark + 0.05)

    for paper, which in (("#ffffff", 0), ("#0d1117", 1)):
        assert min(contrast(pair[which], paper) for pair in palette.FACTORS) >= 3
        assert min(contrast(pair[which], paper) for pair in (palette.INK, palette.QUIET)) >= 4.5
    assert contrast(palette.INK[0], "#0d1117") < 1.5, "the control"


def test_titles_say_what_was_found() -> None:
    titles = [words(svg)[0] for svg in drawn(scores(outline())).values()]
    assert titles == [
        "Methods follow truth in 3, word in 1 of 4 cases, baselines aside",
        "What is followed at most layers: truth in 3, word in 1 of 6 panels",
        "The seeds agree on what is followed in all 6 cases",
    ]


def test_there_is_no_layer_plot_of_one_layer_and_no_seed_plot_of_one_seed() -> None:
    assert [*drawn(scores(outline()))] == ["overview.svg", "layers.svg", "seeds.svg"]
    one = outline(layers=1)
    assert [*drawn(scores(one, layers=1))] == ["overview.svg", "seeds.svg"]
    assert [*drawn(scores(one, layers=1, seeds=1))] == ["overview.svg"]
    assert (
        figures.render(Scores(msgspec.structs.replace(one, transfers=()), *(scores(one).each_seed.clear(),) * 2)) == {}
    )


def test_no_panel_is_empty() -> None:
    """A method that was not measured on a transfer has no panel there."""
    whole = scores(outline())
    lacking = pl.col("tested_on").eq("condition_1") & pl.col("probe").eq("probe_0")
    seeds = whole.each_seed
    results = (
        scores(outline())
        .each_seed.group_by("fit_on", "tested_on", "probe", "layer", "target", "metric", maintain_order=True)
        .agg(pl.col("value", "low", "high").mean())
    )
    shown = Scores(whole.outline, results.filter(~lacking), seeds.filter(~lacking))
    axes = [
        figures.render(of)["layers.svg"].svg.decode().count('class="g q"')
        for of in (Scores(whole.outline, results, seeds), shown)
    ]
    assert axes == [6, 5]


def test_the_noise_floor_is_a_strip_under_the_scores_by_layer() -> None:
    """As high as its step, for each layer of the condition that it was measured on; nothing in the other figures."""
    below = {"condition_0": (0.0, 0.0004, 0.002, 0.05, 0.3), "condition_1": (0.0, 0.0, 0.02, 0.02, 0.02)}
    floor = NoiseFloor({(name, layer): one for name, by in below.items() for layer, one in enumerate(by)})
    without, found = (figures.render(scores(outline(), noise=noise)) for noise in (None, floor))
    assert "noise" in words(found["layers.svg"].svg.decode())
    assert "Strip below: the noise floor" in found["layers.svg"].caption
    dark, pale = (
        re.findall(f'class="f {look}" d="([^"]+)"', found["layers.svg"].svg.decode()) for look in ("ink", "q")
    )
    heights = [[re.findall(r"v(\d+)", one) for one in bars] for bars in (pale, dark)]
    assert heights == [[["2", "7", "12"], ["2", "12"]], [["18"]]], (
        "two steps to the pixel; under 0.1, 1 and 10 %, and more"
    )
    # Its bars lie side by side, from the first layer to the last.
    (first, width), *_, (last, final) = [tuple(map(int, at)) for at in re.findall(r"M(\d+) \d+h(\d+)", pale[1])]
    assert (first + width, final) == (last, pytest.approx(5 / 3 * width, abs=2))
    # The controls: without it, there is none; on one condition, its column alone has one; and the rest stays as it is.
    assert "noise" not in words(without["layers.svg"].svg.decode()) and "noise" not in without["layers.svg"].caption
    alone = NoiseFloor({place: one for place, one in floor.by_place.items() if place[0] == "condition_1"})
    drawn_alone = figures.render(scores(outline(), noise=alone))["layers.svg"].svg.decode()
    assert words(drawn_alone).count("noise") == drawn_alone.count('class="f q"') == 1
    assert found["overview.svg"] == without["overview.svg"] and found["seeds.svg"] == without["seeds.svg"]


def test_names_from_strangers_stay_text() -> None:
    hostile = '</title><script>alert("1")</script>&\x00\u202e]]>' + "long" * 30
    of = outline(targets=("truth", hostile))
    of = msgspec.structs.replace(of, name=hostile)
    for name, svg in drawn(scores(of)).items():
        tags = {element.tag.rsplit("}")[-1] for element in ET.fromstring(svg).iter()}
        assert tags == {"svg", "title", "style", "text", "path"}, name
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", svg)


def test_bytes_hang_on_the_numbers_alone() -> None:
    program = (
        "import hashlib; from tests.test_figures import drawn, scores, outline\n"
        "print([hashlib.sha256(svg.encode()).hexdigest() for svg in drawn(scores(outline())).values()])"
    )
    here = Path(__file__).parent.parent
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, cwd=here,
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(here)},
    ).stdout  # fmt: skip
    digests = [hashlib.sha256(svg.encode()).hexdigest() for svg in drawn(scores(outline())).values()]
    assert found.strip() == str(digests)
    assert not {*digests} & {
        hashlib.sha256(svg.encode()).hexdigest() for svg in drawn(scores(outline(), seed=1)).values()
    }


def test_a_path_goes_through_its_places() -> None:
    assert canvas.through([]) == ""
    assert canvas.through([(1, 2)]) == "M2 4h0"
    assert canvas.through([(0, 1), (1.5, 2), (3, 0.5), (2, 0.5)]) == "M0 2l3 2 3-3-2 0"
    # A number that is none lies at the axis' end, and no other place moves.
    panel = canvas.Panel(canvas.Surface(50), 10, 0, 100, 40, (0, 1), (0, 1))
    assert panel.at([(0.5, math.nan), (math.inf, 2), (0.25, 0.5)]) == [(60, 40), (10, 0), (35, 20)]


@pytest.mark.parametrize("high", [1e-9, 0.03, 0.16, 0.31, 1.08, 7, 30, 4.2e5])
@pytest.mark.parametrize("from_high", [0.0, -0.4, 0.37])
def test_ticks_are_round_and_never_alone(high: float, from_high: float) -> None:
    low = from_high * high
    found = canvas.ticks(low, high)
    assert 2 <= len(found) <= 9
    assert all(low - 1e-9 * high <= value <= high * (1 + 1e-9) for value in found)
    assert {len(f"{value:.12e}".partition("e")[0].strip("-0").replace(".", "").strip("0")) for value in found} <= {
        0,
        1,
        2,
    }
    assert canvas.ticks(1.0, 1.0) == canvas.ticks(0.0, math.nan) == []
