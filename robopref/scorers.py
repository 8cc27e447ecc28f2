"""Action scorers that are made of other things than a reward: of policies, and of several scorers.

Shapes: B observations, N candidates, S draws of noise, To observation steps, Tp action chunk,
Da action size.

References:
    [1] Wallace et al., Diffusion model alignment using direct preference optimization, 2023,
        arXiv:2311.12908, eq. 14.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.diffusion import draw_noise
from robopref.errors import check_above, check_at_least, check_between
from robopref.protocols import ActionScorer
from robopref.seeding import make_generator

CHUNKS_AT_ONCE = 16384
"""Noisy chunks that go through a network in one call; bounds memory."""


class ImplicitScorer:
    """Scores a chunk by how much likelier a tuned policy makes it than the base does.

    The score is minus `dpo_beta` times the mean, over steps and noise, of the tuned policy's
    denoising error less the base's [1]. All candidates of an observation meet the same steps and
    noise, which are drawn once: their order depends on nothing but the candidates. Best-of-N with
    pessimism asks for scores and for their uncertainty, which costs this one twice.

    Args:
        tuned: A policy fine-tuned on preferences.
        reference: The base that it was tuned from.
        dpo_beta: Scale of the scores.
        num_noises: S; the steps are spread evenly over the schedule.
        seed: Decides the noise.
        least_noisy: Share of the schedule that is looked at, from its least noisy end.
        shared_noise: Let all candidates meet the same noise. Otherwise each meets its own, and what
            it is differs from decision to decision with nothing to do with the candidates; it costs
            as many calls as there are candidates.

    Raises:
        ValueError: The two policies differ in more than their weights, or a setting is out of
            range.
    """

    def __init__(
        self,
        tuned: Any,
        reference: Any,
        *,
        dpo_beta: float = 10.0,
        num_noises: int = 16,
        seed: int = 0,
        least_noisy: float = 1.0,
        shared_noise: bool = True,
    ) -> None:
        check_at_least("num_noises", num_noises, 2)
        check_above("dpo_beta", dpo_beta, 0)
        check_above("least_noisy", least_noisy, 0)
        check_between("least_noisy", least_noisy, 0, 1)
        _check_alike(tuned, reference)
        self.tuned = tuned
        self.reference = reference
        self.dpo_beta = dpo_beta
        self._generator = make_generator(seed, "implicit-scorer")
        steps, noise = tuned.draw_noising(num_noises, self._generator)
        self._noising = ((steps * least_noisy).long(), noise)
        self.shared_noise = shared_noise

    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the implicit reward of each candidate."""
        mean: Tensor = self._rewards(obs, candidates).mean(-1)
        return mean

    def uncertainty(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "B N"]:
        """Return the standard error of each score over the draws of noise."""
        rewards = self._rewards(obs, candidates)
        error: Tensor = rewards.std(-1) / rewards.shape[-1] ** 0.5
        return error

    @torch.no_grad()
    def _rewards(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N S"]:
        draws = len(self._noising[0])
        at_once = max(1, CHUNKS_AT_ONCE // (candidates.shape[1] * draws))
        parts = []
        for i in range(0, len(candidates), at_once):
            some = {key: obs[key][i : i + at_once] for key in self.tuned.obs_shapes}
            parts.append(self._of_some(some, candidates[i : i + at_once]))
        return torch.cat(parts)

    def _of_some(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N S"]:
        if not self.shared_noise and candidates.shape[1] > 1:
            return torch.cat(
                [self._of_some(obs, one) for one in candidates.chunk(candidates.shape[1], dim=1)],
                dim=1,
            )
        steps, noise = self._noising
        if not self.shared_noise:
            noise = draw_noise(tuple(noise.shape), self._generator, device=noise.device)
        tuned, reference = (
            policy.candidate_errors(obs, candidates, steps, noise)
            for policy in (self.tuned, self.reference)
        )
        rewards: Tensor = self.dpo_beta * (reference - tuned)
        return rewards


class LikelihoodScorer:
    """Scores a chunk by how likely a policy makes it: minus its denoising error.

    What was shown was good, so where a policy is sure it is mostly right; that asks for no answers.
    All candidates of an observation meet the same steps and noise.

    Args:
        policy: It has `candidate_errors` and `draw_noising`.
        num_noises: S; the steps are spread evenly over what is looked at of the schedule.
        seed: Decides the noise.
        least_noisy: Share of the schedule that is looked at, from its least noisy end. At noisy
            steps the error says how far from the middle a chunk lies, not how likely it is.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self, policy: Any, *, num_noises: int = 20, seed: int = 0, least_noisy: float = 0.1
    ) -> None:
        check_at_least("num_noises", num_noises, 2)
        check_above("least_noisy", least_noisy, 0)
        check_between("least_noisy", least_noisy, 0, 1)
        self.policy = policy
        steps, noise = policy.draw_noising(num_noises, make_generator(seed, "likelihood-scorer"))
        self._noising = ((steps * least_noisy).long(), noise)

    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return minus the mean error of each candidate."""
        mean: Tensor = self._errors(obs, candidates).mean(-1)
        return -mean

    def uncertainty(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "B N"]:
        """Return the standard error of each score over the draws of noise."""
        errors = self._errors(obs, candidates)
        deviation: Tensor = errors.std(-1) / errors.shape[-1] ** 0.5
        return deviation

    @torch.no_grad()
    def _errors(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N S"]:
        errors: Tensor = self.policy.candidate_errors(obs, candidates, *self._noising)
        return errors


class CombinedScorer:
    """Adds up scorers after bringing each to the same spread over an observation's candidates.

    Scores of different origin are not on one scale. Each scorer's are standardised over the N
    candidates of an observation; one that tells no candidate from another adds nothing.

    Args:
        scorers: What to combine.
        weights: How much each counts; all the same by default.

    Raises:
        ValueError: There are no scorers, or not a finite weight for each.
    """

    def __init__(
        self, scorers: Sequence[ActionScorer], weights: Sequence[float] | None = None
    ) -> None:
        self.scorers = tuple(scorers)
        self.weights = (1.0,) * len(self.scorers) if weights is None else tuple(weights)
        if not self.scorers or len(self.weights) != len(self.scorers):
            raise ValueError(
                f"Give at least one scorer and a weight for each, got {len(self.scorers)} scorers "
                f"and {len(self.weights)} weights."
            )
        if not np.isfinite(self.weights).all():
            raise ValueError(f"`weights` must be finite, got {self.weights}.")

    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the weighted sum of the standardised scores."""
        total = torch.zeros(candidates.shape[:2], device=candidates.device)
        for scorer, weight in zip(self.scorers, self.weights, strict=True):
            scores = scorer.score(obs, candidates)
            total = total + weight * standardise(scores)
        return total

    def uncertainty(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "B N"]:
        """Return the deviation of the sum, as if the scorers erred independently."""
        variance = torch.zeros(candidates.shape[:2], device=candidates.device)
        for scorer, weight in zip(self.scorers, self.weights, strict=True):
            spread = _spread(scorer.score(obs, candidates))
            variance = variance + (weight * scorer.uncertainty(obs, candidates) / spread).square()
        return variance.sqrt()


def _check_alike(tuned: Any, reference: Any) -> None:
    """Raise unless denoising errors of the two policies can be compared."""
    for name in ("n_obs_steps", "chunk_size", "action_dim", "obs_shapes"):
        _check_equal(name, getattr(tuned, name), getattr(reference, name))
    steps = (policy.config.num_train_steps for policy in (tuned, reference))
    _check_equal("num_train_steps", *steps)
    for name in ("loc", "scale"):
        ours, theirs = (getattr(p.action_normalizer, name).cpu() for p in (tuned, reference))
        if not torch.equal(ours, theirs):
            raise ValueError(
                "The tuned policy and its base must normalise actions alike, got other statistics."
                " Take the policy that it was tuned from."
            )


def _check_equal(name: str, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        raise ValueError(
            f"The tuned policy and its base must be alike, got `{name}` {ours} and {theirs}."
        )


def standardise(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Return scores with mean 0 and deviation 1 over the candidates; 0 where all are alike."""
    return (scores - scores.mean(dim=1, keepdim=True)) / _spread(scores)


def _spread(scores: Float[Tensor, "B N"]) -> Float[Tensor, "B 1"]:
    """Return the deviation over the candidates; infinite where there is none, so as to give 0."""
    deviation = scores.std(dim=1, correction=0, keepdim=True)
    smallest = 1e-6 * scores.abs().amax(dim=1, keepdim=True).clamp_min(1e-6)
    return deviation.masked_fill(deviation <= smallest, torch.inf)
