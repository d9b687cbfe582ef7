"""What each kind of plug-in must do, and the values that pass between them.

    Source ──examples──▶ Distractor ──prompts──▶ (network) ──states──▶ Normalisation ──▶ Probe
    Probe ──Readout──▶ Answers ──▶ Metric ──Measured──▶ Check ──▶ Judgement

Layer 0 is the embedding output and layer i the residual stream after block i, all *before* the final norm
(Hugging Face's `hidden_states`, except that its last entry is usually after the final norm).
"""

from __future__ import annotations

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
    named_by,
)
from harness.contracts.data import Bed, Distractor, Factor, PromptTable, Source
from harness.contracts.probes import Answers, Erasure, Fitted, Normalisation, Normaliser, Pairs, Probe, Readout

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
    "Fitted",
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
    "named_by",
]
