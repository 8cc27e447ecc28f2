"""Fitting a reward to answers: once to all of them, and in folds to find out what that is worth.

Shapes: N pairs that the answers decide.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from robopref.config import resolve
from robopref.data.segment import Segment
from robopref.preferences.correctness import estimate_correctness
from robopref.preferences.preference import PairwiseView, Preference
from robopref.rewards import REWARDS
from robopref.seeding import make_generator
from robopref.types import STATE, Obs

NUM_FOLDS = 5
FEWEST_TO_DOUBT = 8
"""With fewer decided pairs of a criterion nothing can be said about mistakes: rewards fitted to the
rest are wrong about as often as the answers, and every answer is believed."""


class RewardFitting:
    """The answers of a run as pairs, and rewards fitted to them.

    Args:
        config: Its `reward` and `seed` are used.
        preferences: The answers, in their order.
        cut: Returns a segment's observations and actions.
        doubt: Believe each answer as far as rewards fitted to the others agree with it; that takes
            a fit for each fold.

    Raises:
        DataError: No answer orders anything.
    """

    def __init__(
        self,
        config: Any,
        preferences: Sequence[Preference],
        cut: Callable[[Segment], tuple[Obs, np.ndarray]],
        *,
        doubt: bool = False,
    ) -> None:
        self.config = config
        self.segments: list[tuple[Segment, Segment]] = []
        """The two segments of each pair."""
        self._annotator: list[str] = []
        for preference in preferences:
            for first, second, _ in preference.segment_pairs():
                self.segments.append((first, second))
                self._annotator.append(preference.annotator)
        self.view = PairwiseView.from_preferences(preferences, cut)
        self.criteria = tuple(sorted(set(self.view.criterion or ())))
        """By what was judged."""
        if doubt:
            self.view = self._doubted()

    def fit(self, *words: str) -> tuple[Any, dict[str, float]]:
        """Return a reward fitted to all pairs, and what `fit` measured; `words` seed it.

        Of answers by several criteria it is a reward of several, each of which is to be satisfied.
        """
        reward = resolve(self.config, "reward")
        if len(self.criteria) > 1:
            reward = REWARDS.config_class("criteria")(self.criteria, reward)
        return self._fit(reward, self.view, *words)

    def held_out_accuracy(self) -> float:
        """Return the share of decided pairs that a reward fitted to the others orders rightly.

        NaN if there is none.
        """
        margins = self.held_out_margins()
        known = margins[np.isfinite(margins)]
        return float((known > 0).mean()) if len(known) else float("nan")

    def held_out_margins(self) -> Float[np.ndarray, " N"]:
        """Return by how much rewards fitted to other pairs prefer what was preferred, in log-odds.

        NaN for ties, and where the rest orders nothing.
        """
        return self._margins_of(self.criteria)

    def _margins_of(self, criteria: Sequence[str]) -> Float[np.ndarray, " N"]:
        margins = np.full(len(self.view), np.nan)
        for criterion in criteria:
            of = self._pairs_of(criterion)
            margins[of] = self._margins(self.view.take(of))
        return margins

    def _pairs_of(self, criterion: str) -> Int[np.ndarray, " C"]:
        return np.flatnonzero(np.array(self.view.criterion) == criterion)

    def _margins(self, view: PairwiseView) -> Float[np.ndarray, " N"]:
        margins = np.full(len(view), np.nan)
        decided = np.flatnonzero(view.prefers_b != 0.5)
        for fold in range(NUM_FOLDS):
            held = decided[fold::NUM_FOLDS]
            rest = np.setdiff1d(np.arange(len(view)), held)
            if not len(held) or (view.prefers_b[rest] == 0.5).all():
                continue
            part = resolve(self.config, "reward")
            reward, _ = self._fit(part, view.take(rest), "held-out", str(fold))
            returns = reward.segment_return(view.segments)
            sign = np.where(view.prefers_b[held] > 0.5, 1.0, -1.0)
            margins[held] = sign * (returns[view.b[held]] - returns[view.a[held]])
        return margins

    def _doubted(self) -> PairwiseView:
        """Return the pairs with each answer believed as far as it is probably right."""
        decided = self.view.prefers_b != 0.5
        many = [c for c in self.criteria if decided[self._pairs_of(c)].sum() >= FEWEST_TO_DOUBT]
        margins = self._margins_of(many)
        known = np.flatnonzero(np.isfinite(margins))
        if not len(known):
            return self.view
        _, annotator = np.unique(np.array(self._annotator)[known], return_inverse=True)
        right = estimate_correctness(margins[known], annotator).probability
        prefers_b = self.view.prefers_b.astype(np.float64)
        said_b = prefers_b[known]
        prefers_b[known] = right * said_b + (1 - right) * (1 - said_b)
        return replace(self.view, prefers_b=prefers_b.astype(np.float32))

    def _fit(
        self, reward_config: Any, view: PairwiseView, *words: str
    ) -> tuple[Any, dict[str, float]]:
        reward = reward_config.build(
            obs_dim=view.segments.obs[STATE].shape[-1], action_dim=view.segments.action.shape[-1]
        )
        figures = reward.fit(view, generator=make_generator(self.config.seed, *words))
        return reward, {key: float(value) for key, value in figures.items()}
