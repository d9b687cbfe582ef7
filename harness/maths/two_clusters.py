"""Two clusters of things that lie in a space (Ward 1963)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def two_clusters(points: np.ndarray) -> np.ndarray:
    """Which of points (point, coordinate) are in the cluster without the first point, bool, (point,): clusters are joined, of all pairs the one that adds the least to
    the squared distances from their means, until two are left. Raises ValueError for fewer than two points."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(points) < 2:
        raise ValueError(f"{len(points)} points are no two clusters")
    found = fcluster(linkage(points, "ward"), 2, "maxclust")
    return np.asarray(found != found[0])


def apart(values: np.ndarray, second: np.ndarray) -> float:
    """How far the means of values (point,) lie apart in two clusters; 0 where there is only one."""
    if second.all() or not second.any():
        return 0.0
    return abs(float(values[second].mean() - values[~second].mean()))
