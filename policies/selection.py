"""Best-of-N: sample candidates, keep the one that a learned score likes most.

Shapes: B batch, N candidates, To observation steps, Tp action chunk, Da action size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robopref.diffusion import Randomness
from robopref.errors import check_at_least
from robopref.policies.execution import ChunkExecution
from robopref.protocols import ActionScorer, Policy

Feasible = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""Returns which candidates (B, N, Tp, Da) may be executed for observations: bool (B, N)."""


@dataclass(frozen=True)
class BestOfNConfig:
    """Settings of `BestOfN`."""

    num_candidates: int = 16
    """Chunks sampled for each decision."""
    pessimism: float = 0.5
    """How many deviations of the ensemble are taken off each score."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_candidates", self.num_candidates, 1)
        check_at_least("pessimism", self.pessimism, 0)

    def build(
        self, policy: Policy, scorer: ActionScorer, *, feasible: Feasible | None = None
    ) -> "BestOfN":
        """Return `policy` choosing among its own candidates by `scorer`."""
        return BestOfN(policy, scorer, self, feasible=feasible)


@dataclass(frozen=True, eq=False)
class Selection:
    """What was proposed for each observation, and what was chosen.

    Args:
        candidates: All proposals.
        scores: Score less pessimism times uncertainty; -inf where not feasible.
        chosen: Index of the best, the first of equals.
        feasible: Which candidates were allowed.
    """

    candidates: Float[Tensor, "B N Tp Da"]
    scores: Float[Tensor, "B N"]
    chosen: Int[Tensor, " B"]
    feasible: Bool[Tensor, "B N"]

    @property
    def chunk(self) -> Float[Tensor, "B Tp Da"]:
        """The chosen chunks."""
        return self.candidates[torch.arange(len(self.chosen)), self.chosen]


class BestOfN(ChunkExecution):
    """A policy that executes the best-scored of N candidates of another.

    The candidates come from the policy itself, so what is chosen is something it would do anyway;
    that is what keeps the success rate where it was. Pessimism holds it back from candidates
    on which the reward ensemble disagrees.

    Args:
        policy: Proposes.
        scorer: Scores.
        config: How many candidates, how pessimistic.
        feasible: Says which candidates may be executed; the others are dropped before ranking.
    """

    def __init__(
        self,
        policy: Policy,
        scorer: ActionScorer,
        config: BestOfNConfig | None = None,
        *,
        feasible: Feasible | None = None,
    ) -> None:
        # Policies of this package also take one generator a row, which the protocol does not ask.
        self.policy: Any = policy
        self.scorer = scorer
        self.config = config if config is not None else BestOfNConfig()
        self.feasible = feasible
        self.n_obs_steps = policy.n_obs_steps
        self.chunk_size = policy.chunk_size
        self.n_action_steps = policy.n_action_steps
        self.obs_shapes = getattr(policy, "obs_shapes", {})
        self.reset()

    def select(self, obs: Mapping[str, Tensor], generator: Randomness) -> Selection:
        """Sample, score and choose for observations (B, To, ...).

        Raises:
            ValueError: No candidate of an observation is feasible, or a score is not a number.
        """
        candidates = self.policy.sample(obs, self.config.num_candidates, generator)
        scores = self._scores(obs, candidates)
        allowed = torch.ones_like(scores, dtype=torch.bool)
        if self.feasible is not None:
            allowed = self.feasible(obs, candidates)
            _check_some_feasible(allowed)
            scores = scores.masked_fill(~allowed, -torch.inf)
        return Selection(candidates, scores, scores.argmax(dim=1), allowed)

    def predict_action_chunk(
        self, obs: Mapping[str, Tensor], generator: Randomness
    ) -> Float[Tensor, "B Tp Da"]:
        """Return the best-scored chunk for observations (B, To, ...)."""
        return self.select(obs, generator).chunk

    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return winners of separate draws, best-of-N each, for observations (B, To, ...)."""
        chunks = [self.predict_action_chunk(obs, generator) for _ in range(num_candidates)]
        return torch.stack(chunks, dim=1)

    def _scores(self, obs: Mapping[str, Tensor], candidates: Tensor) -> Tensor:
        scores = self.scorer.score(obs, candidates)
        if self.config.pessimism > 0:
            scores = scores - self.config.pessimism * self.scorer.uncertainty(obs, candidates)
        if torch.isnan(scores).any():
            raise ValueError("The action scorer returned scores that are not a number.")
        return scores


def _check_some_feasible(allowed: Tensor) -> None:
    none = (~allowed.any(dim=1)).nonzero().flatten().tolist()
    if none:
        raise ValueError(
            f"None of the {allowed.shape[1]} candidates of observation {none[0]} is feasible. "
            "Sample more candidates, or stop the arm."
        )
