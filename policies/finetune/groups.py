"""Groups of action chunks with an order among them: what every preference loss learns from.

Shapes: G groups, K chunks of a group, B groups of a batch, To observation steps, Tp action chunk,
Da action size.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.policies.finetune.episodes import admitted

GAINS = "gains"
"""Key of how good each chunk is held to be, (B, K): log-odds, NaN where there is no chunk."""
GROUP_WEIGHT = "group_weight"
"""Key of how much each group counts, (B,)."""


@dataclass(eq=False)
class ChunkGroups:
    """Groups of chunks as training items, for `robopref.trainer.Trainer`.

    Args:
        windows: Observations (G, K, To, ...) by key, or (G, 1, To, ...) where the chunks of a group
            share theirs; "action" (G, K, Tp, Da), "action_is_pad".
        gains: How good each chunk is held to be, less the group's mean; NaN for no chunk.
        weights: How much each group counts, of mean 1.
        certainty: How far the gains lie apart, in deviations of the reward's members.
        easy_first: Share of the training over which the groups come in, in their order.
    """

    windows: dict[str, Tensor]
    gains: Float[Tensor, "G K"]
    weights: Float[Tensor, " G"]
    certainty: Float[Tensor, " G"]
    easy_first: float = 0.0
    _progress: float = 1.0

    def __post_init__(self) -> None:
        """Centre the gains.

        Raises:
            ValueError: No group orders anything, or none has a weight.
        """
        centred = self.gains - self.gains.nanmean(dim=1, keepdim=True)
        # Rounding must not make an order out of a tie.
        self.gains = torch.where(self.spread()[:, None] > 0, centred, 0 * centred)
        if not len(self.gains) or not bool((self.spread() > 0).any()):
            raise ValueError(
                f"All {len(self.gains)} groups of chunks are of one quality, which orders nothing. "
                "Answer queries about episodes that differ more, or take a reward that was fitted."
            )
        total = self.weights.mean()
        if not total > 0:
            raise ValueError("No group of chunks has a weight above 0: nothing deserves credit.")
        self.weights = self.weights / total

    def __len__(self) -> int:
        """Return G."""
        return len(self.gains)

    def spread(self) -> Float[Tensor, " G"]:
        """Return the difference between the best and the worst gain of each group."""
        low = self.gains.nan_to_num(torch.inf).amin(1)
        return self.gains.nan_to_num(-torch.inf).amax(1) - low

    def at_progress(self, progress: float) -> None:
        """Take note of how much of the training is done, 0 to 1."""
        self._progress = progress

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        """Return windows (B K, ...), the chunks of a group next to one another, gains, weights."""
        indices = admitted(indices, len(self), self._progress, self.easy_first)
        batch = {key: value[indices].flatten(0, 1) for key, value in self.windows.items()}
        return {**batch, GAINS: self.gains[indices], GROUP_WEIGHT: self.weights[indices]}

    def most_certain(self, share: float) -> "ChunkGroups":
        """Return the given share of the groups, those whose order is most certain.

        Raises:
            ValueError: All are equally certain.
        """
        if share == 1.0:
            return self
        if self.certainty.min() == self.certainty.max():
            raise ValueError(all_alike("keep_certain"))
        order = self.certainty.argsort(descending=True, stable=True)
        return self._take(order[: max(1, round(share * len(self)))])

    def coming_in(self, share: float) -> "ChunkGroups":
        """Return the same groups, which come in over a share of the training, clearest first.

        Raises:
            ValueError: All are equally clear.
        """
        if share == 0.0:
            return self
        if self.spread().min() == self.spread().max():
            raise ValueError(all_alike("easy_first"))
        order = self.spread().argsort(descending=True, stable=True)
        return self._take(order, easy_first=share)

    def _take(self, places: Tensor, *, easy_first: float = 0.0) -> "ChunkGroups":
        windows = {key: value[places] for key, value in self.windows.items()}
        return ChunkGroups(
            windows, self.gains[places], self.weights[places], self.certainty[places], easy_first
        )


def all_alike(setting: str) -> str:
    """Return what to say where a setting is to tell groups apart that are all alike."""
    return (
        f"`groups.{setting}` has nothing to tell groups apart by: all are equally clear and "
        "certain, as answers are that nobody doubts. Leave it as it is by default, or take "
        "`groups.source` reward or candidates."
    )


def best_of(gains: Float[Tensor, "B K"]) -> Bool[Tensor, "B K"]:
    """Return which chunks are held best in their group; all where the group is a tie."""
    filled = gains.nan_to_num(-torch.inf)
    return (filled == filled.amax(1, keepdim=True)) & ~gains.isnan()
