"""Carrying out action chunks one step at a time, as every policy that predicts chunks does.

Shapes: B batch, To observation steps, Tp action chunk, Da action size.
"""

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.diffusion import Randomness
from robopref.encoders import ObsShapes


class ChunkExecution:
    """Keeps the last observations and the rest of a chunk between calls of `select_action`."""

    n_obs_steps: int
    chunk_size: int
    n_action_steps: int
    num_past_actions: int = 0
    """Actions before now that are predicted along with a chunk, and are no part of it."""
    obs_shapes: ObsShapes
    seen_shapes: ObsShapes = MappingProxyType({})
    """Shapes of what may stand in place of an observation, after an axis of views."""

    @abstractmethod
    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return candidates for observations (B, To, ...)."""

    def reset(self) -> None:
        """Forget the observations and the rest of the chunk."""
        self._history: dict[str, Tensor] = {}
        self._remaining: list[Tensor] = []

    def predict_action_chunk(
        self, obs: Mapping[str, Tensor], generator: Randomness
    ) -> Float[Tensor, "B Tp Da"]:
        """Return one chunk for observations (B, To, ...)."""
        return self.sample(obs, 1, generator)[:, 0]

    def select_action(
        self, obs: Mapping[str, Tensor], generator: Randomness
    ) -> Float[Tensor, "B Da"]:
        """Return the next action for the newest observation (B, ...).

        The first observation after `reset` stands for those before it too.

        Raises:
            ValueError: An observation is missing, has another shape, or is not finite.
        """
        newest = {key: obs[key][:, None] for key in self.obs_shapes if key in obs}
        self.check_obs(newest, 1)
        for key, value in newest.items():
            past = self._history.get(key)
            if past is None or len(past) != len(value):
                past = value.expand(-1, self.n_obs_steps, *value.shape[2:])
            self._history[key] = torch.cat((past[:, 1:], value), dim=1)
        if not self._remaining:
            chunk = self.predict_action_chunk(self._history, generator)
            self._remaining = list(chunk[:, : self.n_action_steps].unbind(1))
        return self._remaining.pop(0)

    def check_obs(self, obs: Mapping[str, Tensor], num_steps: int) -> None:
        """Raise unless `obs` holds what the policy was trained on, `num_steps` of each.

        Raises:
            ValueError: An observation is missing, has another shape, or is not finite.
        """
        for key, shape in self.obs_shapes.items():
            if key not in obs:
                raise ValueError(f"The policy needs '{key}', got only {sorted(obs)}.")
            expected = (num_steps, *shape)
            found = tuple(obs[key].shape[1:])
            is_seen = key in self.seen_shapes and found[2:] == tuple(self.seen_shapes[key])
            if found != expected and not is_seen:
                names = ", ".join(str(size) for size in expected)
                raise ValueError(
                    f"`obs['{key}']` must have shape (B, {names}), got {tuple(obs[key].shape)}."
                )
            if not torch.isfinite(obs[key]).all():
                raise ValueError(f"`obs['{key}']` holds values that are not finite.")
