"""Where a report to compare comes from: a folder, or a folder in a git revision, read without touching the work tree."""

from __future__ import annotations

import math
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import msgspec

from harness.errors import UsageError
from harness.maths.pairing import Rows
from harness.report import read
from harness.report.compare.paired_rows import Key, stored_rows
from harness.report.compare.why import Made, made_of
from harness.report.intervals import Score
from harness.store import Store
from harness.untrusted import git
from harness.untrusted import text as plain
from harness.untrusted.paths import own_path

_MOST_AT_ALL_LAYERS = 200_000


class CheckRow(msgspec.Struct, frozen=True):
    """One row of checks.csv, without its sentence."""

    finding: str
    expect: str
    verdict: str
    score: Score


class Headline(msgspec.Struct, frozen=True):
    """A score at its summary layer, with all that its interval covers."""

    score: Score
    """With the interval of all that varies."""
    se_rows: float
    """Standard errors by source."""
    se_seeds: float
    se_training: float
    """NaN where the interval leaves out that the training sample was drawn."""
    sample: str
    """Tells training samples apart; of several draws one behind the other."""

    @property
    def several(self) -> bool:
        """Whether it is a mean over several draws of sample and split."""
        return " " in self.sample


class ReportFolder(msgspec.Struct, frozen=True):
    """The numbers of one report."""

    name: str
    """What the user typed, harmless for the screen."""
    results: dict[Key, Score]
    checks: dict[Key, CheckRow]
    headline: Mapping[Key, Headline] = {}
    """Empty for a report of an earlier version."""
    rows: Mapping[Key, Rows] = {}
    """What each group of test rows adds to a headline row, where the store has it."""
    deeper: Mapping[Key, Score] = {}
    """The results at all layers, where they lie beside the report."""
    made: Made = Made()

    def has(self, key: Key) -> bool:
        """Whether a result is at hand, at a summary layer or at another."""
        return key in self.results or key in self.deeper

    def score(self, key: Key) -> Score:
        """A result, at a summary layer or at another."""
        return self.results[key] if key in self.results else self.deeper[key]

    @classmethod
    def open(cls, text: str, store: Store | None = None) -> ReportFolder:
        """A folder, or REVISION:FOLDER in git; with a store, what that has of its rows. Raises UsageError for anything that is no
        report."""
        name = plain.line(text)
        read_file = reader(text)
        results, where = read_file("results.csv"), f"{name}/results.csv"
        manifest = optional(read_file, "manifest.json")
        whole = optional(read_file, "results.parquet")
        headline = _headline(results, where) if read.columns_of(results, where) == read.HEADLINE else {}
        return cls(
            name,
            {key: one.score for key, one in headline.items()} if headline else _results(results, where),
            check_rows(read_file("checks.csv"), f"{name}/checks.csv"),
            headline,
            {} if store is None or manifest is None else stored_rows(manifest, name, store),
            {} if whole is None else _deeper(whole, f"{name}/results.parquet"),
            Made() if manifest is None else made_of(read.decoded_manifest(manifest, f"{name}/manifest.json")),
        )

    @property
    def samples(self) -> dict[str, str]:
        """The training sample of every condition that is fitted on, where it is known."""
        return {key[0]: row.sample for key, row in self.headline.items()}


def optional(read_file: Callable[[str], bytes], name: str) -> bytes | None:
    """A file that not every report has; None where it is missing. Raises UsageError for what cannot be read."""
    try:
        return read_file(name)
    except read.Missing:
        return None


def reader(text: str) -> Callable[[str], bytes]:
    """What reads a file of the report by its name. Raises UsageError for what is no report."""
    if not text or "\0" in text:
        raise UsageError("an empty name or one with a NUL in it is no report; give a folder or REVISION:FOLDER")
    folder = own_path(text)
    try:
        there = folder.is_dir()
    except OSError:
        there = False
    if there:
        return lambda name: read.file_bytes(folder / name)
    revision, colon, inside = text.partition(":")
    if not colon:
        raise UsageError(
            f"no folder {plain.line(text)}; give a report's folder, or REVISION:FOLDER such as main:reports/x"
        )
    return _git_reader(revision, inside)


