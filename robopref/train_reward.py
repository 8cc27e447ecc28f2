"""Reward learning: episodes and answers in, a trained reward in a run directory out."""

import json
import logging
import shlex
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robopref.config import write_text_atomically
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, check_between
from robopref.preferences.names import TRANSFERRED
from robopref.preferences.preference import PairwiseView, Preference
from robopref.preferences.store import PreferenceStore
from robopref.ranks import get_ranks
from robopref.rewards.fit import digest_pairs
from robopref.rewards.measure import measure_pairs
from robopref.seeding import make_generator, make_rng
from robopref.types import STATE

logger = logging.getLogger(__name__)

MIN_HELD_OUT_PAIRS = 5
"""With fewer held-out pairs an accuracy says nothing, and none is measured."""
ANSWERS = "answers.json"
"""In a run's folder: the number of answers that are fitted to, and a hash of their pairs."""
ANOTHER = (
    "Give the data set from which the queries were chosen, or a store with answers about this one."
)
PARTS = ("held-out", "fit")
"""Folders of the fits of a run, each with its checkpoint."""


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
        others = [] if preferences else sorted({p.criterion for p in store.preferences()})
        changed = store.verify(episodes.content_hash)
    if not preferences:
        words = ["--data", episodes.location, "--db", str(location)]
        words += [] if criterion == "overall" else ["--criterion", criterion]
        raise DataError(
            f"'{location}' holds no answers by '{criterion}'. "
            + (_others(others) or f"Answer some with: robopref answer {shlex.join(words)}")
        )
    asked = {item.episode_id for each in preferences for item in each.query.items}
    if not any(episode_id in episodes for episode_id in asked):
        raise DataError(
            f"The answers in '{location}' are about another data set: '{episodes.location}' has "
            f"none of their {len(asked)} episodes, such as '{min(asked)}'. {ANOTHER}"
        )
    if changed:
        raise DataError(
            f"{len(changed)} items that were judged in '{location}' are not what they were in "
            f"'{episodes.location}'; the first is {changed[0]}. {ANOTHER}"
        )
    return preferences


def _others(criteria: Sequence[str]) -> str:
    """Return where else answers are, and how to train on them."""
    if not criteria:
        return ""
    option = shlex.join(["--criterion", criteria[0]])
    return f"It holds some by {list(criteria)}: choose with {option}."


def train_reward(
    reward: Any,
    preferences: Iterable[Preference],
    episodes: EpisodeStore,
    *,
    directory: Path | None = None,
    seed: int = 0,
    held_out_share: float = 0.2,
    announce: Callable[[str], None] | None = None,
) -> tuple[Any, dict[str, float]]:
    """Fit a reward to answers, after measuring on held-out ones how good it is.

    The held-out pairs share no episode with those fitted to. The reward that is returned is then
    fitted to all pairs. Called again after an interruption, it goes on at the last checkpoints
    in `directory`, and ends with the same weights. Called with other answers, it fits anew; until
    that is done, `reward/` stays what it was.

    Args:
        reward: Config of a reward of the registry.
        preferences: The answers.
        episodes: The data set that they are about.
        directory: Gets the checkpoints, the metrics, and the reward in `reward/`; None keeps
            nothing.
        seed: Decides everything random.
        held_out_share: Share of the pairs to hold out for the measurement; 0 measures nothing.
        announce: Told in a line why a reward that was fitted before is fitted anew.

    Returns:
        The reward, and its figures: those of `fit`, and `held_out/accuracy`, `held_out/loss`,
        `held_out/ece` where there were enough pairs to hold out: `held_out/pairs`, of which no
        person but a transfer labelled `held_out/transferred`.

    Raises:
        DataError: No answer orders two segments.
        ValueError: The answers say nothing, such as all ties.
    """
    check_between("held_out_share", held_out_share, 0, 0.5)
    preferences = list(preferences)
    view = PairwiseView.from_preferences(preferences, episodes.cut)
    if directory is not None:
        change = get_ranks().on_main(lambda: _begin_anew(directory, preferences, view))
        if change and announce is not None:
            announce(f"{change}: fitting again.")
    figures = _measure_held_out(reward, preferences, view, directory, seed, held_out_share)
    fitted, found = _fit(reward, view, None if directory is None else directory / "fit", seed)
    if directory is not None:
        get_ranks().on_main(lambda: fitted.save_pretrained(directory / "reward"))
    return fitted, {**found, **figures}


def _begin_anew(
    directory: Path, preferences: Sequence[Preference], view: PairwiseView
) -> str | None:
    """Clear away what was fitted to other answers; return how these differ, None if they do not.

    The reward itself stays until another takes its place.
    """
    note = directory / ANSWERS
    num, pairs = len(preferences), digest_pairs(view)
    last: dict[str, Any] = json.loads(note.read_text()) if note.is_file() else {}
    if last.get("pairs") == pairs:
        return None
    was_fitted = any((directory / part).exists() for part in (*PARTS, "reward"))
    for part in PARTS:
        shutil.rmtree(directory / part, ignore_errors=True)
    # Last, so that an interruption of the clearing is not taken for an interrupted fit.
    write_text_atomically(note, json.dumps({"num": num, "pairs": pairs}))
    if not was_fitted:
        return None
    more = num - last.get("num", num)
    if not more:
        return "Other answers than in the last fit"
    noun = "answer" if abs(more) == 1 else "answers"
    return f"{abs(more)} {noun} {'more' if more > 0 else 'fewer'} than in the last fit"


def _measure_held_out(
    reward: Any,
    preferences: Sequence[Preference],
    view: PairwiseView,
    directory: Path | None,
    seed: int,
    share: float,
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
        "held_out/pairs": float(len(held_out)),
        "held_out/transferred": float(_count_transferred(preferences, held_out)),
    }


def _count_transferred(preferences: Sequence[Preference], held_out: PairwiseView) -> int:
    """Return how many of the held-out pairs were labelled by a transfer."""
    # A pair is held out where both of its episodes are.
    episodes = set(held_out.episode_ids)
    return sum(
        {first.episode_id, second.episode_id} <= episodes
        for preference in preferences
        if preference.annotator == TRANSFERRED
        for first, second, _ in preference.segment_pairs()
    )


def _fit(
    reward: Any, view: PairwiseView, directory: Path | None, seed: int
) -> tuple[Any, dict[str, float]]:
    built = reward.build(view.segments.obs[STATE].shape[-1], view.segments.action.shape[-1])
    figures = built.fit(view, generator=make_generator(seed, "train-reward"), directory=directory)
    return built, {key: float(value) for key, value in figures.items()}
