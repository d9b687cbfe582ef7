"""The choice of a way to states: given by the subject, forwarded, or forwarded by the processes of a machine together."""

from __future__ import annotations

from harness.activations.banks import Banks
from harness.activations.forwarding import Forwarding, ModelForwarding
from harness.activations.given import GivenStates
from harness.activations.rows import RowTable
from harness.contracts.subject import Subject
from harness.machine.resources import Resources
from harness.subjects.language_model import LanguageModel


def forwarding(subject: Subject, table: RowTable, banks: Banks, resources: Resources) -> Forwarding:
    """The forwarding for a subject. Nothing is loaded yet."""
    if not isinstance(subject, LanguageModel):
        return GivenStates(subject, table, banks, resources)
    if resources.tensor_parallel:
        from harness.activations.tensor_parallel_forwarding import TensorParallelForwarding

        return TensorParallelForwarding(subject.card, subject, table, banks, resources)
    return ModelForwarding(subject.card, subject, table, banks, resources)
