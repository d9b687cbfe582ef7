"""The command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, TextIO

import typer

from harness import __version__
from harness.commands import beds, ending, stores
from harness.commands.completion import completion, ready
from harness.commands.exports import export
from harness.commands.options import LogFile
from harness.commands.plans import plan
from harness.commands.previews import preview
from harness.commands.reports import compare, diff, report, rows
from harness.commands.runs import run
from harness.commands.specs import init, list_, schema, validate

app = typer.Typer(
    name="harness",
    help="Elicits latent knowledge from networks as a YAML spec says, and confronts every claim with ground truth.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `harness init my-question`, then `harness preview my-question.yaml` and `harness run my-question.yaml`. "
    "Exit codes: 0 as expected, 1 a check or a difference that was not, 2 wrong spec or usage, 3 not finished.",
)
app.add_typer(stores.app, name="store")
app.add_typer(beds.app, name="bed")
for _command in (run, plan, validate, preview, diff, rows, compare, export, list_, schema, init, report, completion):
    app.command(name=_command.__name__.rstrip("_"))(_command)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    log: LogFile = None,
) -> None:
    ending.Log.path = log
    if version:
        print(f"harness {__version__}")
        raise typer.Exit


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def main() -> None:
    """Entry point: failures become a message and an exit code, never a traceback."""
    # Closed before it began (`harness … >&-`), a stream is None.
    sys.stdout, sys.stderr = (stream or _nowhere() for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its number.
            stream.reconfigure(errors="backslashreplace")
    ready()
    sys.exit(ending.exit_code(app))
