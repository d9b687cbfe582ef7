"""`harness completion`: the script by which a shell completes commands and options."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

ASKED_BY = "_HARNESS_COMPLETE"
"""The variable in which a shell asks what could come next."""


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that you type into.")],
) -> None:
    """Prints what makes a shell complete commands, options and files.

    Example: `harness completion bash >> ~/.bashrc`, `harness completion zsh >> ~/.zshrc`, or
    `harness completion fish > ~/.config/fish/completions/harness.fish`; then open a new terminal.
    """
    from typer.completion import get_completion_script

    print(get_completion_script(prog_name="harness", complete_var=ASKED_BY, shell=shell))


def ready() -> None:
    """Makes the command line answer a shell that asks; does nothing where none does."""
    if ASKED_BY in os.environ:
        from typer.completion import completion_init

        completion_init()
