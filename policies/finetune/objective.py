"""What the preference losses share: implicit rewards under common noise, the safeguard, the anchor.

The likelihood of a chunk is not known; its denoising error, less that of the frozen base, stands
for it [1]: the implicit reward of a chunk is dpo_beta (e_ref - e), with e the mean squared error of
the predicted noise under the tuned policy and e_ref under the base. All chunks of a group get the
same denoising step and the same noise. A loss of this package is a function of the implicit rewards
of a group and of how good its chunks are held to be, in one file each.

As published such losses fail on easy cases: raising the error of what was not preferred is
satisfied as well by overshooting in its direction. The safeguard [2] and the anchor [3] are there
for that, and both are on by default.

Shapes: B groups, K chunks of a group, R = B K rows, Tp action chunk, Da action size.

References:
    [1] Wallace et al., Diffusion model alignment using direct preference optimization, 2023,
        arXiv:2311.12908, eq. 14.
    [2] Fu et al., Diffusion-SDPO, 2025, arXiv:2511.03317.
    [3] Shan et al., Forward KL regularized preference optimization, 2024, arXiv:2409.05622.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robopref.data.windows import ACTION_IS_PAD
from robopref.diffusion import draw_noise, noise_error
from robopref.errors import check_above, check_at_least, check_between
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.given import Given
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.groups import GAINS, GROUP_WEIGHT, best_of
from robopref.policies.finetune.tuning import Validate, tune, tuning
from robopref.shares import batch_mean
from robopref.trainer import TrainerConfig, TrainResult


@dataclass(frozen=True)
class PreferenceConfig(ABC):
    """Settings that every preference loss has."""

    group_size: ClassVar[int | None] = 2
    """Chunks in a group; None takes as many as there are."""

    trainer: TrainerConfig = field(default_factory=lambda: tuning(300, 1e-4))
    """Training; a batch is of so many chunks, whatever the size of the groups."""
    groups: GroupsConfig = field(default_factory=GroupsConfig)
    """Where the chunks come from."""
    dpo_beta: float = 10.0
    """How strongly the policy is held to the base: the scale of the implicit reward."""
    safeguard: float = 0.5
    """How much of the best chunk's progress must survive the gradient of each other one, 0 to 1;
    0 leaves those gradients as they are."""
    anchor: float = 5.0
    """Weight of the denoising loss on the best chunk of each group."""
    shared_noise: bool = True
    """Give the chunks of a group the same noise; else only the denoising step is the same, which
    makes their errors differ for another reason than what they do."""
    draws_per_group: int = 1
    """Steps and noises that each group of a batch meets."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("safeguard", self.safeguard, 0, 1)
        check_at_least("anchor", self.anchor, 0)
        check_above("dpo_beta", self.dpo_beta, 0)
        check_at_least("draws_per_group", self.draws_per_group, 1)

    @abstractmethod
    def losses(
        self, implicit: Float[Tensor, "B K"], gains: Float[Tensor, "B K"]
    ) -> Float[Tensor, " B"]:
        """Return the loss of each group.

        Args:
            implicit: Implicit rewards; 0 where there is no chunk.
            gains: How good each chunk is held to be: differences are log-odds. NaN for no chunk.
        """

    def check(self, given: Given) -> None:
        """Refuse what this cannot learn from, before anything is recorded.

        Raises:
            ValueError: What `groups` are made from will not be there.
        """
        self.groups.check(given)

    def run(
        self,
        policy: Any,
        data: FinetuneData,
        *,
        generator: torch.Generator,
        directory: Path | None = None,
        validate: Validate | None = None,
    ) -> tuple[Any, TrainResult]:
        """Return a fine-tuned copy of `policy`, which stays as it is, and how the training went.

        Args:
            policy: Where to start, and what the copy is held to.
            data: What `groups` makes groups from.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
            validate: Measures the policy while it is tuned.

        Raises:
            ValueError: There is nothing to learn from, or all are ties.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        source = self.groups.build(policy, data, self.group_size, generator)
        tuned = copy.deepcopy(policy)
        tuned.reset()
        num_groups = max(1, self.trainer.batch_size // source.gains.shape[1])
        return tune(
            replace(self.trainer, batch_size=num_groups), tuned,
            PreferenceObjective(tuned, policy, self), source, generator=generator,
            directory=directory, validate=validate,
        )  # fmt: skip


class PreferenceObjective(nn.Module):
    """The loss of a batch of groups.

    Args:
        policy: What is trained.
        reference: The frozen base.
        config: The settings, and the loss of the implicit rewards.
    """

    def __init__(self, policy: Any, reference: Any, config: PreferenceConfig) -> None:
        super().__init__()
        self.policy = policy
        # In a list, so that its weights are neither trained nor saved.
        self._reference = [copy.deepcopy(reference).eval().requires_grad_(False)]
        self.config = config

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the loss, and how well the implicit reward orders the groups.

        Args:
            batch: Windows (B K, ...), the chunks of a group together, "gains" and "group_weight";
                observations may be (B, ...), of whole groups.
            generator: Draws steps and noise, which the chunks of a group share.
        """
        if self.training:
            batch = self.policy.augmented(batch, generator)
        batch = self._drawn_often(batch)
        gains, weights = batch[GAINS], batch[GROUP_WEIGHT]
        num, size = gains.shape
        steps, noise = self.policy.draw_noising(num, generator)
        steps, noise = (value.repeat_interleave(size, dim=0) for value in (steps, noise))
        if not self.config.shared_noise:
            noise = draw_noise(tuple(noise.shape), generator, device=noise.device)
        predicted = self.policy.predict_noise(batch, steps, noise)
        error = noise_error(predicted, noise, batch[ACTION_IS_PAD]).view(num, size)
        with torch.no_grad():
            reference = self._reference[0].noise_error(batch, steps, noise).view(num, size)
        best = best_of(gains)
        kept = error
        if self.config.safeguard > 0:
            # Actions past an episode's end or before the chunk are in no error: they pull nowhere.
            is_pad = batch[ACTION_IS_PAD]
            difference = (predicted.detach() - noise)[:, -is_pad.shape[1] :]
            difference = difference.masked_fill(is_pad[..., None], 0.0)
            difference = difference.flatten(1).view(num, size, -1)
            scale = loser_scale(difference, best, self.config.safeguard)
            kept = scale * error + (1 - scale) * error.detach()
        implicit = self.config.dpo_beta * (reference - kept)
        implicit = implicit.masked_fill(gains.isnan(), 0.0)
        loss = (weights * self.config.losses(implicit, gains)).mean()
        if self.config.anchor > 0:
            loss = loss + self.config.anchor * _mean_where(error, best * weights[:, None])
        return loss, _figures(error.detach(), reference, gains)

    def _drawn_often(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return a batch with every group as often as it meets steps and noises.

        Observations that are of whole groups are there once for all of them.
        """
        draws, (num, size) = self.config.draws_per_group, batch[GAINS].shape
        if draws == 1:
            return batch
        often = {}
        for key, value in batch.items():
            of_groups = len(value) == num
            if key in self.policy.obs_shapes and of_groups and size > 1:
                often[key] = value
            else:
                groups = value.view(num, -1, *value.shape[1:])
                often[key] = groups.repeat_interleave(draws, dim=0).flatten(0, 1)
        return often


def loser_scale(
    difference: Float[Tensor, "B K F"], best: Bool[Tensor, "B K"], safeguard: float
) -> Float[Tensor, "B K"]:
    """Return what to scale the gradient of each chunk's error by: 1 but for conflicting losers.

    At the output of the network, going down on the winner's error lowers it by |g_w|^2 a unit
    step, and going up on a loser's adds g_w . g_l; the scale keeps `safeguard` of the gain [2].

    Args:
        difference: Predicted less true noise, of which the gradients are multiples.
        best: Which chunks are best in their group; the first of them is the winner.
        safeguard: Share of the winner's progress that must survive.
    """
    place = best.int().argmax(1)
    winner = difference[torch.arange(len(place)), place]
    along = torch.einsum("bkf,bf->bk", difference, winner)
    progress = winner.square().sum(1, keepdim=True)
    bound = ((1 - safeguard) * progress / along.clamp_min(1e-12)).clamp(0, 1)
    return torch.where(~best & (along > 0), bound, torch.ones_like(bound))


def _figures(error: Tensor, reference: Tensor, gains: Tensor) -> dict[str, Tensor]:
    """Return how well the implicit reward orders best and worst, and what became of both."""
    best = gains.nan_to_num(-torch.inf).argmax(1, keepdim=True)
    worst = gains.nan_to_num(torch.inf).argmin(1, keepdim=True)
    change = error - reference
    better, other = (change.gather(1, place)[:, 0] for place in (best, worst))
    ordered = gains.gather(1, best)[:, 0] > gains.gather(1, worst)[:, 0]
    return {
        "implicit_accuracy": _mean_where((better < other).float(), ordered),
        "error_change_preferred": _mean_where(better, ordered),
        "error_change_other": _mean_where(other, ordered),
    }


def _mean_where(value: Tensor, where: Tensor) -> Tensor:
    chosen = where.to(value.dtype)
    return batch_mean((value * chosen).sum(), chosen.sum(), 1e-8)
