"""What each kind of plug-in must do, and the values that pass between them.

    Source ──examples──▶ Distractor ──prompts──▶ (network) ──states──▶ Normalisation ──▶ Probe
    Probe ──Readout──▶ Answers ──▶ Metric ──Measured──▶ Check ──▶ Judgement

Layer 0 is the embedding output and layer i the residual stream after block i, all *before* the final norm
(Hugging Face's `hidden_states`, except that its last entry is usually after the final norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from msgspec import Meta

from harness.contracts.axes import WithAxes
from harness.contracts.checks import (
    Check,
    ConditionName,
    Finding,
    Fits,
    Judgement,
    LawMetric,
    LayerChoice,
    Metric,
    ProbeName,
    Steered,
    TargetName,
)
from harness.contracts.data import Bed, Distractor, Factor, PromptTable, Source
from harness.contracts.kind import options
from harness.contracts.probes import Answers, Erasure, Normalisation, Normaliser, Pairs, Probe, Readout

if TYPE_CHECKING:
    from torch import Tensor


class Fitted(WithAxes, frozen=True):
    """What was learnt from training rows. Its fields are the tensors that the store keeps."""

    def tensors(self) -> dict[str, Tensor]:
        """On the CPU and contiguous, as safetensors wants them."""
        import torch

        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: own.detach().cpu().contiguous() for name, own in found.items() if isinstance(own, torch.Tensor)}


NAMED = ("probe", "condition", "target")


@cache
def named_by(check: type[Check]) -> Mapping[str, str]:
    """What is named by each of a check's options that name something of the spec: {'probe': 'probe', 'over': 'target'}."""
    found = {option.name: _named(option.type) for option in options(check)}
    return {name: what for name, what in found.items() if what}


def _named(hint: Any) -> str:
    extra = next((meta.extra for meta in get_args(hint) if isinstance(meta, Meta) and meta.extra), {})
    return extra.get("names") or next(filter(None, map(_named, get_args(hint))), "")


__all__ = [
    "Answers",
    "Bed",
    "Check",
    "ConditionName",
    "Distractor",
    "Erasure",
    "Factor",
    "Finding",
    "Fits",
    "Judgement",
    "LawMetric",
    "LayerChoice",
    "Metric",
    "Normalisation",
    "Normaliser",
    "Pairs",
    "Probe",
    "ProbeName",
    "PromptTable",
    "Readout",
    "Source",
    "Steered",
    "TargetName",
]
