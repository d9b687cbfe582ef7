"""What a run writes on a terminal, in a pipe and for a log, and what a shell is told to complete."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from harness import pipeline
from harness.commands.completion import ASKED_BY
from harness.machine import stopping
from harness.machine.progress import Reporter, StageProgress, Whole, draws, picture
from harness.store import Store
from tests.readme_picture import Screen as Drawn
from tests.test_cli import harness
from tests.test_pipeline import write_text

ERASES = "\x1b[2K"
"""By which lines are drawn again."""


class Screen:
    """What a program writes on a terminal of so many columns, with its exit code."""

    def __init__(self, columns: int, *arguments: str | Path, folder: Path, **environment: str):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS", "NO_COLOR", "TERM")}
        with subprocess.Popen(
            [sys.executable, "-m", "harness", *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env={**kept, "TERM": "xterm-256color", **environment},
        ) as program:  # fmt: skip
            os.close(theirs)
            parts: list[bytes] = []
            reader = threading.Thread(target=_read_all, args=(ours, parts))
            reader.start()
            self.code = program.wait(timeout=120)
            reader.join(timeout=60)
        os.close(ours)
        self.text = b"".join(parts).decode()
        drawn = Drawn()
        drawn.feed(self.text)
        self.lines = Text.from_ansi("\n".join(drawn.shown)).plain.splitlines()


def _read_all(descriptor: int, parts: list[bytes]) -> None:
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            # So a terminal ends whose programs have ended.
            return
        parts.append(part)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A folder with a spec that was run in it, and what that wrote into a pipe and into a log."""
    folder = tmp_path_factory.mktemp("terminal")
    write_text(folder, tiny_llama)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STORE", str(folder / "store"))
        ran = harness("run", "colours.yaml", "--no-page", "--log", "run.log", folder=folder)
    assert ran.returncode == 0, ran.stderr
    (folder / "stdout").write_text(ran.stdout)
    (folder / "stderr").write_text(ran.stderr)
    return folder


@pytest.fixture
def same_store(stored: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_STORE", str(stored / "store"))


def test_a_pipe_has_a_line_a_stage_the_scores_and_whole_paths(stored: Path) -> None:
    told, shown = (stored / "stderr").read_text(), (stored / "stdout").read_text()
    assert "\x1b" not in told + shown and "\r" not in told + shown
    assert re.search(r"^activations +plain.*  [\d,]+ tokens · [\d.]+ s", told, re.MULTILINE), told
    assert "mean_difference" in shown and re.search(r"\[\d\.\d\d, \d\.\d\d\]", shown), shown
    assert str(Path("reports/colours/report.md")) in shown.splitlines()


def test_no_library_speaks_between_the_lines_and_the_log_has_all_of_them(stored: Path) -> None:
    told = (stored / "stderr").read_text()
    assert not re.search(r"warning|deprecated|\.py:\d", told, re.IGNORECASE), told
    log = (stored / "run.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ", line) for line in log)
    said = [line.partition(" ")[2] for line in log]
    assert all(line in said for line in told.splitlines()), "what is shown is logged"
    scores = next(line for line in (stored / "stdout").read_text().splitlines() if line.startswith("mean_difference"))
    assert any(line.split()[:2] == scores.split()[:2] for line in said), "the scores"
    assert any("checks came out as expected" in line or "states no expectation" in line for line in said)
    assert str(Path("reports/colours/report.md")) in said


@pytest.mark.usefixtures("same_store")
def test_quiet_says_only_the_checks_and_verbose_says_why(stored: Path) -> None:
    quiet = harness("run", "colours.yaml", "--no-page", "--quiet", folder=stored)
    assert quiet.returncode == 0 and not quiet.stderr
    assert "beats_random" in quiet.stdout and "logistic_regression" not in quiet.stdout
    verbose = harness("run", "colours.yaml", "--no-page", "-v", "--set", "seeds=2", folder=stored)
    assert verbose.returncode == 0, verbose.stderr
    assert "stages are stored already" in verbose.stderr
    # Nothing was forwarded, whatever time it took to find that out.
    assert re.search(r"^activations +plain, banana  stored$", verbose.stderr, re.MULTILINE), verbose.stderr
    plain = (stored / "stderr").read_text().splitlines()
    kinds = {line.split()[0] for line in plain}
    assert [line for line in verbose.stderr.splitlines() if line and line.split()[0] not in kinds], verbose.stderr
    both = harness("run", "colours.yaml", "-v", "-q", folder=stored)
    assert both.returncode == 2 and "leave one of them out" in both.stderr


