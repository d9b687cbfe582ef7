"""Commands about the language: checking specs, printing its schema, writing a first spec, listing kinds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands.options import Sets, SpecPaths, fail
from harness.errors import EXIT_USAGE, SpecError
from harness.untrusted.paths import own_path
from harness.untrusted.text import printable


def validate(specs: SpecPaths, sets: Sets = None) -> None:
    """Checks specs and prints every error with its place. Reads the heads of data files, and forwards nothing.

    Example: `harness validate specs/*.yaml`
    """
    from harness import language

    problems = 0
    for path in specs:
        try:
            spec = language.read(path, sets or (), look=True)
        except SpecError as error:
            problems += len(error.problems)
            print(printable(str(error)), file=sys.stderr)
        else:
            count = len(spec.conditions)
            print(
                f"{printable(str(path))}: fine ({count} condition{'s' * (count != 1)}, {len(spec.probes)} probes, {len(spec.checks)} checks)"
            )
    if problems:
        raise typer.Exit(EXIT_USAGE)


def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            help="probes, data, distractors, metrics, checks, beds, normalisations or models.", show_default=False
        ),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One of them, to see its options.", show_default=False)] = None,
) -> None:
    """Shows what there is, one line each; with a name, its options, defaults and source.

    Example: `harness list probes ccs`
    """
    from rich.console import Console

    from harness.commands.listing import listing

    Console().print(listing(what, name))


def schema(
    of: Annotated[
        Literal["spec", "bed"], typer.Option("--of", help="A spec, or the card of a bed of your own.")
    ] = "spec",
) -> None:
    """Prints the JSON Schema of the spec language, for editors.

    Example: `harness schema > spec.schema.json`, then `# yaml-language-server: $schema=spec.schema.json` in a spec.
    """
    from harness import language

    print(json.dumps(language.json_schema(of), indent=2))


def init(
    name: Annotated[str, typer.Argument(help="Name of the experiment; NAME.yaml is written.", show_default=False)],
    folder: Annotated[
        Path, typer.Option("--in", parser=own_path, metavar="<path>", help="Folder to write it into.")
    ] = Path("."),
) -> None:
    """Writes a commented starter spec that runs as it is.

    Example: `harness init my-question && harness run my-question.yaml`
    """
    from harness import language

    text = language.starter(name)
    place = folder / f"{name}.yaml"
    if not folder.is_dir():
        fail(f"there is no folder {folder}; make it first, or name another with --in")
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{place} is there already; choose another name, or remove it first")
    print(printable(f"wrote {place}; next: harness preview {place}, then harness run {place}"))
