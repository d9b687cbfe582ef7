"""What checks of patching look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from harness.errors import CheckError

if TYPE_CHECKING:
    from harness.contracts.patched import Patched
    from harness.scoring.evidence import Evidence


def patched_of(evidence: Evidence, condition: str, direction: Literal["denoise", "resample"] | None) -> Patched:
    """What patching between a condition and another one did, in a direction or the first one. Raises CheckError where it was not asked for."""
    found: dict[str, Patched] = evidence.told("patching", condition)
    if direction is None:
        return next(iter(found.values()))
    if direction not in found:
        raise CheckError(
            f"patching of {condition} did not {direction}; write `by: both` in the patching among `analyses`"
        )
    return found[direction]
