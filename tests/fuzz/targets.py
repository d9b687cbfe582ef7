"""What is fuzzed: the spec loader, templates, `diff`, and tables. Any bytes end in an answer or in an error of ours."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import polars as pl

from harness.errors import HarnessError
from tests.test_diff import BASE, CHECKS_HEAD, FAILED, RESULTS_HEAD

JINJA = (
    "{{ }} {% %} {# #} | ~ + - * / // % ** ( ) [ ] : , . == != < > in is not and or if else ' \" = 0 1 -1 9999999 1e999 "
    "text answer choices answer_number label_names loop.index loop.changed(1) true none {%else%} {%endfor%} {%endset%} "
    "{%endif%} {%endmacro%} {%endfilter%} {%endcall%} |upper |list |sort |sum |int |float |max |min |unique |reverse |first "
    "|last |trim |title |wordcount |round(9) |truncate(9) |default(text) |join(text) |replace(text,text) .join(text) "
    ".split() .replace('',text) .format(text) .__class__ ['__class__'] range(9) [text]*9 a m(text)"
).split(" ")
BLOCKS = (
    "{% for a in text %}",
    "{% set a = text %}",
    "{% set a %}",
    "{% if answer %}",
    "{% macro m(a) %}",
    "{% call m(1) %}",
    " ",
)
YAML = (
    "harness: 1\n|name: x\n|model: {bed: planted}\n|model: {id: x}\n|data: |limit: |probes: [mean_difference]\n|- |  |\n|&a "
    "|*a |<<: |!!python/object:os.system |!!str |!!int |%YAML 1.2\n|---\n|...\n|? |: |\\x1b|\\ud800|\"|'|>\n|\ufeff|\x00|\t"
    "|\u202e|conditions:\n|transfer: |checks: |prompt: |template: |answers: [no, yes]\n|distractors:\n|include: x.yaml\n"
    "|seeds: |layer: |autopsy: |geometry: true\n|leaderboard: true\n|metrics: |xors: |null|true|1e3|1_000|0o7|.nan|.inf"
    "|{kind: ccs}|{kind: random_word}|[|]|{|}|, |~|9999999999999999999999"
).split("|")
CSV = 'nan|inf|-inf|1e400|0.5|,|"|\r\n|\n|a,a,p,1,truth,accuracy,0.5,0.4,0.6,10,1\n|fit_on|value|=1+1|\x1b[31m|\x00|\\|ß'.split(
    "|"
)
TABLE = [
    *CSV,
    "\t",
    "\r",
    "\n\n",
    "\ufeff",
    "true",
    "True",
    "1.0",
    "null",
    "NaN",
    "\\ud83d",
    "{",
    "}",
    '"label": ',
    '"text": ',
    '",0\n"',
]
WORDS = {"spec": YAML, "template": [*JINJA, *BLOCKS], "diff": CSV, "table": TABLE}
"""Pieces that make sense to each reader; without them almost everything is refused at its first letter."""


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def spec(content: bytes) -> None:
    """Reads a spec that has these bytes, and plans nothing."""
    from harness import language

    path = _folder() / "x.yaml"
    path.write_bytes(content)
    try:
        language.read(path)
    except HarnessError as error:
        _check_said(error)


def template(content: bytes) -> None:
    """Compiles and renders a template."""
    from harness.untrusted.template import Template

    try:
        template = Template("main", content.decode("utf-8", "replace"))
        made = template.pair(
            {"text": "some words " * 20, "number": 7, "empty": None}, ["no", "yes"], ["no", "yes"], "a"
        )
    except HarnessError as error:
        _check_said(error)
        return
    assert len(made) == template.views
    for rendered in made:
        assert 0 <= rendered.start <= rendered.end <= len(rendered.text)


def diff(content: bytes) -> None:
    """Compares an honest report with one whose two tables are cut from these bytes."""
    from rich.console import Console

    from harness.report import compare as differ

    results, _, checks = content.partition(b"\0")
    old, new = _folder() / "old", _folder() / "new"
    for folder in (old, new):
        folder.mkdir(exist_ok=True)
    (old / "results.csv").write_bytes(RESULTS_TABLE)
    (old / "checks.csv").write_bytes(CHECKS_TABLE)
    (new / "results.csv").write_bytes(results)
    (new / "checks.csv").write_bytes(checks or CHECKS_TABLE)
    try:
        found = differ.compare(differ.ReportFolder.open(str(old)), differ.ReportFolder.open(str(new)))
    except HarnessError as error:
        _check_said(error)
        return
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(differ.as_text(found))
    for text in (capture.get(), differ.as_markdown(found)):
        assert "\x1b" not in text and "\u202e" not in text
    differ.as_json(found)


def table(content: bytes) -> None:
    """Reads a file of examples; what there is besides the rows read is empty lines."""
    import msgspec

    from harness.contracts import kind

    ending = (
        "jsonl" if content.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"{") else "tsv" if b"\t" in content[:20] else "csv"
    )
    (_folder() / f"x.{ending}").write_bytes(content)
    try:
        rows = msgspec.convert({"file": f"x.{ending}"}, kind.find("data", "file")).load(0, _folder())  # type: ignore[attr-defined]
    except HarnessError as error:
        _check_said(error)
        return
    if ending == "jsonl":
        assert len(rows) == sum(1 for line in content.split(b"\n") if line.removeprefix(b"\xef\xbb\xbf").strip())
        return
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    records = [row for row in csv.reader(text, delimiter="," if ending == "csv" else "\t") if "".join(row).strip(" \t")]
    assert len(rows) == len(records) - 1


def _check_said(error: HarnessError) -> None:
    """Errors are for people: there is a sentence, of ordinary length."""
    assert str(error).strip()
    assert len(str(error)) < 2_000_000


RESULTS_TABLE = "\n".join([RESULTS_HEAD, *BASE, ""]).encode()
CHECKS_TABLE = "\n".join([CHECKS_HEAD, *FAILED, ""]).encode()

TARGETS: Mapping[str, Callable[[bytes], None]] = {"spec": spec, "template": template, "diff": diff, "table": table}


def corpus(target: str) -> list[bytes]:
    """Honest inputs to begin with."""
    if target == "table":
        rows = [(f'a "text", {number}', number % 2, f"note {number}") for number in range(9)]
        frame = pl.DataFrame(rows, schema=["text", "label", "note"], orient="row")
        return [frame.write_csv().encode(), frame.write_csv(separator="\t").encode(), frame.write_ndjson().encode()]
    if target == "diff":
        return [RESULTS_TABLE, RESULTS_TABLE + b"\0" + CHECKS_TABLE]
    if target == "spec":
        specs = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))]
        # One that is laid over another needs the other beside it.
        return [content for content in specs if b"include:" not in content]
    return [
        b"{{ text }} {{ answer }}",
        b"{% for c in choices %}{{ loop.index }}. {{ c | upper }}\n{% endfor %}{{ answer_number }} {{ answer ~ text[:3] }}",
        b"{% set a = text ~ text %}{% if 'x' in a %}{{ a | replace('x', 'y') }}{% endif %}{{ answer.strip() }}",
        b"{% macro m(a) %}{{ a | join(',') }}{% endmacro %}{{ m([text, answer]) }}",
    ]
