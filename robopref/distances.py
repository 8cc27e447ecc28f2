"""Distances between segments: of their vectors, or of their steps after warping time (DTW).

Shapes: I J segments of two sets, N segments of one, L segment length, D features of a step, F
features of a segment, P pairs.

References:
    [1] Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition,
        IEEE Transactions on Acoustics, Speech and Signal Processing 26(1), 1978.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robopref.errors import check_choice

Metric = Literal["euclidean", "cosine"]
CELLS_AT_ONCE = 4_000_000
"""Cells of warping tables that are kept at once; bounds memory to some 100 MB."""


def vector_distances(
    x: Float[Tensor, "I F"], y: Float[Tensor, "J F"], metric: Metric = "euclidean"
) -> Float[Tensor, "I J"]:
    """Return the distances between the vectors of two sets.

    Args:
        x: Vectors of the first set.
        y: Vectors of the second.
        metric: euclidean; cosine, 1 less the cosine of the angle.

    Raises:
        ValueError: No such metric, or the cosine of a vector of length 0 is asked for.
    """
    check_choice("metric", metric, get_args(Metric))
    if metric == "euclidean":
        # The product form that `cdist` takes for large sets loses half of the digits.
        found: Tensor = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        return found
    lengths = [values.norm(dim=1, keepdim=True) for values in (x, y)]
    for name, length in zip(("x", "y"), lengths, strict=True):
        zero = (length == 0).flatten().nonzero().flatten().tolist()
        if zero:
            raise ValueError(
                f"`{name}` has a vector of length 0 in row {zero[0]}, whose angle is not defined. "
                "Take the euclidean metric."
            )
    cosine = (x / lengths[0]) @ (y / lengths[1]).T
    distance: Tensor = (1 - cosine).clamp_min(0)
    return distance


def warped_distances(
    x: Float[Tensor, "N L D"], lengths: Int[Tensor, " N"] | None = None
) -> Float[Tensor, "N N"]:
    """Return the distances of segments by dynamic time warping, symmetric and 0 to themselves.

    The sum of Euclidean distances between steps along the cheapest monotone path that matches the
    first steps and the last ones ([1], without slope weights or a window), not divided by the
    path's length. It is no metric: the triangle inequality may fail.

    Args:
        x: Steps of each segment.
        lengths: How many of them are real; None for all.

    Raises:
        ValueError: A length is not between 1 and L.
    """
    num, size, _ = x.shape
    end = torch.full((num,), size, device=x.device) if lengths is None else lengths
    if num and (int(end.min()) < 1 or int(end.max()) > size):
        raise ValueError(
            f"`lengths` must be between 1 and {size}, got {int(end.min())} to {int(end.max())}."
        )
    distances = torch.zeros(num, num, dtype=x.dtype, device=x.device)
    pairs = torch.triu_indices(num, num, 1, device=x.device)
    at_once = max(1, CELLS_AT_ONCE // size**2)
    for first, second in (part.unbind() for part in torch.split(pairs, at_once, dim=1)):
        found = _warp(x[first], x[second], end[first] - 1, end[second] - 1)
        distances[first, second] = found
        distances[second, first] = found
    return distances


def _warp(
    a: Float[Tensor, "P L D"],
    b: Float[Tensor, "P L D"],
    end_a: Int[Tensor, " P"],
    end_b: Int[Tensor, " P"],
) -> Float[Tensor, " P"]:
    """Return the cost of the cheapest path of each pair, one diagonal of its table after another.

    Cells of a diagonal do not depend on each other, so that all of them are done at once.
    """
    num, size, _ = a.shape
    cost = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    rows = torch.arange(size, device=a.device)
    far = torch.full((num, 1), torch.inf, dtype=a.dtype, device=a.device)
    # Diagonals by row, with a row of infinity before the first one.
    before = two_before = torch.full((num, size + 1), torch.inf, dtype=a.dtype, device=a.device)
    found = torch.empty(num, dtype=a.dtype, device=a.device)
    for diagonal in range(2 * size - 1):
        columns = diagonal - rows
        inside = (columns >= 0) & (columns < size)
        step = cost[:, rows, columns.clamp(0, size - 1)]
        cheapest = torch.minimum(torch.minimum(before[:, 1:], before[:, :-1]), two_before[:, :-1])
        if diagonal == 0:
            cheapest = torch.zeros_like(cheapest)
        here = (step + cheapest).masked_fill(~inside, torch.inf)
        done = end_a + end_b == diagonal
        found[done] = here[done, end_a[done]]
        two_before, before = before, torch.cat([far, here], dim=1)
    return found
