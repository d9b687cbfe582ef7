"""The self-check: a faster way to forward must give this model's own states on a few batches of the run at hand.

Tree masks are wrong for models that count positions by themselves (ALiBi), look at a window, or run through the text
one token at a time; and where frequencies are chosen by the longest text of a pass (longrope), a batch of any kind is. Nobody
keeps a true list of those, so every model is asked: the same rows are forwarded the fast way and one at a time with nothing but
their tokens, and the difference is measured as the largest ‖Δ‖ / ‖x‖ of any row at any layer.

What is proved is proved of the rows at hand, of their lengths and of the batches that they make. It is not kept for other runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
import torch

from harness.activations.batches import Batch
from harness.activations.forward import WAYS, Forwarded, Way
from harness.activations.layers import layers_at
from harness.activations.rows import RowTable
from harness.activations.sample import Trial
from harness.errors import HarnessError, MemoryRanOut, NumericalError
from harness.models.network import Network

TOLERANCE = {"float32": 5e-5, "float16": 2e-2, "bfloat16": 6e-2}
"""Largest relative difference that counts as rounding, by dtype."""

_LOG_PROB_TOLERANCE = {"float32": 2e-3, "float16": 0.1, "bfloat16": 0.5}
"""Largest difference of an answer's log-probability, in nats."""


class Verdict(msgspec.Struct, frozen=True):
    """The way to forward these rows, and why."""

    way: Way
    cuts: tuple[int, ...]
    """Numbers of tokens; rows on different sides of one are never forwarded together."""
    how: str
    """For the report: the same on every machine that comes to the same verdict."""
    measured: str
    """The differences found, for the manifest."""


class Attempt(msgspec.Struct, frozen=True):
    """A way to forward, and what it is tried on."""

    way: Way
    cuts: tuple[int, ...]
    trials: Sequence[Trial]

    @property
    def name(self) -> str:
        if not self.cuts:
            return _NAMES[self.way]
        return f"{_NAMES[self.way]}, up to and beyond {', '.join(map(str, self.cuts))} tokens apart"


_NAMES: dict[Way, str] = {
    "grafted": "packed (beginnings shared within and between examples once)",
    "packed": "packed (beginnings shared within an example once)",
    "whole": "whole prompts, padded on the right",
    "equal": "whole prompts, of one length in each pass",
    "single": "one prompt at a time",
}


class SelfCheck:
    """Holds ways to forward some rows against one prompt at a time."""

    def __init__(self, network: Network, table: RowTable, layers: Sequence[int], log_prob: bool):
        self._network = network
        self._table = table
        self._layers = layers
        self._log_prob = log_prob
        self._alone: dict[int, Forwarded] = {}
        """Rows by themselves, each once however many ways it is compared with."""

    def examine(self, attempts: Iterable[Attempt], forward: Callable[[Attempt, Batch], Forwarded]) -> Verdict:
        """The first attempt that gives what single prompts give.

        Raises NumericalError when the model's own states are not finite, MemoryRanOut when memory does not suffice.
        """
        refused: list[str] = []
        measured: list[str] = []
        for attempt in attempts:
            said, fault = self._try(attempt, forward)
            measured.append(f"{attempt.name}: {said}")
            if not fault:
                bound = f"self-check: states as of single prompts, to {TOLERANCE[self._network.card.dtype]:g}"
                how = "; ".join([attempt.name, *refused, bound])
                return Verdict(attempt.way, attempt.cuts, how, self._said(measured))
            refused.append(f"not {attempt.name}, because {fault}")
        return Verdict("single", (), "; ".join([_NAMES["single"], *refused]), self._said(measured))

    def _said(self, measured: Sequence[str]) -> str:
        if not measured:
            return ""
        lengths = [len(self._table.rows[row].tokens) for row in self._alone]
        return f"{len(lengths)} rows of {min(lengths)} to {max(lengths)} tokens: {', '.join(measured)}"

    def _try(self, attempt: Attempt, forward: Callable[[Attempt, Batch], Forwarded]) -> tuple[str, str]:
        """What was found, with the numbers; and why the way will not do, empty if it will."""
        dtype = self._network.card.dtype
        apart, moved = 0.0, 0.0
        for trial in attempt.trials:
            alone = self._by_themselves(trial.compared)
            try:
                found = forward(attempt, trial.batch)
            except (torch.cuda.OutOfMemoryError, MemoryRanOut):
                raise
            except (ValueError, RuntimeError, TypeError, IndexError, AttributeError, KeyError, HarnessError) as error:
                line = next(iter(str(error).strip().splitlines()), "")
                return f"{type(error).__name__}: {line[:160]}", "the model refuses it"
            rows = trial.batch.rows
            sites = [self._table.rows[row].site for row in rows]
            for site, states in found.by_site.items():
                own = [row for row, of in zip(rows, sites, strict=True) if of == site]
                compared = [
                    (row, one)
                    for row, one in zip(trial.compared, alone, strict=True)
                    if self._table.rows[row].site == site
                ]
                if compared:
                    plain = torch.cat([one.states for _, one in compared], dim=1).double()
                    scale = plain.norm(dim=-1).clamp_min(1e-30)
                    difference = (states[:, [own.index(row) for row, _ in compared]].double() - plain).norm(
                        dim=-1
                    ) / scale
                    apart = max(apart, float(difference.nan_to_num(nan=float("inf")).max()))
            if found.log_prob is not None:
                chances = torch.cat([one.log_prob for one in alone if one.log_prob is not None])
                chosen = [rows.index(row) for row in trial.compared]
                moved = max(moved, float((found.log_prob[chosen] - chances).abs().nan_to_num(nan=0.0).max()))
            if apart > TOLERANCE[dtype] or moved > _LOG_PROB_TOLERANCE[dtype]:
                break
        said = f"largest relative difference of a state {apart:.1e}"
        if apart > TOLERANCE[dtype]:
            return said, "its states are others"
        if self._log_prob:
            said += f", of an answer's log-probability {moved:.1e}"
        return said, "its answers' probabilities are others" if moved > _LOG_PROB_TOLERANCE[dtype] else ""

    def _by_themselves(self, rows: Sequence[int]) -> list[Forwarded]:
        new = [row for row in dict.fromkeys(rows) if row not in self._alone]
        if new:
            asked = [self._table.rows[row] for row in new]
            found = WAYS["single"](self._network)([asked], self._layers, self._log_prob)
            _finite(found, self._network, self._layers)
            self._alone |= zip(new, found.apart(asked), strict=True)
        return [self._alone[row] for row in rows]


def _finite(found: Forwarded, network: Network, layers: Sequence[int]) -> None:
    for site, states in found.by_site.items():
        bad = (~states.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        if not bad:
            continue
        raise NumericalError(
            f"{network.card.name}: states are not finite at layer {layers_at(site, layers)[bad[0]]}, even for a single prompt; "
            f"dtype is {network.card.dtype}, its weights may be damaged"
            if network.card.dtype == "float32"
            else f"dtype is {network.card.dtype}, use model.precision: exact"
        )
