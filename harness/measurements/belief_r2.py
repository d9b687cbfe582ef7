"""How well the belief about a hidden state can be read off the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from harness.measurements._process import OfProcess

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.networks.beginnings import Beginnings
    from harness.networks.trained_bed import TrainedBed
    from harness.networks.watched import Watched


class BeliefR2(OfProcess, frozen=True, kw_only=True):
    """R² with which a ridge regression tells the belief about the hidden state of a process, computed by the forward algorithm, at beginnings of sequences
    that it was not fitted on.

    Beginnings are those of a thousand sequences, chosen evenly among all that there are, each beginning once; five parts of the sequences are each told
    by a fit on the others, whose strength is chosen on its own rows. `read` has baselines that read no network, the same for all of them.
    """

    target: Literal["belief", "next_token"] = "belief"
    """What is told. `next_token`: the probabilities of all next tokens, which several beliefs may share."""
    read: Literal["states", "tokens", "recent_tokens", "next_token"] = "states"
    """What is read. `tokens`: all tokens of the beginning, one-hot. `recent_tokens`: the mean of the target over beginnings of the same length with the same last
    three tokens. `next_token`: the exact probabilities of the next token."""
    against: Literal["mean", "recent_tokens"] = "mean"
    """Of whose squared error it is the share that is not made. `mean`: of who always says the mean, which is R². `recent_tokens`: of who knows the length and
    the last three tokens and says their mean, so that it is the share explained of what these leave unexplained; below 0 for who errs more."""
    layer: int | Literal["together"] = -1
    """The layer; negative ones count from the last. `together`: all layers side by side."""
    shuffled: bool = False
    """Targets in a random order, a control."""

    scale: ClassVar[str] = "r2"

    def problem(self, bed: TrainedBed) -> str:
        if (said := super().problem(bed)) or self.layer == "together":
            return said
        return bed.no_layer(self.layer)

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np
        import torch

        from harness.machine.threads import each
        from harness.maths.held_out import held_out

        seen, networks = watched.beginnings, range(len(watched.recipes))
        values, recent = seen.values[self.target], seen.recent(self.target)
        base = values.mean(0) if self.against == "mean" else recent
        read = [] if self.read == "recent_tokens" else [self._rows(seen, network) for network in networks]
        fold = seen.fold

        def explained(network: int) -> float:
            generator = torch.Generator().manual_seed(watched.recipes[network].seed)
            order = torch.randperm(len(values), generator=generator) if self.shuffled else torch.arange(len(values))
            own = values[order]
            said = held_out(read[network], own, fold) if read else recent
            missed = (base[order] if self.against == "recent_tokens" else base) - own
            return 1 - float((said - own).square().sum() / missed.square().sum())

        if self.read != "states" and not self.shuffled:
            return np.full(len(networks), explained(0))
        return np.array(each(explained, networks))

    def _rows(self, seen: Beginnings, network: int) -> Tensor:
        if self.read != "states":
            return seen.tokens if self.read == "tokens" else seen.values["next_token"]
        if self.layer != "together":
            return seen.states[network, self.layer]
        # Each by its size: the later layers are larger, and a penalty would leave out the first ones.
        layers = seen.states[network].double()
        size = (layers - layers.mean(1, keepdim=True)).square().sum(2).mean(1).sqrt()
        return (layers / size[:, None, None]).transpose(0, 1).flatten(1)
