"""The command line as a user meets it: help, exit codes, messages, and no heavy import before it is needed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_pipeline import write_planted, write_text

TEN_FAULTS = """\
harness: 1
name: Ten Faults
modl: smollm2-135m-instruct
model: {id: smollm2-135m-instruct, dtype: float23}
data: {source: citties, limit: many, split: {train: 0.6, test: 0.6}}
prompt: {template: "no answer here", answers: [No, 1]}
probes: [ccs, {kind: mean_diference}, {kind: ccs, name: two, restarts: -1}]
seeds: 0
checks: [{kind: tracks_truth, probe: nobody, condition: main, over: word}]
"""


def harness(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120, check=False)


def test_help_is_light_and_shows_an_example() -> None:
    code = "import sys, harness.cli; bad = {'torch', 'transformers', 'polars', 'numpy', 'scipy'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for command in ("run", "plan", "validate", "preview", "diff", "list", "schema", "init"):
        shown = harness(command, "--help")
        assert shown.returncode == 0
        assert "Example:" in shown.stdout


def test_ten_faults_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(TEN_FAULTS)
    shown = harness("validate", path)
    assert shown.returncode == 2
    lines = [line for line in shown.stderr.splitlines() if "faults.yaml:" in line]
    assert len(lines) >= 10, shown.stderr
    assert 'did you mean "mean_difference"' in shown.stderr
    assert all(line.split("faults.yaml:")[1].split(":")[0].isdigit() for line in lines)
    assert "Traceback" not in shown.stderr
    # The control: without faults there is nothing to say.
    assert harness("validate", write_planted(tmp_path)).returncode == 0


def test_exit_codes_follow_the_checks(tmp_path: Path) -> None:
    for expected, code in (("fail", 0), ("pass", 1)):
        spec = write_planted(tmp_path, expected=expected)
        shown = harness("run", spec, "--out", tmp_path / "reports", "--no-page", "--quiet")
        assert shown.returncode == code, shown.stderr
        assert "checks came out as expected" in shown.stdout


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_so_and_goes_on(tmp_path: Path, request_to_stop: signal.Signals) -> None:
    spec = write_planted(tmp_path)
    command = [sys.executable, "-m", "harness", "run", spec, "--out", tmp_path / "reports", "--no-page"]
    slow = ["--set", "seeds=300", "--set", "probes[0].restarts=50", "--set", "probes[0].tolerance=0"]
    with subprocess.Popen([*command, *slow], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "activations" not in process.stderr.readline():
            assert process.poll() is None, "it ended before it could be stopped"
        process.send_signal(request_to_stop)
        said = process.stderr.read()
        assert process.wait(60) == 3
    assert "run the same command again" in said
    assert "Traceback" not in said
    assert not (tmp_path / "reports").exists()
    assert harness(*command[3:]).returncode == 0


def test_the_plan_tells_what_further_draws_cost(tmp_path: Path, tiny_llama: Path) -> None:
    """Each draw forwards about as much as the first; without further ones, there is no such cost."""
    spec = write_text(tmp_path, tiny_llama)

    def costs(*more: str) -> dict[str, int]:
        stages = json.loads(harness("plan", spec, "--json", *more).stdout)["stages"]
        return {stage["kind"]: stage["tokens"] for stage in stages if "tokens" in stage}

    alone, thrice = costs(), costs("--set", "repeats=3")
    assert "draws" not in alone and thrice["activations"] == alone["activations"]
    assert 0 < thrice["draws"] <= 2.2 * alone["activations"]
    assert thrice["draws"] > costs("--set", "repeats=2")["draws"]


def test_plan_in_text_and_json(tmp_path: Path, tiny_llama: Path) -> None:
    spec = write_text(tmp_path, tiny_llama)
    assert "activations" in harness("plan", spec).stdout
    described = json.loads(harness("plan", spec, "--json").stdout)
    kinds = [stage["kind"] for stage in described["stages"]]
    assert kinds[0] == "prompts" and kinds[-1] == "report" and "checks" in kinds
    assert all(len(stage["key"]) == 24 for stage in described["stages"])


def test_what_few_seeds_cannot_decide_is_said_before_a_run(tmp_path: Path) -> None:
    spec = write_planted(tmp_path)
    spec.write_text(spec.read_text() + "  - {kind: tracks_truth, probe: ccs, condition: main, over: word}\n")
    for command in ("validate", "plan"):
        few, enough = harness(command, spec), harness(command, spec, "--set", "seeds=6")
        assert (few.returncode, enough.returncode) == (0, 0)
        assert "warning: checks[4] (tracks_truth): inconclusive whatever it finds" in few.stderr
        assert "write `seeds: 6` or more" in few.stderr
        # The others are about probes that draw nothing, or draw as many directions and shuffles as they need.
        assert "checks[0]" not in few.stderr and "checks[3]" not in few.stderr
        assert "warning: checks" not in enough.stderr


def test_few_test_rows_are_warned_of_before_a_run(tmp_path: Path, tiny_llama: Path) -> None:
    spec = tmp_path / "few.yaml"
    spec.write_text(
        f"harness: 1\nname: few\nmodel: {tiny_llama}\ndata: {{source: {{file: few.csv}}}}\n"
        'prompt: {template: "{{ text }} {{ answer }}", answers: ["no", "yes"]}\nprobes: [mean_difference]\nbaselines: false\n'
    )
    commands = (("validate", spec), ("plan", spec), ("run", spec, "--no-page", "--out", tmp_path / "reports"))
    for rows, warned in ((4, True), (40, False)):
        lines = [f"the colour of number {n},{n % 2}\n" for n in range(rows)]
        (tmp_path / "few.csv").write_text(f"text,label\n{''.join(lines)}")
        for command in commands if warned else commands[:1]:
            shown = harness(*command)
            assert shown.returncode == 0, shown.stderr
            assert ("few.yaml: warning: main has 2 test rows: intervals will be wide" in shown.stderr) == warned, (
                command
            )


def test_a_report_or_a_method_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    assert "no report cities in reports; there is none yet" in harness("rows", "cities", folder=tmp_path).stderr
    spec = write_planted(tmp_path)
    assert harness("run", spec, "--no-page", folder=tmp_path).returncode in (0, 1)
    said = harness("rows", "plantd", folder=tmp_path).stderr
    assert 'no report plantd in reports; did you mean "planted"?; there are planted' in said
    said = harness("rows", "planted", "--probe", "logistic", folder=tmp_path).stderr
    assert 'no method "logistic" in these rows; did you mean "logistic_regression"?; there are' in said
    said = harness("rows", "planted", "--probe", "zzz", folder=tmp_path).stderr
    assert said.count("logistic_regression") == 1 and "known:" not in said


def test_the_starter_is_valid_and_is_never_overwritten(tmp_path: Path) -> None:
    assert harness("init", "my-question", folder=tmp_path).returncode == 0
    assert harness("validate", "my-question.yaml", folder=tmp_path).returncode == 0
    again = harness("init", "my-question", folder=tmp_path)
    assert again.returncode == 2
    assert "already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "missing.yaml"), "missing.yaml"),
        (("diff", "nowhere", "nowhere-else"), "nowhere"),
        (("list", "prophets"), "prophets"),
        (("list", "probes", "ccc"), "did you mean"),
        (("report", "nothing"), "nothing"),
    ],
)
def test_wrong_usage_is_refused_with_a_sentence(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    shown = harness(*arguments, folder=tmp_path)
    assert shown.returncode == 2
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.slow
def test_a_report_that_is_unchanged_shows_no_difference(tmp_path: Path) -> None:
    spec = write_planted(tmp_path)
    for name in ("a", "b"):
        harness("run", spec, "--out", tmp_path / name, "--no-page", "--quiet")
    same = harness("diff", tmp_path / "a" / "planted", tmp_path / "b" / "planted")
    assert same.returncode == 0
    harness("run", spec, "--set", "model.truth=0", "--out", tmp_path / "b", "--no-page", "--quiet")
    moved = harness("diff", tmp_path / "a" / "planted", tmp_path / "b" / "planted")
    assert moved.returncode == 1
    page = harness("report", tmp_path / "a" / "planted")
    assert page.returncode == 0
    assert (tmp_path / "a" / "planted" / "report.html").is_file()


def test_the_store_can_be_looked_at_checked_and_emptied(tmp_path: Path) -> None:
    store = tmp_path / "store"
    harness("run", write_planted(tmp_path), "--out", tmp_path / "r", "--no-page", "--quiet", "--store", store)
    assert "states" in harness("store", "ls", "--store", store).stdout
    assert "0 were damaged" in harness("store", "verify", "--store", store).stdout
    victim = next((store / "score").rglob("scored.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    damaged = harness("store", "verify", "--store", store)
    assert damaged.returncode == 1
    assert "scored.safetensors" in damaged.stdout
    kept = harness("store", "prune", "--older-than", "1d", "--store", store)
    assert "removed 0 artifacts" in kept.stdout
    assert "removed 0" not in harness("store", "prune", "--older-than", "0d", "--store", store).stdout
