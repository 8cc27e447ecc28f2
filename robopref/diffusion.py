"""The mathematics of denoising diffusion that policies and implicit rewards share.

Training adds Gaussian noise to an action chunk and learns to predict it; `robopref.sampler` removes
it again. diffusers defines the noise levels.

Shapes: B batch, Tp action chunk, Da action size, K denoising steps of training.
Notation of [1]: alpha -> sqrt(bar alpha_k), sigma -> sqrt(1 - bar alpha_k).

References:
    [1] Chi et al., Diffusion Policy, 2023, arXiv:2303.04137, eq. 1-4.
    [2] Salimans and Ho, Progressive distillation, 2022, arXiv:2202.00512, appendix D.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from robopref.shares import batch_mean, draw_rows

BETA_SCHEDULE = "squaredcos_cap_v2"
"""Name that diffusers has for the squared cosine schedule."""

Randomness = torch.Generator | Sequence[torch.Generator]
"""One generator for a whole batch, or one for each of its rows.

With one a row, the noise of a row does not depend on what else is in the batch.
"""


class NoiseSchedule(nn.Module):
    """How much signal and noise a chunk holds at each denoising step.

    The numbers are those of diffusers' `DDPMScheduler` with the squared cosine schedule.

    Args:
        num_train_steps: K.
    """

    alpha: Tensor
    sigma: Tensor

    def __init__(self, num_train_steps: int) -> None:
        super().__init__()
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        self.num_train_steps = num_train_steps
        scheduler = DDPMScheduler(num_train_steps, beta_schedule=BETA_SCHEDULE)
        self.register_buffer("alpha", scheduler.alphas_cumprod.sqrt(), persistent=False)
        self.register_buffer("sigma", (1 - scheduler.alphas_cumprod).sqrt(), persistent=False)

    def add_noise(
        self,
        chunk: Float[Tensor, "B Tp Da"],
        noise: Float[Tensor, "B Tp Da"],
        denoise_step: Int[Tensor, " B"],
    ) -> Float[Tensor, "B Tp Da"]:
        """Return `alpha_k * chunk + sigma_k * noise`, eq. 4 of [1] unrolled."""
        alpha, sigma = self._levels(denoise_step)
        return alpha * chunk + sigma * noise

    def velocity(
        self,
        chunk: Float[Tensor, "B Tp Da"],
        noise: Float[Tensor, "B Tp Da"],
        denoise_step: Int[Tensor, " B"],
    ) -> Float[Tensor, "B Tp Da"]:
        """Return `alpha_k * noise - sigma_k * chunk`, appendix D of [2]."""
        alpha, sigma = self._levels(denoise_step)
        return alpha * noise - sigma * chunk

    def noise_of(
        self,
        velocity: Float[Tensor, "B Tp Da"],
        noisy: Float[Tensor, "B Tp Da"],
        denoise_step: Int[Tensor, " B"],
    ) -> Float[Tensor, "B Tp Da"]:
        """Return the noise that a velocity says is in noisy chunks."""
        alpha, sigma = self._levels(denoise_step)
        return sigma * noisy + alpha * velocity

    def _levels(self, denoise_step: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(level[denoise_step][:, None, None] for level in (self.alpha, self.sigma))  # type: ignore[return-value]


def noise_error(
    predicted: Float[Tensor, "B Tp Da"],
    noise: Float[Tensor, "B Tp Da"],
    is_pad: Bool[Tensor, "B _Tp"] | None = None,
) -> Float[Tensor, " B"]:
    """Return the mean squared error of the predicted noise of each chunk.

    Less that of a frozen reference policy, and times minus the strength of the reference (the beta
    of DPO, not the noise schedule's), it is the implicit reward of a diffusion policy.

    Args:
        predicted: What the network says the noise is.
        noise: What it was.
        is_pad: True where an action is padding and does not count; of the last actions, where it is
            shorter, and then those before them do not count either.
    """
    squared = (predicted - noise).square()
    if is_pad is None:
        return squared.mean(dim=(1, 2))
    squared = squared[:, -is_pad.shape[1] :]
    real = (~is_pad).to(squared.dtype)
    return (squared.mean(dim=2) * real).sum(dim=1) / real.sum(dim=1).clamp_min(1)


def prediction_loss(
    predicted: Float[Tensor, "B Tp Da"],
    target: Float[Tensor, "B Tp Da"],
    is_pad: Bool[Tensor, "B _Tp"] | None = None,
    weight: Float[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean squared error over all real actions, as eq. 5 of [1] with a mask.

    Every real action counts the same, so that a window at an episode's end, of which most is
    padding, does not put its whole weight on the few actions left.

    Args:
        predicted: What the network says.
        target: What it should: the noise, or the velocity.
        is_pad: As for `noise_error`.
        weight: How much each chunk counts, at least 0; all the same by default.
    """
    squared = (predicted - target).square().mean(dim=2)
    if is_pad is not None:
        squared = squared[:, -is_pad.shape[1] :]
    if is_pad is None and weight is None:
        return squared.mean()
    counts = torch.ones_like(squared) if is_pad is None else (~is_pad).to(squared.dtype)
    if weight is not None:
        counts = counts * weight[:, None]
    return batch_mean((squared * counts).sum(), counts.sum(), 1e-8)


def draw_denoise_steps(
    num_train_steps: int, batch_size: int, generator: torch.Generator
) -> Int[Tensor, " B"]:
    """Return steps spread evenly over the batch: each uniform by itself, hardly two alike.

    Independent draws leave some steps out of a batch and repeat others; even ones make the loss
    less noisy, and training takes fewer gradient steps (the sampler of Kingma et al.,
    Variational diffusion models, 2021, arXiv:2107.00630, appendix I.1, with the rows shuffled).
    """

    def draw(num: int) -> Tensor:
        shuffled = torch.randperm(num, generator=generator, device=generator.device)
        shift = torch.rand((), generator=generator, device=generator.device)
        # Rounding could lift the largest to K itself.
        steps = ((shuffled + shift) * (num_train_steps / num)).long()
        return steps.clamp_(max=num_train_steps - 1)

    return draw_rows(batch_size, draw)


def draw_noise(
    shape: tuple[int, ...], generator: Randomness, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Return standard normal noise of `shape`.

    Args:
        shape: First axis is the batch.
        generator: One for all, or one for each row.
        device: Where the noise goes; it is drawn where the generator is.

    Raises:
        ValueError: There are not as many generators as rows.
    """
    if isinstance(generator, torch.Generator):
        return draw_rows(
            shape[0],
            lambda num: torch.randn(
                (num, *shape[1:]), generator=generator, device=generator.device
            ),
        ).to(device)
    if len(generator) != shape[0]:
        raise ValueError(
            f"`generator` must hold one generator for each of {shape[0]} rows, "
            f"got {len(generator)}."
        )
    rows = [torch.randn(shape[1:], generator=g, device=g.device) for g in generator]
    return torch.stack(rows).to(device)
