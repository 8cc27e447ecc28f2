"""The last denoising steps of a diffusion policy as random decisions with a likelihood [1].

Sampling a chunk is a chain of K steps from noise to a clean chunk. Its last steps are taken at
random here: each draws from a Gaussian around what DDIM [2] with eta would give, so that the chance
of every step is known and policy gradients apply. All other steps are the policy's own,
deterministic ones. Random steps may also be a window that slides over the tuned ones [3].

Shapes: B chunks, R rows of steps, S random steps, K steps of sampling, Tp action chunk, Da action
size, Dc condition size. Everything is in the policy's normalised units.
Notation of [2]: alpha -> sqrt(alpha_t), sigma -> sqrt(1 - alpha_t), std -> sigma_t.

References:
    [1] Ren et al., Diffusion policy policy optimization (DPPO), 2024, arXiv:2409.00588, section 4.
    [2] Song et al., Denoising diffusion implicit models, 2020, arXiv:2010.02502, eq. 12 and 16.
    [3] Li et al., MixGRPO: unlocking flow-based GRPO efficiency with mixed ODE-SDE, 2025,
        arXiv:2507.21802.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robopref.diffusion import draw_noise
from robopref.errors import check_above, check_at_least, check_between


@dataclass(frozen=True)
class DenoisingConfig:
    """Which denoising steps are random, and how much."""

    tuned_steps: int = 8
    """Last steps of sampling that are taken at random and tuned. Which of several ways a chunk goes
    is settled early in the chain: the fewer, the more it can only be bent."""
    window: int | None = None
    """Of these, how many are random in one iteration, next to one another, the others being
    deterministic; None for all."""
    window_interval: int = 25
    """Iterations after which the window moves on by a step, from noise to clean, and around."""
    eta: float = 1.0
    """Share of DDPM's randomness in each step; 0 leaves only `min_std`."""
    min_std: float = 0.1
    """Least standard deviation of a step, in normalised units: exploration, and a likelihood that
    the last steps, which have hardly any randomness of their own, can bear."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("tuned_steps", self.tuned_steps, 1)
        check_at_least("window_interval", self.window_interval, 1)
        check_between("eta", self.eta, 0, 1)
        if self.window is not None:
            check_between("window", self.window, 1, self.tuned_steps)
        check_above("min_std", self.min_std, 0)

    def check(self, num_steps: int) -> None:
        """Refuse a policy of fewer steps of sampling than are to be tuned.

        Raises:
            ValueError: More steps are to be tuned than there are.
        """
        if self.tuned_steps > num_steps:
            raise ValueError(
                f"`tuned_steps` (={self.tuned_steps}) must not exceed the policy's "
                f"`num_denoise_steps` (={num_steps})."
            )

    def random_steps(self, num_steps: int, iteration: int) -> range:
        """Return which of the K steps of sampling are random in an iteration.

        Raises:
            ValueError: More steps are to be tuned than there are.
        """
        self.check(num_steps)
        window = self.window or self.tuned_steps
        places = self.tuned_steps - window + 1
        first = num_steps - self.tuned_steps + iteration // self.window_interval % places
        return range(first, first + window)


@dataclass(frozen=True, eq=False)
class Chains:
    """What the random steps went from and to, and the chunks that came out."""

    before: Float[Tensor, "B S Tp Da"]
    after: Float[Tensor, "B S Tp Da"]
    chunk: Float[Tensor, "B Tp Da"]


class DenoisingSteps:
    """The steps of a policy's sampler as Gaussians.

    Args:
        policy: Its sampler says how much noise there is at each step.
        config: How random the steps are.
    """

    def __init__(self, policy: Any, config: DenoisingConfig) -> None:
        self.sampler = policy.sampler
        self.num_tuned = config.tuned_steps
        self.predicts_velocity = policy.config.prediction == "velocity"
        alpha = [step.alpha for step in self.sampler.steps]
        sigma = [step.sigma for step in self.sampler.steps]
        after = list(zip([*alpha[1:], 1.0], [*sigma[1:], 0.0], strict=True))
        own = [
            config.eta * s_after / s * math.sqrt(max(1 - (a / a_after) ** 2, 0.0))
            for a, s, (a_after, s_after) in zip(alpha, sigma, after, strict=True)
        ]
        along = [
            math.sqrt(max(s_after**2 - std**2, 0.0))
            for (_, s_after), std in zip(after, own, strict=True)
        ]
        device = policy.device
        self.denoise_step = torch.tensor(
            [step.denoise_step for step in self.sampler.steps], device=device
        )
        self.std = torch.tensor([max(std, config.min_std) for std in own], device=device)
        # For each step: alpha and sigma before it, and the factors of the clean chunk and the
        # noise in the mean after it.
        rows = [alpha, sigma, [a for a, _ in after], along]
        self._factors = torch.tensor(rows, device=device)

    def __len__(self) -> int:
        """Return K."""
        return len(self.sampler.steps)

    def means(
        self,
        policy: Any,
        condition: Float[Tensor, "R Dc"],
        before: Float[Tensor, "R Tp Da"],
        place: Int[Tensor, " R"],
    ) -> Float[Tensor, "R Tp Da"]:
        """Return the means of steps, each with its own place in the chain. Gradients flow."""
        noise, clean = self._denoise(policy, condition, before, place)
        to_clean, to_noise = self._factors[2:, place][..., None, None]
        mean: Tensor = to_clean * clean + to_noise * noise
        return mean

    @torch.no_grad()
    def sample(
        self,
        policy: Any,
        condition: Float[Tensor, "B Dc"],
        random: range,
        generator: torch.Generator,
    ) -> Chains:
        """Return chunks for conditions, with the steps of `random` taken at random."""
        num = len(condition)
        shape = (num, *policy.noise_shape)
        x = draw_noise(shape, generator, device=condition.device)
        last, before, after = x, [], []
        for index, step in enumerate(self.sampler.steps):
            place = torch.full((num,), index, device=x.device)
            noise, clean = self._denoise(policy, condition, x, place)
            if index in random:
                before.append(x)
                to_clean, to_noise = self._factors[2:, index]
                drawn = draw_noise(shape, generator, device=x.device)
                x = to_clean * clean + to_noise * noise + self.std[index] * drawn
                after.append(x)
            else:
                x = step.from_x * x + step.from_clean * clean + step.from_noise * noise
                x = x + step.from_last * last
            last = clean
        bound = self.sampler.clip
        return Chains(torch.stack(before, 1), torch.stack(after, 1), x.clamp(-bound, bound))

    def _denoise(
        self, policy: Any, condition: Tensor, x: Tensor, place: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the predicted noise, and the clean chunk within the sampler's bound."""
        alpha, sigma = self._factors[:2, place][..., None, None]
        modulation = policy.denoiser.modulation(self.denoise_step[place], condition)
        predicted = policy.denoiser(x[:, None], modulation)[:, 0]
        noise = sigma * x + alpha * predicted if self.predicts_velocity else predicted
        clean = ((x - sigma * noise) / alpha).clamp(-self.sampler.clip, self.sampler.clip)
        return noise, clean


def log_prob(
    after: Float[Tensor, "R Tp Da"], mean: Float[Tensor, "R Tp Da"], std: Float[Tensor, " R"]
) -> Float[Tensor, " R"]:
    """Return the log density of each step, the mean over the numbers of its chunk.

    With the sum, as the density of the whole chunk has it, how far a policy may move before its
    ratio is clipped would depend on the size of the chunk; the authors of [1] take the mean too.
    """
    scale = std[:, None, None]
    density = -0.5 * ((after - mean) / scale).square() - scale.log() - 0.5 * math.log(2 * math.pi)
    return density.mean((1, 2))


def divergence(
    mean: Float[Tensor, "R Tp Da"], base: Float[Tensor, "R Tp Da"], std: Float[Tensor, " R"]
) -> Float[Tensor, " R"]:
    """Return the KL divergence of each step from the base's, the mean over its chunk's numbers."""
    return ((mean - base) / std[:, None, None]).square().mean((1, 2)) / 2
