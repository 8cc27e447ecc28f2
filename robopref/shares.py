"""The rows of a batch that one of several processes has: what it draws and sums with the others.

Every process draws for the whole batch, from generators in equal states, and keeps its own rows. So
how many processes there are changes no sample and no noise. Losses are means over rows; one that
divides by something else, such as by the actions that are no padding, takes `batch_mean`.

Outside of `sharing` all of this draws and sums as if a process was alone.

Shapes: B rows of a batch.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The rows of a batch that this process has.

    Args:
        start: First of them.
        stop: The one behind the last.
        total: B.
        num_ranks: Among how many processes the batch is divided.
    """

    start: int
    stop: int
    total: int
    num_ranks: int

    @property
    def rows(self) -> slice:
        """Where the rows are in the batch."""
        return slice(self.start, self.stop)

    @property
    def weight(self) -> float:
        """What a mean over the rows counts in the mean over all ranks."""
        return (self.stop - self.start) * self.num_ranks / self.total


def divide(total: int, rank: int, num_ranks: int) -> Share:
    """Return a rank's part of `total` rows.

    Where there is not a row for each, all have the whole batch, which gives the same.
    """
    if total < num_ranks:
        return Share(0, total, total, 1)
    start, stop = (each * total // num_ranks for each in (rank, rank + 1))
    return Share(start, stop, total, num_ranks)


_share: ContextVar[Share | None] = ContextVar("share", default=None)


def draw_rows(num: int, draw: Callable[[int], Tensor]) -> Tensor:
    """Return what `draw` gives the rows that this process has, of a draw for the whole batch.

    Args:
        num: Rows here; a multiple, where a row of the batch stands for several.
        draw: Draws for a number of rows, first axis the row.
    """
    share = _share.get()
    if share is None:
        return draw(num)
    each = num // (share.stop - share.start)
    return draw(each * share.total)[each * share.start : each * share.stop]


def batch_sum(value: Tensor) -> Tensor:
    """Return the sum over all processes of what each has of a batch; no gradient flows."""
    if _share.get() is None:
        return value
    total = value.detach().clone()
    torch.distributed.all_reduce(total)
    return total


def batch_mean(total: Tensor, count: Tensor, least: float) -> Tensor:
    """Return a sum over a count, as a mean over the whole batch has it.

    Args:
        total: Sum of what is averaged, over the rows here.
        count: How much the rows here count.
        least: The count of a batch is taken to be at least that.
    """
    share = _share.get()
    if share is None:
        return total / count.clamp_min(least)
    # The weight is what a loss of this process is multiplied with in the end.
    return total * (share.num_ranks / share.weight) / batch_sum(count).clamp_min(least)


@contextlib.contextmanager
def sharing(share: Share) -> Iterator[None]:
    """Give what is drawn and summed inside its part of a batch."""
    token = _share.set(share if share.num_ranks > 1 else None)
    try:
        yield
    finally:
        _share.reset(token)
