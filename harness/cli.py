"""The command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness import __version__, bed_commands, store_commands
from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED, EXIT_USAGE, HarnessError, SpecError
from harness.store_commands import StoreRoot
from harness.untrusted.text import line, printable

if TYPE_CHECKING:
    from rich.console import Console

    from harness.machine.resources import Resources
    from harness.machine.team import Team
    from harness.pipeline import Outcome
    from harness.store import Store

app = typer.Typer(
    name="harness",
    help="Elicits latent knowledge from networks as a YAML spec says, and confronts every claim with ground truth.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `harness init my-question`, then `harness run my-question.yaml`. "
    "Exit codes: 0 as expected, 1 a check or a difference that was not, 2 wrong spec or usage, 3 not finished.",
)
app.add_typer(store_commands.app, name="store")
app.add_typer(bed_commands.app, name="bed")

SpecPath = Annotated[Path, typer.Argument(help="A spec, such as specs/cities.yaml.", show_default=False)]
SpecPaths = Annotated[list[Path], typer.Argument(help="One or more specs.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the spec, e.g. `--set model.dtype=float32`."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder in which reports/NAME is written.")]


@app.command()
def run(
    specs: SpecPaths,
    sets: Sets = None,
    out: Out = Path("reports"),
    store: StoreRoot = None,
    page: Annotated[bool, typer.Option(help="Also write report.html.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the checks.")] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes on this machine, each with an equal share of cores, or of GPUs.")
    ] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads of each process; else OMP_NUM_THREADS, else all cores divided by the processes."
        ),
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="One thread per process and no halved batches: the same bytes whatever the number of cores, on the same "
            "kind of processor. Costs the speed of the other threads; `--processes` buys it back.",
        ),
    ] = False,
    tensor_parallel: Annotated[
        bool,
        typer.Option(
            "--tensor-parallel",
            help="The processes of a machine forward every batch together, each with its part of every weight matrix: for "
            "networks that are too large for one device. Needs an architecture for which transformers has a plan.",
        ),
    ] = False,
    tokens_per_pass: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens that are forwarded together; else 1024 on a processor, 16384 on a GPU."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="For the states that are fitted at a time, such as 8GiB; else a quarter of the machine's memory. Layers "
            "that do not fit together are fitted one after another, with the same results.",
        ),
    ] = None,
) -> None:
    """Runs specs and writes their reports.

    What is stored already is not computed again; a run that was stopped goes on where it was, with any number of
    processes. The same spec gives the same bytes with any number of processes of equally many threads.

    Example: `harness run specs/banana_shed.yaml --set seeds=10`
    """
    from harness.machine import stopping
    from harness.machine.launch import die_with_parent, launch, launched_by_us
    from harness.machine.resources import Resources, size_of
    from harness.machine.team import launched, membership

    if deterministic and threads not in (None, 1):
        _fail(f"--deterministic means one thread per process, but --threads says {threads}; leave one of them out")
    if tensor_parallel and processes == 1 and not launched():
        _fail("--tensor-parallel splits a network over several processes, and this is one; add --processes N")
    resources = Resources(
        threads=threads,
        deterministic=deterministic,
        tensor_parallel=tensor_parallel,
        tokens_per_pass=tokens_per_pass,
        memory_bytes=None if memory is None else size_of(memory),
    )
    if processes > 1 and not launched():
        raise typer.Exit(launch(sys.argv[1:], processes))
    if processes > 1 and not launched_by_us():
        _fail("--processes starts processes, but this is one of several already (WORLD_SIZE is set); leave it out")
    stopping.install()
    die_with_parent()
    with membership() as team:
        worst = _run_all(
            specs, team, sets=sets or (), out=out, store=store, page=page, quiet=quiet, resources=resources
        )
    raise typer.Exit(worst)


def show(outcome: Outcome, console: Console) -> None:
    """Prints the closing table of checks."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if outcome.checks.height:
        table = Table(box=box.SIMPLE_HEAD)
        for column in ("check", "finding", "expected", "value and interval"):
            table.add_column(column, overflow="fold")
        for row in outcome.checks.iter_rows(named=True):
            interval = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
            value = "" if row["value"] is None else f"{row['value']:.2f}{interval}"
            cells = [f"{row['check']}: {row['probe']}, {row['condition']}", row["finding"], row["expect"] or "–", value]
            colour = {"as_expected": "green", "unexpected": "red"}.get(row["verdict"], "")
            table.add_row(*(Text(line(cell)) for cell in cells), style=colour)
        console.print(table)
    judged = [verdict for verdict in outcome.checks["verdict"] if verdict != "not_judged"]
    if judged:
        said = f"{judged.count('as_expected')} of {len(judged)} checks came out as expected"
    else:
        said = "the spec states no expectation"
    console.print(
        f"{said}; {'nothing had to be computed; ' if outcome.cached else ''}the report is {outcome.folder / 'report.md'}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _run_all(
    specs: list[Path],
    team: Team | None,
    *,
    sets: list[str] | tuple[()],
    out: Path,
    store: str | None,
    page: bool,
    quiet: bool,
    resources: Resources,
) -> int:
    """Runs the specs one after another, or helps to; the exit code."""
    from rich.console import Console

    from harness import pipeline
    from harness.machine.progress import Reporter

    console = Console()
    worst = EXIT_EXPECTED
    for path in specs:
        try:
            if team is not None and not team.leads:
                pipeline.assist(path, team, sets=sets, store=_store(store))
                continue
            outcome = pipeline.run(
                path,
                sets=sets,
                out=out,
                store=_store(store),
                reporter=Reporter(quiet=quiet),
                page=page,
                resources=resources,
                team=team,
            )
        except KeyboardInterrupt:
            # Typer would answer with its own exit code.
            raise HarnessError("interrupted; what is finished is stored: run the same command again to go on") from None
        show(outcome, console)
        if outcome.unexpected:
            worst = EXIT_UNEXPECTED
    return worst


