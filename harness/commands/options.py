"""Options that several commands have, and how a command gives up."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import EXIT_USAGE
from harness.machine.lines import tell
from harness.untrusted.paths import own_path
from harness.untrusted.text import printable

if TYPE_CHECKING:
    from harness.store import Store


StoreRoot = Annotated[
    str | None,
    typer.Option(
        "--store", help="Folder of the artifact store, or its URL (s3://…); else HARNESS_STORE, else the user's cache."
    ),
]


SpecPath = Annotated[
    Path, typer.Argument(parser=own_path, help="A spec, such as specs/cities.yaml.", show_default=False)
]


SpecPaths = Annotated[list[Path], typer.Argument(parser=own_path, help="One or more specs.", show_default=False)]


Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the spec, e.g. `--set model.dtype=float32`."),
]


Out = Annotated[
    Path, typer.Option("--out", parser=own_path, metavar="<path>", help="Folder in which reports/NAME is written.")
]


LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log",
        parser=own_path,
        metavar="<path>",
        help="File to which a run adds all that it shows, or would with --verbose, with the time; and any command the traceback of an "
        "unforeseen failure.",
    ),
]


def chosen_store(root: str | None) -> Store:
    from harness.store import store_at

    return store_at(root)


def fail(message: str) -> None:
    print_error(message)
    raise typer.Exit(EXIT_USAGE)


def print_error(message: str) -> None:
    # Where nobody can be told, the exit code still says it.
    with suppress(OSError):
        tell(f"harness: {printable(message)}", sys.stderr)
