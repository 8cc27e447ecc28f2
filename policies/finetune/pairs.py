"""Windows of judged pairs as training batches.

The two segments of a pair are gone through side by side: a window of the first stands beside the
window of the second that is as far into its segment.

Shapes: B batch, To observation steps, Tp action chunk, Da action size.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from robopref.data.windows import ACTION_IS_PAD, WindowSampler
from robopref.policies.finetune.data import FinetuneData
from robopref.types import ACTION

PREFERS_SECOND = "prefers_second"
"""Key of how likely the second window of a pair is of the preferred segment."""


class PairWindowSource:
    """Every step of every judged pair as one training item, for `robopref.trainer.Trainer`.

    Args:
        data: Has the pairs and their episodes.
        n_obs_steps: Observations of a window, the last one at its step.
        chunk_size: Actions of a window, the first one at its step.
        keys: Observations to hand out.

    Raises:
        ValueError: There are no pairs, or all are ties.
    """

    def __init__(
        self, data: FinetuneData, n_obs_steps: int, chunk_size: int, *, keys: Iterable[str]
    ) -> None:
        if not data.pairs:
            raise ValueError("There are no judged pairs to learn from. Answer some queries first.")
        if all(pair.prefers_second == 0.5 for pair in data.pairs):
            raise ValueError(
                f"All {len(data.pairs)} pairs were judged equal, which orders nothing. "
                "Answer queries about episodes that differ more."
            )
        self._keys = [*keys, ACTION, ACTION_IS_PAD]
        self._sampler = WindowSampler(data.judged, n_obs_steps, chunk_size)
        starts = np.concatenate([[0], np.cumsum(self._sampler.lengths)])
        start = {e.id: int(k) for e, k in zip(data.judged, starts, strict=False)}
        rows = []
        for pair in data.pairs:
            steps = max(pair.first.length, pair.second.length)
            for segment in (pair.first, pair.second):
                into = np.arange(steps) * segment.length // steps
                rows.append(start[segment.episode_id] + segment.start + into)
        self._first = np.concatenate(rows[0::2])
        self._second = np.concatenate(rows[1::2])
        lengths = [len(row) for row in rows[0::2]]
        judged = [pair.prefers_second for pair in data.pairs]
        self._prefers_second = torch.tensor(np.repeat(judged, lengths), dtype=torch.float32)

    def __len__(self) -> int:
        """Return the number of pairs of windows."""
        return len(self._first)

    def gather(self, indices: Tensor) -> dict[str, Tensor]:
        """Return pairs of windows: the keys of a window, (2 B, ...), first all of one side.

        `prefers_second` is (B,).
        """
        places = indices.numpy()
        both = self._sampler.gather(np.concatenate([self._first[places], self._second[places]]))
        batch = {key: torch.from_numpy(both[key]) for key in self._keys}
        return {**batch, PREFERS_SECOND: self._prefers_second[indices]}


def without_judgement(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the windows of a batch of pairs, as a policy takes them."""
    return {key: value for key, value in batch.items() if key != PREFERS_SECOND}
