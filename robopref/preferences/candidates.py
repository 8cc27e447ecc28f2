"""Rankings of action candidates as arrays: what losses and scorers of candidates learn from.

Shapes: G rankings, K candidates of a ranking, Tp action chunk, Da action size.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.errors import DataError, check_between
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate
from robopref.preferences.ranking import Ranking
from robopref.types import Obs


@dataclass(frozen=True, eq=False)
class CandidateView:
    """What was answered about candidates for one observation each.

    Derived from preferences whenever it is needed and never stored.

    Args:
        obs: The observation of each ranking, by LeRobot key; each (G, ...).
        candidates: The candidates; what fills up a shorter ranking does not count.
        levels: Place of each candidate from the bottom, 0 for the lowest group or for what was left
            out as worse and not compared; equal for ties, NaN where there is no candidate.
        episode_ids: The episode of each observation, length G.

    Raises:
        ValueError: The arrays are of different rankings, or a number is not finite.
    """

    obs: Mapping[str, np.ndarray]
    candidates: Float[np.ndarray, "G K Tp Da"]
    levels: Float[np.ndarray, "G K"]
    episode_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that all arrays speak of the same rankings."""
        lengths = {len(value) for value in self.obs.values()} | {len(self.candidates)}
        if lengths | {len(self.episode_ids)} != {len(self.levels)}:
            raise ValueError(
                f"Observations, candidates, levels and episodes must be of equally many rankings, "
                f"got {sorted(lengths)}, {len(self.levels)} and {len(self.episode_ids)}."
            )
        there = ~np.isnan(self.levels)
        if not np.isfinite(self.candidates[there]).all():
            raise ValueError("`candidates` hold values that are not finite.")

    def __len__(self) -> int:
        """Return G."""
        return len(self.levels)

    @classmethod
    def from_preferences(
        cls, preferences: Iterable[Preference], observe: Callable[[ActionCandidate], Obs]
    ) -> "CandidateView":
        """Derive the rankings of all answers about candidates.

        Args:
            preferences: The answers; those about segments, skipped and incomparable ones, and those
                that call all alike give nothing.
            observe: Returns the observation that a candidate is for.

        Raises:
            DataError: No answer orders two candidates, or chunks differ in size.
        """
        rows = []
        for preference in preferences:
            items = [i for i in preference.query.items if isinstance(i, ActionCandidate)]
            if items and len(set(levels := levels_of(preference.ranking))) > 1:
                chunks = np.array([item.action for item in items], np.float32)
                rows.append((items[0], chunks, levels))
        if not rows:
            raise DataError(
                "No answer orders two action candidates: there is nothing to learn from. Answer "
                "more queries about candidates; skips and 'cannot tell' do not count."
            )
        shapes = {chunks.shape[1:] for _, chunks, _ in rows}
        if len(shapes) > 1:
            raise DataError(f"Candidates must all be of one size, got {sorted(shapes)}.")
        size = max(len(levels) for *_, levels in rows)
        candidates = np.zeros((len(rows), size, *shapes.pop()), np.float32)
        places = np.full((len(rows), size), np.nan, np.float32)
        for row, (_, chunks, levels) in enumerate(rows):
            candidates[row, : len(chunks)] = chunks
            places[row, : len(chunks)] = levels
        seen = [observe(item) for item, *_ in rows]
        obs = {key: np.stack([each[key] for each in seen]) for key in seen[0]}
        return cls(obs, candidates, places, tuple(item.episode_id for item, *_ in rows))

    def take(self, rows: np.ndarray) -> "CandidateView":
        """Return the chosen rankings."""
        return CandidateView(
            {key: value[rows] for key, value in self.obs.items()}, self.candidates[rows],
            self.levels[rows], tuple(np.array(self.episode_ids)[rows].tolist()),
        )  # fmt: skip

    def split(
        self, fraction: float, rng: np.random.Generator
    ) -> tuple["CandidateView", "CandidateView"]:
        """Split into training and validation rankings that share no episode.

        Whole episodes are held out, as many as come nearest to `fraction` of the rankings; at least
        one stays for training. The second part is empty where nothing can be held out.
        """
        check_between("fraction", fraction, 0, 1)
        names, codes = np.unique(np.array(self.episode_ids), return_inverse=True)
        order = rng.permutation(len(names))
        counts = np.bincount(codes, minlength=len(names))[order]
        num = int(np.abs(np.cumsum([0, *counts[:-1]]) - fraction * len(self)).argmin())
        held = np.isin(codes, order[:num])
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))

    def pair_accuracy(self, scores: Float[np.ndarray, "G K"]) -> float:
        """Return how many of the pairs that were put in an order the scores order alike.

        A pair that the scores call equal counts half. NaN where nothing is in an order.
        """
        above = self.levels[:, :, None] > self.levels[:, None, :]
        gap = scores[:, :, None] - scores[:, None, :]
        right = np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))
        return float(right[above].mean()) if above.any() else float("nan")


def levels_of(ranking: Ranking) -> list[int]:
    """Return the place of each item from the bottom; 0 for all where nothing was put in order.

    Example:
        >>> levels_of(Ranking(4, ((2,), (0, 3))))
        [1, 0, 2, 1]
    """
    levels = [0] * ranking.num_items
    is_whole = sum(len(group) for group in ranking.order) == ranking.num_items
    for place, group in enumerate(reversed(ranking.order), start=0 if is_whole else 1):
        for item in group:
            levels[item] = place
    return levels
