"""A report rendered into memory: report.md, its tables and its figures.

All of it is a function of the results alone, so that it can be kept in the store and written again byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.report import figures, markdown, outline
from harness.report.content import Report
from harness.report.folder import CHECKS, FIGURES, IGNORE, IGNORED, RESULTS, SPEC, TEXT
from harness.report.scores import Scores
from harness.report.summary_rows import asked_for, summary_rows
from harness.scoring.noise_floor import floor_of


def render(report: Report, pictures: Mapping[str, figures.Picture] | None = None) -> dict[str, bytes]:
    """Relative path → bytes of every file that is the same in every honest run. `pictures` are its figures, if drawn already."""
    from harness.scoring.tables import to_csv, to_parquet

    floor = None if report.noise is None else floor_of(report.noise)
    scores = Scores(outline.of(report), report.results, report.seeds, report.headline, floor, report.outcomes)
    pictures = figures.render(scores, report.looks) if pictures is None else pictures
    pictures = figures.shown(pictures)
    rows = report.results if report.headline is None else report.headline
    kept = summary_rows(scores, rows, asked_for(report.spec))
    beside = {
        "results.parquet": report.results,
        "headline.parquet": report.headline,
        "seeds.parquet": report.seeds,
        "restarts.parquet": report.restarts,
        "depth.parquet": report.depth,
        "rows.parquet": report.rows,
        "noise.parquet": report.noise,
    }
    for look in report.looks:
        beside |= {name: frame for name, frame in look.tables.items() if name in look.analysis.files}
    return {
        TEXT: markdown.render(report, scores, pictures, kept).encode(),
        RESULTS: to_csv(kept.frame).encode(),
        CHECKS: to_csv(report.checks).encode(),
        **{f"{FIGURES}/{name}": picture.svg for name, picture in pictures.items()},
        **{name: to_parquet(frame) for name, frame in beside.items() if frame is not None},
        SPEC: report.spec_text.encode(),
        IGNORE: IGNORED.encode(),
    }
