"""`harness bed`: the verbs that make the weights of a test bed and try its claims."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import StoreRoot
from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED, UsageError
from harness.machine.lines import tell
from harness.untrusted.paths import own_path
from harness.untrusted.text import printable

if TYPE_CHECKING:
    import polars as pl

    from harness.contracts.network_bed import NetworkBed
    from harness.store import Store

app = typer.Typer(help="Trains the networks of test beds, and tries what they claim.", no_args_is_help=True)

Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="An option of the bed, e.g. `--set world=cities`."),
]


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="A test bed with a network, such as quirky.", show_default=False)],
    options: Options = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=own_path, metavar="<path>", help="Folder to write; else beds/NAME here."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first weights, the order and the data.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Fewer or more steps than the recipe's.")] = None,
    claims: Annotated[
        bool, typer.Option(help="Try its claims afterwards, and keep the figures beside the weights.")
    ] = True,
    store: StoreRoot = None,
) -> None:
    """Trains a bed's network from its base or from nothing, with a fixed seed. It cannot be interrupted and go on; it says how long it takes.

    Example: `harness bed train quirky --set world=cities --out my-quirky`, then `model: {bed: quirky, weights: ./my-quirky}`
    """
    from harness.machine.progress import Reporter
    from harness.training.note import add_figures, bed_named, write_note
    from harness.training.train import train as train_bed
    from harness.training.verify import figures
    from harness.training.verify import verify as verify_bed

    bed = bed_named(name, _options(options))
    folder = out or Path("beds") / bed.pinned
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is there already and not empty; name another one with --out, or remove it first")
    recipe = bed.recipe()
    reporter = Reporter()
    lasts = "" if recipe.minutes is None else f", about {recipe.minutes} minutes on two cores"
    reporter.say(f"{bed.pinned}: {steps or recipe.steps} steps{lasts}")
    closing: list[float] = []
    with reporter.stage("train", bed.pinned, steps or recipe.steps, "steps") as progress:

        def tell(step: int, loss: float) -> None:
            progress.to(step)
            closing.append(loss)
            if step % 50 == 0:
                reporter.say(f"step {step}: loss {sum(closing[-50:]) / len(closing[-50:]):.3f} nats")

        trained = train_bed(bed, folder, seed, tell, steps)
    command = " ".join(["harness bed train", name, *(f"--set {one}" for one in options or ()), f"--seed {seed}"])
    facts = {"lessons": trained.lessons, "loss": round(trained.loss, 4), "seconds": round(trained.seconds)}
    write_note(bed, folder, seed=seed, command=command + (f" --steps {steps}" if steps else ""), facts=facts)
    print(f"wrote {folder} in {trained.seconds / 60:.1f} minutes; loss {trained.loss:.3f} nats")
    if claims:
        from harness.training.note import bed_in

        outcome = verify_bed(bed_in(folder), _store(store), reporter)
        add_figures(folder, figures(outcome.checks))
        raise typer.Exit(_shown(outcome.checks))


@app.command()
def verify(
    name: Annotated[
        str,
        typer.Argument(
            help="A test bed with a network, a folder that `bed train` wrote, or a folder or repository on the Hub with a bed.yaml.",
            show_default=False,
        ),
    ],
    options: Options = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the figures in the folder, beside the weights.")] = False,
    store: StoreRoot = None,
) -> None:
    """Tries what a bed claims on rows that its network never saw; exit code 1 if a claim does not hold.

    Example: `harness bed verify quirky --set world=cities`, or `harness bed verify ./my-bed`
    """
    from harness.machine.progress import Reporter
    from harness.training.note import add_figures
    from harness.training.verify import figures, own_bed, verify_card
    from harness.training.verify import verify as verify_bed

    if _has_card(name):
        if keep:
            raise UsageError("--keep is for a folder that `harness bed train` wrote; what a card says is its author's")
        outcome = verify_card(own_bed(name, _options(options)), _store(store), Reporter())
        raise typer.Exit(_shown(outcome.checks))
    if keep and not own_path(name).is_dir():
        raise UsageError(
            f"--keep writes into a folder that `harness bed train` wrote, and {name} is none; leave it out"
        )
    outcome = verify_bed(_bed(name, options), _store(store), Reporter())
    if keep:
        add_figures(own_path(name), figures(outcome.checks))
    raise typer.Exit(_shown(outcome.checks))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(parser=own_path, help="A new folder to write.", show_default=False)],
) -> None:
    """Writes a small bed of your own to begin with: weights, data and a commented card whose claims hold.

    Example: `harness bed init my-bed && harness bed verify ./my-bed`
    """
    from harness.training.starter import write

    write(folder)
    print(printable(f"wrote {folder}; next: harness bed verify {_spelled(folder)}"))


def _spelled(folder: Path) -> str:
    """A folder's name, such that it is not taken for that of a bed that comes with the program."""
    name = folder.as_posix()
    return name if "/" in name or name.startswith((".", "~")) else f"./{name}"


def _has_card(name: str) -> bool:
    """Whether it is a bed with a card: a folder that has one, or a repository on the Hub."""
    from harness.assets.bed_folder import CARD, is_own
    from harness.training.note import NOTE

    place = own_path(name)
    if place.is_dir():
        return (place / CARD).exists() or not (place / NOTE).exists()
    return is_own(name)


def _bed(name: str, options: list[str] | None) -> NetworkBed:
    from harness.training.note import bed_in, bed_named

    if (folder := own_path(name)).is_dir():
        if options:
            raise UsageError("a folder of weights knows its options; leave --set out")
        return bed_in(folder)
    return bed_named(name, _options(options))


def _options(written: list[str] | None) -> dict[str, object]:
    """The options in texts such as `world=cities`, with values as the language reads them."""
    from harness.language.syntax.document import resolve

    found: dict[str, object] = {}
    for one in written or ():
        key, equals, value = one.partition("=")
        if not equals:
            raise UsageError(f"--set {one}: write OPTION=VALUE, such as world=cities")
        found[key] = resolve(value)
    return found


def _shown(checks: pl.DataFrame) -> int:
    """Prints every claim with its evidence; the exit code."""
    for row in checks.iter_rows(named=True):
        held = "holds" if row["verdict"] == "as_expected" else "DOES NOT HOLD"
        tell(printable(f"{held}: {row['check']}: {row['why']}"), sys.stdout)
    broken = [row for row in checks["verdict"] if row != "as_expected"]
    print(f"{checks.height - len(broken)} of {checks.height} claims hold")
    return EXIT_UNEXPECTED if broken else EXIT_EXPECTED


def _store(root: str | None) -> Store:
    from harness.store import store_at

    return store_at(root)
