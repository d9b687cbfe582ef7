"""Wrong answers taken from the right ones: everybody gets somebody else's.

Each value is used as often wrongly as rightly, so that no word alone gives the label away. Wrong values drawn freely
would leave "China" in true statements only as often as there are Chinese cities, and a probe could learn just that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.data._order import draw


def swapped(items: Sequence[str], values: Sequence[str], seed: int) -> list[str]:
    """A permutation of `values` that gives no item its own, random by `seed`.

    No value may stand at more than half of the items: there would be nothing to exchange it for.
    """
    assert not values or 2 * max(Counter(values).values()) <= len(values), "one value stands at more than half"
    places = sorted(range(len(items)), key=lambda i: (draw(seed, "wrong", items[i]), items[i]))
    chosen = sorted(range(len(items)), key=lambda i: (draw(seed, "for", items[i]), items[i]))
    given = {place: values[source] for place, source in zip(places, chosen, strict=True)}
    for position, place in enumerate(places):
        if given[place] != values[place]:
            continue
        # At least one partner exists: fewer than all places hold or own the value that is in the way.
        for other in places[position + 1 :] + places[:position]:
            if given[other] != values[place] and given[place] != values[other]:
                given[place], given[other] = given[other], given[place]
                break
    return [given[place] for place in range(len(items))]
