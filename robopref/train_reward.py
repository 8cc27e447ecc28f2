"""Reward learning: episodes and answers in, a trained reward in a run directory out."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robopref.data.store import EpisodeStore
from robopref.errors import DataError, check_between
from robopref.preferences.preference import PairwiseView, Preference
from robopref.preferences.store import PreferenceStore
from robopref.rewards.measure import measure_pairs
from robopref.seeding import make_generator, make_rng
from robopref.types import STATE

logger = logging.getLogger(__name__)

MIN_HELD_OUT_PAIRS = 5
"""With fewer held-out pairs an accuracy says nothing, and none is measured."""


def load_preferences(
    location: str | Path, episodes: EpisodeStore, *, criterion: str = "overall"
) -> list[Preference]:
    """Return the answers in a preference store, checked against the episodes they speak of.

    They are `PreferenceStore.believed`: decisions, and reliabilities, count.

    Args:
        location: SQLite file or database URL.
        episodes: The data set that the queries are about.
        criterion: By what the items were compared.

    Raises:
        FileNotFoundError: There is no such store.
        DataError: It is empty, or an episode is missing or no longer what was shown.
    """
    with PreferenceStore(location, create=False) as store:
        preferences = store.believed(criterion)
        changed = store.verify(episodes.content_hash)
    if not preferences:
        raise DataError(
            f"'{location}' holds no answers by '{criterion}'. "
            f"Answer some with: robopref answer --data {episodes.root} --db {location}"
        )
    if changed:
        raise DataError(
            f"{len(changed)} items that were judged are not what they were in '{episodes.root}'; "
            f"the first is {changed[0].item}: {changed[0].problem}. Give the data set from which "
            "the queries were chosen."
        )
    return preferences


def train_reward(
    reward: Any,
    preferences: Iterable[Preference],
    episodes: EpisodeStore,
    *,
    directory: Path | None = None,
    seed: int = 0,
    held_out_share: float = 0.2,
) -> tuple[Any, dict[str, float]]:
    """Fit a reward to answers, after measuring on held-out ones how good it is.

    The held-out pairs share no episode with those fitted to. The reward that is returned is then
    fitted to all pairs. Called again after an interruption, it goes on at the last checkpoints
    in `directory`, and ends with the same weights.

    Args:
        reward: Config of a reward of the registry.
        preferences: The answers.
        episodes: The data set that they are about.
        directory: Gets the checkpoints, the metrics, and the reward in `reward/`; None keeps
            nothing.
        seed: Decides everything random.
        held_out_share: Share of the pairs to hold out for the measurement; 0 measures nothing.

    Returns:
        The reward, and its figures: those of `fit`, and `held_out/accuracy`, `held_out/loss`,
        `held_out/ece` where there were enough pairs to hold out.

    Raises:
        DataError: No answer orders two segments.
        ValueError: The answers say nothing, such as all ties.
    """
    check_between("held_out_share", held_out_share, 0, 0.5)
    view = PairwiseView.from_preferences(preferences, episodes.cut)
    figures = _measure_held_out(reward, view, directory, seed, held_out_share)
    fitted, found = _fit(reward, view, None if directory is None else directory / "fit", seed)
    if directory is not None:
        fitted.save_pretrained(directory / "reward")
    return fitted, {**found, **figures}


def _measure_held_out(
    reward: Any, view: PairwiseView, directory: Path | None, seed: int, share: float
) -> dict[str, float]:
    training, held_out = view.split(share, make_rng(seed, "held-out"))
    if len(held_out) < MIN_HELD_OUT_PAIRS:
        logger.info("%d pairs are too few to hold out %d of them.", len(view), MIN_HELD_OUT_PAIRS)
        return {}
    place = None if directory is None else directory / "held-out"
    fitted, _ = _fit(reward, training, place, seed)
    # The trivial rewards are not fitted, and have no temperature.
    temperature = reward.fit.temperature if hasattr(reward, "fit") else 1.0
    found: Mapping[str, float] = measure_pairs(fitted, held_out, temperature=temperature)
    return {f"held_out/{key}": value for key, value in found.items()} | {
        "held_out/pairs": float(len(held_out))
    }


def _fit(
    reward: Any, view: PairwiseView, directory: Path | None, seed: int
) -> tuple[Any, dict[str, float]]:
    built = reward.build(view.segments.obs[STATE].shape[-1], view.segments.action.shape[-1])
    figures = built.fit(view, generator=make_generator(seed, "train-reward"), directory=directory)
    return built, {key: float(value) for key, value in figures.items()}
