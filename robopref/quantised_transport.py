"""Gromov-Wasserstein alignment of sets too large for their distances, by representatives [1].

Each set is cut into parts around representatives; the representatives are aligned with the masses
of their parts, and the items of matched parts by how far they are from their representative. The
plan is sparse, and no matrix of all pairs is ever made.

Shapes: N items of the first set, J of the second, F features, R representatives.

References:
    [1] Chowdhury, Miller and Needham, Quantized Gromov-Wasserstein, 2021, arXiv:2104.02013.
    [2] Gonzalez, Clustering to minimize the maximum intercluster distance, 1985.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from robopref.distances import Metric, vector_distances
from robopref.errors import check_at_least
from robopref.transport import Problem, SolverConfig, align_sets
from robopref.transport_starts import make_starts


@dataclass(frozen=True, eq=False)
class Parts:
    """A set cut into parts.

    Args:
        representative: Place of each part's representative among the items.
        part: Part of each item.
        distance: Distance of each item to its representative.
    """

    representative: Int[np.ndarray, " R"]
    part: Int[np.ndarray, " N"]
    distance: Float[np.ndarray, " N"]

    @property
    def mass(self) -> Float[np.ndarray, " R"]:
        """Share of the items in each part."""
        counts: np.ndarray = np.bincount(self.part, minlength=len(self.representative))
        return counts / len(self.part)

    def members(self) -> list[np.ndarray]:
        """Return the items of each part, the nearest to its representative first."""
        order = np.lexsort((self.distance, self.part))
        return np.split(order, np.cumsum(np.bincount(self.part[order]))[:-1])


def cut_into_parts(x: Float[Tensor, "N F"], num_parts: int, metric: Metric = "euclidean") -> Parts:
    """Cut a set around representatives that lie far from each other [2].

    The first is the item farthest from the mean, each further one the item farthest from all so
    far, so that neither the order of the items nor a rotation of them changes the parts.

    Raises:
        ValueError: `num_parts` is below 1.
    """
    check_at_least("num_parts", num_parts, 1)
    x = x.double()
    chosen = [int(vector_distances(x, x.mean(0, keepdim=True)).argmax())]
    nearest = vector_distances(x, x[chosen], metric)[:, 0]
    part = torch.zeros(len(x), dtype=torch.long)
    while len(chosen) < min(num_parts, len(x)) and nearest.max() > 0:
        chosen.append(int(nearest.argmax()))
        distance = vector_distances(x, x[chosen[-1:]], metric)[:, 0]
        closer = distance < nearest
        part[closer] = len(chosen) - 1
        nearest = torch.minimum(nearest, distance)
    return Parts(np.array(chosen), part.numpy(), nearest.numpy())


def align_large_sets(
    first: Float[Tensor, "N F"],
    second: Float[Tensor, "J G"],
    rng: np.random.Generator,
    *,
    num_parts: int = 300,
    num_starts: int = 4,
    metric: Metric = "euclidean",
    config: SolverConfig | None = None,
) -> csr_array:
    """Return a sparse coupling (N, J) of two sets; the best that was reached from several starts.

    Args:
        first: Items of the first set.
        second: Items of the second; their features need not be those of the first.
        rng: Draws the starts.
        num_parts: Representatives of each set.
        num_starts: Starts of the alignment of the representatives.
        metric: Of distances inside each set, which are scaled to a largest of 1.
        config: How the representatives are aligned.

    Raises:
        ValueError: A number is not finite, or all items of a set are the same.
    """
    parts = [cut_into_parts(x, num_parts, metric) for x in (first, second)]
    inside = []
    for name, x, cut in zip(("first", "second"), (first, second), parts, strict=True):
        chosen = x[cut.representative].double()
        distances = vector_distances(chosen, chosen, metric)
        if not distances.max() > 0:
            raise ValueError(f"All items of `{name}` are the same, so nothing tells them apart.")
        inside.append(distances / distances.max())
    problem = Problem(
        *inside, first_mass=torch.from_numpy(parts[0].mass),
        second_mass=torch.from_numpy(parts[1].mass),
    )  # fmt: skip
    found = align_sets(problem, make_starts(problem, num_starts, rng), config)
    plan = found.plan[int(found.loss.argmin())].numpy()
    members = [cut.members() for cut in parts]
    rows, columns, masses = [], [], []
    for k, j in zip(*np.nonzero(plan > 1e-12), strict=True):
        a, b = members[0][k], members[1][j]
        place_a, place_b, share = _side_by_side(len(a), len(b))
        rows.append(a[place_a])
        columns.append(b[place_b])
        masses.append(plan[k, j] * share)
    entries = (np.concatenate(masses), (np.concatenate(rows), np.concatenate(columns)))
    return coo_array(entries, shape=(len(first), len(second))).tocsr()


def _side_by_side(num: int, other: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places in two rows of items of equal mass, and the shares that they have in common.

    The monotone coupling of the two on a line.
    """
    cuts = np.unique(np.concatenate([np.arange(num + 1) * other, np.arange(other + 1) * num]))
    middle = (cuts[1:] + cuts[:-1]) / 2
    return (middle / other).astype(int), (middle / num).astype(int), np.diff(cuts) / (num * other)
