"""`python -m tests.benchmarks [PART…] [--markdown]`: everything takes about fifteen minutes on two cores."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator

import torch

from tests.benchmarks import (
    autoencoders,
    ccs,
    commands,
    extraction,
    gpu,
    growth,
    imported,
    logistic,
    multinomial,
    out_of_core,
    positions,
    replies,
    small_networks,
    transcripts,
)
from tests.benchmarks.table import Line, markdown, show

PARTS: dict[str, tuple[str, Callable[[], Iterator[Line]]]] = {
    "extraction": ("Extraction", extraction.lines),
    "ccs": ("Contrast-consistent search", ccs.lines),
    "logistic": ("Logistic regression", logistic.lines),
    "multinomial": ("Classes", multinomial.lines),
    "positions": ("Positions and sites", positions.lines),
    "replies": ("Replies", replies.lines),
    "transcripts": ("Transcripts", transcripts.lines),
    "imported": ("Imported states", imported.lines),
    "runs": ("Whole runs", commands.runs),
    "startup": ("Start-up", commands.start_up),
    "growth": ("Growth", growth.lines),
    "out_of_core": ("Out of core", out_of_core.lines),
    "networks": ("Small networks", small_networks.lines),
    "autoencoders": ("Sparse autoencoders", autoencoders.lines),
    "gpu": ("GPU", gpu.lines),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}; all if none"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown too")
    asked = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads"
    )
    everything: list[Line] = []
    for part in asked.parts or PARTS:
        title, lines = PARTS[part]
        found = list(lines())
        show(title, found)
        everything += found
    if asked.markdown:
        print(markdown(everything))


if __name__ == "__main__":
    main()
