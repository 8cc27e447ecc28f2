r"""Ordered coverage [1]: has a clip gone through all frames of another, in their order, so far?

The subgoals are the frames of the second clip. The first covers subgoal j by time t as well as
$$c_{t,j} = \max(c_{t-1,j},\; c_{t,j-1}\, e^{-C_{tj} / \tau}),$$
the best product over times that never go back. As products of many factors underflow, everything
here is their logarithm. What else happens on the way costs nothing, at whatever speed; what is
left out, or comes in another order, costs at every subgoal that it leaves without a good frame.

Shapes: B pairs, N frames of the first of each, J of the second.

References:
    [1] Huey et al., Imitation learning from a single temporally misaligned video, 2025,
        arXiv:2502.05397, section 4.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.errors import check_above
from robopref.frame_costs import check_cells

NEVER = -1e30
"""Logarithm of what is not covered at all; finite, so that sums and gradients stay so."""


def log_coverage(
    cost: Float[Tensor, "B N J"],
    temperature: float = 1.0,
    *,
    allowed: Bool[Tensor, "B N J"] | None = None,
) -> Float[Tensor, "B N"]:
    """Return the logarithm of how well all subgoals are covered by each time.

    It never falls, and at the last time it is the least sum of costs over times in order, divided
    by the temperature, less than 0. Differentiable.

    Args:
        cost: What it costs to take a frame for a subgoal.
        temperature: tau, in the units of the cost.
        allowed: Where both are real; real ones come first. After the last real frame the
            coverage stays what it was. None for everywhere.

    Raises:
        ValueError: `temperature` is not above 0, a cost that counts is not finite, or a clip has
            no frames.
    """
    check_above("temperature", temperature, 0)
    gain = cost / -temperature
    if allowed is not None:
        check_cells(allowed)
        # A padded subgoal is covered for nothing; a padded frame covers none.
        real_subgoal = allowed.any(1)[:, None]
        gain = torch.where(allowed, gain, 0.0)
        gain = torch.where(real_subgoal & ~allowed, NEVER, gain)
    if not bool(torch.isfinite(gain.detach().sum())):
        raise ValueError("`cost` must hold finite numbers only where frames may be matched.")
    covered = torch.zeros_like(gain[:, :, 0])
    for subgoal in gain.unbind(2):
        covered = torch.cummax((covered + subgoal).clamp_min(NEVER), dim=1).values
    return covered
