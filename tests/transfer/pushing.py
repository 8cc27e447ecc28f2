"""Episodes in which a hand pushes an object towards a goal, and true answers about them.

The states are those of Meta-World, made up without a simulator: quick, and exactly known.
"""

import numpy as np

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.preferences import Preference, Ranking
from robopref.seeding import derive_uuid, make_rng
from robopref.types import IMAGES, STATE

LENGTH = 10
NUM_STEPS = 20
DOOR, DRAWER = "metaworld/door-close-v3", "metaworld/drawer-open-v3"


def push(env, seed, number, action_size=4, constant=False, camera=False):
    """An episode in which the object goes some of the way to its goal, or back."""
    away = make_rng(seed, "away").normal(size=3)
    away *= 0.3 / np.linalg.norm(away)
    rng = make_rng(seed, "push", number)
    start = rng.uniform(-0.02, 0.02, 3)
    share = np.cumsum(rng.uniform(-0.3, 1.0) * rng.uniform(0.5, 1.5, NUM_STEPS + 1)) / NUM_STEPS
    thing = start + share[:, None] * away
    hand = thing + rng.uniform(0.02, 0.2) * np.array([0, 0, 1]) + rng.normal(0, 0.003, thing.shape)
    state = np.zeros((NUM_STEPS + 1, 39), np.float32)
    state[:, 0:3], state[:, 3] = hand, rng.uniform(0, 1)
    state[:, 4:7], state[:, 36:39] = thing, start + away
    action = rng.uniform(-1, 1, (NUM_STEPS, action_size)).astype(np.float32)
    if constant:
        state[:], action[:] = 0.1, 0.1
    obs: dict[str, np.ndarray] = {STATE: state}
    if camera:
        obs[f"{IMAGES}top"] = np.full((NUM_STEPS + 1, 32, 32, 3), 60, np.uint8)
    return Episode(
        id=derive_uuid(seed, env, number),
        obs=obs, action=action,
        reward=(1 - np.linalg.norm(thing - start - away, axis=1)[1:] / 0.3).astype(np.float32),
        success=np.zeros(NUM_STEPS, bool), terminated=False, truncated=True, env=env, task="push",
        seed=number, fps=80.0,
    )  # fmt: skip


def segments_of(episodes):
    return [Segment(row.episode_id, start, LENGTH) for row in episodes.rows for start in (0, 7)]


def true_return(episodes, segment):
    reward = episodes.episode(segment.episode_id).reward
    return float(reward[segment.start : segment.start + segment.length].sum(dtype=np.float64))


def answer(episodes, query, name, sign=1):
    """Answer as the recorded rewards are, or the other way round; a sign of 0 calls all equal."""
    a, b = (true_return(episodes, item) for item in query.items)
    ranking = Ranking.tie() if sign == 0 else Ranking.prefer(int(sign * (b - a) > 0))
    return Preference(name, query, ranking, annotator="anna")
