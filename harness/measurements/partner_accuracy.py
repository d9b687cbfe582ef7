"""How often the bracket is known that is to be closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.measurements._brackets import OfBrackets

if TYPE_CHECKING:
    import numpy as np

    from harness.networks.watched import Watched


class PartnerAccuracy(OfBrackets, frozen=True, kw_only=True):
    """How often, where a bracket is closed, the likeliest of all closing ones is the right one. Guessing is right once in as many as there are kinds."""

    source: ClassVar[str] = "Hewitt et al. 2020 (arXiv 2010.07515)"

    def measure(self, watched: Watched) -> np.ndarray:
        import numpy as np

        from harness.networks.partners import partners_in

        partners = partners_in(watched)
        far = partners.back >= self.apart
        return np.array([float(one.right[far].double().mean()) for one in partners.seen])
