"""The directions that a test bed made its states of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.beds.sparse_features import SparseFeatures
from harness.beds.superposition import Superposition
from harness.subjects.formula import Formula
from harness.subjects.small_networks import SmallNetworks

if TYPE_CHECKING:
    from torch import Tensor

    from harness.contracts.subject import Subject


def planted_directions(subject: Subject) -> Tensor | None:
    """Of norm 1, float32, (feature, d_model); None for a subject of which nobody knows them, and for networks before they are trained."""
    if isinstance(subject, Formula) and isinstance(subject.bed, SparseFeatures):
        return subject.bed.planted()
    if (
        isinstance(subject, SmallNetworks)
        and isinstance(subject.bed, Superposition)
        and subject.checkpoints is not None
    ):
        bed = subject.bed
        flat = subject.checkpoints.parameters(bed.read_step)[bed.which][None]
        weight = bed.made.layout(bed.recipes[0].sizes).views(flat)["weight"][0]
        return weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return None
