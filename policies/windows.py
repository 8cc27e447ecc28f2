"""Windows of episodes as training batches.

Shapes: B batch, To observation steps, Tp action chunk, Da action size, T episode steps.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from robopref.data.episode import Episode
from robopref.data.windows import ACTION_IS_PAD, PAST_ACTION, WindowSampler
from robopref.types import ACTION


class WindowSource:
    """Every step of every episode as one training item, for `robopref.trainer.Trainer`.

    Args:
        episodes: Where the windows come from.
        n_obs_steps: Observations of a window, the last one at its step.
        chunk_size: Actions of a window, the first one at its step.
        keys: Observations to hand out.
        num_past_actions: Actions before its step that a window has as well.
        weights: How much each episode's windows count, or each window; all the same by default.
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        n_obs_steps: int,
        chunk_size: int,
        *,
        keys: Iterable[str],
        num_past_actions: int = 0,
        weights: Sequence[float] | Tensor | None = None,
    ) -> None:
        self._sampler = WindowSampler(
            episodes, n_obs_steps, chunk_size, num_past_actions=num_past_actions
        )
        self._keys = {*keys, ACTION, ACTION_IS_PAD}
        if num_past_actions:
            self._keys.add(PAST_ACTION)
        self._weights: Tensor | None = None
        if weights is not None:
            self._weights = torch.as_tensor(weights, dtype=torch.float32)
            if len(weights) != len(self._sampler):
                lengths = torch.from_numpy(self._sampler.lengths)
                self._weights = self._weights.repeat_interleave(lengths)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._sampler)

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the windows at `indices`: observations (B, To, ...), action (B, Tp, Da)."""
        windows = self._sampler.gather(indices.numpy())
        batch = {key: torch.from_numpy(windows[key]) for key in self._keys}
        if self._weights is not None:
            batch["weight"] = self._weights[indices]
        return batch


def window_source(
    policy: Any, episodes: Sequence[Episode], weights: Sequence[float] | Tensor | None = None
) -> WindowSource:
    """Return the training windows that `policy` needs, each with how much it counts if given."""
    return WindowSource(
        episodes, policy.n_obs_steps, policy.chunk_size, keys=tuple(policy.obs_shapes),
        num_past_actions=policy.num_past_actions, weights=weights,
    )  # fmt: skip
