"""The spec: an experiment as typed, frozen values, resolved and complete. See `harness.language` for how YAML becomes one.

Options, defaults and their documentation stand here (and in the kinds); the JSON Schema, error messages and
`harness list` are made from them.
"""

from harness.spec.analyses import Autopsy, Intervention, LayerRule, SampleEfficiency
from harness.spec.condition import (
    Activations,
    Condition,
    Data,
    Elicit,
    FeaturesOf,
    Model,
    Origin,
    Part,
    Planting,
    Prompt,
    Slug,
    Split,
    StatesFolder,
    Stretch,
    Target,
    Value,
)
from harness.spec.experiment import Spec, Transfer
from harness.spec.reply import Reply, ReplyLabel

__all__ = [
    "Activations",
    "Autopsy",
    "Condition",
    "Data",
    "Elicit",
    "FeaturesOf",
    "Intervention",
    "LayerRule",
    "Model",
    "Origin",
    "Part",
    "Planting",
    "Prompt",
    "Reply",
    "ReplyLabel",
    "SampleEfficiency",
    "Slug",
    "Spec",
    "Split",
    "StatesFolder",
    "Stretch",
    "Target",
    "Transfer",
    "Value",
]
