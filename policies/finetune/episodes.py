"""Which episodes a method that imitates learns from, and in what order they come in.

The members of a learned reward are few opinions on few labels. Episodes on which they disagree
can be left out, as uncertain pairs are [1], and clear ones can come in before the others, as in
easy-to-hard curricula [2]. Methods that learn from groups of chunks have the same in
`GroupsConfig`.

Shapes: M reward members, E episodes, B batch.

References:
    [1] Coste et al., Reward model ensembles help mitigate overoptimization, 2023, arXiv:2310.02743.
    [2] Bengio et al., Curriculum learning, 2009.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.data.episode import Episode
from robopref.errors import check_between
from robopref.policies.finetune.data import FinetuneData


@dataclass(frozen=True)
class EpisodesConfig:
    """Which episodes count, and when; both need learned returns."""

    keep_certain: float = 1.0
    """Share of the episodes that is kept: those on whose return the reward's members agree most."""
    easy_first: float = 0.0
    """Share of the training over which episodes come in, those of the clearest return first."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("keep_certain", self.keep_certain, 0, 1)
        check_between("easy_first", self.easy_first, 0, 1)
        if self.keep_certain == 0:
            raise ValueError("`keep_certain` must be above 0, got 0.")

    def of_chosen(self, data: FinetuneData) -> FinetuneData:
        """Return the data with the chosen episodes that are kept.

        Raises:
            ValueError: Some are to be left out, and nothing says how certain they are.
        """
        if self.keep_certain == 1.0:
            return data
        returns = _known(data.chosen_returns)
        kept = _most(-_disagreement(returns), self.keep_certain)
        weights = None if data.weights is None else [data.weights[i] for i in kept]
        return replace(
            data, chosen=[data.chosen[i] for i in kept], weights=weights,
            chosen_returns=returns[:, kept],
        )  # fmt: skip

    def of_pool(self, data: FinetuneData) -> FinetuneData:
        """Return the data with the episodes of the pool that are kept.

        Certain are those of which the members agree on which side of the typical one they stand.

        Raises:
            ValueError: Some are to be left out, and nothing says how certain they are.
        """
        if self.keep_certain == 1.0:
            return data
        returns = _known(data.returns)
        gap = returns - np.median(returns, axis=1, keepdims=True)
        kept = _most(np.abs(gap.mean(axis=0)) / (gap.std(axis=0) + 1e-6), self.keep_certain)
        return replace(data, pool=[data.pool[i] for i in kept], returns=returns[:, kept])

    def chosen_first(self, source: Any, data: FinetuneData, num_others: int = 0) -> Any:
        """Return the source with windows of the chosen episodes of the highest return first.

        Args:
            source: Windows of the chosen episodes, and after them those of others.
            data: What the windows are of.
            num_others: Windows of others, which are there from the beginning.
        """
        if self.easy_first == 0.0:
            return source
        clarity = _of_windows(_known(data.chosen_returns).mean(axis=0), data.chosen)
        others = torch.full((num_others,), torch.inf)
        return EasyFirst(source, torch.cat([clarity, others]), self.easy_first)

    def pool_first(self, source: Any, data: FinetuneData) -> Any:
        """Return the source with windows of the pool's most extreme episodes first."""
        if self.easy_first == 0.0:
            return source
        mean = _known(data.returns).mean(axis=0)
        clarity = _of_windows(np.abs(mean - np.median(mean)), data.pool)
        return EasyFirst(source, clarity, self.easy_first)


class EasyFirst:
    """A source of which the clearest items come first, for `robopref.trainer.Trainer`.

    Args:
        source: Hands out batches.
        clarity: How clear each of its items is.
        easy_first: Share of the training over which the items come in.
    """

    def __init__(self, source: Any, clarity: Float[Tensor, " B"], easy_first: float) -> None:
        self._source = source
        self._order = clarity.argsort(descending=True, stable=True)
        self._easy_first = easy_first
        self._progress = 1.0

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._source)

    def at_progress(self, progress: float) -> None:
        """Take note of how much of the training is done, 0 to 1."""
        self._progress = progress

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the items at `indices`, which count from the clearest one on."""
        places = admitted(indices, len(self), self._progress, self._easy_first)
        batch: dict[str, Tensor] = self._source.gather(self._order[places])
        return batch


def admitted(indices: Tensor, num: int, progress: float, easy_first: float) -> Tensor:
    """Return indices among the items that have come in: a fifth at first, all in the end.

    Args:
        indices: Indices among all items, in the order in which they come in.
        num: Number of items.
        progress: How much of the training is done, 0 to 1.
        easy_first: Share of the training over which they come in.
    """
    if progress >= easy_first:
        return indices
    share = 0.2 + 0.8 * progress / easy_first
    return indices * max(1, int(share * num)) // num


def _known(returns: Float[np.ndarray, "M E"] | None) -> Float[np.ndarray, "M E"]:
    if returns is None:
        raise ValueError(
            "Learned returns of the episodes are needed to tell certain from uncertain and clear "
            "from unclear ones, and there are none. Leave `episodes` as it is by default."
        )
    return returns


def _disagreement(returns: Float[np.ndarray, "M E"]) -> Float[np.ndarray, " E"]:
    """Return how far the members are apart on an episode, each by its own zero."""
    centred = returns - returns.mean(axis=1, keepdims=True)
    deviation: np.ndarray = centred.std(axis=0)
    return deviation


def _most(certainty: Float[np.ndarray, " E"], share: float) -> list[int]:
    order = np.argsort(-certainty, kind="stable")
    return sorted(order[: max(1, round(share * len(order)))].tolist())


def _of_windows(values: Float[np.ndarray, " E"], episodes: Sequence[Episode]) -> Tensor:
    lengths = torch.tensor([len(episode) for episode in episodes])
    return torch.from_numpy(values).float().repeat_interleave(lengths)