@pytest.mark.usefixtures("same_store")
@pytest.mark.parametrize(
    ("columns", "environment", "drawn"),
    [(80, {}, True), (200, {"CI": "true", "TERM": "dumb"}, False)],
    ids=["80 columns", "dumb, in CI"],
)
def test_a_terminal_is_drawn_on_where_a_person_looks_at_it(
    stored: Path, columns: int, environment: dict[str, str], drawn: bool
) -> None:
    # A change of the data, so that there is something to draw.
    screen = Screen(
        columns, "run", "colours.yaml", "--no-page", "--set", f"data.seed={columns + len(str(environment))}",
        folder=stored, **environment,
    )  # fmt: skip
    assert screen.code == 0, screen.text
    assert (ERASES in screen.text) == drawn
    assert "reports/colours/report.md" in [line.strip() for line in screen.lines]
    # Whole words: a method that would not fit stands nowhere as a part of itself.
    assert "…" not in "".join(screen.lines)
    assert any(line.split()[:1] == ["logistic_regression"] for line in screen.lines), screen.text


def test_what_is_drawn_says_share_amount_speed_and_time_left() -> None:
    now = [0.0]
    stage = StageProgress("activations plain", "tokens", clock=lambda: now[0])
    stage.total(3856)
    stage.to(0)
    now[0] = 4.0
    stage.to(460)
    whole = Whole([("a", "1"), ("b", "2"), ("c", "3")], clock=lambda: now[0])
    whole.kept("a", "1")
    assert stage.said == "12 % · 460 of 3,856 tokens · 115 tokens/s · 0:30 left"
    for columns in (40, 80, 200):
        console = Console(width=columns, force_terminal=False, record=True, file=io.StringIO())
        console.print(picture(stage, whole, columns))
        shown = console.export_text()
        assert max(map(len, shown.splitlines())) <= columns
        for word in (*stage.said.split(), "stage", "2", "of", "3"):
            assert word in shown, (columns, word)


def test_a_wait_says_what_for_until_something_is_done() -> None:
    now = [0.0]
    stage = StageProgress("activations plain", "tokens", clock=lambda: now[0])
    stage.at_first = "loading the network"
    now[0] = 22.0
    assert stage.said == "loading the network · 0:22 so far"
    stage.total(100)
    stage.to(10)
    now[0] = 23.0
    assert stage.said == "10 % · 10 of 100 tokens · 0:23 so far"
    stage.to(20)
    assert stage.said == "20 % · 20 of 100 tokens · 10 tokens/s · 0:08 left"


