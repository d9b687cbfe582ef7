"""The contracts: what each kind of plug-in must do, and the values that pass between them.

    Source ──examples──▶ Distractor ──prompts──▶ (network) ──states──▶ Normalisation ──▶ Probe
    Probe ──Readout──▶ Answers ──▶ Metric ──Measured──▶ Check ──▶ Judgement

Layer 0 is the embedding output and layer i the residual stream after block i, all *before* the final norm
(Hugging Face's `hidden_states`, except that its last entry is usually after the final norm).

One word for one thing:

- subject: what states come from, such as a language model or a formula; a condition asks one subject one set of prompts
- layer and site: where in a subject a state is read; position: the token at which
- contrast pair: one question with both answers, x⁻ and x⁺; a statement is one of the two
- states: vectors of a subject, (layer, row, answer, d_model); a row is one (example, template)
- factor: something that is true of each row, the truth or a distractor; target: the factor that a probe is fitted on or scored against
- normalisation: a map of states to be learnt without labels; normaliser: the map as it was learnt
- probe: a method that answers from states; readout: the probe as it was fitted; answers: what a readout says of rows
- stage: one step of a plan, whose result the store keeps; analysis: stages, tables and a section of the report about scores
- metric: a number about answers and labels; score: its value, with an interval; evidence: all that a run knows of a probe
- check: a claim about scores; finding: whether its interval says pass, fail or inconclusive; verdict: whether that was expected
"""

from __future__ import annotations

from harness.contracts.analysis import Analysis, Drawn
from harness.contracts.checks import (
    ALL_LAYERS,
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
from harness.contracts.data import Bed, Distractor, Factor, Head, PromptTable, Source
from harness.contracts.probes import Answers, Erasure, Fitted, Normalisation, Normaliser, Pairs, Probe, Readout

__all__ = [
    "ALL_LAYERS",
    "Analysis",
    "Answers",
    "Bed",
    "Check",
    "ConditionName",
    "Distractor",
    "Drawn",
    "Erasure",
    "Factor",
    "Finding",
    "Fits",
    "Fitted",
    "Head",
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
