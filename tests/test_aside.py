"""The second process for small work: same results, wherever they are made, and nothing left behind."""

import os
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from harness.machine import aside

# What a second process can import by name.
_PROGRAM = """
import os, signal, sys, time
from harness.machine import aside, resources

def main():
    resources.cores = aside.cores = lambda: 2
    with aside.allowed():
        work()

def work():
"""


def program(body: str, folder: object) -> subprocess.Popen[str]:
    """A process that may have another beside it, and what it prints."""
    text = _PROGRAM + textwrap.indent(textwrap.dedent(body), "    ") + "\nif __name__ == '__main__':\n    main()\n"
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.path.insert(0, '.'); import program; program.main()"],
        cwd=_written(text, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _written(text: str, folder: object) -> str:
    with open(f"{folder}/program.py", "w", encoding="utf-8") as file:
        file.write(text)
    return str(folder)


def said(body: str, folder: object) -> list[str]:
    out, err = (process := program(body, folder)).communicate(timeout=60)
    assert process.returncode == 0, err
    return out.split()


def test_without_leave_a_function_is_called_here_and_when_its_result_is_asked_for():
    called: list[int] = []
    wait = aside.call(type(None), called.append, 1)
    assert called == []
    wait()
    assert called == [1]


def test_with_leave_another_process_answers(tmp_path):
    here, there, again = said(
        "print(os.getpid(), aside.call(int, os.getpid)(), aside.call(int, os.getpid)())", tmp_path
    )
    assert here != there and there == again


def test_large_calls_and_answers_do_not_wait_for_each_other(tmp_path):
    body = "waits = [aside.call(bytes, bytes.upper, b'a' * 5_000_000) for _ in range(6)]\nprint(*(len(w()) for w in reversed(waits)))"
    assert said(body, tmp_path) == ["5000000"] * 6


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("aside.call(int, int, 'x')", "ValueError"),
        ("aside.call(int, lambda: 1 / 0)", "ZeroDivisionError"),
        ("aside.call(list, iter, [1])", "list_iterator"),
    ],
)
def test_what_fails_there_is_done_here(call, expected, tmp_path):
    body = f"try:\n    print(type({call}()).__name__)\nexcept Exception as error:\n    print(type(error).__name__)"
    assert said(body, tmp_path) == [expected]


def test_work_of_a_process_that_was_killed_is_done_here(tmp_path):
    body = """
    there = aside.call(int, os.getpid)()
    wait = aside.call(type(None), time.sleep, 0.5), aside.call(int, os.getpid)
    os.kill(there, signal.SIGKILL)
    print(os.getpid(), wait[1](), aside.call(int, os.getpid)())
    """
    here, *others = said(body, tmp_path)
    assert others == [here, here]


def test_it_ends_with_the_process_that_started_it_even_if_that_is_killed(tmp_path):
    process = program("print(aside.call(int, os.getpid)(), flush=True)\ntime.sleep(60)", tmp_path)
    assert process.stdout is not None
    there = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while there.is_running() and there.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{there} goes on without {os.getpid()}"
        time.sleep(0.05)
