"""A run of the loop that is as small as it can be and still does every stage."""

import pytest

from robopref.align.collect import Workers
from robopref.align.config import AlignConfig
from robopref.align.guard import GuardConfig
from robopref.align.loop import AlignmentLoop
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.selection import BestOfNConfig
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.trainer import TrainerConfig


def training(num_steps):
    return TrainerConfig(
        num_steps=num_steps, batch_size=64, log_interval=5, checkpoint_interval=5,
        validation_interval=10, ema_decay=0.9,
    )  # fmt: skip


def make_tiny(**changes):
    options = {
        "policy": DiffusionPolicyConfig(denoiser=MLPDenoiserConfig(width=32, num_blocks=1)),
        "reward": MLPRewardConfig(
            num_members=2, hidden_sizes=(16,), fit=FitConfig(trainer=training(10))
        ),
        "method": DistilConfig(trainer=training(15)),
        "selection": BestOfNConfig(num_candidates=2),
        "base_training": training(40),
        "num_rounds": 2,
        "num_labels": 4,
        "labels_per_round": 2,
        "num_demonstrations": 8,
        "num_pool_episodes": 6,
        "num_selected_episodes": 4,
        "num_test_episodes": 4,
        "guard": GuardConfig(num_episodes=2),
        "max_episode_steps": 90,
        "use_success": False,
        "num_workers": 0,
    }
    return AlignConfig(**(options | changes))


@pytest.fixture
def tiny():
    return make_tiny()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished")
    with Workers(0) as workers:
        loop = AlignmentLoop(make_tiny(), directory, workers)
        loop.execute()
    return loop
