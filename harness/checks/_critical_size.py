"""The critical size: on how few questions a network keeps what it grokked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from harness.checks._networks import ending
from harness.contracts import Claim, ConditionName, MeasurementName
from harness.errors import CheckError
from harness.maths.critical_size import crossing
from harness.networks.trained_bed import TrainedBed

if TYPE_CHECKING:
    import numpy as np

    from harness.scoring.evidence import Evidence


class OfSizes(Claim, frozen=True, kw_only=True):
    """A claim about networks that are trained on with several numbers of their questions, `condition` being one of them."""

    sizes: Annotated[tuple[ConditionName, ...], Meta(min_length=1)]
    """The other conditions: the same networks, trained on with other numbers of questions at each weight decay."""
    measurement: MeasurementName = "test_accuracy"
    """What is kept or lost."""
    level: float = 0.5
    """Its value at the critical size."""
    median_of: Annotated[int, Meta(ge=1)] = 1
    """Stored steps, up to the last one, of which the median is taken."""


def critical_sizes(check: OfSizes, evidence: Evidence, of_steps: float = 1.0) -> dict[float, np.ndarray]:
    """log2 of the number of questions at which `measurement` is `level` after a share of the steps, (network,), by weight decay; NaN for a network that
    is above or below it at all of them. Raises CheckError where conditions cannot be compared."""
    import numpy as np

    grouped: dict[float, dict[int, np.ndarray]] = {}
    for name in (check.condition, *check.sizes):
        bed = evidence.spec.condition(name).model
        assert isinstance(bed, TrainedBed), "a condition whose networks are measured"
        recipe = bed.last_recipes[0]
        watch = evidence.watch(name)
        ends = ending(watch.until(round(of_steps * watch.steps[-1])), check.measurement, check.median_of)
        grouped.setdefault(recipe.weight_decay, {})[round(recipe.fraction * recipe.world.rows)] = ends
    if len({len(ends) for own in grouped.values() for ends in own.values()}) > 1:
        raise CheckError(
            f"{check.kind()}: conditions have different numbers of networks, which cannot be paired; train as many in each"
        )
    for decay, own in grouped.items():
        if len(own) < 2:
            raise CheckError(
                f"{check.kind()}: at a weight decay of {decay:g} there is one number of questions, between which and another nothing "
                "can cross; name more conditions"
            )
    found = {}
    for decay, own in grouped.items():
        sizes = sorted(own)
        each = np.stack([own[size] for size in sizes], axis=1)
        found[decay] = np.array([crossing(sizes, ends, check.level) for ends in each])
    return found
