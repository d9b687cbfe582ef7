"""Top principal component of the differences between rows of one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.contracts import Pairs, Probe, Readout
from harness.errors import NumericalError
from harness.machine.threads import each
from harness.probes._components import components
from harness.probes._contrast import differences, linear
from harness.readouts.attention import Sequences

if TYPE_CHECKING:
    from torch import Tensor


class RepresentationReading(Probe, frozen=True, kw_only=True):
    """Projects statements on the top principal component of the differences between those of one group, threshold at the mean.

    A group is one thing said twice: the same reply after an honest and after a dishonest instruction, as in `instructed_pairs`. What
    the two have in common, which varies most from fact to fact and which `crc_tpc` would find, is not in their difference. Which of them
    is which is not asked: differences count with either sign, so that the component is that of states less the mean of their group.
    Closed form, no seeds, no labels. With `pool: each` the difference is that of means over tokens, and each token is projected. A contrast
    pair is a group by itself: of these it is the component of x⁺ − x⁻ with either sign, which is not centred.
    """

    source: ClassVar[str] = "Zou et al. 2023 (arXiv 2310.01405), §3.1, linear artificial tomography"
    views: ClassVar[tuple[int, ...]] = (1, 2)
    by_group: ClassVar[bool] = True

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        states, views = differences(pairs), pairs.states.shape[2]
        if views == 2:
            found = each(lambda rows: _component(rows.double(), rows.double()), states)
            weight, bias = (torch.stack(parts).float()[None] for parts in zip(*found, strict=True))
            return linear(weight, bias, len(seeds), calibrated=False)
        sequences = Sequences.of(pairs)
        first = sequences.place[:, 0]
        if pairs.group is None:
            of_group = torch.arange(len(first))
        else:
            _, of_group = pairs.group[first].unique(return_inverse=True)
        counts = of_group.bincount()
        if not bool((counts > 1).any()):
            raise NumericalError(
                "representation_reading needs groups of two rows at least, such as one reply after two instructions, and every training row is a "
                "group of its own; name a column that pairs share as data.source.group, or use crc_tpc"
            )
        means = each(lambda rows: sequences.mean(rows.double().T).T, states)
        found = [_component(rows, _beyond_groups(rows, of_group, counts)) for rows in means]
        weight, bias = (torch.stack(parts).float()[None] for parts in zip(*found, strict=True))
        return linear(weight, bias, len(seeds), calibrated=False, views=1)


def _beyond_groups(rows: Tensor, of_group: Tensor, counts: Tensor) -> Tensor:
    """What rows (row, d_model) have beyond the mean of their group."""
    sums = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, of_group, rows)
    return rows - (sums / counts[:, None])[of_group]


def _component(rows: Tensor, beyond: Tensor) -> tuple[Tensor, Tensor]:
    """Unit-norm component of differences with either sign, (difference, d_model), and the bias that puts the mean of rows (row, d_model) at 0; zeros
    where nothing differs."""
    import torch

    # What is left of equal rows is rounding.
    if not bool((beyond.abs() > 1e-6 * rows.abs().max()).any()):
        return rows.new_zeros(rows.shape[1]), rows.new_zeros(())
    weight = components(torch.cat([beyond, -beyond]), 1)[0].double()
    return weight, -(rows @ weight).mean()
