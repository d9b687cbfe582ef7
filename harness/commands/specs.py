"""Commands about the language: checking specs, printing its schema, writing a first spec, listing kinds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands.options import Sets, SpecPaths, fail
from harness.errors import EXIT_USAGE, SpecError
from harness.machine.lines import tell
from harness.untrusted.paths import own_path
from harness.untrusted.text import printable


def validate(specs: SpecPaths, sets: Sets = None) -> None:
    """Checks specs and prints every error with its place, and warns of checks that few seeds cannot decide, and of few test rows.

    Data files are read up to a mebibyte, and of larger ones the first lines. Nothing is forwarded.

    Example: `harness validate specs/*.yaml`
    """
    from harness import language
    from harness.plan.few_rows import scarce
    from harness.plan.few_seeds import undecided

    problems = 0
    for path in specs:
        try:
            spec = language.read(path, sets or (), look=True)
        except SpecError as error:
            problems += len(error.problems)
            tell(printable(str(error)), sys.stderr)
        else:
            count = len(spec.conditions)
            tell(
                f"{printable(str(path))}: fine ({count} condition{'s' * (count != 1)}, {len(spec.probes)} probes, {len(spec.checks)} checks)",
                sys.stdout,
            )
            for warning in (*undecided(spec), *scarce(spec, path.resolve().parent)):
                tell(printable(f"{path}: warning: {warning}"), sys.stderr)
    if problems:
        raise typer.Exit(EXIT_USAGE)


def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            help="probes, data, distractors, metrics, measurements, checks, beds, normalisations or models.",
            show_default=False,
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
    name: Annotated[
        str | None, typer.Argument(help="Name of the experiment; NAME.yaml is written.", show_default=False)
    ] = None,
    folder: Annotated[
        Path, typer.Option("--in", parser=own_path, metavar="<path>", help="Folder to write it into.")
    ] = Path("."),
    for_pull_requests: Annotated[
        bool,
        typer.Option(
            "--ci",
            help="Write into a git repository what tries and compares reports in pull requests: a GitHub workflow, a hook that validates "
            "specs before a commit, .gitattributes, and the schema, with a line in each spec by which editors find it.",
        ),
    ] = False,
    install: Annotated[
        str, typer.Option(metavar="REQUIREMENT", help="With --ci: what pip installs in the workflow.")
    ] = ".",
) -> None:
    """Writes a commented starter spec that runs as it is, or with --ci what a repository of specs needs.

    Example: `harness init my-question && harness run my-question.yaml`
    """
    if not folder.is_dir():
        fail(f"there is no folder {folder}; make it first, or name another with --in")
    if for_pull_requests:
        _write_for_pull_requests(folder, install)
    if name is not None:
        _write_starter(name, folder)
    elif not for_pull_requests:
        fail("a spec needs a name, such as `harness init my-question`")


def _write_starter(name: str, folder: Path) -> None:
    from harness import language
    from harness.commands.pull_requests import SCHEMA, modeline

    text = language.starter(name)
    place, schema = folder / f"{name}.yaml", folder / SCHEMA
    if schema.is_file():
        text = modeline(place, schema) + text
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        fail(f"{place} is there already; choose another name, or remove it first")
    print(printable(f"wrote {place}; next: harness preview {place}, then harness run {place}"))


def _write_for_pull_requests(top: Path, install: str) -> None:
    from harness.commands.pull_requests import write_all

    files = write_all(top, install)
    for path in files.written:
        print(printable(f"wrote {top / path}"))
    if files.marked:
        print(printable(f"named the schema in {', '.join(files.marked)}"))
    print("next: git config core.hooksPath .githooks, then commit all of it")
