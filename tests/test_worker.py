"""The worker: what strangers wrote is read in it, and whatever happens there is one sentence here."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DataError, HarnessError, StoreError, UsageError
from harness.untrusted import worker
from harness.untrusted.bounded import Limits
from harness.untrusted.chat_template import ChatTemplate
from harness.untrusted.control_tokens import ControlTokens
from harness.untrusted.template import FILTERS, Template, Wanted

SMALL = Limits(seconds=1, mebibytes=100, answer_bytes=1 << 20)


def call(function, *given, gives=object, limits=SMALL, error=DataError, budget=None):
    words = {"what": "x.csv", "remedy": "take it out"}
    return worker.call(gives, function, *given, **words, limits=limits, error=error, budget=budget)


@pytest.fixture(autouse=True)
def works_afterwards() -> Iterator[None]:
    """Whatever a call did, the next one is answered."""
    yield
    assert call(str.upper, "a") == "A"


@pytest.mark.parametrize(
    ("function", "given", "reason"),
    [
        (ctypes.string_at, (0,), r"it crashes the library that reads it \(SIGSEGV\)"),
        (os.abort, (), r"it crashes the library that reads it \(SIGABRT\)"),
        (os.kill, (0, signal.SIGKILL), None),
        (bytes, (10**10,), "it needs more than 100 MiB of memory"),
        (sum, (range(10**15),), "it takes more than 1 s of the processor"),
        (bytes, (3 << 20,), "what comes of it is larger than 1 MiB"),
        (int, ("x",), "ValueError: invalid literal"),
        (sys.exit, ("no more",), "SystemExit: no more"),
        (iter, ([],), "TypeError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_crash_a_hang_and_a_bomb_are_one_sentence(function, given, reason) -> None:
    if reason is None:
        pid = call(os.getpid)
        given, reason = (pid, signal.SIGKILL), "the system ended what reads it, as it does where memory runs out"
    before = call(os.getpid)
    with pytest.raises(
        DataError,
        match=rf"^x\.csv: {reason}[^;\n]*; take it out(, or allow four times as much with HARNESS_BOUNDS=4)?$",
    ):
        call(function, *given)
    assert call(os.getpid) != before, "the worker was not replaced"


def test_calls_that_are_short_end_where_all_of_them_take_too_long() -> None:
    long, some = Limits(60), range(5_000_000)
    budget, made = worker.Budget(1), []
    with pytest.raises(DataError, match="it takes more than 1 s of the processor; take it out, or allow"):
        while len(made) < 100:
            made.append(call(sum, some, limits=long, budget=budget))
    assert made, "the first call took all of it"
    for _ in range(len(made) + 1):
        call(sum, some, limits=long)


def test_what_is_rendered_in_many_calls_shares_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[worker.Budget | None] = []
    asked = worker.call
    monkeypatch.setattr(worker, "call", lambda *given, **more: used.append(more.get("budget")) or asked(*given, **more))
    Template("main", "{{ text }} {{ answer }}").pairs([Wanted({"text": str(n)}, ["no", "yes"]) for n in range(200)], [])
    ChatTemplate("{{ messages[0].content }}", {}).render_all(
        [[{"role": "user", "content": str(n)}] for n in range(200)], {}
    )
    assert [len(set(part)) for part in (used[:4], used[4:])] == [1, 1]
    assert None not in used and len(used) == 8


def test_what_takes_too_long_by_the_clock_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_BEGINS_S", 0.2)
    monkeypatch.setattr(worker, "_WAITS", 1)
    call(os.getpid, limits=Limits(60))
    with pytest.raises(UsageError, match="it takes more than 1 s by the clock"):
        call(time.sleep, 60, error=UsageError)


def test_errors_of_ours_come_over_as_they_are_and_the_worker_stays() -> None:
    before = call(os.getpid)
    with pytest.raises(DataError, match=r"^template main, line 2, example \"e\": division by zero$"):
        Template("main", "{{ answer }}\n{{ 1 / text }}").pair({"text": 0}, ["a", "b"], ["a", "b"], "e")
    assert call(os.getpid) == before


@pytest.mark.parametrize("error", [DataError, UsageError, StoreError, HarnessError])
def test_errors_of_every_kind_keep_it_and_messages_their_characters(error: type[HarnessError]) -> None:
    with pytest.raises(HarnessError, match=r"^a\\ud800a* … a*$") as raised:
        call(_raising, error, "a\ud800" + "a" * 1_000_000)
    assert type(raised.value) is error
    assert len(str(raised.value)) < 100_000


def _raising(error: type[Exception], said: str) -> None:
    raise error(said)


def test_memory_is_watched_where_the_system_does_not_limit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    call(os.getpid)
    sizes = iter([10 << 20, 50 << 20, 111 << 20])
    monkeypatch.setattr(worker, "_resident", lambda pid: next(sizes))
    with pytest.raises(DataError, match="it needs more than 100 MiB of memory"):
        call(time.sleep, 30)
    monkeypatch.undo()


def test_what_comes_back_is_checked() -> None:
    with pytest.raises(DataError, match="what comes of it is damaged"):
        call(str.upper, "a", gives=int)
    assert call(len, "abc", gives=int) == 3


def test_the_worker_has_no_secrets_writes_no_files_and_leaves_no_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "xyzzy")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "xyzzy")
    monkeypatch.setenv("LC_ALL", "C")
    with pytest.raises(DataError):
        call(os.abort)
    found = {name: call(os.getenv, name) for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "LC_ALL", "PATH")}
    assert found == {"HF_TOKEN": None, "AWS_SECRET_ACCESS_KEY": None, "LC_ALL": "C", "PATH": os.environ["PATH"]}
    for function, arguments in (
        (Path.write_text, (tmp_path / "x", "x")),
        (os.mkdir, (tmp_path / "x",)),
        (os.system, (f"touch {tmp_path}/x",)),
        (subprocess.run, (["touch", f"{tmp_path}/x"],)),
        (socket.create_connection, (("127.0.0.1", 9),)),
    ):
        with pytest.raises(DataError, match=r"PermissionError: .* is not for those who read what others wrote"):
            call(function, *arguments)
    assert not list(tmp_path.iterdir())


def test_what_libraries_do_while_they_are_imported_is_no_strangers_doing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Some make a folder for their cache, and would be refused."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    own = worker._Worker()
    try:
        own.begin(("torch._dynamo", "transformers.generation.utils", "datasets"))
        assert own.call(object, (str.upper, ("a",)), ("x.csv", "take it out", DataError), SMALL, ()) == "A"
    finally:
        own.end()
    assert not list(tmp_path.iterdir())


def test_limits_are_multiplied_for_whoever_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="larger than 1 MiB"):
        call(bytes, 3 << 20)
    monkeypatch.setenv(worker.FACTOR, "4")
    assert len(call(bytes, 3 << 20, gives=bytes)) == 3 << 20
    for wrong in ("four", "0", "-1", "nan", "1e9"):
        monkeypatch.setenv(worker.FACTOR, wrong)
        with pytest.raises(UsageError, match=f"{worker.FACTOR}: '{wrong}' is no number"):
            call(os.getpid)
    monkeypatch.delenv(worker.FACTOR)


def test_an_interrupted_call_gives_nothing_to_the_next() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    call(os.getpid)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            call(time.sleep, 30)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert call(str.lower, "B") == "b"


def test_a_forked_process_has_a_worker_of_its_own() -> None:
    own = call(os.getpid)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        other = pool.apply(call, (os.getpid,))
    assert other != own == call(os.getpid)


def test_without_a_worker_there_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    worker._current().end()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(HarnessError, match="ended with exit code 1"):
        call(os.getpid)
    monkeypatch.undo()


# What is rendered


@pytest.mark.parametrize("chat", [False, True], ids=["spec", "chat"])
def test_nothing_is_evaluated_while_a_template_is_compiled(chat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever there is to call, on constants, wherever an expression can stand; and arithmetic of any kind."""
    made = ChatTemplate("", {}) if chat else Template("main", "{{ answer }}")
    environment = made._environment
    called: list[str] = []

    def spy(name):
        return lambda *args, **kwargs: called.append(name)

    for part in (environment.filters, environment.tests, environment.globals):
        part.update({name: spy(name) for name in part})
    filters = [name for name in environment.filters if chat or name in FILTERS]
    expressions = [
        *(f"'x' | {name}(9999999999)" for name in filters),
        *(f"'x' is {name}" for name in environment.tests if name.isidentifier()),
        *(f"{name}(9999999999)" for name in environment.globals),
        *(f"('x' * 99) {operator} 9999999999" for operator in ("*", "**", "+", "-", "/", "//", "%", "~", "<", "==")),
        "'x'.ljust(9999999999)",
        "'x'['y']",
        "[9 ** 9 ** 9][0]",
    ]
    places = ["{{ %s }}", "{%% set a = %s %%}", "{%% if %s %%}{%% endif %%}", "{%% for a in %s %%}{%% endfor %%}"]
    started = time.process_time()
    for expression in expressions:
        for place in places:
            environment.compiled(place % expression, "x")
    assert not called
    assert time.process_time() - started < 10
    # What comes of such expressions is worked out when they are rendered.
    assert "called" not in environment.compiled("{{ 'x' | upper }}", "x").takes
    code = environment.compiled("{{ 'x' | upper }}", "x").code
    environment.template_class.from_code(environment, code, {}).render()
    assert called == ["upper"]


