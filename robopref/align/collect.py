"""Recording episodes: groups in lockstep, whole groups given to worker processes.

A group of episodes is the unit of work: it is always computed together, by a process with one
torch thread, so the episodes are the same however many workers there are and wherever an
interrupted collection goes on. Stepping environments of several processes in lockstep would be
slower than one process; whole groups scale.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.actors import ActorSpec
from robopref.align.recording import record_group as record_group
from robopref.data.episode import Episode
from robopref.data.schema import is_camera
from robopref.data.store import EpisodeStore
from robopref.errors import check_at_least
from robopref.progress import Progress, interruptible
from robopref.seeding import derive_seed, derive_uuid
from robopref.types import IMAGES
from robopref.workers import Workers as Workers

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
        per_start: Episodes from each start; what an actor draws differs between them.
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
    per_start: int = 1
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
        check_at_least("per_start", self.per_start, 1)
        if self.per_start > self.group_size:
            # What a group draws depends on its starts: two groups of the same ones would be equal.
            raise ValueError(
                f"`per_start` (={self.per_start}) must not exceed `group_size` "
                f"(={self.group_size})."
            )
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
                tuple(start_seed(self.seed, self.start_set, i // self.per_start) for i in part),
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


def record(
    groups: Sequence[Group], workers: Workers, *, tell: Callable[[str], None] | None = None
) -> Iterator[list[Episode]]:
    """Yield the episodes of each group as it is finished, in the order of `groups`."""
    return workers.map(record_group, groups, tell=tell)


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
        ValueError: An arm would move again where a worker is lost.
    """
    if workers.may_repeat:
        _check_may_repeat(plan)
    known = set(store.ids)
    groups = [group for group in plan.groups() if not known.issuperset(group.ids)]
    done = plan.num_episodes - sum(len(group.ids) for group in groups)
    with interruptible() as interrupt, Progress(
        description or f"record {plan.start_set}", plan.num_episodes
    ) as bar:  # fmt: skip
        bar.advance(done)
        successes: list[bool] = []
        for episodes in record(groups, workers, tell=bar.tell):
            store.add_all(episode for episode in episodes if episode.id not in known)
            successes += [episode.succeeded for episode in episodes]
            bar.advance(len(episodes), success=float(np.mean(successes)))
            if interrupt:
                raise KeyboardInterrupt


def _check_may_repeat(plan: Plan) -> None:
    from robopref.envs.make import make_env

    made: Any = make_env(plan.env)
    made.close()
    if getattr(made, "is_real_time", False):
        raise ValueError(
            f"'{plan.env}' moves an arm in real time, and workers on a cluster may begin an "
            "episode again. Record it without --ray."
        )
