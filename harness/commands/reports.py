"""Commands about written reports: their difference, their scores side by side, their page rendered again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.commands.options import Out, StoreRoot, chosen_store
from harness.errors import UsageError, did_you_mean
from harness.untrusted.paths import own_path
from harness.untrusted.text import line, printable

_SHOWN = 20
"""Reports that are named where another one is asked for."""


def diff(
    old: Annotated[
        str, typer.Argument(help="A report folder, or REVISION:FOLDER in git, such as main:reports/cities.")
    ],
    new: Annotated[str, typer.Argument(help="The same, to compare with.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every row.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every row that moved.")] = False,
    only: Annotated[Literal["checks"] | None, typer.Option(help="Show these only.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Changes up to this are none.")] = 0.0,
    figure: Annotated[
        Path | None,
        typer.Option("--figures", parser=own_path, metavar="FILE", help="Also draw old and new into this SVG."),
    ] = None,
    root: StoreRoot = None,
) -> None:
    """Compares two reports: why they differ, what moved, and whether beyond its interval (then the exit code is 1).

    Of many rows, those that are beyond are false in 5 % at most. Where the store has both runs, test rows are paired.

    Example: `harness diff main:reports/cities reports/cities`
    """
    from rich.console import Console

    from harness.report import compare as comparison

    store = chosen_store(root)
    before, after = (comparison.ReportFolder.open(one, store) for one in (old, new))
    difference = comparison.compare(before, after, tolerance)
    if figure is not None:
        from harness.report.compare.picture import as_svg

        figure.write_bytes(as_svg(difference))
    if as_json:
        print(comparison.as_json(difference))
    elif markdown:
        print(comparison.as_markdown(difference, every=every, only_checks=only is not None), end="")
    else:
        console = Console()
        console.print(comparison.as_text(difference, width=console.width, every=every, only_checks=only is not None))
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
    name: Annotated[str | None, typer.Argument(help="Name of a report, or its folder.", show_default=False)] = None,
    out: Out = Path("reports"),
    full: Annotated[
        bool, typer.Option("--full", help="Also write every layer, seed and row beside it, as the store has them.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="All reports, and index.html over them with a comparison of any two.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve the pages over HTTP, to this machine alone, until interrupted.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 is any free one.")] = 0,
    store: StoreRoot = None,
) -> None:
    """Renders report.html again from the tables in reports/NAME.

    Examples: `harness report banana-shed --full`, `harness report --all --serve`
    """
    from harness.page import report_index, serving
    from harness.page.from_folder import from_folder
    from harness.report.beside import write_full

    if every == (name is not None):
        raise UsageError("name one report, or give --all for every report; one of the two")
    folders = [_folder(name, out)] if name is not None else report_index.folders_in(out)
    for folder in folders if full else ():
        written = write_full(folder, chosen_store(store))
        print(printable(f"wrote {len(written)} files beside {folder / 'report.md'}"))
    if name is None:
        made = report_index.write(out)
        for refused in made.refused:
            print(printable(f"left out: {refused}"))
        print(printable(f"wrote {made.index} over {len(made.pages)} reports"))
        place, page = out, made.index.name
    else:
        path = from_folder(folders[0])
        print(printable(f"wrote {path}"))
        place, page = folders[0].absolute().parent, f"{folders[0].absolute().name}/{path.name}"
    if serve:
        serving.serve(place, page, port)


def rows(
    name: Annotated[str, typer.Argument(help="Name of a report, or its folder.", show_default=False)],
    probe: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    on: Annotated[
        str | None, typer.Option(metavar="[FIT_ON:]TESTED_ON", help="Only this condition, or pair of conditions.")
    ] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only rows that most seeds get wrong.")] = False,
    where: Annotated[
        list[str] | None, typer.Option(metavar="FACTOR=VALUE", help="Only rows with this label, e.g. `word=Banana`.")
    ] = None,
    sort: Annotated[
        Literal["confidence", "score", "right", "example"], typer.Option(help="What comes first: the most of this.")
    ] = "confidence",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Rows to print.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, all rows.")] = False,
    out: Out = Path("reports"),
    store: StoreRoot = None,
) -> None:
    """Prints the test rows of a report: what each is, what a method answers at its summary layer, how sure it is.

    Example: `harness rows banana-shed --probe ccs --wrong`
    """
    from rich.console import Console

    from harness.report.beside import rows_of
    from harness.report.row_list import Asked, as_lines, as_table, chosen

    found = rows_of(_folder(name, out), chosen_store(store))
    kept = chosen(found, Asked(probe=probe, on=on, wrong=wrong, where=tuple(where or ()), sort=sort))
    if as_json:
        for lines in as_lines(kept):
            print(lines, end="")
    else:
        Console().print(as_table(kept, count))


def _folder(name: str, out: Path) -> Path:
    from harness.report.folder import RESULTS

    own = own_path(name)
    if (own / RESULTS).is_file():
        return own
    if not (out / name).is_dir():
        there = sorted(path.parent.name for path in out.glob(f"*/{RESULTS}"))
        hint = did_you_mean(name, there)
        known = (
            f"; there are {', '.join(there[:_SHOWN])}{', …' if len(there) > _SHOWN else ''}"
            if there
            else "; there is none yet"
        )
        raise UsageError(f"no report {line(name)} in {out}{hint if 'did you mean' in hint else ''}{known}")
    return out / name
