"""What networks hold and say at beginnings of sequences of the process that they learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.machine.threads import each
from harness.worlds.hidden_markov import HiddenMarkov

if TYPE_CHECKING:
    from torch import Tensor

    from harness.networks.watched import Watched

LOOKED_AT = 500
"""Sequences that measurements look at; all that there are, if there are fewer."""
AT_ONCE = 250
"""Sequences that go through all networks at once."""
FOLDS = 5
"""Parts of the sequences, each of which is read by what is fitted on the others."""
SEED = 0xBE11EF


class Beginnings:
    """Beginnings of sequences that are chosen evenly among all that a process can emit, each beginning once, and networks at their last tokens. What is
    asked for is computed once."""

    def __init__(self, watched: Watched):
        self.watched = watched

    @cached_property
    def process(self) -> HiddenMarkov:
        """The world. Raises UsageError for one that is no process."""
        world = self.watched.recipes[0].world
        if not isinstance(world, HiddenMarkov):
            raise UsageError(
                "beliefs are those about a process with hidden states, which this world is not; measure something else"
            )
        return world

    @cached_property
    def sequences(self) -> Tensor:
        """int64, (row, position)."""
        import torch

        order = torch.randperm(self.process.rows, generator=torch.Generator().manual_seed(SEED))
        return self.process.questions()[order[:LOOKED_AT]]

    @cached_property
    def first(self) -> Tensor:
        """Which positions are the ends of beginnings: those that no sequence before has. bool, (row, position)."""
        return self.process.beginnings(self.sequences)

    @cached_property
    def fold(self) -> Tensor:
        """The part that a beginning's sequence is in, int64, (beginning,)."""
        import torch

        return (torch.arange(len(self.sequences)) % FOLDS)[:, None].expand(self.first.shape)[self.first]

    @cached_property
    def values(self) -> Mapping[str, Tensor]:
        """What is exactly true of each beginning, float64, (beginning, component): `belief` and `next_token`."""
        beliefs = self.process.beliefs(self.sequences)[self.first]
        return {"belief": beliefs, "next_token": self.process.laws(beliefs)}

    def recent(self, target: str) -> Tensor:
        """The mean of a target over all beginnings of the same length with the same last three tokens, float64, (beginning, component)."""
        beyond = self.process.beyond_recent(self.sequences)[self.first]
        mean = self.values["belief"] - beyond
        return mean if target == "belief" else self.process.laws(mean)

    @cached_property
    def tokens(self) -> Tensor:
        """The tokens of each beginning by their distance from its end, one-hot, float32, (beginning, length × token)."""
        import torch

        rows, ends = self.first.nonzero(as_tuple=True)
        back = ends[:, None] - torch.arange(self.process.length)
        tokens = self.sequences[rows[:, None], back.clamp(min=0)]
        one_hot = torch.nn.functional.one_hot(tokens, self.process.vocabulary).float()
        return (one_hot * (back >= 0)[..., None]).flatten(1)

    @cached_property
    def states(self) -> Tensor:
        """float32, (network, layer, beginning, width)."""
        import torch

        layers = self.watched.recipes[0].network.layers()

        def held(network: int) -> Tensor:
            parts = [
                torch.stack([places[layer][first] for layer in layers])
                for first, places in zip(self.first.split(AT_ONCE), self._through(network, self.sequences), strict=True)
            ]
            return torch.cat(parts, dim=1)

        return torch.stack(self._each(held))

    @cached_property
    def excess(self) -> Tensor:
        """Cross entropy of the next token above the process's own, mean over positions of sequences that are drawn from the process, nats, float64,
        (network,). The mean over the next token is computed, not drawn."""
        import torch

        sequences = self.process.drawn(LOOKED_AT, SEED)[:, :-1]
        laws = self.process.laws(self.process.beliefs(sequences))
        known = (laws * laws.clamp(min=torch.finfo(torch.float64).tiny).log()).sum(-1)

        def above(network: int) -> Tensor:
            said = [places["logits"].double().log_softmax(-1) for places in self._through(network, sequences)]
            return (known - (laws * torch.cat(said)).sum(-1)).mean()

        return torch.stack(self._each(above))

    def _each(self, read: Callable[[int], Tensor]) -> list[Tensor]:
        """What is read of each network, on one thread each, so that it does not depend on how many there are."""
        assert len(self.watched.flat) == len(self.watched.recipes), "read once, before threads ask for it"
        return each(read, range(len(self.watched.recipes)))

    def _through(self, network: int, sequences: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """What stands at each place of a network, (row, position, width), and `logits`, of so many sequences at once."""
        import torch

        first = self.watched.recipes[network]
        parameters = first.network.layout(first.sizes).views(self.watched.flat[network][None])
        for asked in sequences.split(AT_ONCE):
            found: dict[str, Tensor] = {}

            def kept(place: str, states: Tensor, found: dict[str, Tensor] = found) -> Tensor:
                found[place] = states[0]
                return states

            with torch.no_grad():
                found["logits"] = first.network.logits(parameters, asked[None], kept)[0]
            yield found
