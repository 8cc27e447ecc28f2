"""The guard: is a policy that is being tuned still getting better, as far as a method may know?

Alignment can make a policy worse: less successful, less preferred, or far from what it was. The
guard lets the policy act from starts kept for this, and judges by success and by the learned
reward; how often the behaviour was shown is logged beside it and decides nothing, since whoever has
no scripted teacher does not know it.

Shapes: E validation episodes, M reward members.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robopref.align.actors import PolicyActor
from robopref.align.collect import Plan, Workers, record
from robopref.data.episode import Episode
from robopref.episode_pictures import see
from robopref.errors import check_at_least, check_between
from robopref.policies.windows import window_source
from robopref.protocols import Environment
from robopref.seeding import make_generator

WINDOWS = 2048
"""Windows at most on which denoising errors are compared."""


@dataclass(frozen=True)
class GuardConfig:
    """How a policy is watched while it is tuned."""

    num_episodes: int = 20
    """Episodes from validation starts that the policy acts in, each time it is looked at."""
    success_margin: float = 0.1
    """Loss of success, as a share of the episodes, from which on the policy counts as worse."""
    least_accuracy: float = 0.5
    """Without a simulator: more than this share of the held-out answers must be ordered rightly by
    the reward, and of the judged pairs by the tuned policy's implicit reward."""
    largest_drift: float = 0.2
    """Without a simulator: how much larger the denoising error on recorded chunks may become."""
    keep_worse: bool = False
    """Keep the tuned policy even if it is worse than the base."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        check_between("success_margin", self.success_margin, 0, 1)
        check_between("least_accuracy", self.least_accuracy, 0, 1)
        check_at_least("largest_drift", self.largest_drift, 0)


class Guard:
    """Measures policies on the same starts, beside the base.

    Args:
        config: The run's settings.
        base: The policy before tuning.
        member_returns: Returns the learned return of episodes by each member, (M, E).
        demonstrations: Episodes on whose chunks the drift from the base is measured.
        rates: Returns the rates of episodes by the behaviour's measure, for the log.
    """

    def __init__(
        self,
        config: Any,
        base: Any,
        *,
        member_returns: Any,
        demonstrations: Sequence[Episode],
        rates: Any,
    ) -> None:
        self.config = config
        self._base = base
        self._member_returns = member_returns
        self._rates = rates
        self._demonstrations = Windows(base, demonstrations)
        episodes = self.record(base)
        self._returns: np.ndarray = member_returns(episodes)
        self._own = Windows(base, episodes)
        self.base = self._figures(episodes, self._returns, self._returns)
        self._measured: tuple[str, dict[str, float]] = ("", {})

    def __call__(self, policy: Any) -> dict[str, float]:
        """Return the figures of a policy; "loss" is minus its score.

        The score is the mean over the starts of the probability that the policy's episode is
        preferred to the base's by the learned reward, 0 where it failed. The base has half its
        success rate.
        """
        if not hasattr(policy, "noise_error"):
            return self._acted(policy)  # Steered at run time: its weights are the base's.
        weights = _digest(policy)
        if weights != self._measured[0]:
            drift = float(self._demonstrations.error_change(policy).mean())
            figures = {"drift": drift, "implicit_accuracy": self.implicit_accuracy(policy)}
            # The end of a training is its last validation, and need not be acted out again.
            self._measured = weights, self._acted(policy) | figures
        return dict(self._measured[1])

    def _acted(self, policy: Any) -> dict[str, float]:
        episodes = self.record(policy)
        return self._figures(episodes, self._member_returns(episodes), self._returns)

    def record(self, policy: Any, *, first: int = 0) -> list[Episode]:
        """Return the policy's episodes from the validation starts, or those from `first` on."""
        config = self.config
        plan = Plan(
            env=config.env, actor=_Given(policy), seed=config.seed, start_set="validation",
            num_episodes=config.guard.num_episodes, group_size=config.guard.num_episodes,
            first=first, max_episode_steps=config.max_episode_steps,
        )  # fmt: skip
        return [episode for group in record(plan.groups(), Workers(0)) for episode in group]

    def confirms(self, policy: Any, figures: Mapping[str, float]) -> bool:
        """Return whether a policy is no worse than the base on twice as many starts.

        The best of many looks was lucky in part; starts that it was not chosen by say by how much.

        Args:
            policy: What may be kept.
            figures: What was found of it on the first starts.
        """
        returns, of_base = self._fresh_base
        episodes = self.record(policy, first=self.config.guard.num_episodes)
        again = self._figures(episodes, self._member_returns(episodes), returns)
        both, both_base = (
            {name: (one[name] + two[name]) / 2 for name in ("score", "success")}
            for one, two in ((figures, again), (self.base, of_base))
        )
        return not self._is_below(both, both_base)

    @functools.cached_property
    def _fresh_base(self) -> tuple[np.ndarray, dict[str, float]]:
        episodes = self.record(self._base, first=self.config.guard.num_episodes)
        returns: np.ndarray = self._member_returns(episodes)
        return returns, self._figures(episodes, returns, returns)

    def is_worse(self, figures: Mapping[str, float]) -> bool:
        """Return whether a policy of these figures is worse than the base, or nobody knows."""
        return self._is_below(figures, self.base)

    def _is_below(self, figures: Mapping[str, float], base: Mapping[str, float]) -> bool:
        lost = base["success"] - figures["success"]
        no_worse = figures["score"] >= base["score"]
        return not (no_worse and lost <= self.config.guard.success_margin)

    def implicit_accuracy(self, policy: Any) -> float:
        """Return the share of pairs of the base's episodes that the implicit reward orders rightly.

        Right is the order of the learned reward, of which the implicit one should be the image.
        """
        implicit = -self._own.error_change(policy)
        learned = self._returns.mean(axis=0)
        a, b = np.triu_indices(len(learned), 1)
        differ = learned[a] != learned[b]
        right = (learned[a] > learned[b]) == (implicit[a] > implicit[b])
        return float(right[differ].mean()) if differ.any() else float("nan")

    def _figures(
        self, episodes: Sequence[Episode], returns: np.ndarray, base_returns: np.ndarray
    ) -> dict[str, float]:
        gap = returns - base_returns
        better = (1 / (1 + np.exp(-gap.clip(-50, 50)))).mean(axis=0)
        known = self.config.knows_success
        succeeded = np.array([episode.succeeded or not known for episode in episodes], float)
        score = float((succeeded * better).mean())
        return {
            "loss": -score,
            "score": score,
            "success": float(succeeded.mean()),
            "preferred_to_base": float(better.mean()),
            "joint": self._rates(episodes).joint.value,
        }


