"""Recording episodes: groups in lockstep, whole groups given to worker processes.

A group of episodes is the unit of work: it is always computed together, by a process with one
torch thread, so the episodes are the same however many workers there are and wherever an
interrupted collection goes on. Stepping environments of several processes in lockstep would be
slower than one process; whole groups scale.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.actors import ActorSpec
from robopref.align.recording import close_envs
from robopref.align.recording import record_group as record_group
from robopref.data.episode import Episode
from robopref.data.schema import is_camera
from robopref.data.store import EpisodeStore
from robopref.errors import RoboprefError, check_at_least
from robopref.progress import Progress, interruptible
from robopref.seeding import derive_seed, derive_uuid
from robopref.types import IMAGES

START_SETS = ("demonstrations", "pool", "selection", "validation", "test")


def start_seed(seed: int, start_set: str, index: int) -> int:
    """Return the reset seed of episode `index` of a set of starts.

    Sets never share a seed: the set is the remainder of the seed by the number of sets.

    Raises:
        ValueError: `start_set` is unknown.
    """
    remainder = START_SETS.index(start_set)
    spread = derive_seed(seed, "start", start_set, index) % 2**28
    return spread * len(START_SETS) + remainder


@dataclass(frozen=True)
class Plan:
    """Which episodes to record.

    Args:
        env: Environment as for `make_env`.
        actor: Who acts.
        seed: Seed of the run.
        start_set: Which set of starts.
        num_episodes: How many.
        first: Number of the first one in its set of starts.
        group_size: Episodes computed together.
        max_episode_steps: Time limit; None for the environment's own.
        env_options: Further fields of the environment's config.
        metadata: Kept with every episode.
        namespace: Tells episodes apart that have the same seed, name and number.
        stop_after_success: Successful steps after which an episode is cut off; None where the
            environment itself ends it.
        cameras: Cameras that are recorded beside the state; those that the actor sees always are.
        image_px: Width and height of their pictures.
    """

    env: str
    actor: ActorSpec
    seed: int
    start_set: str
    num_episodes: int
    first: int = 0
    group_size: int = 10
    max_episode_steps: int | None = None
    env_options: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    namespace: str = ""
    stop_after_success: int | None = None
    cameras: tuple[str, ...] = ()
    image_px: int = 112

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        check_at_least("first", self.first, 0)
        check_at_least("group_size", self.group_size, 1)
        if self.stop_after_success is not None:
            check_at_least("stop_after_success", self.stop_after_success, 1)

    def recorded_cameras(self) -> dict[str, int]:
        """Return the size of the pictures of each camera that is recorded: also what an actor sees.

        Raises:
            ValueError: The actor sees pictures of another size.
        """
        shapes = getattr(self.actor, "obs_shapes", {})
        seen = {key.removeprefix(IMAGES): s[0] for key, s in shapes.items() if is_camera(key)}
        for camera, size in seen.items():
            others = {*seen.values(), *([self.image_px] if self.cameras else [])}
            if others != {size}:
                raise ValueError(
                    f"`image_px` must be one size for all cameras, got {sorted(others)}: the "
                    f"policy sees '{camera}' at {size} pixels."
                )
        return dict.fromkeys(self.cameras, self.image_px) | seen

    def groups(self) -> list["Group"]:
        """Return the groups, each with the seeds and identities of its episodes."""
        name = str(self.metadata.get("name", self.start_set))
        indices = range(self.first, self.first + self.num_episodes)
        return [
            Group(
                self,
                tuple(start_seed(self.seed, self.start_set, i) for i in part),
                tuple(derive_uuid(self.seed, "episode", self.namespace, name, i) for i in part),
            )
            for part in (
                indices[k : k + self.group_size] for k in range(0, len(indices), self.group_size)
            )
        ]


@dataclass(frozen=True)
class Group:
    """Episodes that are computed together."""

    plan: Plan
    seeds: tuple[int, ...]
    ids: tuple[str, ...]


class Workers:
    """A pool of worker processes that is kept between collections; use with `with`.

    Args:
        num_workers: Processes; 0 records in this process.
    """

    def __init__(self, num_workers: int = 2) -> None:
        check_at_least("num_workers", num_workers, 0)
        self.num_workers = num_workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        """Start the processes, which import their packages meanwhile."""
        if self.num_workers:
            import multiprocessing

            self._pool = ProcessPoolExecutor(
                self.num_workers, multiprocessing.get_context("spawn"), start_worker
            )
            for _ in range(self.num_workers):
                self._pool.submit(os.getpid)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the processes; work that has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        close_envs()

    def record(self, groups: Sequence[Group]) -> Iterator[list[Episode]]:
        """Yield the episodes of each group as it is finished, in the order of `groups`."""
        if self._pool is None:
            yield from _record_here(groups)
            return
        pending = list(groups)
        running: dict[int, Future[list[Episode]]] = {}
        next_out = next_in = 0
        while next_out < len(pending):
            while next_in < len(pending) and next_in - next_out < 2 * self.num_workers:
                running[next_in] = self._pool.submit(_record_there, pending[next_in])
                next_in += 1
            yield running.pop(next_out).result()
            next_out += 1


def open_or_create(path: Path, env: str) -> EpisodeStore:
    """Open the data set at `path`, or begin one for `env`."""
    from robopref.envs.make import make_env

    if (path / "meta" / "info.json").is_file():
        return EpisodeStore.open(path)
    built: Any = make_env(env)
    built.close()
    return EpisodeStore.create(path, fps=built.fps)


def collect(plan: Plan, store: EpisodeStore, workers: Workers, *, description: str = "") -> None:
    """Record the episodes of `plan` that `store` does not have yet.

    Episodes that a group computes again after an interruption are equal to those already stored.

    Raises:
        KeyboardInterrupt: Ctrl-C; finished episodes are stored.
    """
    known = set(store.ids)
    groups = [group for group in plan.groups() if not known.issuperset(group.ids)]
    done = plan.num_episodes - sum(len(group.ids) for group in groups)
    with interruptible() as interrupt, Progress(
        description or f"record {plan.start_set}", plan.num_episodes
    ) as bar:  # fmt: skip
        bar.advance(done)
        successes: list[bool] = []
        for episodes in workers.record(groups):
            for episode in episodes:
                if episode.id not in known:
                    store.add(episode)
                successes.append(episode.succeeded)
            bar.advance(len(episodes), success=float(np.mean(successes)))
            if interrupt:
                raise KeyboardInterrupt


def _record_there(group: Group) -> list[Episode]:
    """Record in a worker; what robopref's own code refused there is worded for the command line."""
    try:
        return record_group(group)
    except (ValueError, LookupError) as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        module = "" if frame is None else str(frame.tb_frame.f_globals.get("__name__", ""))
        if isinstance(error, RoboprefError) or not module.startswith("robopref."):
            raise
        raise RoboprefError(str(error)) from error


def _record_here(groups: Sequence[Group]) -> Iterator[list[Episode]]:
    """Record in this process, with one thread as a worker has, so that results are equal."""
    import torch

    threads = torch.get_num_threads()
    for group in groups:
        torch.set_num_threads(1)
        try:
            episodes = record_group(group)
        finally:
            torch.set_num_threads(threads)
        yield episodes


def start_worker() -> None:
    """Prepare a worker: one thread, Ctrl-C left to the parent, and no life without it."""
    import multiprocessing.util
    import signal

    import torch

    torch.set_num_threads(1)
    # A worker runs nothing that `atexit` was told, and an arm is not left as it is.
    multiprocessing.util.Finalize(None, close_envs, exitpriority=100)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
