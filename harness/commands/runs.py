"""`harness run`: runs specs and writes their reports."""

from __future__ import annotations

import io
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import ending
from harness.commands.options import LogFile, Out, Sets, SpecPaths, StoreRoot, chosen_store, fail
from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED, HarnessError
from harness.untrusted.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from harness.machine.progress import Reporter
    from harness.machine.resources import Resources
    from harness.machine.team import Team
    from harness.report.outcome import Outcome


_LOG_WIDTH = 240
"""Columns of the tables in a log."""


def run(
    specs: SpecPaths,
    sets: Sets = None,
    out: Out = Path("reports"),
    store: StoreRoot = None,
    page: Annotated[bool, typer.Option(help="Also write report.html.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no scores, only the checks.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also why each stage is made, and what libraries say.")
    ] = False,
    log: LogFile = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION",
            help="Only specs that commits since this git revision changed, or of which they changed a file that the spec names.",
        ),
    ] = None,
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
    from harness.machine import aside, library_words, stopping
    from harness.machine.launch import die_with_parent, launch, launched_by_us
    from harness.machine.progress import Reporter
    from harness.machine.resources import Resources, check_address_space, size_of
    from harness.machine.team import launched, membership, speaks

    if quiet and verbose:
        fail("--quiet asks for less and --verbose for more; leave one of them out")
    check_address_space()
    if deterministic and threads not in (None, 1):
        fail(f"--deterministic means one thread per process, but --threads says {threads}; leave one of them out")
    if tensor_parallel and processes == 1 and not launched():
        fail("--tensor-parallel splits a network over several processes, and this is one; add --processes N")
    resources = Resources(
        threads=threads,
        deterministic=deterministic,
        tensor_parallel=tensor_parallel,
        tokens_per_pass=tokens_per_pass,
        memory_bytes=None if memory is None else size_of(memory),
    )
    if since is not None:
        from harness.language.changed import changed_since

        specs = changed_since(since, specs)
        if not specs:
            print(printable(f"nothing to run: no spec was changed since {since}"))
            raise typer.Exit
    if processes > 1 and not launched():
        raise typer.Exit(launch(sys.argv[1:], processes))
    if processes > 1 and not launched_by_us():
        fail("--processes starts processes, but this is one of several already (WORLD_SIZE is set); leave it out")
    ending.Log.path = log = log or ending.Log.path
    reporter = Reporter(quiet=quiet, verbose=verbose, log=log)
    # Each of several processes is asked to stop, and one says so.
    stopping.install(reporter.insist if speaks() else lambda _: None)
    die_with_parent()
    with (
        membership() as team,
        aside.allowed() if processes == 1 else nullcontext(),
        library_words.handed_to(reporter.detail),
        closing(reporter),
    ):
        worst = _run_all(
            specs, team, sets=sets or (), out=out, store=store, page=page, reporter=reporter, resources=resources
        )
    raise typer.Exit(worst)


def show(outcome: Outcome, console: Console, *, scores: bool = True, page: bool = False) -> None:
    """Prints the closing tables and where the report is, whole, on lines of their own."""
    from harness.machine import lines
    from harness.report import outline
    from harness.report.closing import check_table, score_table
    from harness.report.scores import Scores

    def say(text: str) -> None:
        lines.show(printable(text), console)

    report = outcome.report
    if scores:
        # Seeds are many, and stand in no table here.
        known = Scores(outline.of(report), report.results, report.seeds.clear(), report.headline)
        found = score_table(known, console.width)
    if scores and found is not None:
        console.print(found.table)
        say(f"{found.left_out}\n" if found.left_out else "")
    checks = check_table(report.checks)
    if checks is not None:
        console.print(checks)
        say("")
    judged = [verdict for verdict in outcome.checks["verdict"] if verdict != "not_judged"]
    if judged:
        said = f"{judged.count('as_expected')} of {len(judged)} checks came out as expected"
    else:
        said = "the spec states no expectation"
    say(f"{said}{'; nothing had to be computed' if outcome.cached else ''}")
    for name in ("report.md", *(["report.html"] if page else [])):
        # Whole also where a folder's name has a blank in it.
        console.print(printable(str(outcome.folder / name)), highlight=False, markup=False, soft_wrap=True)


def _as_text(outcome: Outcome, page: bool) -> str:
    """What `show` prints, as wide as a log may be."""
    from rich.console import Console

    file = io.StringIO()
    show(outcome, Console(file=file, width=_LOG_WIDTH, force_terminal=False, color_system=None), page=page)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines() if line.strip())


def _run_all(
    specs: list[Path],
    team: Team | None,
    *,
    sets: list[str] | tuple[()],
    out: Path,
    store: str | None,
    page: bool,
    reporter: Reporter,
    resources: Resources,
) -> int:
    """Runs the specs one after another, or helps to; the exit code."""
    from rich.console import Console

    from harness import pipeline

    console = Console()
    worst = EXIT_EXPECTED
    for path in specs:
        try:
            if team is not None and not team.leads:
                pipeline.assist(path, team, sets=sets, store=chosen_store(store))
                continue
            outcome = pipeline.run(
                path,
                sets=sets,
                out=out,
                store=chosen_store(store),
                reporter=reporter,
                page=page,
                resources=resources,
                team=team,
            )
        except KeyboardInterrupt:
            # Typer would answer with its own exit code.
            raise HarnessError("interrupted; what is finished is stored: run the same command again to go on") from None
        show(outcome, console, scores=not reporter.quiet, page=page)
        if reporter.log is not None:
            reporter.note(_as_text(outcome, page))
        if outcome.unexpected:
            worst = EXIT_UNEXPECTED
    return worst
