"""report.md: what a reviewer decides by, in at most `MOST_LINES` lines, so that its difference can be read in a pull request.

The verdicts with their evidence, one table of what was found, one prompt, a few figures, and how to make it again. One row of a
table per line and no dates. What has no place here stands in the page and in the tables beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.maths.estimate import CONFIDENCE, share_of_seeds
from harness.report import coverage, leaderboard, noise
from harness.report.intervals import Score
from harness.report.markup import table as _table
from harness.report.outline import TRUTH, Outline
from harness.report.scores import NEITHER, UNCLEAR, Scores, Summary, Transfer
from harness.report.verdicts import AS_EXPECTED, UNEXPECTED, Verdict, headline, verdicts
from harness.report.wording import evidence, listed, number
from harness.untrusted import text as plain

if TYPE_CHECKING:
    from harness.report.content import Report
    from harness.report.figures import Picture
    from harness.report.summary_rows import SummaryRows

MOST_LINES = 250
_MOST_CHECKS, _MOST_REASONS, _MOST_SENTENCES, _MOST_SUMMARIES = 40, 12, 24, 48
_MOST_FACTS, _MOST_FINDINGS, _MOST_OF_ANALYSES = 16, 6, 36
_MOST_FIGURES = 3
_MOST_OUTCOMES = 4

_MARK = {AS_EXPECTED: "✅ as expected", UNEXPECTED: "❌ **unexpected**"}


def render(report: Report, scores: Scores, figures: Mapping[str, Picture], kept: SummaryRows) -> str:
    """The whole of report.md. `figures` are by the name of their file, `kept` the rows of results.csv."""
    judged = verdicts(report.checks, scores.outline.claims)
    parts = [
        *_head(report, scores),
        *_checks(report, judged),
        *_found(scores),
        *_outcomes(report),
        *noise.section(scores, pairs=report.example is None or report.example.pair),
        *_figures(figures),
        *_looks(report, scores),
        *_example(report),
        *_facts(report),
        *_reproduce(scores.outline, kept),
        *_how_to_read(scores),
    ]
    return "\n\n".join(parts) + "\n"


def made_from_changes(text: str, manifest: Mapping[str, Any]) -> str:
    """The text with a warning under its headline where a run that made something of it had changes that are in no commit."""
    runs = manifest.get("runs", ())
    dirty = sorted({one["git"]["commit"][:12] for one in runs if one.get("git") and one["git"].get("dirty")})
    if not dirty:
        return text
    commits = listed([plain.code(commit) for commit in dirty])
    warning = (
        f"⚠ Made by a program or a spec with changes that are in no commit, beside {commits}; see `manifest.json`."
    )
    lead, mark, rest = text.partition("\n\n**")
    return f"{lead}\n\n{warning}{mark}{rest}"


def _head(report: Report, scores: Scores) -> Iterable[str]:
    yield f"# {plain.markdown(report.spec.name)}"
    if report.spec.about.strip():
        yield f"> {plain.markdown(report.spec.about)}"
    yield from coverage.sentences(scores)


def _checks(report: Report, judged: Sequence[Verdict]) -> Iterable[str]:
    yield f"**{headline(report.checks)}**"
    if not judged:
        return
    numbered = list(enumerate(judged, 1))
    told = sorted(numbered, key=lambda one: (_as_hoped(one[1]), one[0]))
    shown = sorted(told[:_MOST_CHECKS], key=lambda one: one[0])
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
            for i, v in shown
        ),
        numbers=2,
    )
    if len(judged) > len(shown):
        yield f"{len(judged) - len(shown)} more came out as expected; all are in `checks.csv`."
    reasons = sorted(told[:_MOST_REASONS], key=lambda one: one[0])
    rest = " (of the others, see `checks.csv`)" if len(judged) > len(reasons) else ""
    yield f"Why{rest}:\n\n" + "\n".join(f"{i}. {plain.markdown(v.why)}" for i, v in reasons)


def _as_hoped(verdict: Verdict) -> int:
    """What a reviewer looks for comes first: the unexpected, then what is not decided, then what nobody expects."""
    if verdict.verdict == UNEXPECTED:
        return 0
    if verdict.finding == "inconclusive":
        return 1
    return 3 if verdict.verdict == AS_EXPECTED else 2


def _found(scores: Scores) -> Iterable[str]:
    if not scores.transfers:
        return
    yield "## What was found"
    found = {transfer: scores.summaries(transfer) for transfer in scores.transfers}
    sentences = [
        f"- {_title(transfer)}: {sentence}"
        for transfer, summaries in found.items()
        if (sentence := found_sentence(summaries))
    ]
    if sentences:
        more = (
            [f"- and {len(sentences) - _MOST_SENTENCES} more pairs of conditions"]
            if len(sentences) > _MOST_SENTENCES
            else []
        )
        yield "\n".join([*sentences[:_MOST_SENTENCES], *more])
    if board := list(leaderboard.section(scores)):
        yield from board[1:]
        return
    chance = _uninformed(scores)
    what = f"The {plain.code(scores.headline)} of each method's answers on the test rows at its summary layer"
    if sum(map(len, found.values())) <= _MOST_SUMMARIES:
        yield f"{what}, against the truth and every other factor{chance}. Values in bold are clear of chance."
        yield _summary_table(scores, found)
        yield from _rules([summary for summaries in found.values() for summary in summaries])
    else:
        yield (
            f"{what}, against the truth{chance}. Values in bold are clear of chance; intervals and other factors are in `results.csv`."
        )
        yield _matrix(scores, found)


def _uninformed(scores: Scores) -> str:
    """What an uninformed answer scores: one number, or where that depends on the target, several."""
    if not scores.outline.chances:
        return "" if scores.chance is None else f"; an uninformed answer scores {number(scores.chance)}"
    every: dict[str, list[str]] = {}
    for target in scores.targets:
        own = {chance for one in scores.transfers for chance in scores.chances(one.tested_on, (target,))}
        said = " or ".join(dict.fromkeys(number(chance) for chance in sorted(own)))
        every.setdefault(said, []).append(plain.markdown(target))
    told = [f"{said} on {listed(targets)}" for said, targets in every.items() if said]
    return f"; an uninformed answer scores {listed(told)}" if told else ""


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


def _summary_table(scores: Scores, found: Mapping[Transfer, Sequence[Summary]]) -> str:
    """A row for each method on each pair of conditions."""
    every = [(transfer, summary) for transfer, summaries in found.items() for summary in summaries]
    targets = [t for t in scores.targets if any(t in s.scores for _, s in every)]
    seeded = any(s.seeds for _, s in every)
    head = ["conditions", "method", "learns from", "layer", *map(plain.markdown, targets), "follows"]
    rows = []
    for transfer, s in every:
        cells = [_emphasised(scores.chance_of(transfer.tested_on, target), s.scores.get(target)) for target in targets]
        row = [
            plain.markdown(transfer.title),
            plain.code(s.probe),
            plain.markdown(scores.learns_from(s.probe)),
            s.layer,
            *cells,
            plain.markdown(s.follows) or "–",
        ]
        rows.append([*row, _seeds(s)] if seeded else row)
    return _table([*head, "seeds"] if seeded else head, rows)


def _matrix(scores: Scores, found: Mapping[Transfer, Sequence[Summary]]) -> str:
    """Methods × pairs of conditions."""
    by_place = {(transfer, summary.probe): summary for transfer, summaries in found.items() for summary in summaries}
    transfers = list(found)[:_MOST_SENTENCES]
    rows = []
    for probe in scores.probes[:_MOST_SUMMARIES]:
        summaries = [by_place.get((transfer, probe)) for transfer in transfers]
        if any(summaries):
            truths = [None if one is None else one.scores.get("truth") for one in summaries]
            chances = [scores.chance_of(transfer.tested_on, TRUTH) for transfer in transfers]
            shown = (_emphasised(*one, alone=True) for one in zip(chances, truths, strict=True))
            rows.append([plain.code(probe), *shown])
    return _table(["method", *(plain.markdown(transfer.title) for transfer in transfers)], rows, numbers=len(transfers))


def _emphasised(chance: float | None, score: Score | None, *, alone: bool = False) -> str:
    """A score, in bold where it is clear of chance; without its interval if `alone`."""
    if score is None:
        return "–"
    clear = chance is not None and (score.low > chance or score.high < chance)
    shown = number(score.value)
    text = shown if alone else evidence(score)
    return text.replace(shown, f"**{shown}**", 1) if clear else text


def _seeds(summary: Summary) -> str:
    """`48 truth (0.96 [0.87, 0.99] of all), 2 word`: where seeds are of several kinds, how many others would be of the first."""
    counts = [f"{count} {plain.markdown(factor) or '–'}" for factor, count in summary.seeds.items()]
    if len(counts) > 1:
        share = share_of_seeds(next(iter(summary.seeds.values())), sum(summary.seeds.values()))
        counts[0] += f" ({evidence(Score(share.value, share.low, share.high))} of all)"
    return ", ".join(counts) or "–"


def _rules(summaries: Iterable[Summary]) -> Iterable[str]:
    by_rule: dict[str, list[str]] = {}
    for s in summaries:
        if s.rule:
            by_rule.setdefault(s.rule, []).append(plain.code(s.probe))
    rules = [
        plain.markdown(rule) + (f" ({', '.join(dict.fromkeys(names))})" if len(by_rule) > 1 else "")
        for rule, names in by_rule.items()
    ]
    if rules:
        yield f"Layer: {'; '.join(rules)}."


def _outcomes(report: Report) -> Iterable[str]:
    """The first tables of what is said beside what is true."""
    if not report.outcomes:
        return
    yield "## What was said, beside what is true"
    for one in report.outcomes[:_MOST_OUTCOMES]:
        fit_on, tested_on, probe = one.place
        where = plain.markdown(fit_on if fit_on == tested_on else f"{fit_on} → {tested_on}")
        yield f"{plain.code(probe)} in {where} at layer {one.layer}, {plain.markdown(one.target)}: {one.what}."
        cells = [[plain.markdown(cell) for cell in row] for row in (one.head, *one.rows)]
        yield _table(cells[0], cells[1:], numbers=len(one.head) - 1)
    if (more := len(report.outcomes) - _MOST_OUTCOMES) > 0:
        yield f"There are {more} more; every row, with what is said of it, stands beside the report."


def _looks(report: Report, scores: Scores) -> Iterable[str]:
    """The sections of the analyses, each as far as there is place: what unfolds only where the rest leaves some."""
    for look in report.looks:
        parts = list(look.analysis.section(look.tables, scores))
        kept = _fitting(parts, _MOST_OF_ANALYSES // len(report.looks))
        yield from kept
        if kept and len(kept) < len(parts):
            named = listed([plain.code(name) for name in look.analysis.files])
            yield f"More of this is in `report.html`{f' and {named}' if named else ''}."


def _fitting(parts: Sequence[str], most: int) -> list[str]:
    """The paragraphs that fit into so many lines, in their order; what is always seen is chosen before what unfolds."""
    chosen: set[int] = set()
    for folds in (False, True):
        for place, part in enumerate(parts):
            lines = part.count("\n") + 2
            if part.startswith("<details") == folds:
                if lines > most:
                    break
                chosen.add(place)
                most -= lines
    kept = [parts[place] for place in sorted(chosen)]
    # A heading with nothing under it says nothing.
    return [
        part
        for part, after in zip(kept, [*kept[1:], "#"], strict=True)
        if not (part.startswith("#") and after.startswith("#"))
    ]


def _example(report: Report) -> Iterable[str]:
    example = report.example
    if example is None:
        return
    yield "## A prompt"
    is_right = "the right answer is" if example.pair else "it is"
    said = [f"{is_right} “{plain.markdown(example.right)}”" if example.right else ""]
    said += [f"{plain.markdown(name)} is “{plain.markdown(value)}”" for name, value in example.factors.items()]
    told = "; ".join(filter(None, said))
    yield (
        f"The first test row of {plain.code(example.condition)}{', where the two members of the pair differ as [one/other]' if example.pair else ''}"
        f"{': ' if told else ''}{told}."
    )
    yield plain.fenced(example.text, "text")


def _figures(figures: Mapping[str, Picture]) -> Iterable[str]:
    """The first two, and the last: what an analysis shows, where there is one."""
    named = list(figures.items())
    for name, picture in [*named[: _MOST_FIGURES - 1], *named[_MOST_FIGURES - 1 :][-1:]]:
        yield f"![{plain.markdown(picture.caption.split(':')[0])}](figures/{name})"
        yield f"*{plain.markdown(picture.caption)}*"


def _facts(report: Report) -> Iterable[str]:
    if report.facts:
        yield "## Model, data and conventions"
        shown = report.facts[:_MOST_FACTS]
        yield _table(("", ""), ((plain.markdown(name), plain.markdown(value)) for name, value in shown))
        if len(shown) < len(report.facts):
            yield f"{len(report.facts) - len(shown)} more are in `report.html` and `manifest.json`."
    if report.findings:
        yield "## What linting found"
        shown_findings = report.findings[:_MOST_FINDINGS]
        more = len(report.findings) - len(shown_findings)
        lines = [f"- {plain.markdown(finding)}" for finding in shown_findings]
        yield "\n".join([*lines, *([f"- and {more} more, in `report.html` and `manifest.json`"] if more else [])])


def _reproduce(outline: Outline, kept: SummaryRows) -> Iterable[str]:
    yield "## To reproduce"
    yield plain.fenced(f"harness run {plain.line(outline.file)}", "sh")
    yield (
        f"`results.csv` has {plain.markdown(kept.which)} at the summary layers. All layers, seeds and rows, and `report.html`, lie beside "
        f"it where it was run; `harness report {plain.line(outline.name)} --full` writes them again from the store. `manifest.json` says "
        "with which versions, weights, data and hardware this was made."
    )


def _how_to_read(scores: Scores) -> Iterable[str]:
    yield "## How to read this"
    percent = f"{CONFIDENCE:.0%}".replace("%", " %")
    yield "\n".join(
        (
            f"- `0.85 [0.81, 0.88]` is a value with its {percent} interval, clustered by group: all prompts made from one "
            "example are one piece of evidence. A mean over seeds has the seeds' variance in it as well, and at the summary layer that "
            "of the training sample (`results.csv` has the standard error by each). Intervals are not corrected for the number of "
            "comparisons; what the leaderboard and `harness diff` mark is.",
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
        return f"in {plain.markdown(transfer.fit_on)}"
    return f"fitted on {plain.markdown(transfer.fit_on)}, tested on {plain.markdown(transfer.tested_on)}"
