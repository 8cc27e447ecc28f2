"""Episodes of random numbers, small and different from each other."""

import uuid

import numpy as np
import pytest

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore

CAMERA = "observation.images.corner"


def _pictures(num: int, rng: np.random.Generator) -> np.ndarray:
    """Return pictures that a lossy codec keeps apart: a bright bar on a smooth ground."""
    pictures = np.full((num, 32, 48, 3), 60, np.uint8)
    for step, column in enumerate(rng.integers(0, 44, num)):
        pictures[step, :, column : column + 4] = 200
    return pictures


@pytest.fixture
def make_episode():
    def make(number: int, *, steps: int = 7, camera: bool = False, **changes) -> Episode:
        rng = np.random.default_rng(number)
        obs = {"observation.state": rng.normal(size=(steps + 1, 5)).astype(np.float32)}
        if camera:
            obs[CAMERA] = _pictures(steps + 1, rng)
        values = {
            "id": str(uuid.UUID(int=number)),
            "obs": obs,
            "action": rng.normal(size=(steps, 2)).astype(np.float32),
            "reward": rng.normal(size=steps).astype(np.float32),
            "success": rng.random(steps) > 0.7,
            "terminated": number % 2 == 0,
            "truncated": number % 2 == 1,
            "env": "metaworld/reach-v3",
            "task": f"reach {number % 3}",
            "seed": 2**62 + number,
            "fps": 20,
            "sim_states": rng.normal(size=(steps + 1, 11)),
            "sim_episode": rng.normal(size=6),
            "metadata": {"style": "left", "number": number},
        }
        return Episode(**{**values, **changes})

    return make


@pytest.fixture
def store(tmp_path):
    return EpisodeStore.create(tmp_path / "store", fps=20)


@pytest.fixture
def contents():
    """Return a function that gives the hash of a segment of every episode of a store."""

    def hashes(store: EpisodeStore) -> dict[str, str]:
        return {i: store.content_hash(Segment(i, 1, 3)) for i in store.ids}

    return hashes
