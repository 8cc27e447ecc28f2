"""Which primitives a tool could perform on a cloud: those in reach that take hold of something.

Shapes: B observations, N candidates, P points of a cloud.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.diffusion import Randomness
from robopref.envs.deformable.primitives import (
    HIGHEST_M,
    InfeasiblePrimitiveError,
    checked_points,
)
from robopref.policies.execution import ChunkExecution
from robopref.policies.selection import Feasible
from robopref.types import POINTS

GRASPS = {"pick-and-place": 1, "sweep": 0, "fling": 2}
"""How many of a primitive's points have to be at the material."""
NEAR_M = 0.03
"""Seen from above, such a point is within this of a point of the cloud [m]."""


class Grasping(ChunkExecution):
    """A policy whose grasps are at the material: each is moved to the nearest point of the cloud.

    A point that is denoised ends near the material and seldom on it. DeformPAM's code moves a pick
    so, too, but only when it is performed; here what is ranked and scored is what is performed.

    Args:
        policy: Proposes.
        primitive: One of `GRASPS`.
    """

    def __init__(self, policy: Any, primitive: str) -> None:
        self.policy = policy
        self.num_grasps = GRASPS[primitive]
        self.n_obs_steps = policy.n_obs_steps
        self.chunk_size = policy.chunk_size
        self.n_action_steps = policy.n_action_steps
        self.obs_shapes = policy.obs_shapes
        self.action_dim: int = policy.action_dim
        self.reset()

    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return candidates for observations (B, To, ...)."""
        candidates: Tensor = self.policy.sample(obs, num_candidates, generator).clone()
        cloud = obs[POINTS][:, -1].to(candidates)
        for place in range(self.num_grasps):
            point = candidates[:, :, 0, 3 * place : 3 * place + 3]
            nearest = torch.cdist(point[..., :2], cloud[..., :2]).argmin(-1)
            point[:] = cloud.gather(1, nearest[..., None].expand(-1, -1, 3))
        return candidates


def feasible_for(primitive: str) -> Feasible:
    """Return what tells which candidates of a primitive can be performed.

    Where none of an observation's can, all are let through: the environment refuses what is chosen
    in words, and the episode goes on.
    """

    def feasible(
        obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N 1 6"]
    ) -> Bool[Tensor, "B N"]:
        clouds = obs[POINTS][:, -1, :, :2].double()
        points = candidates[:, :, 0].double().view(*candidates.shape[:2], 2, 3)
        allowed = torch.tensor(
            [[_in_reach(one) for one in some] for some in points.cpu().numpy()],
            device=candidates.device,
        )
        for place in range(GRASPS[primitive]):
            away = torch.cdist(points[:, :, place, :2], clouds).amin(-1)
            allowed &= away <= NEAR_M
        allowed[~allowed.any(dim=1)] = True
        return allowed

    return feasible


def within_reach_of(env: Any, feasible: Feasible) -> Feasible:
    """Return what tells which of the feasible candidates the arm of an environment can perform.

    Where it can perform none, all that are feasible are let through, and it refuses in words.
    """

    def by_arm(
        obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N 1 6"]
    ) -> Bool[Tensor, "B N"]:
        allowed = feasible(obs, candidates)
        can = allowed.clone()
        for row, place in allowed.nonzero().tolist():
            can[row, place] = not env.look_ahead(candidates[row, place].cpu().numpy()).refusal
        none = ~can.any(dim=1)
        can[none] = allowed[none]
        return can

    return by_arm


def _in_reach(points_m: np.ndarray) -> bool:
    points_m = points_m.copy()
    # As the environment does: heights are clipped and not refused.
    points_m[:, 2] = points_m[:, 2].clip(0.0, HIGHEST_M)
    try:
        checked_points(points_m)
    except InfeasiblePrimitiveError:
        return False
    return True
