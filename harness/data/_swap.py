"""Wrong answers taken from the right ones: everybody gets somebody else's.

Each value is used as often wrongly as rightly, so that no word alone gives the label away. Wrong values drawn freely
would leave "China" in true statements only as often as there are Chinese cities, and a probe could learn just that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from harness.errors import DataError
from harness.maths.draws import draw


def swapped(
    items: Sequence[str], values: Sequence[str], seed: int, also_right: Sequence[Collection[str]] | None = None
) -> list[str]:
    """A permutation of `values` that gives no item its own, nor one that is `also_right` for it; random by `seed`.

    No value may stand at more than half of the items: there would be nothing to exchange it for. Raises DataError when
    `also_right` leaves nothing else.
    """
    assert not values or 2 * max(Counter(values).values()) <= len(values), "one value stands at more than half"
    extra = also_right or [()] * len(items)
    right = [{own, *others} for own, others in zip(values, extra, strict=True)]
    places = sorted(range(len(items)), key=lambda i: (draw(seed, "wrong", items[i]), items[i]))
    chosen = sorted(range(len(items)), key=lambda i: (draw(seed, "for", items[i]), items[i]))
    given = {place: values[source] for place, source in zip(places, chosen, strict=True)}
    for position, place in enumerate(places):
        if given[place] not in right[place]:
            continue
        # With `also_right` empty there is a partner: fewer than all places hold or own the value that is in the way.
        for other in places[position + 1 :] + places[:position]:
            if given[other] not in right[place] and given[place] not in right[other]:
                given[place], given[other] = given[other], given[place]
                break
        else:
            raise DataError(f'data.source: nothing that is wrong is left for "{items[place]}"; take more examples')
    return [given[place] for place in range(len(items))]
