"""Tries families of networks, each in a process of its own, and writes the page: `python -m tests.families [NAME…]`.

All of them take about seven minutes on one core. Ends with exit code 1 where states or log-odds are others than by plain passes.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import msgspec
import torch
from transformers import CONFIG_MAPPING

from tests.families import page
from tests.families.sweep import Result, try_family

LIMIT_S = 60


def in_a_process(family: str) -> Result:
    """A family in a fork, which has its time."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with tempfile.TemporaryDirectory() as folder:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            os.environ["XDG_CACHE_HOME"] = folder
            os.write(writing, msgspec.json.encode(try_family(family, Path(folder) / family)))
        os._exit(0)
    os.close(writing)
    said, until = b"", time.monotonic() + LIMIT_S
    while select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]:
        part = os.read(reading, 65536)
        if not part:
            break
        said += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if said:
        return msgspec.json.decode(said, type=Result)
    why = f"more than {LIMIT_S} s" if code == -signal.SIGKILL else f"its process ended with {code}"
    return Result(family, "", fault=why)


def main() -> int:
    """Tries the families that are named, or all."""
    torch.set_num_threads(1)
    results = []
    old = page.PAGE.read_text(encoding="utf-8") if page.PAGE.exists() else ""
    for family in sys.argv[1:] or sorted(CONFIG_MAPPING):
        found = in_a_process(family)
        results.append(found)
        for word, said in (("refused", found.refused), ("not compared", found.untried), ("WRONG", found.fault)):
            if said:
                print(f"{family}: {word}: {said}", flush=True)
        if found.way and not found.fault:
            print(f"{family}: {found.way}", flush=True)
        # After each: a sweep that is stopped has told what it found.
        page.PAGE.write_text(page.written(old, results), encoding="utf-8")
    wrong = [found.family for found in results if found.fault]
    print(f"{len(results)} families, of which wrong: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
