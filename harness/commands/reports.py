"""Commands about written reports: their difference, their scores side by side, their page rendered again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.options import Out
from harness.untrusted.paths import own_path
from harness.untrusted.text import printable


def diff(
    old: Annotated[
        str, typer.Argument(help="A report folder, or REVISION:FOLDER in git, such as main:reports/cities.")
    ],
    new: Annotated[str, typer.Argument(help="The same, to compare with.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compares two reports: what moved, and whether beyond its interval (then the exit code is 1).

    Example: `harness diff main:reports/cities reports/cities`
    """
    from rich.console import Console

    from harness.report import compare as comparison

    difference = comparison.compare(comparison.ReportFolder.open(old), comparison.ReportFolder.open(new))
    if as_json:
        print(comparison.as_json(difference))
    elif markdown:
        print(comparison.as_markdown(difference))
    else:
        Console().print(comparison.as_text(difference))
    raise typer.Exit(comparison.exit_code(difference))


def compare(
    reports: Annotated[
        list[str],
        typer.Argument(help="Report folders, or REVISION:FOLDER in git. Each is a column.", show_default=False),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LABEL=]FIT_ON:TESTED_ON",
            help="Only these pairs of conditions, or one condition for both. Pairs of one label are one row.",
        ),
    ] = None,
    probe: Annotated[
        list[str] | None, typer.Option(help="Only these methods; a name, or a pattern such as 'maha*'.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="[LABEL=]NAME", help="What is scored; else truth. Targets of one label are one row."),
    ] = None,
    metric: Annotated[str, typer.Option(help="Which metric.")] = "auroc",
    check: Annotated[
        list[str] | None, typer.Option(help="Checks of this name, or pattern such as 'gap_*', in the place of methods.")
    ] = None,
) -> None:
    """Prints the scores of several reports side by side, with intervals, as Markdown: methods × reports.

    Each method at the layer that its report's own rule chose. Nothing is computed anew.

    Example: `harness compare reports/tampering reports/deceiver --on honest=trusted:tampered --on honest=checked:unchecked`
    """
    from harness.report.compare.side_by_side import Asked, Compared, Named, compared

    asked = Asked(
        metric=metric,
        targets=tuple(map(Named.parse, target or ["truth"])),
        places=tuple(map(Named.parse, on or [])),
        probes=tuple(probe or ()),
        checks=tuple(check or ()),
    )
    print(compared([Compared.open(text) for text in reports], asked), end="")


def report(
    name: Annotated[str, typer.Argument(help="Name of a report, or its folder.", show_default=False)],
    out: Out = Path("reports"),
) -> None:
    """Renders report.html again from the tables in reports/NAME.

    Example: `harness report banana-shed`
    """
    from harness.page.html import from_folder

    own = own_path(name)
    folder = own if (own / "results.csv").is_file() else out / name
    print(printable(f"wrote {from_folder(folder)}"))
