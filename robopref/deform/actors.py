"""Who performs primitives: the scripted demonstrator, and policies that choose among candidates.

An episode is acted alone, not in lockstep with others: simulating a primitive takes far longer than
proposing it.

Shapes: N candidates, Da = 6, P points of a cloud.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robopref.align.actors import Actor
from robopref.align.run import load_figures
from robopref.deform.config import best_of
from robopref.deform.feasible import Grasping, feasible_for, within_reach_of
from robopref.deform.outcomes import CachedTrials
from robopref.deform.progress import Progress, StopConfig
from robopref.envs.deformable.trials import Trials
from robopref.policies.proposals import Proposals
from robopref.policies.selection import BestOfNConfig, Selection
from robopref.policies.serialization import load_policy
from robopref.rewards.deformpam import CandidateReward, DeformPAMRewardConfig
from robopref.seeding import make_generator, make_rng
from robopref.types import POINTS, Obs

SHOWN = "shown"
"""In an episode's metadata: for each step the primitives that were found good, (K, Da)."""
DECISIONS = "decisions"
"""In an episode's metadata: for each step candidates (N, Da), their scores, and which was chosen;
infeasible ones have no score."""


@dataclass(frozen=True)
class DemonstratorSpec:
    """The geometric rule of a task, whose proposals are tried before they are shown.

    Args:
        num_shown: Primitives shown for each state, at most.
        seed: Decides what the rule draws.
        outcomes: File of outcomes; None keeps none.
    """

    num_shown: int
    seed: int = 0
    outcomes: Path | None = None

    def build(self, envs: Sequence[Any]) -> Actor:
        """Build the actor of one episode."""
        return _Demonstrator(self, _only(envs))


class _Demonstrator:
    """Performs one of the primitives that make things better, and tells of the others."""

    def __init__(self, spec: DemonstratorSpec, env: Any) -> None:
        self.spec = spec
        self.env = env
        self._trials = CachedTrials(env.config, path=spec.outcomes)

    def begin(self, seeds: Sequence[int]) -> None:
        self._rng = make_rng(self.spec.seed, "demonstrate", *seeds)
        self._shown: list[list[list[float]]] = []

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        actions = self.env.propose(self._rng, self.spec.num_shown)
        qualities = self._trials.outcomes(self.env.get_state(), actions).qualities
        # As good as half of the best gain is good: there is more than one right way.
        gains = qualities - self.env.quality()
        good = np.flatnonzero((gains >= 0.5 * gains.max()) & (gains > 0))
        good = good if len(good) else np.array([gains.argmax()])
        self._shown.append(actions[good].astype(float).round(4).tolist())
        return actions[self._rng.choice(good)][None]  # type: ignore[no-any-return]

    def describe(self) -> Sequence[Mapping[str, Any]]:
        return [{SHOWN: self._shown, "policy": "expert"}]


@dataclass(frozen=True)
class ChooserSpec:
    """Saved policies that propose, and what chooses among their candidates.

    Args:
        proposers: Directories of the policies.
        selection: How many candidates, and how one is chosen.
        reward: How they are scored; None takes the first one that can be performed.
        reference: Directory of the cloned policy, for the implicit reward.
        tuned: Directory of the policy that was tuned from it.
        explicit: Directory of the ensemble.
        weights: File of what `fit_weights` found; without it both scores count alike.
        tries: Score candidates by what comes of them instead: what no learner can do.
        outcomes: File of outcomes for that; None keeps none.
        stop: When an episode ends for want of progress.
        name: Kept with every episode as its policy.
    """

    proposers: tuple[Path, ...]
    selection: BestOfNConfig = field(default_factory=lambda: best_of(16))
    reward: DeformPAMRewardConfig | None = None
    reference: Path | None = None
    tuned: Path | None = None
    explicit: Path | None = None
    weights: Path | None = None
    tries: bool = False
    outcomes: Path | None = None
    stop: StopConfig = field(default_factory=StopConfig)
    name: str = ""

    def build(self, envs: Sequence[Any]) -> Actor:
        """Build the actor of one episode."""
        env = _only(envs)
        scorer: Any = Indifferent()
        if self.tries:
            scorer = Oracle(env, CachedTrials(env.config, path=self.outcomes))
        elif self.reward is not None:
            scorer = self.scorer()
        return _Chooser(self, env, self.proposer(env.task.primitive), scorer)

    def proposer(self, primitive: str) -> Any:
        """Return the policies, as one that proposes a primitive."""
        policies = [load_policy(path) for path in self.proposers]
        return Grasping(policies[0] if len(policies) == 1 else Proposals(policies), primitive)

    def scorer(self) -> Any:
        """Return what scores.

        Raises:
            ValueError: There is no reward, or a part of it is missing.
        """
        if self.reward is None:
            raise ValueError("Nothing scores the candidates of a spec without `reward`.")
        explicit = None
        if self.explicit is not None:
            explicit = CandidateReward.from_pretrained(self.explicit)
        tuned, reference = (
            None if path is None else load_policy(path) for path in (self.tuned, self.reference)
        )
        weights = None if self.weights is None else load_figures(self.weights, dict)["weights"]
        return self.reward.build(tuned, reference, explicit, weights=weights)


