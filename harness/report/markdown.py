"""report.md: the checks first, then what was found, the figures, and everything needed to doubt it.

One row of a table per line and no dates, so that a pull request shows what moved and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.maths.estimate import CONFIDENCE
from harness.report import depths, leaderboard, noise
from harness.report.intervals import Score
from harness.report.markup import folded as _folded
from harness.report.markup import table as _table
from harness.report.outline import Outline
from harness.report.scores import ALL_LAYERS, NEITHER, UNCLEAR, Scores, Summary, Transfer
from harness.report.verdicts import AS_EXPECTED, UNEXPECTED, Verdict, headline, verdicts
from harness.report.wording import evidence, listed, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    from harness.report.content import Report

LAYER_COLUMNS = 11
"""At most so many layers in a table; results.csv has them all."""

_MARK = {AS_EXPECTED: "✅ as expected", UNEXPECTED: "❌ **unexpected**"}


def render(report: Report, scores: Scores, figures: Mapping[str, str]) -> str:
    """The whole of report.md. `figures` is file name → caption, in the order in which they are to be shown."""
    judged = verdicts(report.checks, scores.outline.claims)
    parts = [
        *_head(report),
        *_checks(report, judged),
        *leaderboard.section(scores),
        *_looks(report, scores, opening=True),
        *_found(scores),
        *noise.section(scores),
        *_looks(report, scores, opening=False),
        *_figures(figures),
        *_layers(scores),
        *depths.section(report.depth, scores),
        *_other_metrics(scores),
        *_restarts(report, scores),
        *_facts(report),
        *_reproduce(scores.outline),
        *_how_to_read(scores),
    ]
    return "\n\n".join(parts) + "\n"


def _head(report: Report) -> Iterable[str]:
    yield f"# {plain.markdown(report.spec.name)}"
    if report.spec.about.strip():
        yield f"> {plain.markdown(report.spec.about)}"


def _checks(report: Report, judged: Sequence[Verdict]) -> Iterable[str]:
    yield f"**{headline(report.checks)}**"
    wrong = [v for v in judged if v.verdict == UNEXPECTED]
    for v in wrong:
        yield f"- ❌ {plain.markdown(v.claim)}: found **{v.finding}**, expected {v.expect}."
    if not judged:
        return
    yield "## Checks"
    yield _table(
        ("", "claim", "finding", "expected", "verdict", "value", "threshold"),
        (
            (
                str(i),
                plain.markdown(v.claim),
                f"**{plain.markdown(v.finding)}**",
                plain.markdown(v.expect) or "–",
                _MARK.get(v.verdict, "not judged"),
                evidence(v.score),
                number(v.threshold),
            )
            for i, v in enumerate(judged, 1)
        ),
        numbers=2,
    )
    yield "Why:\n\n" + "\n".join(f"{i}. {plain.markdown(v.why)}" for i, v in enumerate(judged, 1))


def _found(scores: Scores) -> Iterable[str]:
    if not scores.transfers:
        return
    yield "## What was found"
    metric = plain.code(scores.headline)
    chance = "" if scores.chance is None else f"; an uninformed answer scores {number(scores.chance)}"
    yield (
        f"The {metric} of each method's answers on the test rows, against the truth and against every other "
        f"factor, at the layer that the spec's rule chose{chance}. Values in bold are clear of chance."
    )
    for transfer in scores.transfers:
        summaries = scores.summaries(transfer)
        yield f"### {_title(transfer)}"
        if sentence := found_sentence(summaries):
            yield sentence
        yield _summary_table(scores, summaries)
        yield from _rules(summaries)


def found_sentence(summaries: Sequence[Summary]) -> str:
    """`ccs and kmeans follow word; logistic_regression follows truth.`: what the table says, in words."""
    by_factor: dict[str, list[str]] = {}
    for summary in summaries:
        if summary.follows:
            by_factor.setdefault(summary.follows, []).append(summary.probe)
    clauses = [_clause(factor, probes) for factor, probes in by_factor.items()]
    return "; ".join(clauses) + "." if clauses else ""


def _clause(factor: str, probes: Sequence[str]) -> str:
    names = listed([plain.code(probe) for probe in probes])
    verb = "follows" if len(probes) == 1 else "follow"
    if factor == UNCLEAR:
        return f"what {names} {verb} is unclear"
    what = "none of the factors" if factor == NEITHER else f"**{plain.markdown(factor)}**"
    return f"{names} {verb} {what}"


def _summary_table(scores: Scores, summaries: Sequence[Summary]) -> str:
    targets = [t for t in scores.targets if any(t in s.scores for s in summaries)]
    seeded = any(s.seeds for s in summaries)
    head = ["method", "learns from", "layer", *map(plain.markdown, targets), "follows"]
    rows = []
    for s in summaries:
        cells = [_emphasised(scores, s.scores.get(target)) for target in targets]
        row = [
            plain.code(s.probe),
            plain.markdown(scores.learns_from(s.probe)),
            s.layer,
            *cells,
            plain.markdown(s.follows) or "–",
        ]
        rows.append([*row, _seeds(s)] if seeded else row)
    return _table([*head, "seeds"] if seeded else head, rows)


def _emphasised(scores: Scores, score: Score | None) -> str:
    if score is None:
        return "–"
    clear = scores.chance is not None and (score.low > scores.chance or score.high < scores.chance)
    shown = number(score.value)
    return evidence(score).replace(shown, f"**{shown}**", 1) if clear else evidence(score)


def _seeds(summary: Summary) -> str:
    return ", ".join(f"{count} {plain.markdown(factor) or '–'}" for factor, count in summary.seeds.items()) or "–"


def _rules(summaries: Sequence[Summary]) -> Iterable[str]:
    by_rule: dict[str, list[str]] = {}
    for s in summaries:
        if s.rule:
            by_rule.setdefault(s.rule, []).append(plain.code(s.probe))
    if len(by_rule) == 1:
        yield f"Layer: {plain.markdown(next(iter(by_rule)))}."
    elif by_rule:
        yield (
            "Layer: "
            + "; ".join(f"{plain.markdown(rule)} ({', '.join(names)})" for rule, names in by_rule.items())
            + "."
        )


def _looks(report: Report, scores: Scores, *, opening: bool) -> Iterable[str]:
    for look in report.looks:
        if look.analysis.opens == opening:
            yield from look.analysis.section(look.tables, scores)


def _figures(figures: Mapping[str, str]) -> Iterable[str]:
    if figures:
        yield "## Figures"
    for name, caption in figures.items():
        yield f"![{plain.markdown(caption.split(':')[0])}](figures/{name})"
        yield f"*{plain.markdown(caption)}*"


def _layers(scores: Scores) -> Iterable[str]:
    yield "## Scores by layer"
    yield f"The {plain.code(scores.headline)}, mean over seeds; every layer, with intervals, is in `results.csv`."
    for transfer in scores.transfers:
        for target in scores.targets:
            lines = {probe: scores.by_layer(transfer, probe, target) for probe in scores.probes}
            layers = sorted({int(layer) for line in lines.values() for layer in line if layer != ALL_LAYERS})
            if not layers:
                continue
            shown = [str(layer) for layer in thinned(layers, LAYER_COLUMNS)]
            rows = [
                (plain.code(probe), *(number(line[n].value) if n in line else "–" for n in shown))
                for probe, line in lines.items()
                if any(n in line for n in shown)
            ]
            table = _table(("method", *shown), rows, numbers=len(shown))
            title = f"{plain.markdown(transfer.title)}: {plain.markdown(target)}"
            yield _folded(title, table)


def thinned(layers: Sequence[int], most: int) -> list[int]:
    """Every k-th layer, counted back from the last; the first is always there."""
    step = max(1, -(-(len(layers) - 1) // (most - 1)))
    kept = list(layers[::-1][::step])[::-1]
    return kept if kept[0] == layers[0] else [layers[0], *kept[len(kept) >= most :]]


def _other_metrics(scores: Scores) -> Iterable[str]:
    if len(scores.metrics) < 2:
        return
    yield "## All metrics at the summary layer"
    for transfer in scores.transfers:
        for target in scores.targets:
            rows = []
            for summary in scores.summaries(transfer):
                cells = [scores.by_layer(transfer, summary.probe, target, m).get(summary.layer) for m in scores.metrics]
                if any(cells):
                    rows.append((plain.code(summary.probe), *("–" if c is None else evidence(c) for c in cells)))
            if rows:
                title = f"{plain.markdown(transfer.title)}: {plain.markdown(target)}"
                yield _folded(title, _table(("method", *map(plain.markdown, scores.metrics)), rows))


def _restarts(report: Report, scores: Scores) -> Iterable[str]:
    rows = []
    for row in () if report.restarts is None else report.restarts.iter_rows(named=True):
        transfer = Transfer(row["fit_on"], row["tested_on"])
        if str(row["layer"]) != scores.summary_layer(transfer, row["probe"]):
            continue
        names = (
            plain.markdown(transfer.title),
            plain.code(row["probe"]),
            plain.markdown(row["target"]),
            str(row["layer"]),
        )
        accuracy = [
            number(math.nan if row[name] is None else row[name])
            for name in ("picked", "min", "p10", "p50", "p90", "max")
        ]
        losses = ["–" if row[name] is None else f"{row[name]:.4f}" for name in ("loss_min", "loss_p50", "loss_max")]
        rows.append((*names, f"{row['seeds']} × {row['restarts']}", *accuracy, *losses))
    if rows:
        yield "## Restarts"
        yield (
            "Accuracy of the restart that each seed keeps (the one with the lowest training loss, mean over seeds) beside "
            "that of all restarts, and their losses, at the summary layer; all layers are in `restarts.csv`. A wide spread "
            "says that what is found depends on where the search begins."
        )
        head = (
            "transfer",
            "method",
            "target",
            "layer",
            "seeds × restarts",
            "kept",
            "least",
            "10 %",
            "median",
            "90 %",
            "most",
        )
        yield _table((*head, "lowest loss", "median loss", "highest loss"), rows, numbers=9)


def _facts(report: Report) -> Iterable[str]:
    if report.facts:
        yield "## Model, data and conventions"
        yield _table(("", ""), ((plain.markdown(name), plain.markdown(value)) for name, value in report.facts))
    if report.findings:
        yield "## What linting found"
        yield "\n".join(f"- {plain.markdown(finding)}" for finding in report.findings)


def _reproduce(outline: Outline) -> Iterable[str]:
    yield "## To reproduce"
    yield plain.fenced(f"harness run {plain.line(outline.file)}", "sh")
    yield "`manifest.json` says with which versions, weights, data and hardware this was made."
    if outline.spec_text.strip():
        yield _folded("What was asked: the spec", plain.fenced(outline.spec_text, "yaml"))


def _how_to_read(scores: Scores) -> Iterable[str]:
    yield "## How to read this"
    percent = f"{CONFIDENCE:.0%}".replace("%", " %")
    yield "\n".join(
        (
            f"- `0.85 [0.81, 0.88]` is a value with its {percent} interval, clustered by group: all prompts made from one "
            "example are one piece of evidence. A mean over seeds has the seeds' variance in it as well. Intervals are "
            "not corrected for the number of comparisons.",
            "- Statistics, signs and thresholds come from training rows. The sign of a method without labels is "
            "resolved on training labels, for each factor by itself; one with labels keeps its own against the truth.",
            "- *follows*: the factor whose score is above chance and apart from the others' (the interval of the difference, "
            "squared and added from the two intervals, excludes zero). `a and b`: both are above chance and not apart. "
            "`none`: no factor is above chance. `unclear`: the intervals do not tell.",
            "- *seeds*: how many seeds, each judged by itself, follow what. Two groups of seeds are a finding, not noise.",
            "- A check passes or fails when its interval lies on one side of the threshold, and is inconclusive when "
            "the threshold is inside. A failed check may be what the spec expects.",
        )
    )


def _title(transfer: Transfer) -> str:
    if transfer.fit_on == transfer.tested_on:
        return f"Fitted and tested on {plain.markdown(transfer.fit_on)}"
    return f"Fitted on {plain.markdown(transfer.fit_on)}, tested on {plain.markdown(transfer.tested_on)}"
