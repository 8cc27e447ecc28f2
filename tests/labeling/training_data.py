"""Episodes of which faster ones are preferred, answers that say so, and a reward fitted to them."""

from dataclasses import replace

import numpy as np
import pytest

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import LabelQueue
from robopref.labeling.training_config import TrainerConfig
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.store import PreferenceStore
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.types import STATE

STEPS = replace(FitConfig().trainer, num_steps=60, learning_rate=3e-3)
LEARNER = MLPRewardConfig(num_members=3, hidden_sizes=(16,), fit=FitConfig(trainer=STEPS))


def record(folder, num=16, num_steps=12):
    """Record episodes that move at different speeds; faster ones are to be preferred."""
    store = EpisodeStore.create(folder, fps=10.0)
    for number in range(num):
        speed = number / num
        state = np.outer(np.arange(num_steps + 1), [speed, 1 - speed]).astype(np.float32)
        store.add(
            Episode(
                f"e{number:02d}", {STATE: state}, np.full((num_steps, 2), speed, np.float32),
                np.zeros(num_steps, np.float32), np.zeros(num_steps, bool), False, True, "line",
                "run", seed=number, fps=10.0,
            )
        )  # fmt: skip
    return store


def pair(a, b, name=None):
    return Query(
        name or f"{a}-{b}", (Segment(f"e{a:02d}", 0, 12), Segment(f"e{b:02d}", 0, 12)), "uniform"
    )


def answer(store, query, number):
    """The faster one wins."""
    winner = int(query.items[1].episode_id > query.items[0].episode_id)
    store.answer(Preference(f"a{number}", query, Ranking.prefer(winner), annotator="anna"))


@pytest.fixture
def place(tmp_path):
    """A data set, a store with answers and open queries, and settings."""
    episodes = record(tmp_path / "data")
    config = TrainerConfig(
        tmp_path / "data", str(tmp_path / "store.sqlite"), tmp_path / "out", min_open=4, num_new=6,
        segment_length=None, num_segments=16, learner=LEARNER,
    )  # fmt: skip
    store = PreferenceStore(config.db)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(16, 2, replace=False) for _ in range(24)]
    answered = [pair(int(a), int(b), f"q{i}") for i, (a, b) in enumerate(drawn)]
    waiting = [pair(a, b) for a, b in [(0, 1), (0, 15), (7, 8), (3, 12), (14, 15)]]
    store.add_queries(answered + waiting, cut_hash=episodes.content_hash)
    for number, query in enumerate(answered):
        answer(store, query, number)
    LabelQueue(store.database, LabelConfig()).fill()
    yield store, config
    store.close()
