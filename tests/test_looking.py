"""A spec looked over with its data: what is wrong with files, columns, labels and fields is said at its line, with the remedy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from harness import language
from harness.contracts import Source, kind
from harness.contracts.data import CONVERSATION, PLACE
from harness.data._first_lines import WHOLE_BYTES
from harness.errors import SpecError
from harness.prompts.examples import sample
from harness.prompts.texts import NOT_FIELDS
from harness.spec import Data

SPEC = """\
harness: 1
name: mine
model: some-model
data: {source: {file: my.csv, text: statement}}
prompt:
  template: "{{ statement }} True or false? {{ answer }}"
  answers: ["false", "true"]
probes: [mean_difference]
"""
ROWS = [(f"{n} is {'even' if (n % 2 == 0) == bool(n % 3) else 'odd'}", "true" if n % 3 else "false") for n in range(30)]
CSV = "statement,label\n" + "".join(f"{statement},{label}\n" for statement, label in ROWS)
MADE = [name for name in kind.built_in("data") if name not in ("file", "hub", "unanswered")]
ASKED = [name for name in MADE if not getattr(kind.find("data", name), "conversations", False)]
"""Those whose prompts are written by a template: a conversation is the whole prompt."""


def faults(folder: Path, spec: str = SPEC, content: str | bytes = CSV, name: str = "my.csv") -> list[str]:
    """What is said of a spec whose data file has that content."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    path = folder / "mine.yaml"
    path.write_text(spec)
    try:
        language.read(path, look=True)
    except SpecError as error:
        return [str(problem).removeprefix(f"{folder}/") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV.replace(",true", ",True").replace(",false", ",False"),
        CSV.replace(",true", ",1").replace(",false", ",0"),
    ],
    ids=["plain", "marked", "windows", "booleans", "numbers"],
)
def test_a_sound_table_passes_however_it_was_saved(tmp_path: Path, content: str) -> None:
    assert faults(tmp_path, content=content) == []


