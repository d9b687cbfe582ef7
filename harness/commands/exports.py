"""`harness export`: writes the states of a spec's conditions as folders that another spec can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.options import Sets, SpecPath, StoreRoot, chosen_store, fail
from harness.imported.states_folder import Form
from harness.untrusted.paths import own_path

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

    from harness.contracts import Factor, PromptTable
    from harness.execution.run import Run
    from harness.scoring.score import SplitName


def export(
    spec: SpecPath,
    out: Annotated[
        Path, typer.Option(parser=own_path, metavar="FOLDER", help="Where the folders go, one for each condition.")
    ] = Path("states"),
    condition: Annotated[
        list[str] | None, typer.Option("--condition", metavar="NAME", help="Only these conditions.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="Of the array.")] = "safetensors",
    sets: Sets = None,
    store: StoreRoot = None,
) -> None:
    """Writes the states that a spec reads, with labels, groups, splits and texts beside them: a folder for `model: {states: FOLDER}`.

    What the store lacks is forwarded. No probe is fitted.

    Example: `harness export specs/planted_reviews.yaml --out states`
    """
    from harness import language, pipeline
    from harness.errors import did_you_mean
    from harness.execution.run import Run

    read = language.read(spec, sets or (), look=True)
    known = [one.name for one in read.conditions]
    if unknown := [name for name in condition or () if name not in known]:
        fail(f'{spec} has no condition "{unknown[0]}"{did_you_mean(unknown[0], known)}')
    the_store = chosen_store(store)
    with language.placing(spec, sets or ()):
        run = Run(pipeline.planned(read, spec.resolve().parent, the_store), the_store)
    for name in condition or known:
        shape, left_out = _written(run, name, out / name, form)
        if left_out:
            print(f"{out / name}: without {', '.join(left_out)}: a card has factors of two values only")
        print(f"{out / name}: {' × '.join(map(str, shape))} numbers, {shape[1]:,} rows")


def _written(run: Run, name: str, folder: Path, form: Form) -> tuple[tuple[int, ...], list[str]]:
    """Writes one condition; gives the shape of its array, and the names of factors that the card cannot name."""
    from harness.contracts import BINARY
    from harness.errors import UsageError
    from harness.imported.states_card import Card, Columns
    from harness.imported.states_folder import write_folder
    from harness.report.facts import where_read

    conditions = run.conditions
    wanted, layers, table = conditions.of(name).activations, conditions.layers(name), conditions.table(name)
    truth, *others = table.factors
    if not truth.target.in_classes:
        raise UsageError(
            f"conditions.{name}: its labels are numbers, which the card of a folder of states cannot name yet; export another condition"
        )
    rows = table.frame.filter(answer=0)
    shape = (len(layers), len(rows), *([2] if table.views == 2 else []), conditions.width(name))
    factors = [one for one in others if one.target is BINARY]
    if any(one.name == _LABEL for one in factors):
        raise UsageError(
            f"conditions.{name}: a factor is called {_LABEL}, as the column of the right answers is; give it another name"
        )
    columns = _columns([one.name for one in factors])
    templates = len(table.templates) > 1
    card = Card(
        harness_states=1,
        about=f"{run.plan.subjects[name].about}; {where_read(wanted)}; condition {name} of {run.plan.spec.name}",
        states="states",
        axes=("layer", "row", "view", "d_model") if table.views == 2 else ("layer", "row", "d_model"),
        layers=layers,
        site=wanted.site_name,
        rows="rows",
        columns=Columns(label=_LABEL, **{key: name for key, name in columns.items() if templates or key != "template"}),
        answers=truth.values,
        factors={one.name: one.values for one in factors},
        data_set=table.data_set,
    )
    write_folder(
        folder, card, _rows(table, rows, truth, factors, columns), lambda at: _states(run, name, rows, layers[at]).reshape(shape[1:]),
        shape, form,
    )  # fmt: skip
    return shape, [one.name for one in others if one not in factors]


_LABEL = "label"


def _columns(taken: list[str]) -> dict[str, str]:
    """Names of the columns beside the label, by what they are in the card: none that a factor has."""
    wanted = {"text": "text", "group": "group", "split": "split", "example": "row", "template": "template"}
    for key in wanted:
        while wanted[key] in taken:
            wanted[key] += "_"
    return wanted


def _states(run: Run, name: str, rows: pl.DataFrame, layer: int) -> Tensor:
    """The states that probes are given, what is planted in them included: (row, view, d_model), in the order of the rows."""
    import torch

    from harness.execution.conditions import PARTS

    parts: Sequence[SplitName] = tuple(part for part in PARTS if part in rows["split"])
    own = [run.conditions.pairs(name, part, (layer,)).states[0] for part in parts]
    out = torch.empty((len(rows), *own[0].shape[1:]), dtype=own[0].dtype)
    for part, states in zip(parts, own, strict=True):
        out[torch.from_numpy((rows["split"] == part).to_numpy().copy())] = states.cpu()
    return out


def _rows(
    table: PromptTable, rows: pl.DataFrame, truth: Factor, factors: list[Factor], columns: Mapping[str, str]
) -> pl.DataFrame:
    import polars as pl

    from harness.contracts.data import TOKEN

    def named(factor: Factor) -> Any:
        return pl.Series(
            factor.name if factor is not truth else _LABEL, [factor.values[code] for code in rows[factor.name]]
        )

    several = len(table.templates) > 1
    names = rows["example"] + " " + rows["template"] if several else rows["example"]
    if TOKEN in rows.columns:
        # Each token of a statement is a row.
        names = names + " " + rows[TOKEN].cast(pl.String)
    texts = table.frame.filter(answer=table.views - 1)["text"].alias(columns["text"])
    return pl.DataFrame(
        [
            names.alias(columns["example"]),
            rows["group"].alias(columns["group"]),
            rows["split"].alias(columns["split"]),
            named(truth),
            texts,
            *([rows["template"].alias(columns["template"])] if several else []),
            *map(named, factors),
        ]
    )
