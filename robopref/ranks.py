"""The processes of one training, and what all of them agree on.

The same loop runs in every process that `torchrun` or `accelerate launch` started, and each has a
rank. They divide each batch (`robopref.shares`) and average what they learn from it, so how many
there are changes a loss only by rounding. torch.distributed does the talking. A process that is
alone runs as if none of this was there.
"""

import contextlib
import functools
import inspect
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from robopref.errors import RoboprefError
from robopref.progress import is_launched
from robopref.shares import Share, divide

T = TypeVar("T")

_alone = ContextVar("alone", default=False)

PATIENCE = timedelta(days=1)
"""How long ranks wait for what only one of them does, such as looking at all pictures once."""
LOST = ("gloo/transport", "NCCL", "onnection closed by peer", "onnection reset by peer")
"""What torch.distributed says when the process at the other end is gone."""


class RankLostError(RoboprefError):
    """Raised when another process of the same training is gone."""


class Ranks:
    """The processes of a training, as one of them sees them.

    Args:
        index: The rank of this process.
        num: How many there are.
    """

    def __init__(self, index: int = 0, num: int = 1) -> None:
        self.index = index
        self.num = num
        # By the network even beside GPUs: what is told here lies on the CPU and may take long.
        self._group: Any = None
        if num > 1:
            self._group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.index == 0

    def device(self, wanted: Literal["auto", "cpu"] = "auto") -> torch.device:
        """Return where to train: this rank's accelerator, or the CPU."""
        if wanted == "cpu" or (self.num > 1 and not torch.cuda.is_available()):
            return torch.device("cpu")
        from accelerate import PartialState

        found: Any = PartialState().device
        return torch.device(found)

    def share(self, total: int, objective: nn.Module | None = None) -> Share:
        """Return this process's part of `total` rows.

        Args:
            total: B.
            objective: What is trained on them. One whose loss is of a batch as a whole, such as
                of rankings that share items, says so by an attribute `couples_rows`: then each
                process computes all of it, which takes as long and gives the same.
        """
        num = 1 if _couples_rows(objective) else self.num
        return divide(total, self.index if num > 1 else 0, num)

    def arithmetic(
        self, num_steps: int, batch: int, num: int, objective: nn.Module, *, accumulation: int = 1
    ) -> str:
        """Return what the steps of a training are made of, in words.

        Args:
            num_steps: Gradient steps.
            batch: Items of a batch, over all processes.
            num: Items that there are.
            objective: What is trained on them.
            accumulation: Batches of a step.
        """
        parts = f"{batch} a batch"
        if self.num > 1:
            share = self.share(batch, objective)
            low, high = batch // self.num, -(-batch // self.num)
            each = str(low) if low == high else f"{low} or {high}"
            parts = (
                f"{batch} a batch, which each of {self.num} processes computes as a whole"
                if share.num_ranks == 1
                else f"{batch} a batch, {each} in each of {self.num} processes"
            )
        if accumulation > 1:
            parts += f", {accumulation} batches a step"
        items = num_steps * batch * accumulation
        return f"{num_steps} steps x {parts}: {items} items, {items / num:.3g} times all {num}."

    def parallel(self, objective: nn.Module) -> nn.Module:
        """Return the module of which a backward pass averages gradients over all processes."""
        if self.num == 1:
            return objective
        engine = nn.parallel.DistributedDataParallel
        device = next(objective.parameters()).device
        # Buffers are equal, and may hold a whole data set. torch calls this by two names.
        known = inspect.signature(engine).parameters
        sync = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {sync: False}
        with telling_of_loss():
            return engine(
                objective,
                device_ids=None if device.type == "cpu" else [device],
                # A term of such a loss may have nothing to say in a batch.
                find_unused_parameters=_couples_rows(objective),
                **options,
            )

    def waiting(self, model: nn.Module, waits: bool) -> contextlib.AbstractContextManager[None]:
        """Let backward passes inside add to the gradients, which are averaged by a later one."""
        if waits and isinstance(model, nn.parallel.DistributedDataParallel):
            found: contextlib.AbstractContextManager[None] = model.no_sync()
            return found
        return contextlib.nullcontext()

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor], share: Share) -> None:
        """Replace tensors by their mean over all rows of the batch, in place."""
        if self.num == 1:
            return
        with telling_of_loss():
            for tensor in tensors:
                tensor.mul_(share.weight / self.num)
                torch.distributed.all_reduce(tensor)

    def mean_figures(self, figures: Mapping[str, float], share: Share) -> dict[str, float]:
        """Return figures as they are of the whole batch."""
        if self.num == 1:
            return dict(figures)
        values = torch.tensor(list(figures.values()), dtype=torch.float64)
        with telling_of_loss():
            torch.distributed.all_reduce(values.mul_(share.weight / self.num), group=self._group)
        return dict(zip(figures, values.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Return whether it is true of any process."""
        if self.num == 1:
            return flag
        told = torch.tensor(int(flag))
        with telling_of_loss():
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX, group=self._group)
        return bool(told)

    def on_main(self, work: Callable[[], T]) -> T:
        """Let the main process do `work`, and return to all what came of it.

        What it raises, all raise. What it trains it trains alone, while the others wait.
        """
        if self.num == 1:
            return work()
        told: tuple[Any, BaseException | None] = (None, None)
        if self.is_main:
            try:
                told = (_by_itself(work), None)
            except (Exception, KeyboardInterrupt) as error:
                told = (None, error)
        found, problem = self._tell(told)
        if problem is not None:
            raise problem
        result: T = found
        return result

    def main_first(self, work: Callable[[], T]) -> T:
        """Return what `work` gives in each process; the main one does it before all others.

        Each does it alone: what the main one left on disk, the others find there.
        """
        if self.num == 1:
            return work()
        kept: list[T] = []
        self.on_main(lambda: kept.append(work()))
        return kept[0] if self.is_main else _by_itself(work)

    def check_alike(self, what: str, begun: Any) -> None:
        """Raise unless all processes begin with the same.

        Args:
            what: What they do, for the message.
            begun: What must be the same, made of plain values.

        Raises:
            ValueError: They do not; the message names the first rank that differs.
        """
        if self.num == 1:
            return
        found: list[Any] = [None] * self.num
        with telling_of_loss():
            torch.distributed.all_gather_object(found, begun, group=self._group)
        others = [rank for rank, each in enumerate(found) if each != found[0]]
        if others:
            raise ValueError(
                f"Rank {others[0]} begins '{what}' with other data or another seed than rank 0. "
                "Give every machine the same files and the same command."
            )

    def _tell(self, told: Any) -> Any:
        """Return to all what the main process tells; its own stays as it is."""
        parcel: list[Any] = [None]
        if self.is_main:
            written = io.BytesIO()
            torch.save(told, written)
            parcel = [written.getvalue()]
        with telling_of_loss():
            torch.distributed.broadcast_object_list(parcel, src=0, group=self._group)
        if self.is_main:
            return told

        def place(storage: Any, location: str) -> Any:
            return storage if location == "cpu" else storage.to(self.device())

        return torch.load(io.BytesIO(parcel[0]), map_location=place, weights_only=False)


def get_ranks() -> Ranks:
    """Return the processes that train together; just this one where it works alone."""
    return Ranks() if _alone.get() else _launched()


def _by_itself(work: Callable[[], T]) -> T:
    """Do `work`, in which `get_ranks` knows of no other process."""
    token = _alone.set(True)
    try:
        return work()
    finally:
        _alone.reset(token)


@functools.cache
def _launched() -> Ranks:
    if not is_launched():
        return Ranks()
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group()
    return Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())


def _couples_rows(objective: nn.Module | None) -> bool:
    return bool(getattr(objective, "couples_rows", False))


@contextlib.contextmanager
def telling_of_loss() -> Iterator[None]:
    """Raise what torch.distributed says of a process that is gone as `RankLostError`."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError)
        if not lost and not any(word in str(error) for word in LOST):
            raise
        raise RankLostError(
            "Another process of this training is gone: see above for what ended it. Start the same "
            "command again to go on from the last checkpoint, with as many processes or others."
        ) from error
