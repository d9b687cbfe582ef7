"""`harness store`: the verbs that list, verify and prune the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.options import StoreRoot
from harness.errors import EXIT_EXPECTED, EXIT_UNEXPECTED
from harness.untrusted.text import printable

if TYPE_CHECKING:
    from harness.store import Store

app = typer.Typer(help="Looks after the artifact store.", no_args_is_help=True)


@app.command()
def ls(
    kind: Annotated[
        str | None, typer.Argument(help="One kind, to see every artifact of it, such as fit.", show_default=False)
    ] = None,
    store: StoreRoot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every artifact as JSON.")] = False,
) -> None:
    """Shows what the store holds: how many artifacts, how large, how old, and which specs' last runs refer to them."""
    from rich.console import Console

    from harness.store import housekeeping

    the_store = _store_here(store)
    if as_json:
        print(json.dumps(housekeeping.as_json(the_store), indent=1))
    else:
        Console().print(housekeeping.overview(the_store) if kind is None else housekeeping.listing(the_store, kind))


@app.command()
def verify(store: StoreRoot = None) -> None:
    """Reads every file of the store and compares checksums; what is damaged is set aside and made again when needed."""
    from harness.store import housekeeping

    the_store = _store_here(store)
    sound, damaged = housekeeping.verify(the_store)
    for line in damaged:
        print(f"damaged: {printable(line)}")
    for name, number in the_store.outdated.items():
        print(f"of format {number}, not read: {printable(name)}")
    print(f"{sound} artifacts are sound, {len(damaged)} were damaged and are removed")
    raise typer.Exit(EXIT_UNEXPECTED if damaged else EXIT_EXPECTED)


@app.command()
def prune(
    store: StoreRoot = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only what was not used for so long: 30d, 12h, 2w.", show_default="30d")
    ] = None,
    unused: Annotated[
        bool, typer.Option("--unused", help="Only what no spec's last run refers to; of any age, unless one is given.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, remove nothing.")] = False,
) -> None:
    """Removes artifacts that are not needed any more, and what killed runs left behind; never what a run is using.

    Example: `harness store prune --unused --dry-run`
    """
    from harness.store import housekeeping

    age = None if unused and older_than is None else housekeeping.seconds(older_than or "30d")
    done = housekeeping.prune(_store_here(store), age, unused, dry_run)
    kept = f"; {done.in_use} more are in use by a running process" if done.in_use else ""
    print(f"{'would remove' if dry_run else 'removed'} {done.count} artifacts, {done.bytes / 2**20:.1f} MiB{kept}")


def _store_here(root: str | None) -> Store:
    """The store that the verbs of `harness store` look after: of a bucket, the copy on this machine."""
    from harness.store import local_store

    return local_store(root)
