"""What is special to the files of rewards; tests/test_pretrained.py has what they share."""

import json
import shutil

import numpy as np
import pytest

from robopref.config import to_dict
from robopref.errors import CheckpointError
from robopref.rewards.mlp import MLPReward, MLPRewardConfig
from robopref.rewards.serialization import load_reward
from robopref.rewards.trivial import ZeroRewardConfig

CONFIG = MLPRewardConfig(num_members=2, hidden_sizes=(8,), n_action_steps=2)


@pytest.fixture
def saved(tmp_path):
    CONFIG.build(5, 2).save_pretrained(tmp_path / "reward")
    return tmp_path / "reward"


def test_the_config_names_every_setting(saved):
    options = json.loads((saved / "config.json").read_text())["options"]
    assert options["hidden_sizes"] == [8]
    assert options == to_dict(CONFIG)


def test_the_normaliser_is_saved_with_the_reward(saved, make_pairs, generator):
    reward = MLPReward.from_pretrained(saved)
    reward.fit(make_pairs(5), generator=generator)
    reward.save_pretrained(saved)
    loaded = MLPReward.from_pretrained(saved)
    assert (loaded.state_normalizer.scale != 1).all()
    assert np.array_equal(loaded.action_normalizer.loc, reward.action_normalizer.loc)


def test_a_reward_of_another_class(tmp_path):
    ZeroRewardConfig().build(5, 2).save_pretrained(tmp_path / "zero")
    with pytest.raises(CheckpointError) as error:
        MLPReward.from_pretrained(tmp_path / "zero")
    assert str(error.value) == (
        f"'{tmp_path}/zero' holds UnfittedReward, expected MLPReward. Load it with load_reward, "
        "which takes any reward."
    )


def test_weights_of_another_size(saved):
    other = MLPRewardConfig(num_members=2, hidden_sizes=(9,), n_action_steps=2).build(5, 2)
    other.save_pretrained(saved.parent / "other")
    shutil.copy(saved.parent / "other" / "model.safetensors", saved)
    with pytest.raises(CheckpointError) as error:
        load_reward(saved)
    assert str(error.value) == (
        f"'{saved}/model.safetensors' is of another model: network.layers.0.weight has shape "
        "(2, 9, 9), expected (2, 9, 8). It and 'config.json' must come from the same save."
    )
