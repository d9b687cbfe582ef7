"""Whether a score is chance: equivalence to one half within a margin, decided by the interval."""

from __future__ import annotations

import msgspec

from harness.checks._of_probe import judged
from harness.contracts import Finding, Judgement
from harness.estimate import Estimate


def chance(score: Estimate, margin: float, statement: str, draws: str = "seeds") -> Judgement:
    """Passes where the whole interval of `score` minus one half is within ± margin, fails where it is wholly outside."""
    gap = msgspec.structs.replace(score, value=score.value - 0.5, low=score.low - 0.5, high=score.high - 0.5)
    finding: Finding = "inconclusive"
    if -margin <= gap.low and gap.high <= margin:
        finding = "pass"
    elif gap.low > margin or gap.high < -margin:
        finding = "fail"
    bar = f"±{margin:g}"
    rule = {
        "pass": f"the whole interval is within {bar}",
        "fail": f"the whole interval is outside {bar}",
        "inconclusive": f"the interval reaches across {bar}",
    }[finding]
    return judged(finding, gap, margin, statement, rule, draws)
