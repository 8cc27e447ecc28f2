"""Behaviour cloning: episodes in, a trained policy in a run directory out.

Shapes: B batch.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robopref.data.episode import Episode, check_has_episodes
from robopref.data.normalizer import compute_statistics
from robopref.episode_pictures import Pictures
from robopref.errors import check_between
from robopref.policies.windows import window_source
from robopref.ranks import get_ranks
from robopref.seeding import make_generator, make_rng
from robopref.trainer import Trainer, TrainerConfig, TrainResult

logger = logging.getLogger(__name__)

_VALIDATION_WINDOWS = 1024


def train_policy(
    policy: Any,
    episodes: Sequence[Episode],
    trainer: TrainerConfig,
    *,
    directory: Path | None = None,
    seed: int = 0,
    validation_share: float = 0.1,
    weights: Tensor | None = None,
    pictures: Pictures | None = None,
) -> tuple[Any, TrainResult]:
    """Train a policy to do what was done in `episodes`.

    Called again after an interruption it goes on at the last checkpoint in `directory`, and ends
    with the same weights as if nothing had happened.

    Args:
        policy: Config of a policy of the registry.
        episodes: What to imitate.
        trainer: How to train.
        directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`; None
            keeps nothing.
        seed: Decides everything random.
        validation_share: Share of episodes held out to measure the loss on; 0 holds out none.
        weights: How much the window that begins at each step counts; only with none held out.
        pictures: Where the pictures of the episodes are, for a policy that looks at them.

    Returns:
        The policy, and how the training went.

    Raises:
        ValueError: There are no episodes, or windows have weights and episodes are held out.
        DataError: They differ in the shape of their observations or actions.
        CheckpointError: `directory` holds a checkpoint of another run.
    """
    check_between("validation_share", validation_share, 0, 0.9)
    check_has_episodes(episodes)
    if weights is not None and validation_share:
        raise ValueError("`weights` are of all episodes' windows: `validation_share` must be 0.")
    shapes = {key: value.shape[1:] for key, value in episodes[0].obs.items()}
    built = policy.build(
        shapes if pictures is None else shapes | pictures.shapes,
        episodes[0].action.shape[1],
        make_generator(seed, "train-policy", "weights"),
    )
    # One process makes the maps that are kept, and the others read them.
    seen = get_ranks().main_first(
        lambda: episodes if pictures is None else pictures.add_to(built, episodes)
    )
    training, validation = split_episodes(seen, validation_share, seed)
    source = window_source(built, training, weights)
    built.fit_normalizer(compute_statistics(training))
    fit = Trainer(
        trainer,
        built,
        source,
        generator=make_generator(seed, "train-policy", "batches"),
        validate=_validation(built, validation, seed) if validation else None,
        directory=directory,
        description="train policy",
    )
    result = fit.fit()
    logger.info(
        "Trained on %d windows of %d episodes in %.1f s.",
        len(source), len(training), result.seconds,
    )  # fmt: skip
    built.reset()
    if directory is not None:
        get_ranks().on_main(lambda: built.save_pretrained(directory / "policy"))
    return built, result


def split_episodes(
    episodes: Sequence[Episode], validation_share: float, seed: int
) -> tuple[list[Episode], list[Episode]]:
    """Return (training, validation) episodes; whole episodes, so that no window is in both.

    At least one episode stays for training.
    """
    num_validation = min(round(validation_share * len(episodes)), len(episodes) - 1)
    order = make_rng(seed, "train-policy", "split").permutation(len(episodes))
    chosen = {int(i) for i in order[:num_validation]}
    return (
        [episode for i, episode in enumerate(episodes) if i not in chosen],
        [episode for i, episode in enumerate(episodes) if i in chosen],
    )


def _validation(
    policy: Any, episodes: Sequence[Episode], seed: int
) -> Callable[[], Mapping[str, float]]:
    """Return the loss on the same windows with the same noise, whenever it is asked for."""
    source = window_source(policy, episodes)
    num = min(_VALIDATION_WINDOWS, len(source))
    chosen = make_rng(seed, "train-policy", "validation").choice(len(source), num, replace=False)
    batch = source.gather(torch.from_numpy(np.sort(chosen)))

    def measure() -> dict[str, float]:
        generator = make_generator(seed, "train-policy", "validation")
        placed = {key: value.to(policy.device) for key, value in batch.items()}
        loss, _ = policy(placed, generator)
        return {"loss": float(loss)}

    return measure