# What is changed in the spec, what is changed in the file, and the one thing that is said.
MISTAKES: dict[str, tuple[tuple[str, str], tuple[str, str], str]] = {
    "a field": (
        ("{{ statement }}", "{{ statment }}"),
        ("", ""),
        'mine.yaml:6:13: prompt.template: there is no field "statment"; did you mean "statement"? my.csv has statement, text, '
        'as in {{ text }} = "0 is odd"',
    ),
    "a field in a block": (
        ('"{{ statement }} True or false? {{ answer }}"', "|\n    Well:\n    {{ topic }} {{ answer }}"),
        ("", ""),
        'mine.yaml:8:1: prompt.template: there is no field "topic"; my.csv has statement, text, as in {{ text }} = "0 is odd"',
    ),
    "a column": (
        ("text: statement", "text: statment"),
        ("", ""),
        'mine.yaml:4:37: data.source.text: my.csv has no column "statment" (option `text`); did you mean "statement"? '
        "(its columns: statement, label)",
    ),
    "a column by default": (
        (", text: statement", ""),
        ("", ""),
        'mine.yaml:4:23: data.source.file: my.csv has no column "text" (option `text`); name one, as in {file: my.csv, text: '
        "statement} (its columns: statement, label)",
    ),
    "a column in a list": (
        ("text: statement", "text: statement, fields: [statement, topic]"),
        ("", ""),
        'mine.yaml:4:68: data.source.fields[1]: my.csv has no column "topic" (option `fields`) (its columns: statement, label)',
    ),
    "a file": (
        ("file: my.csv", "file: mine.csv"),
        ("", ""),
        "mine.yaml:4:23: data.source.file: mine.csv: there is no such file (looked for FOLDER/mine.csv); did you mean "
        '"my.csv"?',
    ),
    "an option": (
        ("text: statement", "txt: statement"),
        ("", ""),
        'mine.yaml:4:31: data.source.txt: the data set file has no "txt"; did you mean "text"?',
    ),
    "other labels": (
        ("", ""),
        (",true", ",yes"),
        'mine.yaml:7:12: prompt.answers: my.csv: row 2, column "label": the label "yes" is neither an answer nor its index; '
        'labels are 0 (false), 1 (true); write prompt.answers: ["false", "yes"], index = label, or change the column (line 3; so are 19 more rows)',
    ),
    "one label": (
        ("", ""),
        ("7 is odd,true", "7 is odd,ture"),
        'mine.yaml:7:12: prompt.answers: my.csv: row 8, column "label": the label "ture" is neither an answer nor its index; '
        'did you mean "true"?; labels are 0 (false), 1 (true) (line 9; so is 1 more row)',
    ),
    "an empty label": (
        ("", ""),
        ("7 is odd,true", "7 is odd,"),
        'mine.yaml:4:23: data.source.file: my.csv: row 8, column "label": empty; fill it in, or take the row out (line 9; so is 1 more row)',
    ),
    "no answers": (
        ('  answers: ["false", "true"]\n', ""),
        ("", ""),
        "mine.yaml:6:3: prompt: my.csv does not say what its answers are; give prompt.answers, index = label, such as "
        '["false", "true"], the labels in my.csv',
    ),
    "no template": (
        ('  template: "{{ statement }} True or false? {{ answer }}"\n', ""),
        ("", ""),
        "mine.yaml:6:3: prompt: the data set file has no template of its own; give prompt.template, such as "
        "'{{ text }} True or false? {{ answer }}'",
    ),
    "semicolons": (
        ("", ""),
        (",", ";"),
        "mine.yaml:4:23: data.source.file: my.csv: cells seem to be separated by semicolons: save it with commas (its columns: "
        "statement;label)",
    ),
    "a line for Excel": (
        ("", ""),
        ("statement,label", "sep=,\nstatement,label"),
        'mine.yaml:4:23: data.source.file: my.csv: the first line, "sep=", is no header: take it out, and separate cells by '
        "commas (its columns: sep=, )",
    ),
    "blanks in the header": (
        ("", ""),
        ("statement,label", "statement, label"),
        'mine.yaml:4:23: data.source.file: my.csv: " label" has a blank around it: take blanks out before and after commas (its '
        "columns: statement,  label)",
    ),
    "no header": (
        ("", ""),
        ("statement,label\n", ""),
        "mine.yaml:4:23: data.source.file: my.csv: the first line seems to be a row: put a header with the names of the columns "
        "above it (its columns: 0 is odd, false)",
    ),
    "too few rows for a limit": (
        ("statement}}", "statement}, split: {train: 0.98, test: 0.02}}"),
        ("", ""),
        "mine.yaml:4:23: data.source.file: my.csv: 20 examples in 20 groups cannot be split so that every part has every label",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_at_its_place_with_the_remedy(tmp_path: Path, mistake: str) -> None:
    in_spec, in_file, said = MISTAKES[mistake]
    spec, content = SPEC.replace(*in_spec), CSV.replace(*in_file)
    assert (spec, content) != (SPEC, CSV)
    (found,) = faults(tmp_path, spec, content)
    assert found.startswith(said.replace("FOLDER", str(tmp_path)))


def test_a_file_elsewhere_is_found_and_its_path_told(tmp_path: Path) -> None:
    home = tmp_path / "specs"
    (home / "data" / "old").mkdir(parents=True)
    spec = SPEC.replace("my.csv", "rows.csv")
    assert faults(home, spec)[0].endswith("; paths start at the folder of the spec")
    (tmp_path / "rows.csv").write_text(CSV)
    assert faults(home, spec)[0].endswith(f"and lead nowhere above it: copy {tmp_path / 'rows.csv'} there")
    (home / "data" / "old" / "rows.csv").write_text(CSV)
    assert faults(home, spec)[0].endswith("; paths start at the folder of the spec: write data/old/rows.csv")
    assert faults(home, spec.replace("rows.csv", "data/old/rows.csv")) == []


def test_all_wrong_labels_are_told_at_once_in_one_form(tmp_path: Path) -> None:
    lines = CSV.splitlines()
    for row, label in {3: "maybe", 5: "True!", 8: "", 11: "maybe"}.items():
        lines[row] = f"{lines[row].split(',')[0]},{label}"
    found = faults(tmp_path, content="\n".join(lines) + "\n")
    empty, maybe, other = found
    assert empty == (
        'mine.yaml:4:23: data.source.file: my.csv: row 8, column "label": empty; fill it in, or take the row out (line 9)'
    )
    assert maybe.startswith(
        'mine.yaml:7:12: prompt.answers: my.csv: row 3, column "label": the label "maybe" is neither'
    )
    assert maybe.endswith("labels are 0 (false), 1 (true) (line 4; so is 1 more row)")
    assert 'row 5, column "label": the label "True!" is neither an answer nor its index; did you mean "true"?' in other
    assert other.endswith(" (line 6)")
    # In jsonl, too; of many, a handful; and the control: whole, there is nothing to say.
    rows = [json.dumps({"statement": said, "label": label}) for said, label in ROWS]
    rows[10:17] = [json.dumps({"statement": str(n), "label": f"label {n}"}) for n in range(7)]
    found = faults(tmp_path, SPEC.replace("my.csv", "my.jsonl"), "\n".join(rows), "my.jsonl")
    assert [re.search(r"row (\d+), .*\(line (\d+)\)$", one) is not None for one in found] == [True] * 5 + [False]
    assert "row 11" in found[0] and found[-1].endswith('my.jsonl: and 2 more labels of column "label", in 2 rows')
    assert faults(tmp_path) == []


def test_a_slip_in_a_label_is_not_offered_as_an_answer(tmp_path: Path) -> None:
    spec = SPEC.replace('["false", "true"]', '["no", "yes"]')
    slip = "statement,label\n" + "".join(f"{n},{'maybe' if n == 7 else 'yes'}\n" for n in range(100))
    (found,) = faults(tmp_path, spec, slip)
    assert '"maybe" is neither an answer' in found and "write prompt.answers" not in found
    (found,) = faults(tmp_path, spec, slip.replace(",yes", ",maybe", 40))
    assert 'write prompt.answers: ["maybe", "yes"]' in found


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    spec = SPEC.replace("{{ statement }}", "{{ statment }}").replace("probes", "seeds: 0\nprobes")
    found = faults(tmp_path, spec, CSV.replace(",true", ",yes"))
    assert [fault.split(":")[1] for fault in found] == ["6", "7", "8"]


@pytest.mark.parametrize(("name", "content"), [("my.xlsx", b"PK\x03\x04"), ("my.csv", CSV.encode("utf-16"))])
def test_a_spreadsheet_program_is_told_how_to_save(tmp_path: Path, name: str, content: bytes) -> None:
    (found,) = faults(tmp_path, SPEC.replace("my.csv", name), content, name)
    assert "CSV UTF-8" in found


def test_a_field_that_the_template_asks_for_first_may_be_missing(tmp_path: Path) -> None:
    for asked in ("{% if topic is defined %}{{ topic }}{% endif %}", "{{ topic | default('x') }}"):
        assert faults(tmp_path, SPEC.replace("{{ statement }}", asked + " {{ statement }}")) == []
    # The control: without the question it is missed.
    assert len(faults(tmp_path, SPEC.replace("{{ statement }}", "{{ topic }} {{ statement }}"))) == 1


def test_what_a_distractor_adds_is_a_field_and_what_it_needs_is_looked_for(tmp_path: Path) -> None:
    opinion = "distractors: {alice: {kind: explicit_opinion, at: variable}}\nprobes"
    spec = SPEC.replace("probes", opinion)
    assert faults(tmp_path, spec.replace("{{ statement }}", "{{ statement }} {{ opinion }}")) == []
    word = "distractors: {word: {kind: random_word, at: after_text, field: topic}}\nprobes"
    (found,) = faults(tmp_path, SPEC.replace("probes", word))
    assert 'mine.yaml:8:21: distractors.word: random_word: there is no field "topic"' in found


def test_an_empty_cell_of_a_field_is_found_where_the_template_shows_it(tmp_path: Path) -> None:
    content = CSV.replace("label\n", "label,topic\n").replace("true\n", "true,sums\n").replace("false\n", "false,\n")
    spec = SPEC.replace("{{ statement }}", "{{ topic }}: {{ statement }}")
    (found,) = faults(tmp_path, spec, content)
    assert found.startswith('mine.yaml:6:13: prompt.template: the field "topic" is empty')
    assert faults(tmp_path, SPEC, content) == []
    # Rows that the condition leaves out are not asked about.
    topics = content.replace("false,\n", "false,sums\n").replace("sums", "", 1)
    kept = spec.replace("statement}}", "statement}, where: {topic: sums}}")
    assert len(faults(tmp_path, spec.replace("statement}}", "statement}, limit: null, balance: false}"), topics)) == 1
    assert faults(tmp_path, kept, topics) == []


def test_only_the_head_of_a_large_file_is_read(tmp_path: Path) -> None:
    rows = "".join(f'"number {n}\n, as it is",{n % 2}\n' for n in range(WHOLE_BYTES // 20))
    content = f"statement,label\n{rows}and the last,ture\n"
    assert len(content) > WHOLE_BYTES
    assert faults(tmp_path, SPEC, content) == []
    # The control: in the head the same is found, and so is a column.
    head = content.replace("statement,label\n", "statement,label\nand the first,ture\n")
    assert 'row 1: the label "ture"' in faults(tmp_path, SPEC, head)[0]
    assert 'has no column "other"' in faults(tmp_path, SPEC.replace("text: statement", "text: other"), content)[0]
    # What has no line to cut it at is left to the run.
    assert faults(tmp_path, SPEC, "statement,label\n" + "x" * WHOLE_BYTES) == []


def test_a_table_in_parquet_or_json_lines_is_looked_over_too(tmp_path: Path) -> None:
    table = pl.DataFrame(ROWS, schema=["statement", "label"], orient="row")
    table.write_parquet(tmp_path / "rows.parquet")
    table.write_ndjson(tmp_path / "rows.jsonl")
    for name in ("rows.parquet", "rows.jsonl"):
        spec = SPEC.replace("my.csv", name)
        assert faults(tmp_path, spec) == []
        assert "no field" in faults(tmp_path, spec.replace("{{ statement }}", "{{ other }}"))[0]
        swapped = spec.replace("text: statement", "text: label, label: statement")
        assert any('row 1, column "statement": the label "0 is odd"' in fault for fault in faults(tmp_path, swapped))


# Data sets of the harness


def loaded(name: str) -> tuple[Source, pl.DataFrame]:
    made = kind.find("data", name)()
    assert isinstance(made, Source)
    return made, made.load(0, Path(), 30)


def real(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.real) if name == "movie_reviews" else name


@pytest.mark.parametrize("name", [real(name) for name in MADE])
def test_a_set_says_which_fields_it_has(name: str) -> None:
    made, rows = loaded(name)
    assert {*made.columns} == {*rows.columns} - {*NOT_FIELDS, CONVERSATION, PLACE}


@pytest.mark.parametrize("name", [real(name) for name in MADE])
def test_every_set_offers_text(name: str) -> None:
    made, first = loaded(name)
    # A control set has rows of one label.
    rows = sample(Data(source=made, limit=200, balance=first["label"].n_unique() > 1), made.answers, Path())
    assert rows["text"].str.len_chars().min() > 0
    assert rows["text"].n_unique() > 50
    shown = [made.text_from, *(() if made.text_from == "text" else ("text",))]
    assert rows.select(shown).to_dict(as_series=False)[shown[0]] == rows["text"].to_list()


@pytest.mark.parametrize("name", ASKED)
def test_an_unknown_field_of_a_set_is_found_without_making_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    spec = SPEC.replace("{file: my.csv, text: statement}", name).replace('  answers: ["false", "true"]\n', "")
    path.write_text(spec.replace("{{ statement }}", "{{ text }}"))
    language.read(path, look=True)
    path.write_text(spec.replace("{{ statement }}", "{{ no_such }}"))
    with pytest.raises(
        SpecError, match=r'mine\.yaml:6:13: prompt\.template: there is no field "no_such"; .* has .*text'
    ):
        language.read(path, look=True)


def test_looking_imports_nothing_heavy(tmp_path: Path) -> None:
    faults(tmp_path)
    code = (
        f"import json, sys\nfrom harness import language\nlanguage.read({str(tmp_path / 'mine.yaml')!r}, look=True)\n"
        "print(json.dumps([name for name in ('polars', 'torch', 'transformers', 'scipy', 'sklearn') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # polars reads the table, which shows that there was something to read.
    assert json.loads(done.stdout) == ["polars"]
