"""The way in which every method of this package that trains on batches ends: train, and save."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robopref.ranks import get_ranks
from robopref.trainer import BatchSource, Trainer, TrainerConfig, TrainResult

Validate = Callable[[Any], Mapping[str, float]]
"""Measures a policy while it is tuned; the figures must hold "loss"."""


def tuning(num_steps: int, learning_rate: float, validation_interval: int = 100) -> TrainerConfig:
    """Return the training that a method has by default.

    With figures of validation the best weights are kept, and training stops early where it only
    gets worse; without them it takes all its steps.
    """
    return TrainerConfig(
        num_steps=num_steps, learning_rate=learning_rate, warmup_steps=20, ema_decay=0.99,
        validation_interval=validation_interval, patience=2,
    )  # fmt: skip


def tune(
    trainer: TrainerConfig,
    tuned: Any,
    objective: nn.Module,
    source: BatchSource,
    *,
    generator: torch.Generator,
    directory: Path | None,
    validate: Validate | None,
) -> tuple[Any, TrainResult]:
    """Train `objective`, of which `tuned` is a part, and return `tuned` and how that went.

    Args:
        trainer: How to train.
        tuned: The policy that is being fine-tuned.
        objective: What is minimised; the policy itself, or what holds it.
        source: Where batches come from.
        generator: All randomness.
        directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
        validate: Measures the policy while it is tuned.

    Raises:
        CheckpointError: `directory` holds a checkpoint of another run.
    """
    result = Trainer(
        trainer, objective, source, generator=generator, directory=directory,
        description="fine-tune", validate=None if validate is None else lambda: validate(tuned),
    ).fit()  # fmt: skip
    if directory is not None:
        get_ranks().on_main(lambda: tuned.save_pretrained(directory / "policy"))
    return tuned, result
