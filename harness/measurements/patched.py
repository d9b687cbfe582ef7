"""What a network answers when the waves of its first number are those of another number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.measurements._frequencies import OfFrequencies

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.networks.watched import Watched


class Patched(OfFrequencies, frozen=True, kw_only=True):
    """Share of questions a, b that are answered as a′, b would be, once the waves of some frequencies in what stands for a are those of a′ and all else is
    a's: high where these waves are all that a network reads of a number, and nearly none where they are not.

    Taken over questions of which neither a, b nor a′, b was trained on. Where `erased` says that waves are necessary, this says that they suffice.
    """

    shift: Annotated[int, Meta(ge=1)] = 1
    """Places from a to a′ in the order of the group."""

    def measure(self, watched: Watched) -> np.ndarray:
        import torch

        first, side, order = watched.recipes[0], len(watched.group.numbers), watched.group.in_group_order()
        network, layout = first.network, first.network.layout(first.sizes)
        flat = watched.flat.clone()
        views = layout.views(flat)
        moved = self._moved(watched, views[network.embedding][:, order])
        # A row for each number with the waves of another one, behind those of all tokens: the perceptron has a table for each position.
        table = views[network.embedding].unflatten(1, (-1, first.sizes.vocabulary))
        wider = torch.cat([table, torch.zeros_like(table)], dim=2)
        wider[:, 0, first.sizes.vocabulary + order] = moved
        questions = first.world.questions().clone()
        questions[:, 0] += first.sizes.vocabulary
        parameters = dict(views) | {network.embedding: wider.flatten(1, 2)}
        with torch.no_grad():
            said = network.logits(parameters, questions[None]).argmax(-1)
        places = torch.arange(side).roll(-self.shift)
        answers, trained_on = (
            watched.in_order(rows).unflatten(1, (side, side)) for rows in (watched.answers, watched.trained_on)
        )
        hits = watched.in_order(said).unflatten(1, (side, side)) == answers[:, places]
        asked = ~trained_on & ~trained_on[:, places]
        return ((hits & asked).sum((1, 2)).double() / asked.sum((1, 2))).numpy()

    def _moved(self, watched: Watched, rows: Tensor) -> Tensor:
        """Rows of numbers in the order of the group, (network, number, width), with some waves of the number so many places on."""
        import torch

        waves = torch.fft.rfft(rows.double(), dim=1)
        turned = torch.fft.rfft(rows.double().roll(-self.shift, 1), dim=1)
        for own, other, frequencies in zip(waves, turned, self.kept(watched), strict=True):
            own[list(frequencies)] = other[list(frequencies)]
        return torch.fft.irfft(waves, n=rows.shape[1], dim=1).float()