class Windows:
    """Windows of episodes with noise drawn once, on which policies are compared with the base."""

    def __init__(self, base: Any, episodes: Sequence[Episode]) -> None:
        source = window_source(base, see(base, episodes))
        generator = make_generator(0, "guard")
        drawn = torch.randperm(len(source), generator=generator)[:WINDOWS].sort().values
        of = np.repeat(np.arange(len(episodes)), [len(episode) for episode in episodes])
        self._episode = of[drawn.numpy()]
        self._num = len(episodes)
        self._batch = source.gather(drawn)
        self._noising = base.draw_noising(len(drawn), generator)
        self._reference = self._errors(base)

    def error_change(self, policy: Any) -> np.ndarray:
        """Return for each episode how much larger the policy's denoising error is, (E,)."""
        change = (self._errors(policy) - self._reference).double().cpu().numpy()
        total = np.bincount(self._episode, change, minlength=self._num)
        count = np.bincount(self._episode, minlength=self._num)
        mean: np.ndarray = total / np.maximum(count, 1)
        return mean

    @torch.no_grad()
    def _errors(self, policy: Any) -> Tensor:
        batch = {key: value.to(policy.device) for key, value in self._batch.items()}
        errors: Tensor = policy.noise_error(batch, *self._noising)
        return errors


def _digest(policy: Any) -> str:
    digest = hashlib.sha256()
    for value in policy.state_dict().values():
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).data)
    return digest.hexdigest()


class _Given:
    """Actor spec of a policy that is in memory; it never leaves this process."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.obs_shapes = getattr(policy, "obs_shapes", {})

    def build(self, envs: Sequence[Environment]) -> PolicyActor:
        return PolicyActor(self.policy)
