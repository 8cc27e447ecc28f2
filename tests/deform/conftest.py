"""A run of the loop that is as small as it can be and still does every stage."""

import numpy as np
import pytest

from robopref.align.collect import Workers
from robopref.deform.config import DeformConfig, best_of
from robopref.deform.loop import DeformLoop
from robopref.envs.deformable.env import DeformableConfig
from robopref.height_map import HeightMapConfig
from robopref.point_attention import PointAttentionConfig
from robopref.policies.finetune.deformpam import DeformPAMPlusConfig
from robopref.policies.primitive_diffusion import PointDenoiserConfig, PrimitiveDiffusionConfig
from robopref.rewards.deformpam import CandidateRewardConfig
from robopref.trainer import TrainerConfig

TASK = "rope-circle-v0"
ENCODER = HeightMapConfig(num_cells=16, width=24)


def training(num_steps):
    return TrainerConfig(
        num_steps=num_steps, batch_size=16, log_interval=5, checkpoint_interval=5,
        validation_interval=5, ema_decay=0.9,
    )  # fmt: skip


def make_tiny(**changes):
    options = {
        "teacher": "scripted",
        "policy": PrimitiveDiffusionConfig(
            encoder=ENCODER, denoiser=PointDenoiserConfig(width=24, num_layers=1, num_heads=2)
        ),
        "method": DeformPAMPlusConfig(trainer=training(6)),
        "explicit": CandidateRewardConfig(
            num_members=2, encoder=ENCODER, trainer=training(6),
            attention=PointAttentionConfig(width=24, num_layers=1, num_heads=2),
        ),
        "selection": best_of(8),
        "base_training": training(10),
        "num_demonstrations": 2,
        "num_shown": 3,
        "num_states": 4,
        # An untrained policy seldom proposes what takes hold of anything.
        "num_candidates": 24,
        "num_rounds": 2,
        "num_pool_episodes": 2,
        "num_test_episodes": 2,
        "max_episode_steps": 2,
        "num_workers": 0,
    }  # fmt: skip
    return DeformConfig(**(options | changes))


def make_loop(directory, **changes):
    return DeformLoop(make_tiny(**changes), directory, Workers(0))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a run whose every stage is done."""
    loop = make_loop(tmp_path_factory.mktemp("finished"), use_outcomes=True)
    with loop.workers:
        loop.execute()
    return loop


@pytest.fixture(scope="session")
def env():
    env = DeformableConfig(TASK).build()
    env.reset(seed=5)
    yield env
    env.close()


@pytest.fixture
def state(env):
    """Return the state of a start, in which the environment is."""
    env.reset(seed=5)
    return env.get_state()


@pytest.fixture
def proposed(env, state):
    return env.propose(np.random.default_rng(0), 3)