def test_templates_give_the_same_in_every_process() -> None:
    """Whatever a chat template is given, printed as it is and called; and places in memory, by whatever way they come into a text."""
    environment = ChatTemplate("", {})._environment
    shown = [
        *(f"{{{{ [3, 1, 2] | {name} }}}}" for name in environment.filters),
        *(f"{{{{ 'a b' | {name} }}}}" for name in environment.filters),
        *(f"{{{{ 3 is {name} }}}}" for name in environment.tests if name.isidentifier()),
        *(f"{{{{ {name} }}}}" for name in environment.globals),
        *(f"{{{{ {name}() }}}}" for name in environment.globals),
        *(f"{{{{ messages[0].{name} }}}}{{{{ ('' ~ messages.{name})[:4] }}}}" for name in ("items", "append", "index")),
        "{{ [1] | map('string') | string }}{{ '%s' % messages[0].get }}{{ namespace(a=messages[0].keys) }}",
    ]

    def told() -> list[str]:
        worker._current().end()
        said = []
        for source in shown:
            try:
                (written,) = ChatTemplate(source, {}).render_all([[{"role": "user", "content": "x"}]], {})
            except UsageError as error:
                said.append(str(error))
            else:
                said.append(written.text or written.refusal)
        return said

    first, second = told(), told()
    assert first == second
    assert sum("place in memory" in text for text in first) > 5
    with pytest.raises(DataError, match="place in memory"):
        Template("main", "{{ text.upper }}{{ answer }}").pair({"text": "a"}, ["no", "yes"], ["no", "yes"])
    # Of a text that came with the data, it is only text.
    given = {"text": "<object at 0x7f0000000000>"}
    assert (
        Template("main", "{{ text }} {{ answer }}").pair(given, ["no", "yes"], ["no", "yes"])[0].text.endswith("0> no")
    )


# What is found


@settings(deadline=None, max_examples=300)
@given(st.sets(st.text("<|ab>", min_size=1, max_size=4), max_size=8), st.text("<|ab> ", max_size=40), st.data())
def test_control_tokens_are_found_as_by_a_pattern_of_them_all(names: set[str], text: str, data: st.DataObject) -> None:
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
    tokens = ControlTokens(names)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert list(tokens.found(text, start, end)) == [one.span() for one in pattern.finditer(text, start, end)]
    expected = pattern.match(text, start)
    assert tokens.at(text, start) == (expected.span() if expected else None)
    assert tokens.marked(text, "!") == pattern.sub(r"!\g<0>", text)


def test_a_hundred_thousand_control_tokens_that_begin_alike_take_no_time() -> None:
    started = time.process_time()
    tokens = ControlTokens([f"<|{'a' * (number % 90)}{number}|>" for number in range(100_000)])
    assert sum(1 for _ in tokens.found("<|aaaa" * 15_000 + "<|7|>")) == 0
    assert list(tokens.found("x<|0|><|a1|>")) == [(1, 6), (6, 12)]
    assert time.process_time() - started < 5
