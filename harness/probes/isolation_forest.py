"""Isolation forest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from harness.contracts import Pairs, Readout
from harness.machine.threads import each
from harness.probes._detector import OfStates, sides_of
from harness.readouts.detectors import IsolationReadout

if TYPE_CHECKING:
    from torch import Tensor


NEVER = 1e6
"""Cuts after which 2^(−depth / usual) is zero."""


class Heap(NamedTuple):
    """The trees of a forest, three arrays (tree, node); see `harness.readouts.detectors.IsolationReadout`."""

    feature: np.ndarray
    threshold: np.ndarray
    depth: np.ndarray
    seen: np.ndarray
    """Which training rows each tree was grown on, bool, (tree, row)."""


class Isolation(OfStates, frozen=True, kw_only=True):
    """How few random cuts set a row apart from others: needs no labels and no distances.

    An anomaly detector, scikit-learn's. A cut looks at one dimension, so that with many, of which few matter, most cuts are
    wasted. Larger is more unusual against every column: no sign is ever resolved.
    """

    trees: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """How many. More make the seeds agree."""
    samples: Annotated[int, Meta(ge=2, le=4096)] = 256
    """Training rows that each tree is grown on; half of those that there are, at most, so that the threshold can be drawn by
    trees that did not see a row. Few keep trees shallow."""

    source: ClassVar[str] = (
        "Liu, Ting & Zhou 2008, Isolation forest; scikit-learn's IsolationForest; Mallen & Belrose 2023"
    )
    seeded: ClassVar[bool] = True
    halves: ClassVar[int] = 10

    def fit(self, pairs: Pairs, seeds: Sequence[int]) -> Readout:
        import torch

        rows = self.rows(pairs)
        used = max(1, min(self.samples, len(rows[0]) // 2))
        forests = each(lambda own: [self._grown(own, used, seed) for seed in seeds], rows)
        arrays = {
            name: torch.from_numpy(
                np.stack([np.stack([getattr(heap, name) for heap in own]) for own in forests], axis=1)
            )
            for name in Heap._fields
        }
        seen = arrays.pop("seen")
        # With one row to a tree there is nothing to cut.
        usual = torch.tensor([max(average_path(np.array([used]))[0], 1.0)], dtype=torch.float32)
        bias = torch.zeros(len(seeds), len(rows))
        readout = IsolationReadout(sides_of(self.features), **arrays, usual=usual, bias=bias)
        return msgspec.structs.replace(readout, bias=self._bias(readout, rows, seen))

    def _bias(self, readout: IsolationReadout, rows: list[Tensor], seen: Tensor) -> Tensor:
        """Minus the threshold, (seed, layer), from what trees say of training rows that they did not see."""
        import torch

        bias = torch.empty_like(readout.bias)
        for layer, own in enumerate(rows):
            if not bool(own.any()):
                # Nothing varies: however many cuts, no row is set apart, and the score is 0.
                readout.depth[:, layer], bias[:, layer] = NEVER, 0.0
                continue
            for seed in range(len(bias)):
                new = ~seen[seed, layer]
                depth = (readout.depths(seed, layer, own.cpu().float()) * new).sum(dim=0) / new.sum(dim=0)
                # Of few trees, every one may have seen a row.
                score = torch.exp2(-depth[depth.isfinite()].double() / readout.usual)
                bias[seed, layer] = -self.threshold(score) if len(score) else 0.0
        return bias

    def _grown(self, rows: Tensor, used: int, seed: int) -> Heap:
        """One forest; rows (pair, feature)."""
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(n_estimators=self.trees, max_samples=used, random_state=seed)
        forest.fit(rows.float().cpu().numpy())
        seen = np.zeros((self.trees, len(rows)), dtype=bool)
        for number, drawn in enumerate(forest.estimators_samples_):
            seen[number, drawn] = True
        nodes = 2 ** (int(np.ceil(np.log2(max(used, 2)))) + 1) - 1
        heap = Heap(
            np.full((self.trees, nodes), -1, dtype=np.int32),
            np.zeros((self.trees, nodes), dtype=np.float32),
            np.zeros((self.trees, nodes), dtype=np.float32),
            seen,
        )
        for number, grown in enumerate(forest.estimators_):
            _lay_out(grown.tree_, Heap(*(part[number] for part in heap)))
        return heap


def _lay_out(tree: Any, heap: Heap) -> None:
    """Copies scikit-learn's tree into a heap, a level at a time."""
    left, right, feature, threshold, count = (
        getattr(tree, name) for name in ("children_left", "children_right", "feature", "threshold", "n_node_samples")
    )
    node, place, depth = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 0
    while len(node):
        cut = left[node] >= 0
        heap.depth[place[~cut]] = depth + average_path(count[node[~cut]])
        node, place = node[cut], place[cut]
        heap.feature[place] = feature[node]
        heap.threshold[place] = _rounded_down(threshold[node])
        node = np.concatenate([left[node], right[node]])
        place = np.concatenate([2 * place + 1, 2 * place + 2])
        depth += 1


def _rounded_down(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that are not above: every float32 row then falls on the same side."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded <= threshold, rounded, np.nextafter(rounded, np.float32(-np.inf)))


def average_path(count: np.ndarray) -> np.ndarray:
    """Cuts that it takes on average to find one of so many rows in a random tree (Liu, Ting & Zhou 2008, equation 1)."""
    n = count.astype(np.float64)
    many = 2 * (np.log(np.maximum(n - 1, 1)) + np.euler_gamma) - 2 * (n - 1) / np.maximum(n, 1)
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, many))
