"""Python that we start ourselves takes no module from the folder that it stands in, whatever PYTHONPATH says of such a folder."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.untrusted import own_python
from tests.attacks.table import PLANTED

ROOT = Path(__file__).parents[1]

SHADOWS = (
    "gguf",
    "msgspec",
    "numpy",
    "polars",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
    "typer",
    "typing_extensions",
)
"""What the program imports from elsewhere, sooner or later."""

SOMEWHERE = ("", os.pathsep, ".", f".{os.pathsep}", "./", "../here")
"""Values of PYTHONPATH that mean the folder that one stands in."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder with modules of those names, in which we stand."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\nraise SystemExit(9)\n")
    (folder / "x.yaml").write_text(PLANTED)
    for name in ("HARNESS_STORE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("said", SOMEWHERE)
def test_no_module_is_taken_from_where_we_stand(here: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", said)
    asked = "import sys; print(*sys.path, sep='\\n')"
    for environment in (os.environ | {"PYTHONPATH": own_python.path()}, own_python.bounded_environment()):
        found = subprocess.run(
            [sys.executable, "-P", "-c", asked], env=environment, capture_output=True, text=True, check=True
        )
        places = [os.path.realpath(place) for place in found.stdout.splitlines()]
        assert str(ROOT) in places and str(here) not in places
    control = subprocess.run([sys.executable, "-c", "import torch"], check=False)
    assert control.returncode == 9


def test_an_own_folder_of_the_users_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is said from."""
    (tmp_path / "own").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "own")
    assert own_python.path().split(os.pathsep) == [str(ROOT), str(tmp_path / "own")]


@pytest.mark.parametrize("more", [[], ["--processes", "2"]], ids=["alone", "processes"])
def test_a_run_in_a_strangers_folder(here: Path, more: list[str]) -> None:
    """As `python -m harness`, which looks where it stands first; and in processes that are started by it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    # Of a program that a package manager made, the first place is its own folder.
    command = [
        sys.executable,
        *(["-P"] if more else []),
        "-m",
        "harness",
        "run",
        "x.yaml",
        "--no-page",
        "--quiet",
        *more,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (here.parent / "canary").exists()


def test_python_is_started_in_one_place() -> None:
    """By nothing else of ours, so that none forgets it."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "harness").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable"
    }
    assert found == {"harness/untrusted/own_python.py"}


WITHIN = """
import os, sys
from pathlib import Path
from harness.untrusted.bounded import settle
own = Path(sys.argv[1]) / "own"
own.mkdir()
settle(own, 1000)
(own / "x").write_text("a")
(own / "x").rename(own / "y")
(own / "z").mkdir()
tried = {
    "a file": lambda: (own.parent / "x").write_text("a"),
    "a file that climbs": lambda: (own / ".." / "x").write_text("a"),
    "a link": lambda: (own / "out").symlink_to(own.parent),
    "a name out": lambda: (own / "y").rename(own.parent / "y"),
    "a file that is not its own": lambda: os.remove(own.parent / "ours"),
    "a large file": lambda: (own / "large").write_bytes(b"x" * 1001),
    "a program": lambda: os.system("true"),
    "a connection": lambda: __import__("socket").create_connection(("127.0.0.1", int(sys.argv[2]))),
}
for name, attempt in tried.items():
    try:
        attempt()
        print(name)
    except OSError:
        pass
"""


def test_a_process_that_writes_one_folder(tmp_path: Path) -> None:
    (tmp_path / "ours").write_text("ours")
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [sys.executable, "-c", WITHIN, tmp_path, str(server.getsockname()[1])],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert done.stdout == ""
    assert (tmp_path / "own" / "y").read_text() == "a" and (tmp_path / "ours").exists()