def test_a_run_says_that_it_loads_a_network(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter(live=False, every_s=0.005)
    pipeline.run(stored / "colours.yaml", out=tmp_path, store=Store(tmp_path / "store"), reporter=reporter, page=False)
    told = [
        line for line in capsys.readouterr().err.splitlines() if "loading the network, checking how to forward" in line
    ]
    assert told and all(line.startswith("activations") and " so far" in line for line in told), told


def test_a_line_each_so_often_where_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    for every_s, expected in ((0.02, True), (30.0, False)):
        reporter = Reporter(live=False, every_s=every_s)
        with reporter.stage("fit", "main", total=10, unit="layers") as stage:
            stage.advance(5)
            until = time.monotonic() + (10 if expected else 0.1)
            told = ""
            while time.monotonic() < until and "50 %" not in told:
                time.sleep(0.02)
                told += capsys.readouterr().err
        assert ("50 % · 5 of 10 layers" in told) == expected


@pytest.mark.parametrize("quiet", [False, True])
def test_what_ctrl_c_says_stays_above_one_set_of_bars(quiet: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    reporter = Reporter(console, quiet, live=True)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stopping.install(reporter.insist)
    try:
        with pytest.raises(KeyboardInterrupt), reporter.stage("activations", "main", total=100, unit="tokens") as stage:
            for piece in stopping.whole(range(2)):
                stage.advance(20 + piece)
                signal.raise_signal(signal.SIGINT)
                until = time.monotonic() + 20
                while stopping.SAID not in file.getvalue() and time.monotonic() < until:
                    time.sleep(0.02)
                stage.advance(30)
                if not quiet:
                    reporter._drawn.refresh()  # type: ignore[union-attr]
                during = Drawn()
                during.feed(file.getvalue())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    shown = [line.strip() for line in Text.from_ansi("\n".join(during.shown)).plain.splitlines()]
    assert shown[0] == stopping.SAID and shown.count(stopping.SAID) == 1, shown
    assert sum("activations main" in line for line in shown) == sum("50 %" in line for line in shown) == (not quiet)
    assert not any("20 %" in line for line in shown), "no dead copy of the bars"
    after = Drawn()
    after.feed(file.getvalue())
    assert [line.strip() for line in after.shown] == [stopping.SAID]


def test_words_stay_whole_on_a_terminal_and_lines_in_a_pipe(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    (stored / "wrong.yaml").write_text(
        (stored / "colours.yaml").read_text().replace("mean_difference", "mean_diference")
    )
    piped = harness("validate", "wrong.yaml", folder=stored)
    (message,) = piped.stderr.splitlines()
    screen = Screen(40, "validate", "wrong.yaml", folder=stored)
    assert piped.returncode == screen.code == 2
    assert len(screen.lines) > 1 and all(len(line) <= 40 or " " not in line.strip() for line in screen.lines)
    assert " ".join(screen.lines).split() == message.split()


def test_what_a_run_says_is_wrapped_at_words_and_paths_are_whole() -> None:
    ours, theirs = pty.openpty()
    path = f"reports/{'x' * 60}/report.md"
    with os.fdopen(theirs, "w") as terminal:
        reporter = Reporter(Console(file=terminal, width=40), live=False)
        reporter.say(f"self-check, 9 rows of 11 to 21 tokens: packed; see {path}")
    shown = os.read(ours, 65536).decode().splitlines()
    os.close(ours)
    assert [line.strip() for line in shown] == ["self-check, 9 rows of 11 to 21 tokens:", "packed; see", path]


def test_a_stream_is_drawn_on_only_where_it_is_a_terminal() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, open(os.devnull, "w") as pipe:
        for environment, expected in (
            ({}, True),
            ({"CI": "false"}, True),
            ({"CI": "true"}, False),
            ({"CI": "1"}, False),
        ):
            console = Console(file=terminal, _environ={"TERM": "xterm"})
            assert draws(console, environment) == expected
        assert not draws(Console(file=terminal, _environ={"TERM": "dumb"}, force_terminal=True), {})
        assert not draws(Console(file=pipe, force_terminal=True), {}), "a forced colour makes no terminal of a pipe"
    os.close(ours)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    # The variable in which a shell asks has the name of the program.
    (tools / "harness").write_text(f"#!{sys.executable}\nfrom harness.cli import main\n\nmain()\n")
    (tools / "harness").chmod(0o755)
    script = harness("completion", "bash")
    assert script.returncode == 0, script.stderr
    asks = """
complete -p harness
COMP_WORDS=(harness pre); COMP_CWORD=1; F harness; echo "commands: ${COMPREPLY[*]}"
COMP_WORDS=(harness run --si); COMP_CWORD=2; F harness; echo "options: ${COMPREPLY[*]}"
"""
    function = re.search(r"complete .*-F (\S+) harness", script.stdout)
    assert function is not None, script.stdout
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script.stdout + asks.replace("F harness", f"{function[1]} harness")],
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "commands: preview" in done.stdout.splitlines(), done.stdout + done.stderr
    assert "options: --since" in done.stdout.splitlines(), done.stdout + done.stderr


def test_zsh_and_fish_are_told_to_ask_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.commands.completion import completion

    for shell, says in {
        "zsh": ("#compdef harness", "compdef", "complete_zsh"),
        "fish": ("complete --command harness", "complete_fish"),
    }.items():
        completion(shell)  # type: ignore[arg-type]
        script = capsys.readouterr().out
        assert ASKED_BY in script and all(part in script for part in says), script
