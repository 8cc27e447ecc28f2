"""The likelihood of rankings by the scores of what was ranked.

Shapes: B rankings, K items.

References:
    [1] Plackett, The analysis of permutations, 1975.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def plackett_luce_losses(
    scores: Float[Tensor, "B K"], levels: Float[Tensor, "B K"]
) -> Float[Tensor, " B"]:
    """Return minus the log-likelihood of each ranking [1], over its number of choices.

    Items of equal level are each chosen from the whole of their tie and what is below; the lowest
    ones are chosen from nothing better, so a tail that was not ranked costs nothing.

    Args:
        scores: Of each item, in log-odds.
        levels: How high each item stands, on any scale; NaN where there is none.
    """
    there = ~levels.isnan()
    filled = levels.nan_to_num(-torch.inf)
    # remaining[b, i, j]: j can still be chosen when i is.
    remaining = (filled[:, None, :] <= filled[:, :, None]) & there[:, None, :]
    rest = scores[:, None, :].masked_fill(~remaining, -torch.inf)
    lowest = filled.masked_fill(~there, torch.inf).amin(1, keepdim=True)
    chosen = there & (filled > lowest)
    terms = torch.where(
        chosen, rest.masked_fill(~chosen[..., None], 0.0).logsumexp(2) - scores, 0.0
    )
    return terms.sum(1) / chosen.sum(1).clamp_min(1)
