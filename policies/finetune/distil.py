"""Rejection-sampling fine-tuning: imitate the episodes that selection liked best.

Selected behaviour is cloned back into the policy with the same denoising loss that trained it,
starting from its weights, as RAFT [1] does with language models. It is the safest of the
fine-tuning methods: it can only do more of what the policy already did.

References:
    [1] Dong et al., RAFT: Reward ranked fine-tuning, 2023, arXiv:2304.06767.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from robopref.errors import check_at_least
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.windows import WindowSource
from robopref.trainer import Trainer, TrainerConfig, TrainResult


@dataclass(frozen=True)
class DistilConfig:
    """Fine-tune a policy on chosen episodes with its own training loss."""

    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            num_steps=600, learning_rate=3e-4, warmup_steps=20, ema_decay=0.99
        )
    )
    """Training on the chosen episodes."""
    demonstration_weight: float = 0.0
    """How much a window of the base demonstrations counts beside a chosen one, if there are any."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("demonstration_weight", self.demonstration_weight, 0)

    def run(
        self,
        policy: Any,
        data: FinetuneData,
        *,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> tuple[Any, TrainResult]:
        """Return a fine-tuned copy of `policy`, which stays as it is, and how the training went.

        The copy keeps the normaliser of the base: its network knows no other units.

        Args:
            policy: Where to start; its `forward` is the training loss.
            data: Its chosen episodes are imitated, and its demonstrations held on to.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.

        Raises:
            ValueError: There are no episodes, or a weight is negative or missing.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        if not data.chosen:
            raise ValueError("There are no episodes to distil. Select at least one.")
        tuned = copy.deepcopy(policy)
        tuned.reset()
        trainer = Trainer(
            self.trainer,
            tuned,
            self._source(policy, data),
            generator=generator,
            directory=directory,
            description="distil",
        )
        result = trainer.fit()
        if directory is not None:
            tuned.save_pretrained(directory / "policy")
        return tuned, result

    def _source(self, policy: Any, data: FinetuneData) -> WindowSource:
        num = len(data.chosen)
        chosen = [1.0] * num if data.weights is None else [float(w) for w in data.weights]
        if len(chosen) != num:
            raise ValueError(
                f"`weights` must hold one weight for each of {num} episodes, got {len(chosen)}."
            )
        if min(chosen) < 0 or max(chosen) == 0:
            raise ValueError("`weights` must be at least 0, and one of them above 0.")
        kept = list(data.demonstrations) if self.demonstration_weight > 0 else []
        return WindowSource(
            [*data.chosen, *kept],
            policy.n_obs_steps,
            policy.chunk_size,
            keys=tuple(policy.obs_shapes),
            weights=[*chosen, *([self.demonstration_weight] * len(kept))],
        )
