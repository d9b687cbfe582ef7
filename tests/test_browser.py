"""The page and the figures in a browser: opened from disk with the network off, at three widths, in light and in dark.

Skipped where there is no Chromium, or no Playwright to drive it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.page import html, report_index
from harness.report import figures
from tests import small_report
from tests.test_page import HOSTILE, geometry, page, reports
from tests.test_report import make_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

SIZES = (1400, 768, 390)
MOST_MS = 100.0
__all__ = ["reports"]

OVERLAPPING = """() => {
  const boxes = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest("option, script, #tip, .skip") || !parent.checkVisibility()) continue;
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1 && box.height > 1) boxes.push([box.left, box.top + box.height * 0.2, box.right, box.bottom - box.height * 0.2, node]);
  }
  boxes.sort((a, b) => a[1] - b[1]);
  const found = [];
  boxes.forEach((a, i) => {
    for (let j = i + 1; j < boxes.length && boxes[j][1] < a[3]; j++) {
      const b = boxes[j];
      if (a[4] !== b[4] && Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 1.5) found.push([a[4].data.trim().slice(0, 40), b[4].data.trim().slice(0, 40)]);
    }
  });
  return [boxes.length, found];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        # As root, as in a container, Chromium has no sandbox of its own; what it opens here is ours.
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens HTML from disk; at the end, nothing was asked for and nothing was said on the console."""
    complaints: list[str] = []
    contexts = []

    def open_(content: str | Path, width: int = 1400, scheme: str = "light", hash_: str = "") -> Page:
        path = content if isinstance(content, Path) else tmp_path / "report.html"
        if isinstance(content, str):
            path.write_text(content)
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)  # type: ignore[arg-type]
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("dialog", lambda dialog: complaints.append(dialog.message))
        shown.on(
            "request",
            lambda asked: None if asked.url.startswith(("data:", path.as_uri())) else complaints.append(asked.url),
        )
        shown.goto(path.as_uri() + hash_)
        return shown

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def drawn(shown: Page) -> Page:
    """The page with every chart drawn, and its beginning in sight."""
    shown.evaluate("""async () => {
      // A chart is drawn once a frame has it in sight.
      const seen = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      for (let y = 0; y < document.documentElement.scrollHeight; y += 500) { scrollTo(0, y); await seen(); }
      scrollTo(0, 0);
    }""")
    return shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_no_text_lies_on_another(opened: Callable[..., Page], width: int, scheme: str) -> None:
    shown = drawn(opened(page(small_report.outline(3, 6)), width, scheme))
    count, found = shown.evaluate(OVERLAPPING)
    assert count > 300
    assert found == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width, "nothing to scroll to the side"
    assert shown.locator("#overview svg, #layers svg, #seeds svg").count() == 3 + 18 + 18
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]


def test_texts_that_lie_on_each_other_are_seen(opened: Callable[..., Page]) -> None:
    """The control of the test above."""
    shown = opened(
        "<p style='position:absolute;top:9px'>one text</p><p style='position:absolute;top:12px'>another text</p>"
    )
    assert len(shown.evaluate(OVERLAPPING)[1]) == 1


@pytest.mark.parametrize("of", [(2, 3, 2), (22, 20, 8)], ids=["small", "large"])
def test_figures_have_no_text_on_another_and_no_paper(opened: Callable[..., Page], of: tuple[int, int, int]) -> None:
    transfers, probes, targets = of
    outline = small_report.outline(transfers, probes, ("truth", *(f"factor_{k}" for k in range(targets - 1))))
    pictures = figures.render(small_report.scores(outline))
    for picture in pictures.values():
        shown = opened(f"<body style='background:#123456'>{picture.svg.decode()}</body>", 1000)
        count, found = shown.evaluate(OVERLAPPING)
        assert count > 10
        assert found == []
        assert not shown.locator("svg rect, svg image").count()


def test_controls_by_mouse_and_the_address_keeps_them(opened: Callable[..., Page], tmp_path: Path) -> None:
    shown = drawn(opened(page(small_report.outline())))
    assert shown.locator("#layers .line").count() == 12
    shown.locator("#chosen").click()
    shown.get_by_role("checkbox", name="word").uncheck()
    shown.get_by_role("checkbox", name="condition_0").uncheck()
    shown.locator("#metric").select_option("auroc")
    drawn(shown)
    assert shown.locator("#layers .line").count() == 3
    assert shown.locator("tr[data-transfer]:visible").count() == 3
    assert "auroc" in shown.locator("#overview svg").first.text_content()  # type: ignore[operator]
    address = shown.evaluate("location.hash")
    again = drawn(opened(tmp_path / "report.html", hash_=address))
    assert not again.locator("[data-of=targets]").nth(1).is_checked()
    assert again.locator("#layers .line").count() == 3
    assert again.evaluate("location.hash") == address
    shown.locator("nav").get_by_text("Rows").click()
    assert shown.evaluate("document.activeElement.id") == "rows"
    assert shown.evaluate("location.hash").startswith("#rows?")


def test_rows_are_found_filtered_and_sorted(opened: Callable[..., Page]) -> None:
    shown = opened(page(small_report.outline()))
    lines = shown.locator("#rows-table tbody tr")
    assert lines.count() == 15
    shown.locator("#rows-find").fill("17: is this")
    assert lines.count() == 1 and "e17" in lines.first.text_content()  # type: ignore[operator]
    shown.locator("#rows-find").fill("")
    shown.locator("#rows-wrong").check()
    assert "13 of" not in shown.locator("#rows-table").text_content()  # type: ignore[operator]
    assert "14" in shown.locator("#rows-table [role=status]").text_content()  # type: ignore[operator]
    heading = shown.locator("#rows-table th button", has_text="confidence")
    heading.focus()
    shown.keyboard.press("Enter")
    column = [float(text) for text in shown.locator("#rows-table td:nth-child(8)").all_text_contents() if text != "–"]
    assert column == sorted(column) != []
    assert shown.locator("#rows-table th[aria-sort=ascending]").count() == 1
    assert "rows.wrong=1" in shown.evaluate("location.hash")


def test_a_table_that_stands_in_the_page_is_sorted_and_searched(opened: Callable[..., Page]) -> None:
    shown = opened(page(small_report.outline(3, 4)))
    table = shown.locator("table", has=shown.locator("tr[data-transfer]"))
    shown.get_by_role("button", name="truth").first.click()
    values = [float(text.split()[0]) for text in table.locator("tbody td:nth-child(5)").all_text_contents()]
    assert values == sorted(values)
    shown.get_by_label("find in table").first.fill("probe_2")
    assert table.locator("tbody tr:visible").count() == 3


def test_charts_and_clouds_by_keyboard(opened: Callable[..., Page]) -> None:
    shown = drawn(opened(page(small_report.outline())))
    panel = shown.locator("#layers svg[tabindex='0']")
    assert panel.count() == 1, "one stop for the whole grid"
    panel.focus()
    shown.keyboard.press("ArrowRight")
    first = shown.locator("#said").text_content()
    assert first is not None and "probe_0 on condition_0, layer 4" in first and "truth 0." in first
    assert shown.locator("#tip").text_content() == first
    shown.keyboard.press("ArrowRight")
    assert "layer 0" in (shown.locator("#said").text_content() or "")
    shown.keyboard.press("ArrowDown")
    assert shown.evaluate("document.activeElement.getAttribute('aria-label')").startswith("probe_0 on condition_1")
    canvas = shown.locator("#clouds canvas").nth(1)
    canvas.focus()
    before = shown.evaluate("turned.across")
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate("turned.across") != before
    for _ in range(20):
        shown.keyboard.press("+")
    assert "row e19" in (shown.locator("#tip").text_content() or "")
    shown.keyboard.press("Enter")
    assert "e19" in (shown.locator("#told").text_content() or "")
    assert shown.locator("#rows-on").input_value() == "1"


def test_a_point_names_its_row_under_the_mouse(opened: Callable[..., Page]) -> None:
    shown = drawn(opened(page(small_report.outline())))
    shown.locator("#clouds").scroll_into_view_if_needed()
    shown.wait_for_timeout(50)
    box = shown.locator("#clouds canvas").first.bounding_box()
    assert box is not None
    x, y, _ = shown.evaluate("cloudPlaces[0][7]")
    shown.mouse.move(box["x"] + x, box["y"] + y)
    assert "row e" in (shown.locator("#tip").text_content() or "")
    shown.mouse.click(box["x"] + x, box["y"] + y)
    assert shown.locator("#told").count() == 1


def test_what_is_hostile_shows_as_text(opened: Callable[..., Page]) -> None:
    text = HOSTILE + " {} עברית"
    of = small_report.outline(targets=("truth", HOSTILE), name=HOSTILE)
    shown = drawn(opened(page(of, text=text)))
    assert shown.locator("script").count() == 2
    assert shown.locator("img").count() == 0
    cell = shown.locator("#rows-table td.text").first.text_content()
    assert cell == f"0: {HOSTILE} 40 עברית".replace("\u202e", "")
    assert "<script>alert(1)" in shown.locator("h1").text_content()  # type: ignore[operator]


def test_a_control_answers_at_once(opened: Callable[..., Page]) -> None:
    """50 seeds, 31 layers, 8 methods, 4 conditions: from the event to what is laid out, of the processor's time and the best of three."""
    of = small_report.outline(4, 8, layers=31)
    shown = drawn(opened(page(of, 31, 50, count=400)))
    session = shown.context.new_cdp_session(shown)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        told = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(one["value"]) for one in told if one["name"] == "TaskDuration")

    def needed(script: str) -> float:
        shown.evaluate("document.body.offsetHeight")
        before = busy()
        shown.evaluate(f"() => {{ {script}; document.body.offsetHeight; }}")
        return busy() - before

    moved = "control.dispatchEvent(new Event('input', {bubbles: true}))"
    controls = {
        "metric": f"const control = element('metric'); control.selectedIndex = 1 - control.selectedIndex; {moved}",
        "factor": f"const control = document.querySelectorAll('[data-of=targets]')[1]; control.checked = !control.checked; {moved}",
        "intervals": f"const control = element('bands'); control.checked = !control.checked; {moved}",
        "layer": f"const control = element('seed-layer'); control.value = (+control.value + 7) % 30; {moved}",
        "rows": f"const control = element('rows-find'); control.value = control.value ? '' : '17'; {moved}",
    }
    places = {"metric": "layers", "factor": "layers", "intervals": "layers", "layer": "seeds", "rows": "rows"}
    took = {}
    for name, script in controls.items():
        shown.evaluate(f"element('{places[name]}').scrollIntoView()")
        took[name] = min(needed(script) for _ in range(3))
    # The control of the measure: a chart is drawn at all, and something takes time.
    assert min(took.values()) > 0.1, took
    assert shown.locator("#layers .line").count() >= 32
    assert max(took.values()) < MOST_MS, took


def test_any_two_reports_are_compared(opened: Callable[..., Page], reports: Path) -> None:
    made = report_index.write(reports)
    shown = opened(made.index)
    assert "first one and second have 24 numbers in common; 0 are apart." in (
        shown.locator("#summary").text_content() or ""
    )
    shown.locator("#new").select_option("first one")
    assert "first one and first one" in (shown.locator("#summary").text_content() or "")
    shown.locator("#apart").check()
    assert shown.locator("#rows tbody tr").count() == 0
    assert "apart=1" in shown.evaluate("location.hash")
    for width in SIZES:
        assert opened(made.index, width).evaluate(OVERLAPPING)[1] == []


def test_the_page_of_a_whole_report_opens(opened: Callable[..., Page]) -> None:
    """One with checks, restarts and facts, from what the run made."""
    made = make_report()
    from harness.report import outline

    extras = html.Extras(beside=geometry(small_report.outline()))
    content = html.render(outline.of(made), made.results, made.seeds, made.checks, made.manifest, extras).decode()
    shown = drawn(opened(content, 390))
    assert shown.evaluate(OVERLAPPING)[1] == []
    assert shown.locator("#checks").is_visible()
