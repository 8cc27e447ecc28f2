"""Credit assignment: which chunks of an episode carry what was judged of the whole.

Shapes: G groups, K chunks of a group, N candidates, To observation steps, Tp action chunk,
Da action size.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.types import ACTION

CANDIDATES_OF_BASELINE = 8
"""Candidates whose mean score says what the policy would have done at an observation."""


@torch.no_grad()
def advantages(
    policy: Any, scorer: Any, windows: Mapping[str, Tensor], generator: torch.Generator
) -> Float[Tensor, "G K"]:
    """Return how much better each chunk is scored than what the policy proposes there.

    The score of a chunk alone says little: some observations are worth more than others whatever
    is done. The mean score of the policy's candidates is the baseline that takes this out.
    """
    shape = windows[ACTION].shape[:2]
    obs = {key: windows[key].flatten(0, 1) for key in policy.obs_shapes}
    done = scorer.score(obs, windows[ACTION].flatten(0, 1)[:, None])[:, 0]
    proposed = scorer.score(obs, policy.sample(obs, CANDIDATES_OF_BASELINE, generator))
    better: Tensor = (done - proposed.mean(dim=1)).view(shape).float()
    return better


@torch.no_grad()
def likeness(
    policy: Any, windows: Mapping[str, Tensor], absent: Bool[Tensor, "G K"]
) -> Float[Tensor, " G"]:
    """Return how alike the observations of each group are, 1 for equal ones.

    Where two episodes are still in the same situation, what they do differently is what tells them
    apart; later they differ because they did. The distance of the policy's features is measured
    in those of episodes at random, as a Gaussian.

    Raises:
        ValueError: No two observations of a group are alike.
    """
    shape = absent.shape
    features = policy.encoder({key: windows[key].flatten(0, 1) for key in policy.obs_shapes})
    features = features.view(*shape, -1).masked_fill(absent[..., None], torch.nan)
    spread = features.flatten(0, 1).nanmean(0)
    deviation = (features - spread).square().nanmean((0, 1)).sum().sqrt()
    centre = features.nanmean(1, keepdim=True)
    apart = (features - centre).square().sum(-1).nan_to_num(0.0).amax(1).sqrt()
    weights: Tensor = torch.exp(-0.5 * (apart / (0.1 * deviation).clamp_min(1e-8)).square())
    if not bool((weights > 0.1).any()):
        raise ValueError(
            "No two judged segments pass through alike observations, which credit by matching "
            "needs. Ask about pairs with `strategy` matched-start, or take another credit."
        )
    return weights
