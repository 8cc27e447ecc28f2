"""Quality-conditioned fine-tuning: tell good from bad, and ask for good at run time [1].

Shapes: E episodes, W windows.

References:
    [1] Wang et al., OpenChat: advancing open-source language models with mixed-quality data
        (C-RLFT), 2023, arXiv:2309.11235.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from robopref.errors import check_at_least, check_between, check_choice
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.distil import chunk_advantages, imitate, pool_returns
from robopref.policies.finetune.episodes import EpisodesConfig
from robopref.policies.finetune.given import NO_CHUNK_SCORES, Given
from robopref.policies.finetune.tuning import Validate, tuning
from robopref.policies.quality import BAD, GOOD, QUALITY, QualityDiffusionPolicy
from robopref.policies.windows import window_source
from robopref.trainer import TrainerConfig, TrainResult


@dataclass(frozen=True)
class QualityConfig:
    """Fine-tune on unlabelled episodes with their class, and sample with the class good."""

    trainer: TrainerConfig = field(default_factory=lambda: tuning(600, 1e-3, 200))
    """Training on the episodes."""
    good_share: float = 0.3
    """Share of the windows that are good."""
    credit: Literal["uniform", "advantage"] = "uniform"
    """uniform: a window is as good as its episode; advantage: by how much better its chunk is
    scored than what the policy proposes there."""
    guidance: float = 1.0
    """How far predictions are pushed on from those without a class."""
    drop_share: float = 0.15
    """Share of the chunks whose class is left out in training."""
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    """Which of the unlabelled episodes count, and when."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("credit", self.credit, get_args(Literal["uniform", "advantage"]))
        check_between("good_share", self.good_share, 0.01, 0.99)
        check_at_least("guidance", self.guidance, 0)
        check_between("drop_share", self.drop_share, 0, 1)

    def check(self, given: Given) -> None:
        """Refuse what this cannot learn from, before anything is recorded.

        Raises:
            ValueError: Chunks are to be weighed, and there will be no reward that scores them.
        """
        if self.credit == "advantage" and not given.has_scorer:
            raise ValueError(NO_CHUNK_SCORES)

    def run(
        self,
        policy: Any,
        data: FinetuneData,
        *,
        generator: torch.Generator,
        directory: Path | None = None,
        validate: Validate | None = None,
    ) -> tuple[Any, TrainResult]:
        """Return a policy that starts from `policy` and knows good from bad, and how it trained.

        Args:
            policy: A diffusion policy; it stays as it is.
            data: Its pool is learned from.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
            validate: Measures the policy while it is tuned.

        Raises:
            ValueError: There are no unlabelled episodes, or nothing says how good they are.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        if not data.pool:
            raise ValueError("There are no unlabelled episodes to tell good from bad in.")
        data = self.episodes.of_pool(data)
        windows = QualitySource(policy, data, self._classes(policy, data, generator))
        source = self.episodes.pool_first(windows, data)
        told = QualityDiffusionPolicy.from_policy(
            policy, guidance=self.guidance, drop_share=self.drop_share
        )
        return imitate(self.trainer, told, source, generator, directory, validate)

    def _classes(self, policy: Any, data: FinetuneData, generator: torch.Generator) -> Tensor:
        """Return the class of each window of the pool, (W,).

        Raises:
            ValueError: All are equally good, or what says how good is not finite.
        """
        if self.credit == "advantage":
            value = chunk_advantages(policy, data, generator)
        else:
            lengths = torch.tensor([len(episode) for episode in data.pool])
            value = pool_returns(data).repeat_interleave(lengths)
        unknown = int((~torch.isfinite(value)).sum())
        if unknown:
            raise ValueError(
                f"The learned reward is not finite for {unknown} of {len(value)} windows of the "
                "unlabelled episodes, so good cannot be told from bad. Fit it again."
            )
        bound = value.quantile(1 - self.good_share)
        good = value > bound if bool((value > bound).any()) else value >= bound
        if bool(good.all()):
            raise ValueError(
                "The learned reward tells none of the unlabelled episodes from another, so none "
                "of them can be called good."
            )
        return torch.where(good, GOOD, BAD)


class QualitySource:
    """Windows of the pool with their class, for `robopref.trainer.Trainer`.

    Args:
        policy: Says what a window is.
        data: Its pool is taken.
        classes: Class of each window, (W,).
    """

    def __init__(self, policy: Any, data: FinetuneData, classes: Tensor) -> None:
        self._windows = window_source(policy, data.pool)
        self._classes = classes

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._windows)

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the windows at `indices`, with the class of each."""
        return {**self._windows.gather(indices), QUALITY: self._classes[indices]}
