"""Sparse autoencoders, which write states as sums of a few of many directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.analyses.sparse_autoencoders.on_states import OnStates
from harness.contracts.analysis import Analysis
from harness.errors import KeyFault

if TYPE_CHECKING:
    import polars as pl

    from harness.execution.run import Run
    from harness.plan.plan import Plan
    from harness.plan.stage import Stage
    from harness.report.scores import Scores

MEASURED = "autoencoders.parquet"


class SparseAutoencoders(Analysis, frozen=True, kw_only=True):
    """Sparse autoencoders on the training rows' states of one layer, all sparsities and seeds trained together, and how well they do on test rows.

    States of any network serve. They are centred and divided by one number, so that their mean squared length is 1 and a penalty means the same anywhere.
    Where a test bed knows its directions, so does the report which of them were found.
    """

    on: tuple[OnStates, ...] = ()
    """Whose states are learned, with which sparsities: a list of blocks."""

    source: ClassVar[str] = (
        "Bricken et al. 2023; Rajamanoharan et al. 2024 (arXiv 2404.16014), gated; Gao et al. 2024 (arXiv 2406.04093), top-k; Rajamanoharan et al. 2024 (arXiv 2407.14435), JumpReLU"
    )
    files: ClassVar[tuple[str, ...]] = (MEASURED,)
    tells: ClassVar[bool] = True

    def stages(self, plan: Plan) -> Iterable[Stage[Any]]:
        from harness.analyses.sparse_autoencoders.autoencoder_stages import Trained, stages
        from harness.analyses.sparse_autoencoders.spliced import spliced

        key = f"analyses[{plan.spec.analyses.index(self)}]"
        if not self.on:
            raise KeyFault(key, "there are no autoencoders to train; write on: [{condition: main, l1: [0.1]}]")
        first: dict[tuple[str, int], int] = {}
        for number, asked in enumerate(self.on):
            for stage in stages(asked, plan, f"{key}.on[{number}]"):
                if isinstance(stage, Trained):
                    where = stage.condition, stage.layer
                    if first.setdefault(where, number) != number:
                        raise KeyFault(
                            f"{key}.on[{number}]",
                            f"on[{first[where]}] has autoencoders on layer {stage.layer} of {stage.condition} already, and what both train would count as seeds of "
                            "one; write them into one block, or name another layer",
                        )
                yield stage
                if isinstance(stage, Trained) and asked.texts is not None:
                    yield spliced(stage, asked.texts, plan, f"{key}.on[{number}]")

    def tables(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, pl.DataFrame]:
        from harness.analyses.sparse_autoencoders.autoencoder_stages import assembled
        from harness.analyses.sparse_autoencoders.spliced import with_losses

        return {MEASURED: with_losses(assembled(run, stages), run, stages)}

    def told(self, run: Run, stages: Sequence[Stage[Any]]) -> Mapping[str, Any]:
        """The table of the autoencoders on each condition's states."""
        table = self.tables(run, stages)[MEASURED]
        return {str(name): own for (name,), own in table.group_by("condition", maintain_order=True)}

    def section(self, tables: Mapping[str, pl.DataFrame], scores: Scores) -> Iterable[str]:
        from harness.analyses.sparse_autoencoders.section import section

        return section(tables[MEASURED])
