"""A labelling project for the load test: many episodes, many labels, queries to be answered.

Episodes are windows of real rollouts on Meta-World with their simulator states, so that clips are
drawn as they are for anybody. The labels are rows of the real tables, written in bulk.
"""

import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.envs.make import make_env
from robopref.labeling.compared import STRATEGY
from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import LabelQueue, write_meta
from robopref.preferences import records, tables
from robopref.preferences.query import Query
from robopref.preferences.store import PreferenceStore
from robopref.types import STATE

ENV = "metaworld/reach-v3"
CRITERION = "overall"
SEGMENT = 50
COMPARED_EVERY = 100
"""One in so many labels compares policies."""
NUM_POLICIES = 3
_ROLLOUT, _EPISODE, _NUM_ROLLOUTS = 200, 60, 4
_BATCH = 20_000


def record(folder: Path, num_episodes: int) -> EpisodeStore:
    """Write a data set of `num_episodes` episodes."""
    env = make_env(ENV)
    rollouts = [_roll_out(env, seed) for seed in range(_NUM_ROLLOUTS)]
    store = EpisodeStore.create(folder, fps=env.fps)
    env.close()
    rng = np.random.default_rng(0)
    for number in range(num_episodes):
        start = int(rng.integers(_ROLLOUT - _EPISODE))
        store.add(_window(rollouts[number % _NUM_ROLLOUTS], start, number, store.fps))
    return store


def fill(location: str, episodes: EpisodeStore, *, num_labels: int, num_open: int) -> None:
    """Make a preference store with `num_labels` labels and `num_open` queries to be answered."""
    rng = random.Random(0)
    lengths = {row.episode_id: row.length for row in episodes.rows}
    with PreferenceStore(location) as store:
        with store.database.writing() as connection:
            for rows in _answered(rng, list(lengths), num_labels):
                for table, part in rows.items():
                    connection.execute(table.insert(), part)
            _mark_as_queued(connection)
        # In the order of the data set, so that each episode is read once for its hash.
        pairs = sorted(_pair(rng, sorted(lengths)) for _ in range(num_open))
        queries = [Query(_name(rng), pair, "uniform", "Drawn at random.") for pair in pairs]
        hashes = {
            item: episodes.content_hash(item)
            for item in sorted({item for pair in pairs for item in pair})
        }
        rng.shuffle(queries)
        store.add_queries(queries, cut_hash=hashes.__getitem__)
        LabelQueue(store.database, LabelConfig(overlap=2)).fill()


def _answered(
    rng: random.Random, ids: list[str], num_labels: int
) -> Iterator[dict[sa.Table, list[dict[str, Any]]]]:
    """Yield rows of queries with their answer, by table."""
    annotators = [f"before-{number}" for number in range(20)]
    done = 0
    while done < num_labels:
        queries, answers, queued = [], [], []
        for number in range(done, min(done + _BATCH, num_labels)):
            strategy = "uniform" if number % COMPARED_EVERY else STRATEGY
            query = Query(_name(rng), _pair(rng, ids), strategy, "Drawn at random.")
            row = records.query_row(query, ["", ""], context={}, created_s=float(number))
            queries.append(row | {"num_items": 2})
            answers.append(_answer(rng, query, annotators, number))
            queued.append(_closed(query))
        done += len(queries)
        yield {tables.queries: queries, tables.preferences: answers, tables.label_queue: queued}


def _answer(rng: random.Random, query: Query, annotators: list[str], number: int) -> dict[str, Any]:
    return {
        "id": _name(rng), "query_id": query.id, "answer": "ranked",
        "order": rng.choice(([[0], [1]], [[1], [0]])), "annotator": rng.choice(annotators),
        "criterion": CRITERION, "strength": 2, "reason": "", "time_s": float(number),
        "response_time_s": 2.0, "undone": False, "confidence": 1.0, "details": {"shown": [0, 1]},
    }  # fmt: skip


def _closed(query: Query) -> dict[str, Any]:
    return {
        "query_id": query.id, "criterion": CRITERION, "kind": "pair", "role": "ask",
        "annotator": "", "priority": 0.0, "why": query.reason, "overlap": 1, "num_answers": 1,
        "is_open": False, "blocked": "", "expected": None,
    }  # fmt: skip


def _mark_as_queued(connection: sa.Connection) -> None:
    """Note that all queries so far are in the queue, as the server does."""
    newest = connection.scalar(sa.select(sa.func.max(tables.queries.c.seq)))
    write_meta(connection, f"label_queued queries {CRITERION}", str(newest))


def _pair(rng: random.Random, ids: list[str]) -> tuple[Segment, Segment]:
    a, b = rng.sample(ids, 2)
    starts = (rng.randrange(_EPISODE - SEGMENT + 1) for _ in range(2))
    return Segment(a, next(starts), SEGMENT), Segment(b, next(starts), SEGMENT)


def _name(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _roll_out(env: Any, seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    states, seen, actions = [env.get_state()], [obs[STATE]], []
    drift = rng.uniform(-0.5, 0.5, 4)
    for _ in range(_ROLLOUT):
        action = np.clip(drift + rng.uniform(-0.5, 0.5, 4), -1, 1).astype(np.float32)
        obs, *_ = env.step(action)
        states.append(env.get_state())
        seen.append(obs[STATE])
        actions.append(action)
    return Episode(
        id=f"rollout-{seed}", obs={STATE: np.array(seen, np.float32)}, action=np.array(actions),
        reward=np.zeros(_ROLLOUT, np.float32), success=np.zeros(_ROLLOUT, bool), terminated=False,
        truncated=True, env=ENV, task="reach", seed=seed, fps=env.fps,
        sim_states=np.stack([state.step for state in states]), sim_episode=states[0].episode,
    )  # fmt: skip


def _window(rollout: Episode, start: int, number: int, fps: float) -> Episode:
    assert rollout.sim_states is not None
    steps, around = slice(start, start + _EPISODE), slice(start, start + _EPISODE + 1)
    return Episode(
        id=str(uuid.UUID(int=number, version=4)), obs={STATE: rollout.obs[STATE][around]},
        action=rollout.action[steps], reward=rollout.reward[steps],
        success=rollout.success[steps], terminated=False, truncated=True, env=ENV, task="reach",
        seed=number, fps=fps, sim_states=rollout.sim_states[around],
        sim_episode=rollout.sim_episode, metadata={"policy": f"policy {number % NUM_POLICIES}"},
    )  # fmt: skip