def _git_reader(revision: str, inside: str) -> Callable[[str], bytes]:
    shown = plain.line(f"{revision}:{inside}")
    place = PurePosixPath(inside)
    if place.is_absolute() or ".." in place.parts or "\n" in inside:
        raise UsageError(
            f"{shown}: the folder is named from the repository's root, without / at the start and without .."
        )
    # A name that git resolves itself: everything after this is a hash, which cannot be taken for an option.
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    commit = found.stdout.decode(errors="replace").strip()
    if found.returncode != 0 or revision.startswith("-") or not _is_hash(commit):
        raise UsageError(f'{shown}: no folder of that name, and no revision "{plain.line(revision)}" in git here')

    def blob_of(name: str) -> bytes:
        blob = f"{commit}:{place / name}"
        size = _git("cat-file", "-s", blob)
        if size.returncode != 0:
            raise read.Missing(
                f"{shown}/{name} is missing in that revision; is {plain.line(inside)} a report's folder?"
            )
        if int(size.stdout) > (largest := read.largest_of(name)):
            raise UsageError(f"{shown}/{name} is larger than {largest / 2**20:.0f} MiB; that is no report")
        content = _git("cat-file", "blob", blob)
        if content.returncode != 0:
            raise UsageError(f"{shown}/{name} is no file in that revision")
        return content.stdout

    return blob_of


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return git.ask(*arguments)
    except FileNotFoundError as error:
        raise UsageError("a REVISION:FOLDER needs git, which is not installed; give two folders") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError("git did not answer within a minute") from error


def _is_hash(text: str) -> bool:
    return len(text) in (40, 64) and set(text) <= set("0123456789abcdef")


def _results(content: bytes, name: str) -> dict[Key, Score]:
    found: dict[Key, Score] = {}
    for row in read.rows(content, (*read.KEY, "value", "low", "high"), name, read.MOST_COMPARED):
        key = tuple(str(cell) for cell in row[:6])
        if key in found:
            raise UsageError(f"{name}: two rows for {plain.line(', '.join(key), 120)}")
        found[key] = Score(*(float(cell) for cell in row[6:]))
    return found


def _deeper(content: bytes, name: str) -> dict[Key, Score]:
    frame = read.strangers_table(content, name, (*read.KEY, "value", "low", "high"))
    if frame.height > _MOST_AT_ALL_LAYERS:
        raise UsageError(
            f"{name} has {frame.height:,} rows, and {_MOST_AT_ALL_LAYERS:,} can be compared; take it away to compare summary layers alone"
        )
    rows = frame.select(*read.KEY, "value", "low", "high").iter_rows()
    try:
        return {
            tuple(map(str, row[:6])): Score(*(math.nan if cell is None else float(cell) for cell in row[6:]))
            for row in rows
        }
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is not the table of a report: {error}") from error


def _headline(content: bytes, name: str) -> dict[Key, Headline]:
    columns = (*read.KEY, "value", "low", "high", "se_rows", "se_seeds", "se_training", "sample")
    found: dict[Key, Headline] = {}
    for row in read.rows(content, columns, name, read.MOST_COMPARED):
        value, low, high, rows, seeds, training = (float(cell) for cell in row[6:12])
        key = tuple(str(cell) for cell in row[:6])
        if key in found:
            raise UsageError(f"{name}: two rows for {plain.line(', '.join(key), 120)}")
        found[key] = Headline(Score(value, low, high), rows, seeds, training, sample=str(row[12]))
    return found


def check_rows(content: bytes, name: str) -> dict[Key, CheckRow]:
    """The rows of checks.csv. Raises UsageError."""
    found: dict[Key, CheckRow] = {}
    seen: Counter[Key] = Counter()
    columns = ("check", "probe", "condition", "finding", "expect", "verdict", "value", "low", "high")
    for row in read.rows(content, columns, name):
        check, probe, condition, finding, expect, verdict = (str(cell) for cell in row[:6])
        # The same check may stand there twice with other options; then the order tells them apart.
        seen[check, probe, condition] += 1
        found[check, probe, condition, str(seen[check, probe, condition])] = CheckRow(
            finding, expect, verdict, Score(*(float(cell) for cell in row[6:]))
        )
    return found
