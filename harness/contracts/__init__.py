"""The contracts: what each kind of plug-in must do, and the values that pass between them.

    Source ──examples──▶ Distractor ──prompts──▶ (network) ──states──▶ Normalisation ──▶ Probe
    Probe ──Readout──▶ Answers ──▶ Metric ──Measured──▶ Check ──▶ Judgement

Layer 0 is the embedding output and layer i the residual stream after block i, all *before* the final norm
(Hugging Face's `hidden_states`, except that its last entry is usually after the final norm).

One word for one thing:

- subject: what states come from, such as a language model or a formula; a condition asks one subject one set of prompts
- layer and site: where in a subject a state is read; position: the token at which
- row: one (example, template), with one view or two; contrast pair: a row of two, one question with both answers, x⁻ and x⁺; a
  statement is one of the two, or a row of one view
- states: vectors of a subject, (layer, row, view, d_model)
- factor: something that is true of each row, the truth or a distractor; target: the factor that a probe is fitted on or scored against,
  which is binary, one of several classes, a number or a vector
- normalisation: a map of states to be learnt without labels; normaliser: the map as it was learnt
- probe: a method that answers from states; readout: the probe as it was fitted; answers: what a readout says of rows
- stage: one step of a plan, whose result the store keeps; analysis: stages, tables and a section of the report about scores
- metric: a number about answers and labels; score: its value, with an interval; evidence: all that a run knows of a probe
- measurement: a number about a network at a step of its training, whose networks differ in their seeds; watch: all of a condition's
- check: a claim about scores or measurements; finding: whether its interval says pass, fail or inconclusive; verdict: whether that was expected
"""

from __future__ import annotations

from harness.contracts.analysis import Analysis, Drawn
from harness.contracts.checks import (
    ALL_LAYERS,
    Check,
    Claim,
    ConditionName,
    Finding,
    Fits,
    Judgement,
    LawMetric,
    LayerChoice,
    MeasurementName,
    Metric,
    ProbeName,
    Steered,
    TargetName,
    named_by,
)
from harness.contracts.data import Bed, Distractor, Factor, Head, PromptTable, Source
from harness.contracts.measurements import Halfway, Measurement, Watch
from harness.contracts.probes import (
    Answers,
    Erasure,
    Fitted,
    Normalisation,
    Normaliser,
    Pairs,
    Probe,
    Readout,
    Together,
)
from harness.contracts.targets import BINARY, CLASSES, KINDS, MOST_CLASSES, NUMBER, VECTOR, TargetKind

__all__ = [
    "ALL_LAYERS",
    "BINARY",
    "CLASSES",
    "KINDS",
    "MOST_CLASSES",
    "NUMBER",
    "VECTOR",
    "Analysis",
    "Answers",
    "Bed",
    "Check",
    "Claim",
    "ConditionName",
    "Distractor",
    "Drawn",
    "Erasure",
    "Factor",
    "Finding",
    "Fits",
    "Fitted",
    "Halfway",
    "Head",
    "Judgement",
    "LawMetric",
    "LayerChoice",
    "Measurement",
    "MeasurementName",
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
    "TargetKind",
    "TargetName",
    "Together",
    "Watch",
    "named_by",
]
