"""Diffusion-DRO: rank what was demonstrated above what the policy does of itself [1].

Nobody judges anything: demonstrated chunks are better than the policy's own, and that is all. A
chunk's change Delta is its denoising error under the tuned policy less that under the base, so that
-Delta is its implicit reward; the demonstrated chunk's is to be ahead by a margin. Own chunks are
drawn at the demonstrations' observations from a snapshot of the tuned policy, which is taken anew
every few steps: as the policy learns, what it has to be better than improves with it, and where it
does what was demonstrated the two gradients cancel.

The authors draw own samples along the way of the sampler, with the noise that the snapshot predicts
there as the target; here they are whole chunks with common noise, as in every other loss of this
package.

Shapes: B chunks, To observation steps, Tp action chunk, Da action size.

References:
    [1] Wu et al., Ranking-based preference optimization for diffusion models from implicit user
        feedback, 2025, arXiv:2510.18353.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.data.windows import ACTION_IS_PAD, PAST_ACTION
from robopref.diffusion import noise_error
from robopref.errors import check_above, check_at_least, check_between
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.episodes import EpisodesConfig
from robopref.policies.finetune.objective import loser_scale
from robopref.policies.finetune.tuning import Validate, tune, tuning
from robopref.policies.windows import window_source
from robopref.trainer import TrainerConfig, TrainResult
from robopref.types import ACTION


@dataclass(frozen=True)
class DROConfig:
    """Fine-tune on demonstrations of what is wanted, ranked above the policy's own chunks."""

    needs_chosen: ClassVar[bool] = True

    trainer: TrainerConfig = field(default_factory=lambda: tuning(300, 1e-4))
    """Training on the demonstrations; beside each chunk of a batch stands one of the policy."""
    margin: float = 0.01
    """How far the demonstrated chunk is to be ahead, in mean squared error of the noise."""
    refresh_steps: int = 16
    """Steps between snapshots of the policy, of which its own chunks are drawn."""
    safeguard: float = 0.5
    """How much of the demonstrated chunk's progress must survive the gradient of the other, 0 to
    1; 0 leaves that gradient as it is."""
    anchor: float = 0.5
    """Weight of the denoising loss on the demonstrated chunks."""
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    """Which of the chosen episodes count, and when."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("refresh_steps", self.refresh_steps, 1)
        check_between("safeguard", self.safeguard, 0, 1)
        check_at_least("anchor", self.anchor, 0)
        check_above("margin", self.margin, 0)

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
            data: Its chosen episodes show what is wanted; each counts alike.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
            validate: Measures the policy while it is tuned.

        Raises:
            ValueError: There are no chosen episodes.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        if not data.chosen:
            raise ValueError(
                "There are no chosen episodes that show what is wanted. Give at least one."
            )
        data = self.episodes.of_chosen(data)
        windows = window_source(policy, data.chosen)
        source = self.episodes.chosen_first(windows, data)
        tuned = copy.deepcopy(policy)
        tuned.reset()
        return tune(
            self.trainer, tuned, DROObjective(tuned, policy, self), source, generator=generator,
            directory=directory, validate=validate,
        )  # fmt: skip


class DROObjective(nn.Module):
    """The loss of a batch of demonstrated chunks against the policy's own.

    The snapshot and the count of batches are part of its state, so that a resumed run goes on with
    the snapshot that it had.

    Args:
        policy: What is trained.
        reference: The frozen base.
        config: The settings.
    """

    num_batches: Tensor

    def __init__(self, policy: Any, reference: Any, config: DROConfig) -> None:
        super().__init__()
        self.policy = policy
        self.snapshot = _frozen(policy)
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))
        # In a list, so that its weights are neither trained nor saved.
        self._reference = [_frozen(reference)]
        self.config = config

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the loss, and how far demonstrated chunks are ahead.

        Args:
            batch: Observations (B, To, ...) by key, "action" (B, Tp, Da) and "action_is_pad".
            generator: Draws the policy's chunks, and the steps and the noise that both share.
        """
        both = self._beside_own(batch, generator)
        num = len(batch[ACTION])
        steps, noise = (value.repeat(2, *[1] * (value.ndim - 1))
                        for value in self.policy.draw_noising(num, generator))  # fmt: skip
        predicted = self.policy.predict_noise(both, steps, noise)
        error = noise_error(predicted, noise, both[ACTION_IS_PAD]).view(2, num).T
        with torch.no_grad():
            reference = self._reference[0].noise_error(both, steps, noise).view(2, num).T
        kept = error
        if self.config.safeguard > 0:
            # Actions past an episode's end or before the chunk are in no error: they pull nowhere.
            is_pad = both[ACTION_IS_PAD]
            difference = (predicted.detach() - noise)[:, -is_pad.shape[1] :]
            difference = difference.masked_fill(is_pad[..., None], 0.0)
            difference = difference.view(2, num, -1).transpose(0, 1)
            best = torch.tensor([[True, False]], device=error.device).expand(num, -1)
            scale = loser_scale(difference, best, self.config.safeguard)
            kept = scale * error + (1 - scale) * error.detach()
        change = kept - reference
        hinge = (self.config.margin + change[:, 0] - change[:, 1]).clamp_min(0)
        loss = hinge.mean() + self.config.anchor * error[:, 0].mean()
        ahead = (change[:, 1] - change[:, 0]).detach()
        return loss, {"ahead": ahead.mean(), "ahead_by_margin": (hinge == 0).float().mean()}

    @torch.no_grad()
    def _beside_own(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the batch twice, with the policy's own chunks in its second half."""
        self._refresh()
        obs = {key: batch[key] for key in self.policy.obs_shapes}
        # A copy: gradients cannot flow past what was made in inference mode.
        own = self.snapshot.sample(obs, 1, generator)[:, 0].clone()
        # The actions that are padding in the one count in neither.
        keys = [key for key in (*obs, ACTION_IS_PAD, PAST_ACTION) if key in batch]
        return {key: batch[key].repeat(2, *[1] * (batch[key].ndim - 1)) for key in keys} | {
            ACTION: torch.cat([batch[ACTION], own])
        }

    def _refresh(self) -> None:
        """Take a snapshot if one is due, and count the batch."""
        if not self.training:
            return
        interval = self.config.refresh_steps * self.config.trainer.gradient_accumulation
        if int(self.num_batches) % interval == 0:
            self.snapshot.load_state_dict(self.policy.state_dict())
        self.num_batches += 1


def _frozen(policy: Any) -> Any:
    return copy.deepcopy(policy).eval().requires_grad_(False)
