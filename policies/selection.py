"""Best-of-N: sample candidates, keep one that a learned score likes most.

Candidates that the score can hardly tell from the best count as equal to it. To take the very
highest of what does not differ would take an extreme at every decision, and costs success: such a
policy lingers where each decision is liked, and gets stuck where sampling would have moved on.

Shapes: B batch, N candidates, M ensemble members, To observation steps, Tp action chunk, Da action
size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robopref.diffusion import Randomness
from robopref.errors import check_at_least
from robopref.policies.execution import ChunkExecution
from robopref.protocols import ActionScorer, Policy

Feasible = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""Returns which candidates (B, N, Tp, Da) may be executed for observations: bool (B, N)."""


@runtime_checkable
class EnsembleScorer(Protocol):
    """Scores candidates by each member of an ensemble."""

    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Tensor, /
    ) -> Float[Tensor, "M B N"]:
        """Return the members' scores of candidates (B, N, Tp, Da) for obs (B, To, ...)."""
        ...


@dataclass(frozen=True)
class BestOfNConfig:
    """Settings of `BestOfN`."""

    num_candidates: int = 16
    """Chunks sampled for each decision."""
    pessimism: float = 0.5
    """How many deviations of the ensemble are taken off each score."""
    indifference: float = 0.15
    """Candidates whose scores are within this of the best count as equal, in log-odds."""
    certainty: float = 1.0
    """The same for those whose mean difference from the best is below so many deviations of it over
    the members; 0 for none."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_candidates", self.num_candidates, 1)
        for name in ("pessimism", "indifference", "certainty"):
            check_at_least(name, getattr(self, name), 0)

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
        chosen: Index of the best, or the first of what counts as equal to it.
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

    @property
    def action_dim(self) -> int:
        """Size of an action, Da."""
        return int(self.policy.action_dim)

    def select(self, obs: Mapping[str, Tensor], generator: Randomness) -> Selection:
        """Sample, score and choose for observations (B, To, ...).

        Raises:
            ValueError: No candidate of an observation is feasible, or a score is not a number.
        """
        candidates = self.policy.sample(obs, self.config.num_candidates, generator)
        scores, members = self._scores(obs, candidates)
        allowed = torch.ones_like(scores, dtype=torch.bool)
        if self.feasible is not None:
            allowed = self.feasible(obs, candidates)
            _check_some_feasible(allowed)
            scores = scores.masked_fill(~allowed, -torch.inf)
        # The candidates came in random order, so the first is as good as any.
        chosen = self._equals(scores, members).logical_and(allowed).float().argmax(dim=1)
        return Selection(candidates, scores, chosen, allowed)

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

    def _scores(
        self, obs: Mapping[str, Tensor], candidates: Tensor
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "M B N"] | None]:
        """Return the scores less their uncertainty, and the members' scores if there are any."""
        members = None
        if isinstance(self.scorer, EnsembleScorer):
            members = self.scorer.candidate_scores(obs, candidates)
            scores = members.mean(0) - self.config.pessimism * members.std(0, correction=0)
        else:
            scores = self.scorer.score(obs, candidates)
            if self.config.pessimism > 0:
                scores = scores - self.config.pessimism * self.scorer.uncertainty(obs, candidates)
        if torch.isnan(scores).any():
            raise ValueError("The action scorer returned scores that are not a number.")
        return scores, members

    def _equals(
        self, scores: Float[Tensor, "B N"], members: Float[Tensor, "M B N"] | None
    ) -> Bool[Tensor, "B N"]:
        """Return which candidates count as equal to the best."""
        best = scores.argmax(dim=1, keepdim=True)
        equal = scores >= scores.gather(1, best) - self.config.indifference
        if members is not None and self.config.certainty > 0:
            of_best = members.gather(2, best.expand(len(members), -1, -1))
            gap = of_best - members
            equal |= gap.mean(0) <= self.config.certainty * gap.std(0, correction=0)
        return equal


def _check_some_feasible(allowed: Tensor) -> None:
    none = (~allowed.any(dim=1)).nonzero().flatten().tolist()
    if none:
        raise ValueError(
            f"None of the {allowed.shape[1]} candidates of observation {none[0]} is feasible. "
            "Sample more candidates, or stop the arm."
        )
