"""A report rendered into memory: its tables, its figures and report.md.

All of it is a function of the results alone, so that it can be kept in the store and written again byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.report import figures, markdown, outline
from harness.report.content import Report
from harness.report.folder import DEPTH, FIGURES, RESTARTS
from harness.report.scores import Scores
from harness.scoring.noise_floor import floor_of


def render(report: Report, pictures: Mapping[str, figures.Picture] | None = None) -> dict[str, bytes]:
    """Relative path → bytes of every file that is the same in every honest run. `pictures` are its figures, if drawn already."""
    from harness.scoring.tables import to_csv

    floor = None if report.noise is None else floor_of(report.noise)
    scores = Scores(outline.of(report), report.results, report.seeds, floor)
    pictures = figures.render(scores, report.looks) if pictures is None else pictures
    captions = {name: picture.caption for name, picture in pictures.items()}
    tables = {"results.csv": report.results, "seeds.csv": report.seeds, "checks.csv": report.checks}
    if report.restarts is not None and report.restarts.height:
        tables[RESTARTS] = report.restarts
    if report.depth is not None:
        tables[DEPTH] = report.depth
    for look in report.looks:
        tables |= {name: frame for name, frame in look.tables.items() if name in look.analysis.files}
    return {
        **{f"{FIGURES}/{name}": picture.svg for name, picture in pictures.items()},
        **{name: to_csv(frame).encode() for name, frame in tables.items()},
        "report.md": markdown.render(report, scores, captions).encode(),
    }
