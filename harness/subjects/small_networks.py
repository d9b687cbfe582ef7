"""Small networks that are trained for a test bed as a subject: the states of one of them, after one step of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.code.code_version import code_of
from harness.contracts.subject import Subject
from harness.networks.checkpoints import Checkpoints
from harness.networks.trained_bed import TrainedBed
from harness.store import content_key

if TYPE_CHECKING:
    from torch import Tensor


class SmallNetworks(Subject, frozen=True):
    """A bed's networks. Where they are trained, the identity of the one that is read is its bytes."""

    bed: TrainedBed
    training: str = ""
    """Key of the stage that trains them; empty before a plan has one."""
    checkpoints: Checkpoints | None = None
    """None where they are still to be trained."""

    @property
    def name(self) -> str:
        return self.bed.kind()

    @property
    def about(self) -> str:
        bed = self.bed
        parameters = bed.recipes[0].parameters
        return (
            f"test bed {self.name}: network {bed.which} of {bed.train.networks} trained {bed.network}s of {parameters:,} parameters, "
            f"after step {bed.read_step:,}"
        )

    @property
    def identity(self) -> str:
        if self.checkpoints is None:
            return content_key("small networks", self._options, self.training, code_of(*self.code))
        digest = self.checkpoints.digest(self.bed.read_step)
        return content_key("small network", digest, self.bed.which, code_of(*self.code))

    @property
    def layers(self) -> int:
        return self.bed.shape[0]

    @property
    def d_model(self) -> int:
        return self.bed.shape[1]

    @property
    def code(self) -> tuple[type, ...]:
        return (SmallNetworks, type(self.bed))

    @property
    def untrainable(self) -> str:
        return "the networks of this test bed are trained as `train` says; write other options there"

    def ingredients(self) -> dict[str, str]:
        return {"bed": content_key(self._options), "network": self.training}

    def provenance(self) -> Mapping[str, Any]:
        return {"bed": self._options}

    def trained(self, checkpoints: Checkpoints) -> SmallNetworks:
        """The same, with the networks as they were trained."""
        return msgspec.structs.replace(self, checkpoints=checkpoints)

    def states(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> Tensor:
        import torch

        assert self.checkpoints is not None, "states are read of networks that are trained"
        network, sizes = self.bed.made, self.bed.recipes[0].sizes
        parameters = self.checkpoints.parameters(self.bed.read_step)[self.bed.which][None]
        views, found = network.layout(sizes).views(parameters), torch.empty(len(layers), len(prompts), self.d_model)
        alike: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompts):
            alike.setdefault(len(prompt), []).append(row)
        for rows in alike.values():
            places: dict[str, Tensor] = {}

            def kept(place: str, states: Tensor, places: dict[str, Tensor] = places) -> Tensor:
                places[place] = states[0] if states.ndim == 3 else states[0, :, -1]
                return states

            with torch.no_grad():
                network.logits(views, torch.tensor([prompts[row] for row in rows])[None], kept)
            found[:, rows] = torch.stack([places[network.layers()[layer]] for layer in layers])
        return found

    @property
    def _options(self) -> Mapping[str, Any]:
        return {"kind": self.name, **msgspec.to_builtins(self.bed)}
