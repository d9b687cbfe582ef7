"""`harness preview`: prints prompts as the network will be given them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.commands.options import Sets, SpecPath, StoreRoot, chosen_store, fail


def preview(
    spec: SpecPath,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Pairs of prompts to show of each condition.")] = 3,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", metavar="NAME", help="Only these conditions.")
    ] = None,
    sets: Sets = None,
    store: StoreRoot = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with token ids and the places of marks.")
    ] = False,
) -> None:
    """Prints some prompts of each condition as the network will be given them, with both answers, labels and distractors.

    Special tokens and the chat template are in them, and the token at which a state is read is marked. Loads tokenizers and
    no weights.

    Example: `harness preview specs/cities.yaml -n 1`
    """
    import msgspec
    from rich.console import Console

    from harness import language, pipeline
    from harness.commands.preview_text import as_text, signs_for
    from harness.commands.shown_prompts import shown
    from harness.errors import did_you_mean
    from harness.execution.run import Run
    from harness.untrusted.text import printable_json

    read = language.read(spec, sets or (), look=True)
    known = [one.name for one in read.conditions]
    if unknown := [name for name in condition or () if name not in known]:
        fail(f'{spec} has no condition "{unknown[0]}"{did_you_mean(unknown[0], known)}')
    the_store = chosen_store(store)
    with language.placing(spec, sets or ()):
        plan = pipeline.planned(read, spec.resolve().parent, the_store)
    found = list(shown(plan, Run(plan, the_store), count, condition or ()))
    if as_json:
        print(printable_json(msgspec.json.format(msgspec.json.encode(found), indent=2).decode()))
        return
    console = Console()
    # Into a pipe, a line of a prompt is a line: who reads it there has a width of their own, or none.
    width = console.width if console.is_terminal else None
    for text in as_text(found, signs_for(sys.stdout.encoding), width):
        console.print(text, soft_wrap=True, highlight=False)
