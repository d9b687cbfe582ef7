"""What a network can still do when waves are taken out of its embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._frequencies import OfFrequencies

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class Erased(OfFrequencies, frozen=True, kw_only=True):
    """Accuracy on questions that a network is not trained on, once the waves of some frequencies are taken out of the rows of its embedding that
    stand for numbers: low where the network computes with them, and as before where it does not.
    """

    scale: ClassVar[str] = "share"

    def measure(self, watched: Watched) -> np.ndarray:
        import torch

        first = watched.recipes[0]
        layout, order = first.network.layout(first.sizes), watched.group.in_group_order()
        flat = watched.flat.clone()
        table = layout.views(flat)[first.network.embedding]
        for own, frequencies in zip(table, self.kept(watched), strict=True):
            # One table for all positions, or one for each.
            for rows in own.unflatten(0, (-1, first.sizes.vocabulary)):
                waves = torch.fft.rfft(rows[order].double(), dim=0)
                waves[list(frequencies)] = 0
                rows[order] = torch.fft.irfft(waves, n=len(order), dim=0).float()
        with torch.no_grad():
            logits = first.network.logits(layout.views(flat), first.world.questions()[None])
        return watched.mean((logits.argmax(-1) == watched.answers).double(), trained=False).numpy()
