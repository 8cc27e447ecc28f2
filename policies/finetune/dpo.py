"""Diffusion-DPO: raise the likelihood of preferred chunks against that of the others.

The likelihood of a chunk is not known; its denoising error, less that of the frozen base, stands
for it [1]. As published this fails on easy cases: raising the error of what was not preferred is
satisfied as well by overshooting in its direction. The safeguard [2] and the anchor [3] are there
for that, and both are on by default.

Shapes: B pairs, R = 2 B windows of them, Tp action chunk, Da action size. Notation of [1]: e is the
mean squared error of the predicted noise under the tuned policy, e_ref under the base; the implicit
reward is beta_dpo (e_ref - e).

References:
    [1] Wallace et al., Diffusion model alignment using direct preference optimization, 2023,
        arXiv:2311.12908, eq. 14.
    [2] Fu et al., Diffusion-SDPO, 2025, arXiv:2511.03317.
    [3] Shan et al., Forward KL regularized preference optimization, 2024, arXiv:2409.05622.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.data.windows import ACTION_IS_PAD
from robopref.diffusion import noise_error
from robopref.errors import check_at_least, check_between, check_choice
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.links import LINKS, LinkName
from robopref.policies.finetune.pairs import PREFERS_SECOND, PairWindowSource, without_judgement
from robopref.trainer import Trainer, TrainerConfig, TrainResult


@dataclass(frozen=True)
class DPOConfig:
    """Fine-tune on judged pairs by Diffusion-DPO; `safeguard` 0 and `anchor` 0 are as published."""

    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            num_steps=300, learning_rate=1e-4, warmup_steps=20, ema_decay=0.99
        )
    )
    """Training on windows of the pairs."""
    beta_dpo: float = 100.0
    """How strongly the policy is held to the base: the scale of the implicit reward."""
    link: LinkName = "log-sigmoid"
    """From the margin of implicit rewards to the loss."""
    label_smoothing: float = 0.0
    """Share of the answers that are taken to be wrong."""
    safeguard: float = 0.5
    """How much of the preferred side's progress must survive the other side's gradient, 0 to 1;
    0 leaves that gradient as it is."""
    anchor: float = 5.0
    """Weight of the denoising loss on the preferred side."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("link", self.link, get_args(LinkName))
        check_between("label_smoothing", self.label_smoothing, 0, 0.5)
        check_between("safeguard", self.safeguard, 0, 1)
        check_at_least("anchor", self.anchor, 0)
        if not self.beta_dpo > 0:
            raise ValueError(f"`beta_dpo` must be above 0, got {self.beta_dpo}.")

    def run(
        self,
        policy: Any,
        data: FinetuneData,
        *,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> tuple[Any, TrainResult]:
        """Return a fine-tuned copy of `policy`, which stays as it is, and how the training went.

        Args:
            policy: Where to start, and what the copy is held to.
            data: Its judged pairs are used.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.

        Raises:
            ValueError: There are no pairs, or all are ties.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        tuned = copy.deepcopy(policy)
        tuned.reset()
        source = PairWindowSource(
            data, policy.n_obs_steps, policy.chunk_size, keys=tuple(policy.obs_shapes)
        )
        trainer = Trainer(
            self.trainer, DPOObjective(tuned, policy, self), source,
            generator=generator, directory=directory, description="dpo",
        )  # fmt: skip
        result = trainer.fit()
        if directory is not None:
            tuned.save_pretrained(directory / "policy")
        return tuned, result


class DPOObjective(nn.Module):
    """The loss of a batch of pairs of windows.

    Args:
        policy: What is trained.
        reference: The frozen base.
        config: The settings.
    """

    def __init__(self, policy: Any, reference: Any, config: DPOConfig) -> None:
        super().__init__()
        self.policy = policy
        # In a list, so that its weights are neither trained nor saved.
        self._reference = [copy.deepcopy(reference).eval().requires_grad_(False)]
        self.config = config

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the loss, and how well the implicit reward orders the pairs.

        Args:
            batch: Windows of both sides, (2 B, ...), and "prefers_second", (B,).
            generator: Draws steps and noise, which both sides of a pair share.
        """
        windows, prefers_second = without_judgement(batch), batch[PREFERS_SECOND]
        steps, noise = self.policy.draw_noising(len(prefers_second), generator)
        steps, noise = steps.repeat(2), noise.repeat(2, 1, 1)
        predicted = self.policy.predict_noise(windows, steps, noise)
        is_pad = windows[ACTION_IS_PAD]
        error = noise_error(predicted, noise, is_pad)
        with torch.no_grad():
            reference = self._reference[0].noise_error(windows, steps, noise)
        preferred = torch.cat([prefers_second < 0.5, prefers_second > 0.5])
        kept = error
        if self.config.safeguard > 0:
            scale = loser_scale(predicted.detach() - noise, preferred, self.config.safeguard)
            kept = scale * error + (1 - scale) * error.detach()
        first, second = (self.config.beta_dpo * (reference - kept)).chunk(2)
        loss = self._pair_loss(first - second, prefers_second)
        if self.config.anchor > 0:
            loss = loss + self.config.anchor * _mean_where(error, preferred)
        return loss, self._figures(error.detach(), reference, prefers_second, preferred)

    def _pair_loss(self, margin: Tensor, prefers_second: Tensor) -> Tensor:
        link, smoothing = LINKS[self.config.link], self.config.label_smoothing
        wanted = prefers_second * (1 - smoothing) + (1 - prefers_second) * smoothing
        return ((1 - wanted) * link(margin) + wanted * link(-margin)).mean()

    def _figures(
        self, error: Tensor, reference: Tensor, prefers_second: Tensor, preferred: Tensor
    ) -> dict[str, Tensor]:
        first, second = (reference - error).chunk(2)
        right = (second > first) == (prefers_second > 0.5)
        change = error - reference
        return {
            "implicit_accuracy": _mean_where(right.float(), prefers_second != 0.5),
            "error_change_preferred": _mean_where(change, preferred),
            "error_change_other": _mean_where(change, ~preferred),
        }


def loser_scale(
    difference: Float[Tensor, "R Tp Da"], preferred: Tensor, safeguard: float
) -> Float[Tensor, " R"]:
    """Return what to scale the gradient of each side's error by: 1 but for conflicting losers.

    At the output of the network, going down on the winner's error lowers it by |g_w|^2 a unit
    step, and going up on the loser's adds g_w . g_l; the scale keeps `safeguard` of the gain [2].

    Args:
        difference: Predicted less true noise of both sides, of which the gradients are multiples.
        preferred: Which rows are of the preferred side, (2 B,).
        safeguard: Share of the preferred side's progress that must survive.
    """
    here = difference.flatten(1)
    there = here.roll(len(here) // 2, dims=0)
    along = (here * there).sum(dim=1)
    winner = there.square().sum(dim=1)
    bound = ((1 - safeguard) * winner / along.clamp_min(1e-12)).clamp(0, 1)
    is_loser = preferred.roll(len(here) // 2)
    return torch.where(is_loser & (along > 0), bound, torch.ones_like(bound))


def _mean_where(value: Tensor, where: Tensor) -> Tensor:
    chosen = where.to(value.dtype)
    return (value * chosen).sum() / chosen.sum().clamp_min(1)
