"""Reward-gradient guidance: denoise towards what a learned score likes.

Where best-of-N chooses among what the policy proposes, guidance bends the proposals themselves: at
each denoising step the predicted noise is shifted against the gradient of the score of the chunk
that the step implies [1]. The shift is annealed with the variance that the noise leaves open, so
that it decides early which way to go and leaves the details to the policy; and it is bounded, so
that a steep score cannot throw a chunk out of the data at once. It finds what no candidate shows,
and can leave the data where the score does not know it has; best-of-N cannot.

Shapes: B observations, N candidates, M reward members, To observation steps, Tp action chunk,
Da action size.

References:
    [1] Dhariwal and Nichol, Diffusion models beat GANs on image synthesis, 2021,
        arXiv:2105.05233, algorithm 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.diffusion import Randomness, draw_noise
from robopref.errors import check_above, check_at_least
from robopref.policies.execution import ChunkExecution
from robopref.policies.selection import EnsembleScorer


@dataclass(frozen=True)
class GuidanceConfig:
    """Settings of `GuidedPolicy`."""

    scale: float = 3.0
    """Strength of the guidance; 0 leaves the policy as it is."""
    pessimism: float = 0.5
    """How many deviations of the ensemble are taken off the score."""
    largest_shift: float = 1.0
    """Bound of the shift of the implied clean chunk at a step, as the root mean square over its
    numbers in normalised units."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("scale", self.scale, 0)
        check_at_least("pessimism", self.pessimism, 0)
        check_above("largest_shift", self.largest_shift, 0)

    def build(self, policy: Any, scorer: Any) -> "GuidedPolicy":
        """Return `policy` denoising towards what `scorer` likes."""
        return GuidedPolicy(policy, scorer, self)


class GuidedPolicy(ChunkExecution):
    """A diffusion policy whose chunks are denoised towards a higher score.

    Args:
        policy: A `DiffusionPolicy`.
        scorer: Has `candidate_scores`, through which gradients flow.
        config: How strong the guidance is.

    Raises:
        ValueError: The scorer has no gradients.
    """

    def __init__(self, policy: Any, scorer: Any, config: GuidanceConfig | None = None) -> None:
        if not isinstance(scorer, EnsembleScorer):
            raise ValueError(
                f"{type(scorer).__name__} has no `candidate_scores` through which gradients could "
                "flow. Choose among candidates instead, with best-of-N."
            )
        self.policy = policy
        self.scorer = scorer
        self.config = config if config is not None else GuidanceConfig()
        self.n_obs_steps = policy.n_obs_steps
        self.chunk_size = policy.chunk_size
        self.n_action_steps = policy.n_action_steps
        self.obs_shapes = policy.obs_shapes
        self.action_dim = policy.action_dim
        self.reset()

    def sample(
        self, obs: Mapping[str, Tensor], num_candidates: int, generator: Randomness
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return candidates for observations (B, To, ...), denoised towards a higher score."""
        policy = self.policy
        policy.check_obs(obs, self.n_obs_steps)
        num_obs = len(obs[next(iter(self.obs_shapes))])
        shape = (num_obs, num_candidates, *policy.noise_shape)
        noise = draw_noise(shape, generator, device=policy.device)
        placed = {key: value.to(policy.device) for key, value in obs.items()}
        with torch.inference_mode(False), torch.no_grad():
            # What an outer inference mode made has no gradients.
            placed = {key: value.clone() for key, value in placed.items()}
            predict = policy.noise_predictor(placed)

            def shifted(x: Tensor, i: int) -> Tensor:
                return self._shift(placed, x, predict(x, i), policy.sampler.steps[i])

            chunk = policy.sampler.sample(shifted, noise.clone())
            result: Tensor = policy.from_network(chunk, placed)
        return result

    def _shift(self, obs: Mapping[str, Tensor], x: Tensor, predicted: Tensor, step: Any) -> Tensor:
        """Return the predicted noise, shifted so that the implied chunk scores higher."""
        if self.config.scale == 0:
            return predicted
        clean = (x - step.sigma * predicted) / step.alpha
        gradient = self._gradient(obs, clean.clamp(-1, 1))
        # Given the noisy chunk, the clean one has a variance of about sigma^2 (that of the data is
        # about 1), and a score as its log-likelihood moves its mean by the variance times the
        # gradient. A shift of the clean chunk by d is one of the noise by -d alpha / sigma.
        move = self.config.scale * step.sigma**2 * gradient
        size = move.square().mean(dim=(-2, -1), keepdim=True).sqrt()
        move = move * (self.config.largest_shift / size.clamp_min(self.config.largest_shift))
        shifted: Tensor = predicted - move * (step.alpha / step.sigma)
        return shifted

    def _gradient(self, obs: Mapping[str, Tensor], clean: Tensor) -> Tensor:
        with torch.enable_grad():
            chunk = clean.detach().requires_grad_()
            candidates = self.policy.from_network(chunk, obs)
            scores = self.scorer.candidate_scores(obs, candidates)
            score = scores.mean(0) - self.config.pessimism * scores.std(0, correction=0)
            if not score.requires_grad:
                raise ValueError(
                    f"The scores of {type(self.scorer).__name__} have no gradients: they were "
                    "computed under no_grad."
                )
            gradient: Tensor = torch.autograd.grad(score.sum(), chunk)[0]
        return gradient
