"""Choosing points that stand for many: greedy k-centre and k-medoids.

Shapes: P points, I J points of two sets, C centres, F features, k chosen points.
"""

import numpy as np
from jaxtyping import Float


def squared_distances(
    a: Float[np.ndarray, "I F"], b: Float[np.ndarray, "J F"]
) -> Float[np.ndarray, "I J"]:
    """Return the squared Euclidean distances of all rows of `a` and `b`."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None]
    distances: np.ndarray = np.maximum(squares - 2 * a @ b.T, 0.0)
    return distances


def greedy_k_centre(
    points: Float[np.ndarray, "P F"],
    centres: Float[np.ndarray, "C F"],
    k: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose `k` points, each the farthest from the centres and from those chosen before.

    Args:
        points: What to choose from; at least `k`.
        centres: Points that count as chosen already; may be none.
        k: How many.
        rng: Chooses the first point when there are no centres.

    Returns:
        Places of the chosen points, and how far each was when it was chosen; infinite for a first
        point without centres.
    """
    squares = (points**2).sum(axis=1)
    nearest = np.full(len(points), np.inf)

    def admit(centre: np.ndarray) -> None:
        distance = squares - 2 * points @ centre + centre @ centre
        np.minimum(nearest, np.maximum(distance, 0), out=nearest)

    for centre in centres:
        admit(centre)
    chosen: list[int] = []
    distances: list[float] = []
    for _ in range(k):
        unknown = np.isinf(nearest).all()
        place = int(rng.integers(len(points))) if unknown else int(nearest.argmax())
        chosen.append(place)
        distances.append(float(np.sqrt(nearest[place])))
        admit(points[place])
        nearest[chosen] = -1.0  # A point that equals a chosen one may still be taken, itself not.
    return np.array(chosen), np.array(distances)


def k_medoids(
    points: Float[np.ndarray, "P F"], k: int, rng: np.random.Generator, *, num_rounds: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """Choose `k` points that stand for all: each the most central of its cluster.

    Starts from greedy k-centre and alternates between assigning points to the nearest medoid and
    moving each medoid to the centre of its points, until nothing changes.

    References:
        Park and Jun, A simple and fast algorithm for K-medoids clustering, 2009.

    Returns:
        Places of the medoids, and the number of points of each cluster.
    """
    distance = np.sqrt(squared_distances(points, points))
    medoids, _ = greedy_k_centre(points, points[:0], k, rng)
    for _ in range(num_rounds):
        member = _assign(distance, medoids)
        moved = medoids.copy()
        for cluster in range(k):
            inside = np.flatnonzero(member == cluster)
            moved[cluster] = inside[distance[np.ix_(inside, inside)].sum(axis=1).argmin()]
        if (moved == medoids).all():
            break
        medoids = moved
    return medoids, np.bincount(_assign(distance, medoids), minlength=k)


def _assign(distance: np.ndarray, medoids: np.ndarray) -> np.ndarray:
    """Return the nearest medoid of each point; a medoid always belongs to itself."""
    member: np.ndarray = distance[:, medoids].argmin(axis=1)
    member[medoids] = np.arange(len(medoids))
    return member
