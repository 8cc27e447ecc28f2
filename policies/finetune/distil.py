"""Imitating what is good with the loss that trained the policy: by choice, or by weight.

Chosen behaviour is cloned back into the policy, starting from its weights, as RAFT [1] does with
language models. It is the safest of the fine-tuning methods: it can only do more of what the policy
already did. Where nothing is recorded anew, what there is can be weighted by how good it was [2].

Shapes: E episodes, W windows.

References:
    [1] Dong et al., RAFT: Reward ranked fine-tuning, 2023, arXiv:2304.06767.
    [2] Peters and Schaal, Reinforcement learning by reward-weighted regression for operational
        space control, 2007; Peng et al., Advantage-weighted regression, 2019, arXiv:1910.00177.
"""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from robopref.errors import check_above, check_at_least, check_choice
from robopref.policies.finetune.credit import advantages
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.episodes import EpisodesConfig
from robopref.policies.finetune.given import NO_CHUNK_SCORES, Given
from robopref.policies.finetune.tuning import Validate, tune, tuning
from robopref.policies.windows import window_source
from robopref.trainer import BatchSource, TrainerConfig, TrainResult
from robopref.types import ACTION

LARGEST_WEIGHT = 20.0
"""Weights are cut off here, as in advantage-weighted regression: one window must not be all."""


@dataclass(frozen=True)
class DistilConfig:
    """Fine-tune a policy on chosen episodes with its own training loss."""

    needs_chosen: ClassVar[bool] = True

    trainer: TrainerConfig = field(default_factory=lambda: tuning(400, 1e-3, 200))
    """Training on the chosen episodes."""
    demonstration_weight: float = 0.0
    """How much a window of the base demonstrations counts beside a chosen one, if there are any."""
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    """Which of the chosen episodes count, and when."""

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
        validate: Validate | None = None,
    ) -> tuple[Any, TrainResult]:
        """Return a fine-tuned copy of `policy`, which stays as it is, and how the training went.

        The copy keeps the normaliser of the base: its network knows no other units.

        Args:
            policy: Where to start; its `forward` is the training loss.
            data: Its chosen episodes are imitated, and its demonstrations held on to.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
            validate: Measures the policy while it is tuned.

        Raises:
            ValueError: There are no episodes, or a weight is negative or missing.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        if not data.chosen:
            raise ValueError("There are no episodes to distil. Select at least one.")
        data = self.episodes.of_chosen(data)
        num = len(data.chosen)
        chosen = [1.0] * num if data.weights is None else [float(w) for w in data.weights]
        if len(chosen) != num:
            raise ValueError(
                f"`weights` must hold one weight for each of {num} episodes, got {len(chosen)}."
            )
        if min(chosen) < 0 or max(chosen) == 0:
            raise ValueError("`weights` must be at least 0, and one of them above 0.")
        kept = list(data.demonstrations) if self.demonstration_weight > 0 else []
        weights = [*chosen, *([self.demonstration_weight] * len(kept))]
        source = window_source(policy, [*data.chosen, *kept], weights)
        source = self.episodes.chosen_first(source, data, sum(map(len, kept)))
        return imitate(self.trainer, policy, source, generator, directory, validate)


@dataclass(frozen=True)
class RewardWeightedConfig:
    """Fine-tune on unlabelled episodes, each window weighted by exp(advantage / temperature)."""

    trainer: TrainerConfig = field(default_factory=lambda: tuning(600, 1e-3, 200))
    """Training on the weighted episodes."""
    temperature: float = 0.3
    """Advantage that makes a window count e times as much, in deviations of the advantages."""
    credit: Literal["uniform", "advantage"] = "uniform"
    """uniform: a window has its episode's return; advantage: how much better its chunk is scored
    than what the policy proposes there."""
    episodes: EpisodesConfig = field(default_factory=EpisodesConfig)
    """Which of the unlabelled episodes count, and when."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("credit", self.credit, get_args(Literal["uniform", "advantage"]))
        check_above("temperature", self.temperature, 0)

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
        """Return a fine-tuned copy of `policy`, which stays as it is, and how the training went.

        Args:
            policy: Where to start.
            data: Its pool is imitated by weight.
            generator: All randomness of the training.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
            validate: Measures the policy while it is tuned.

        Raises:
            ValueError: There are no unlabelled episodes, or nothing says how good they are.
            CheckpointError: `directory` holds a checkpoint of another run.
        """
        if not data.pool:
            raise ValueError("There are no unlabelled episodes to weigh. Record some.")
        data = self.episodes.of_pool(data)
        if self.credit == "uniform":
            advantage = pool_returns(data)
        else:
            advantage = chunk_advantages(policy, data, generator)
        source = window_source(policy, data.pool, self.weights(advantage))
        source = self.episodes.pool_first(source, data)
        return imitate(self.trainer, policy, source, generator, directory, validate)

    def weights(self, advantage: Tensor) -> Tensor:
        """Return the weights of advantages, of mean 1.

        Raises:
            ValueError: The advantages are all the same, or not finite.
        """
        deviation = advantage.std(correction=0)
        if not torch.isfinite(deviation) or deviation < 1e-8:
            raise ValueError(
                "The learned reward tells none of the unlabelled episodes from another (its "
                f"deviation is {float(deviation):g}), so there is nothing to weigh them by."
            )
        standard = (advantage - advantage.mean()) / deviation
        weights = (standard / self.temperature).exp().clamp_max(LARGEST_WEIGHT)
        return weights / weights.mean()


def imitate(
    config: TrainerConfig,
    policy: Any,
    source: BatchSource,
    generator: torch.Generator,
    directory: Path | None,
    validate: Validate | None,
) -> tuple[Any, TrainResult]:
    """Return a copy of `policy` trained on windows with its own loss, and how that went."""
    tuned = copy.deepcopy(policy)
    tuned.reset()
    return tune(
        config, tuned, tuned, source, generator=generator, directory=directory, validate=validate
    )


def pool_returns(data: FinetuneData) -> Tensor:
    """Return the mean learned return of each episode of the pool, (E,).

    Raises:
        ValueError: There are none.
    """
    if data.returns is None:
        raise ValueError("The unlabelled episodes have no learned returns to weigh them by.")
    mean: np.ndarray = data.returns.mean(axis=0)
    return torch.from_numpy(mean).float()


def chunk_advantages(policy: Any, data: FinetuneData, generator: torch.Generator) -> Tensor:
    """Return how much better each chunk of the pool is than what the policy proposes there, (W,).

    Raises:
        ValueError: No learned reward scores chunks.
    """
    if data.scorer is None:
        raise ValueError(NO_CHUNK_SCORES)
    source = window_source(policy, data.pool)
    found = source.gather(torch.arange(len(source)))
    windows = {key: found[key][:, None] for key in (*policy.obs_shapes, ACTION)}
    return advantages(policy, data.scorer, windows, generator)[:, 0]
