"""Passes over the table in one process: pytest collects it once, and every attack is run again and again."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.attacks.scene import kind_of


class Passes:
    """Takes the place of pytest's own loop, and tells over a pipe how each attack ended."""

    def __init__(self, times: int, descriptor: int):
        self.times = times
        self.descriptor = descriptor
        self.breach = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for _ in range(self.times):
            for item, following in zip(session.items, [*session.items[1:], session.items[0]], strict=True):
                before, self.breach = _processor_s(), ""
                # Arguments of the last time are forgotten, as they are by plugins that repeat a test that failed.
                item._initrequest()  # type: ignore[attr-defined]
                reports = runtestprotocol(item, nextitem=following, log=False)
                self._tell(
                    attack=item.nodeid,
                    cpu_s=round(_processor_s() - before, 4),
                    breach=self.breach,
                    report="\n".join(report.longreprtext for report in reports if report.failed),
                )
            self._tell(**{"pass": True})
        session._setupstate.teardown_exact(None)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        if call.excinfo is not None:
            self.breach = kind_of(call.excinfo.value)
        return (yield)

    def _tell(self, **said: Any) -> None:
        os.write(self.descriptor, json.dumps(said).encode() + b"\n")


def _processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def work(times: int, chosen: str, descriptor: int) -> int:
    # Folders of attacks that held are removed: two hundred passes would fill the disk.
    options = ["-q", "-n0", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=failed", "-k", chosen]
    return int(pytest.main([*options, str(Path(__file__).parent)], plugins=[Passes(times, descriptor)]))
