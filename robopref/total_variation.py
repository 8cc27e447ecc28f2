r"""Total variation denoising [1]: numbers along a clip as a few levels, and noise around them.

$$\min_y \tfrac12 \lVert y - x \rVert^2 + \lambda \sum_t |y_{t+1} - y_t|$$
keeps steps and the sum, and takes off what goes up and down between them. Solved by projected
gradients on the dual, one number for each two neighbours, within lambda of 0 [2].

Shapes: C clips, L numbers of each.

References:
    [1] Rudin, Osher and Fatemi, Nonlinear total variation based noise removal, 1992.
    [2] Chambolle, An algorithm for total variation minimization and applications, 2004.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

ITERATIONS = 200
STEP = 0.25
"""Below 2 over the largest eigenvalue, 4, of second differences."""


def denoise(
    values: Float[Tensor, "C L"], mask: Bool[Tensor, "C L"], strength: Float[Tensor, " C"]
) -> Float[Tensor, "C L"]:
    """Return values of the same sum with less variation; what is no real one stays as it is.

    Args:
        values: Numbers along clips.
        mask: Which are real.
        strength: lambda of each clip, in the units of the values; 0 changes nothing.

    Example:
        >>> row = torch.tensor([[0.1, -0.1, 0.0, 1.1, 0.9, 1.0]])
        >>> flat = denoise(row, row > -1, torch.tensor([0.2]))
        >>> [round(x, 2) for x in flat[0].tolist()]
        [0.07, 0.07, 0.07, 0.93, 0.93, 0.93]
    """
    together = mask[:, 1:] & mask[:, :-1]
    bound = strength[:, None] * together
    dual = torch.zeros_like(bound)
    for _ in range(ITERATIONS):
        change = torch.diff(values - _spread(dual), dim=1)
        dual = torch.maximum(torch.minimum(dual + STEP * change, bound), -bound)
    return values - _spread(dual)


def _spread(dual: Tensor) -> Tensor:
    """Return the transpose of differences."""
    return pad(dual, (1, 0)) - pad(dual, (0, 1))
