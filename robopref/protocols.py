"""What the parts expect of one another; none of them imports another.

Shapes: B batch, L segment length, N candidates, M ensemble members, To observation steps,
Tp action chunk, Da action size. Observations are dictionaries by LeRobot key. Tensors stay on the
device of the object that is called; what crosses to data, preferences or disk is numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from robopref.types import SegmentBatch, SimState

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@runtime_checkable
class Policy(Protocol):
    """Proposes actions. Observations carry the last To steps, (B, To, ...), oldest first."""

    n_obs_steps: int
    chunk_size: int
    n_action_steps: int

    def reset(self) -> None:
        """Forget the observations and the rest of the chunk that `select_action` keeps."""
        ...

    def select_action(self, obs: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Return the next action (B, Da) for the newest observation (B, ...)."""
        ...

    def predict_action_chunk(self, obs: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """Return one chunk (B, Tp, Da) for observations (B, To, ...)."""
        ...

    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: torch.Generator
    ) -> Tensor:
        """Return candidates (B, N, Tp, Da) for observations (B, To, ...)."""
        ...


@runtime_checkable
class ActionScorer(Protocol):
    """Scores candidate chunks for an observation; higher is better."""

    def score(self, obs: Mapping[str, Tensor], candidates: Tensor) -> Tensor:
        """Return scores (B, N) of candidates (B, N, Tp, Da) for observations (B, To, ...)."""
        ...

    def uncertainty(self, obs: Mapping[str, Tensor], candidates: Tensor, /) -> Tensor:
        """Return the spread (B, N) of the scores over the ensemble."""
        ...


@runtime_checkable
class RewardModel(Protocol):
    """Scores segments step by step, with an uncertainty."""

    def rewards(self, segments: SegmentBatch) -> np.ndarray:
        """Return rewards (B, L); padded steps are 0."""
        ...

    def uncertainty(self, segments: SegmentBatch, /) -> np.ndarray:
        """Return the ensemble's spread of each reward, (B, L); padded steps are 0."""
        ...

    def segment_return(self, segments: SegmentBatch) -> np.ndarray:
        """Return the sums of rewards, (B,)."""
        ...

    def member_returns(self, segments: SegmentBatch) -> np.ndarray:
        """Return the segment returns of every ensemble member, (M, B)."""
        ...

    def fit(
        self, preferences: Any, *, validation: Any = None, generator: torch.Generator
    ) -> Mapping[str, float]:
        """Learn from a `PairwiseView`; return what was measured, such as held-out accuracy."""
        ...

    def action_scorer_ways(self) -> Sequence[str]:
        """Return the ways in which this reward can become an action scorer."""
        ...

    def as_action_scorer(self, how: str = "chunk") -> ActionScorer:
        """Return this reward as an action scorer.

        Raises:
            ValueError: This reward cannot do it that way; the message lists the ways it has.
        """
        ...


@runtime_checkable
class Environment(Protocol):
    """A `gymnasium.Env` with honest seeding, exact snapshots, and pictures from snapshots."""

    observation_space: Any
    action_space: Any

    @property
    def env_id(self) -> str:
        """What `make_env` was given, such as "metaworld/reach-v3"."""
        ...

    @property
    def task_description(self) -> str:
        """What is to be done, in words."""
        ...

    @property
    def fps(self) -> float:
        """Steps a second [Hz]."""
        ...

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras that `render_states` knows."""
        ...

    @property
    def default_camera(self) -> str:
        """The camera that shows behaviour best."""
        ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same episode."""
        ...

    def step(
        self, action: np.ndarray
    ) -> tuple[Mapping[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once; `info["success"]` says whether the task counts as solved now."""
        ...

    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit."""
        ...

    def set_state(self, state: SimState) -> Mapping[str, np.ndarray]:
        """Go to `state`, which any environment of this task may have made; return its obs."""
        ...

    def render_states(
        self, states: np.ndarray, episode: np.ndarray, *, width: int, height: int, camera: str
    ) -> np.ndarray:
        """Return pictures (T, H, W, 3), uint8, of simulator states (T, Ds)."""
        ...

    def close(self) -> None:
        """Free the renderer and the simulator."""
        ...