class _Chooser:
    """Performs the best-scored candidate that can be performed."""

    def __init__(self, spec: ChooserSpec, env: Any, proposer: Any, scorer: Any) -> None:
        self.spec = spec
        self.env = env
        feasible = feasible_for(env.task.primitive)
        if hasattr(env, "look_ahead"):
            feasible = within_reach_of(env, feasible)
        self._choice = spec.selection.build(proposer, scorer, feasible=feasible)

    def begin(self, seeds: Sequence[int]) -> None:
        self._generator = make_generator(0, "choose", *seeds)
        self._progress = Progress(self.spec.stop, self.env.task.goal)
        self._decisions: list[dict[str, Any]] = []
        self._stopped = False

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        found = self._select(obs, self._generator)
        self._decisions.append(
            {
                "candidates": found.candidates[0, :, 0].double().numpy().round(4).tolist(),
                "scores": [
                    round(score, 4) if ok else None
                    for score, ok in zip(
                        found.scores[0].tolist(), found.feasible[0].tolist(), strict=True
                    )
                ],
                "chosen": int(found.chosen[0]),
            }
        )
        return found.chunk[:, 0].numpy()

    def act_chunk(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return the primitive (1, 1, Da) that `act` would choose, without acting."""
        same = torch.Generator()
        same.set_state(self._generator.get_state())
        return self._select(obs, same).chunk.numpy()

    def has_stopped(self, obs: Sequence[Obs]) -> Sequence[bool]:
        return [self._progress.has_stopped(obs[0][POINTS])]

    def describe(self) -> Sequence[Mapping[str, Any]]:
        return [{DECISIONS: self._decisions, "policy": self.spec.name}]

    def _select(self, obs: Sequence[Obs], generator: torch.Generator) -> Selection:
        with torch.inference_mode():
            seen = {key: torch.from_numpy(value)[None, None] for key, value in obs[0].items()}
            return self._choice.select(seen, generator)


class Indifferent:
    """A score by which no candidate is better than another: the first one is chosen."""

    def score(self, obs: Mapping[str, Tensor], candidates: Tensor) -> Tensor:
        """Return zeros (B, N)."""
        return torch.zeros(candidates.shape[:2])

    def uncertainty(self, obs: Mapping[str, Tensor], candidates: Tensor, /) -> Tensor:
        """Return zeros (B, N)."""
        return torch.zeros(candidates.shape[:2])


class Oracle:
    """Scores candidates for the state that an environment is in, by trying them there."""

    def __init__(self, env: Any, trials: Trials) -> None:
        self.env = env
        self.trials = trials

    def score(self, obs: Mapping[str, Tensor], candidates: Tensor) -> Tensor:
        """Return the quality that each candidate leads to, (1, N)."""
        actions = candidates[0, :, 0].cpu().numpy()
        qualities = self.trials.outcomes(self.env.get_state(), actions).qualities
        return torch.from_numpy(qualities).float()[None]

    def uncertainty(self, obs: Mapping[str, Tensor], candidates: Tensor, /) -> Tensor:
        """Return zeros (1, N)."""
        return torch.zeros(candidates.shape[:2])


def _only(envs: Sequence[Any]) -> Any:
    """Return the environment of the one episode that is acted."""
    (env,) = envs
    return env