@app.command()
def plan(
    spec: SpecPath,
    sets: Sets = None,
    store: StoreRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    devices: Annotated[
        str | None,
        typer.Option(help="Also say what would happen on such devices: cpu, 80GiB, or 8x80GiB. They need not be here."),
    ] = None,
    tensor_parallel: Annotated[
        bool,
        typer.Option(
            "--tensor-parallel", help="With --devices: every weight matrix split over them, as such a run does."
        ),
    ] = False,
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="Rate of one device, 10¹² operations per second, if you know it.")
    ] = None,
) -> None:
    """Prints what a run would do, what it would cost, and what is stored already. Loads no weights.

    Example: `harness plan specs/cities.yaml`, or `harness plan specs/cities.yaml --devices 8x80GiB`
    """
    from rich.console import Console

    from harness import costs, language, pipeline
    from harness.execution.run import Run
    from harness.models.placement import devices_of

    on = None if devices is None else devices_of(devices)
    if tensor_parallel and on is None:
        _fail("--tensor-parallel splits a network over devices; say which: --devices 8x80GiB")
    the_store = _store(store)
    planned = Run(pipeline.planned(language.read(spec, sets or ()), spec.resolve().parent, the_store), the_store)
    stored, costed = planned.plan.stored(the_store), costs.estimate(planned)
    described = costs.as_json(planned.plan, stored, costed)
    table = costs.as_table(planned.plan, stored, costed)
    if on is not None:
        from harness import foresight

        foreseen = foresight.foresee(planned, on, tflops, tensor_parallel=tensor_parallel)
        described["placement"] = foresight.as_json(foreseen, on)
    if as_json:
        print(json.dumps(described, indent=2))
        return
    Console().print(table)
    if on is not None:
        Console().print(foresight.as_table(foreseen, on))


@app.command()
def validate(specs: SpecPaths, sets: Sets = None) -> None:
    """Checks specs and prints every error with its place.

    Example: `harness validate specs/*.yaml`
    """
    from harness import language

    problems = 0
    for path in specs:
        try:
            spec = language.read(path, sets or ())
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


@app.command()
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

    import harness.report.compare as differ

    difference = differ.compare(differ.ReportFolder.open(old), differ.ReportFolder.open(new))
    if as_json:
        print(differ.as_json(difference))
    elif markdown:
        print(differ.as_markdown(difference))
    else:
        Console().print(differ.as_text(difference))
    raise typer.Exit(differ.exit_code(difference))


@app.command()
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


@app.command(name="list")
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

    from harness.listing import listing

    Console().print(listing(what, name))


@app.command()
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


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the experiment; NAME.yaml is written.", show_default=False)],
    folder: Annotated[Path, typer.Option("--in", help="Folder to write it into.")] = Path("."),
) -> None:
    """Writes a commented starter spec that runs as it is.

    Example: `harness init my-question && harness run my-question.yaml`
    """
    from harness import language

    text = language.starter(name)
    place = folder / f"{name}.yaml"
    if not folder.is_dir():
        _fail(f"there is no folder {folder}; make it first, or name another with --in")
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _fail(f"{place} is there already; choose another name, or remove it first")
    print(printable(f"wrote {place}; next: harness run {place}"))


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Name of a report, or its folder.", show_default=False)],
    out: Out = Path("reports"),
) -> None:
    """Renders report.html again from the tables in reports/NAME.

    Example: `harness report banana-shed`
    """
    from harness.page.html import from_folder

    folder = Path(name) if (Path(name) / "results.csv").is_file() else out / name
    print(printable(f"wrote {from_folder(folder)}"))


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"harness {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point: failures meant for people become a message and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its number.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except HarnessError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong, but Python would complain while it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_EXPECTED)


def _store(root: str | None) -> Store:
    from harness.store import store_at

    return store_at(root)


def _fail(message: str) -> None:
    _print_error(message)
    raise typer.Exit(EXIT_USAGE)


def _print_error(message: str) -> None:
    print(f"harness: {printable(message)}", file=sys.stderr)
