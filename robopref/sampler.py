"""Sampling from a denoising diffusion model in a few steps.

diffusers defines the denoising steps; the loop here applies the same updates with numbers worked
out once, because at ten steps of a small network on a CPU `scheduler.step` costs more than the
network. Tests hold the two equal.

Shapes: B batch, N candidates, Tp action chunk, Da action size.

References:
    [1] Chi et al., Diffusion Policy, 2023, arXiv:2303.04137.
    [2] Song et al., Denoising diffusion implicit models, 2020, arXiv:2010.02502, eq. 12.
    [3] Lu et al., DPM-Solver++, 2022, arXiv:2211.01095, algorithm 2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.diffusion import BETA_SCHEDULE

SamplerName = Literal["ddim", "dpm-solver++"]

# The most noisy levels of the cosine schedule hold almost no signal, and the solver's half
# log-SNR grid would spend its first steps there; diffusers' documentation gives this bound.
_LAMBDA_MIN = -5.1


@dataclass(frozen=True)
class SamplerStep:
    """One update `x <- from_x x + from_clean x0 + from_noise e + from_last x0'`.

    `e` is the predicted noise, `x0 = clip((x - sigma e) / alpha)` the clean chunk it implies, and
    `x0'` the one of the step before.
    """

    denoise_step: int
    inverse_alpha: float
    sigma_over_alpha: float
    from_x: float
    from_clean: float
    from_noise: float
    from_last: float

    @property
    def alpha(self) -> float:
        """How much signal there is before the step."""
        return 1 / self.inverse_alpha

    @property
    def sigma(self) -> float:
        """How much noise there is."""
        return self.sigma_over_alpha / self.inverse_alpha


@dataclass(frozen=True)
class Sampler:
    """The denoising steps of one sampler, worked out once from diffusers' scheduler.

    Args:
        name: "ddim" [2] or "dpm-solver++" [3].
        num_train_steps: K.
        num_denoise_steps: Network evaluations a sample.
        clip: Bound of the clean chunk at every step, in normalised units.

    Raises:
        ValueError: The sampler cannot take that many steps.

    Example:
        >>> sampler = Sampler("ddim", num_train_steps=50, num_denoise_steps=10)
        >>> [step.denoise_step for step in sampler.steps][:3]
        [45, 40, 35]
    """

    name: SamplerName
    num_train_steps: int
    num_denoise_steps: int
    clip: float = 1.0
    steps: tuple[SamplerStep, ...] = ()

    def __post_init__(self) -> None:
        """Work out the updates."""
        scheduler = self.make_scheduler()
        build = _ddim_steps if self.name == "ddim" else _dpm_steps
        object.__setattr__(self, "steps", build(scheduler))

    def make_scheduler(self) -> Any:
        """Return diffusers' scheduler that takes the same steps."""
        if self.name == "ddim":
            from diffusers.schedulers.scheduling_ddim import DDIMScheduler

            scheduler = DDIMScheduler(
                self.num_train_steps, beta_schedule=BETA_SCHEDULE, clip_sample_range=self.clip
            )
        else:
            from diffusers.schedulers.scheduling_dpmsolver_multistep import (
                DPMSolverMultistepScheduler,
            )

            # With its largest value at the bound, dynamic thresholding is clipping.
            scheduler = DPMSolverMultistepScheduler(
                self.num_train_steps,
                beta_schedule=BETA_SCHEDULE,
                thresholding=True,
                sample_max_value=self.clip,
                lambda_min_clipped=_LAMBDA_MIN,
            )
        scheduler.set_timesteps(self.num_denoise_steps)
        if len(set(scheduler.timesteps.tolist())) < self.num_denoise_steps:
            raise ValueError(
                f"`num_denoise_steps` (={self.num_denoise_steps}) must be less than "
                f"`num_train_steps` (={self.num_train_steps}) for {self.name}, which skips the "
                "noisiest levels. Use fewer steps, or ddim."
            )
        return scheduler

    def sample(
        self,
        predict: Callable[[Tensor, int], Tensor],
        noise: Float[Tensor, "B N Tp Da"],
    ) -> Float[Tensor, "B N Tp Da"]:
        """Turn noise into clean chunks.

        Args:
            predict: Returns the noise in a chunk at the step with this index into `steps`.
            noise: Standard normal.
        """
        x = noise
        last = noise  # Not used before the second step.
        for index, step in enumerate(self.steps):
            predicted = predict(x, index)
            clean = torch.sub(x * step.inverse_alpha, predicted, alpha=step.sigma_over_alpha)
            clean.clamp_(-self.clip, self.clip)
            # Terms of factor zero are left out: at these sizes a call costs more than the sum.
            following = clean * step.from_clean
            for factor, term in (
                (step.from_x, x), (step.from_noise, predicted), (step.from_last, last),
            ):  # fmt: skip
                if factor != 0:
                    following.add_(term, alpha=factor)
            x, last = following, clean
        return x


def _ddim_steps(scheduler: Any) -> tuple[SamplerStep, ...]:
    timesteps = [int(t) for t in scheduler.timesteps]
    stride = scheduler.config.num_train_timesteps // len(timesteps)
    levels = [float(level) for level in scheduler.alphas_cumprod.double()]
    steps = []
    for k in timesteps:
        level = levels[k]
        following = levels[k - stride] if k >= stride else float(scheduler.final_alpha_cumprod)
        steps.append(
            SamplerStep(
                denoise_step=k,
                inverse_alpha=1 / math.sqrt(level),
                sigma_over_alpha=math.sqrt((1 - level) / level),
                from_x=0.0,
                from_clean=math.sqrt(following),
                from_noise=math.sqrt(1 - following),
                from_last=0.0,
            )
        )
    return tuple(steps)


def _dpm_steps(scheduler: Any) -> tuple[SamplerStep, ...]:
    timesteps = [int(t) for t in scheduler.timesteps]
    ratios = [float(sigma) for sigma in scheduler.sigmas.double()]
    alphas = [1 / math.sqrt(1 + ratio**2) for ratio in ratios]
    half_log_snr = [-math.log(ratio) if ratio > 0 else math.inf for ratio in ratios]
    steps = []
    for i, k in enumerate(timesteps):
        h = half_log_snr[i + 1] - half_log_snr[i]
        gain = -alphas[i + 1] * math.expm1(-h)
        # The first step has no step before it, and the last, to no noise at all, needs none.
        first_order = i == 0 or i == len(timesteps) - 1
        half_inverse_r = 0.0 if first_order else 0.5 * h / (half_log_snr[i] - half_log_snr[i - 1])
        steps.append(
            SamplerStep(
                denoise_step=k,
                inverse_alpha=1 / alphas[i],
                sigma_over_alpha=ratios[i],
                from_x=ratios[i + 1] * alphas[i + 1] / (ratios[i] * alphas[i]),
                from_clean=gain * (1 + half_inverse_r),
                from_noise=0.0,
                from_last=-gain * half_inverse_r,
            )
        )
    return tuple(steps)
