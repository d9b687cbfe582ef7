"""The self-check: a faster way to forward must give this model's own states on a few prompts of the run at hand.

Tree masks are wrong for models that count positions by themselves (ALiBi), look at a window, or run through the text
one token at a time. Nobody keeps a true list of those, so every model is asked: the same rows are forwarded the fast way
and one at a time with nothing but their tokens, and the difference is measured as the largest ‖Δ‖ / ‖x‖ of any row at any
layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import torch

from harness.activations.forward import WAYS, Forwarded, Way
from harness.errors import HarnessError, NumericalError
from harness.models.network import Network
from harness.models.questions import Row

TOLERANCE = {"float32": 5e-5, "float16": 2e-2, "bfloat16": 6e-2}
"""Largest relative difference that counts as rounding, by dtype."""

_LOG_PROB_TOLERANCE = {"float32": 2e-3, "float16": 0.1, "bfloat16": 0.5}
"""Largest difference of an answer's log-probability, in nats."""

_ROWS = 4
"""Rows of a group that are forwarded alone for comparison."""


class Verdict(msgspec.Struct, frozen=True):
    """The way to forward this model, and why."""

    way: Way
    how: str
    """For the report: the same on every machine that comes to the same verdict."""
    measured: str
    """The differences found, for the manifest."""


def examine(
    network: Network,
    groups: Sequence[Sequence[Row]],
    ways: Sequence[Way],
    layers: Sequence[int],
    log_prob: bool,
    stem: int = 0,
) -> Verdict:
    """The first of `ways` that gives what single prompts give. `groups` are a few examples, forwarded as one batch; they
    share a stem of so many tokens.

    Raises NumericalError when the model's own states are not finite.
    """
    compared = [_spread(len(group)) for group in groups]
    alone = [[group[index] for index in chosen] for group, chosen in zip(groups, compared, strict=True)]
    reference = WAYS["single"](network)(alone, layers, log_prob)
    _finite(reference, network, layers)
    refused: list[str] = []
    measured: list[str] = []
    for way in ways:
        if way == "single":
            break
        found = _try(network, way, groups, compared, reference, layers, log_prob, stem if way == "grafted" else 0)
        measured.append(f"{way}: {found.said}")
        if not found.fault:
            bound = f"self-check: states as of single prompts, to {TOLERANCE[network.card.dtype]:g}"
            return Verdict(way, "; ".join([_NAMES[way], *refused, bound]), ", ".join(measured))
        refused.append(f"not {_NAMES[way]}, because {found.fault}")
    return Verdict("single", "; ".join([_NAMES["single"], *refused]), ", ".join(measured))


class _Trial(msgspec.Struct, frozen=True):
    """The result of trying one way."""

    said: str
    """With the numbers."""
    fault: str = ""
    """Why it will not do; empty if it will."""


_NAMES: dict[Way, str] = {
    "grafted": "packed (beginnings shared within and between examples once)",
    "packed": "packed (beginnings shared within an example once)",
    "whole": "whole prompts, padded on the right",
    "single": "one prompt at a time",
}


def _try(
    network: Network,
    way: Way,
    groups: Sequence[Sequence[Row]],
    compared: Sequence[Sequence[int]],
    reference: Forwarded,
    layers: Sequence[int],
    log_prob: bool,
    stem: int,
) -> _Trial:
    try:
        found = WAYS[way](network)(groups, layers, log_prob, stem)
    except torch.cuda.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, TypeError, IndexError, AttributeError, KeyError, HarnessError) as error:
        line = next(iter(str(error).strip().splitlines()), "")
        return _Trial(f"{type(error).__name__}: {line[:160]}", "the model refuses it")
    starts = [sum(len(group) for group in groups[:number]) for number in range(len(groups))]
    chosen = [start + index for start, indices in zip(starts, compared, strict=True) for index in indices]
    states = found.states[:, chosen].double()
    plain = reference.states.double()
    scale = plain.norm(dim=-1).clamp_min(1e-30)
    difference = float(((states - plain).norm(dim=-1) / scale).nan_to_num(nan=float("inf")).max())
    dtype = network.card.dtype
    said = f"largest relative difference of a state {difference:.1e}"
    if difference > TOLERANCE[dtype]:
        return _Trial(said, "its states are others")
    if found.log_prob is not None and reference.log_prob is not None:
        moved = float((found.log_prob[chosen] - reference.log_prob).abs().nan_to_num(nan=0.0).max())
        said += f", of an answer's log-probability {moved:.1e}"
        if moved > _LOG_PROB_TOLERANCE[dtype]:
            return _Trial(said, "its answers' probabilities are others")
    return _Trial(said)


def _spread(count: int) -> list[int]:
    """A few numbers below `count`, first and last among them."""
    if count <= _ROWS:
        return list(range(count))
    return sorted({round(step * (count - 1) / (_ROWS - 1)) for step in range(_ROWS)})


def _finite(found: Forwarded, network: Network, layers: Sequence[int]) -> None:
    bad = (~found.states.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise NumericalError(
            f"{network.card.name}: states are not finite at layer {layers[bad[0]]}, even for a single prompt; "
            f"dtype is {network.card.dtype}, try model.dtype: float32"
        )
