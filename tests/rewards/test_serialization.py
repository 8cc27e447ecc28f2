import json

import numpy as np
import pytest

from robopref.errors import CheckpointError, UnknownNameError
from robopref.rewards.mlp import MLPReward, MLPRewardConfig
from robopref.rewards.serialization import load_reward
from robopref.rewards.trivial import ZeroRewardConfig


@pytest.fixture
def saved(tmp_path):
    reward = MLPRewardConfig(num_members=2, hidden_sizes=(8,), n_action_steps=2).build(5, 2)
    reward.save_pretrained(tmp_path / "reward")
    return tmp_path / "reward"


def test_the_config_names_the_kind_the_sizes_and_the_options(saved):
    values = json.loads((saved / "config.json").read_text())
    assert {key: values[key] for key in ("type", "obs_dim", "action_dim")} == {
        "type": "mlp", "obs_dim": 5, "action_dim": 2,
    }  # fmt: skip
    assert values["options"]["hidden_sizes"] == [8]


def test_the_normaliser_is_saved_with_the_reward(saved, make_pairs, generator):
    reward = load_reward(saved)
    reward.fit(make_pairs(5), generator=generator)
    reward.save_pretrained(saved)
    loaded = load_reward(saved)
    assert (loaded.state_normalizer.scale != 1).all()
    assert np.array_equal(loaded.action_normalizer.loc, reward.action_normalizer.loc)


def test_a_reward_of_another_class_is_refused(tmp_path):
    ZeroRewardConfig().build(5, 2).save_pretrained(tmp_path / "zero")
    with pytest.raises(CheckpointError) as error:
        MLPReward.from_pretrained(tmp_path / "zero")
    assert str(error.value) == (
        f"'{tmp_path}/zero' holds a UnfittedReward, expected a MLPReward. Load it with "
        "load_reward, which takes any reward."
    )


def test_a_missing_folder_and_an_empty_one(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_reward(tmp_path / "none")
    assert str(error.value) == (
        f"No reward at '{tmp_path}/none': there is no such folder, and no such repository on the "
        "hub could be read."
    )
    with pytest.raises(FileNotFoundError) as error:
        load_reward(tmp_path)
    assert str(error.value) == f"'{tmp_path}' holds no 'config.json': no reward was saved there."


def test_a_config_of_something_else(saved):
    (saved / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CheckpointError) as error:
        load_reward(saved)
    assert str(error.value) == (
        f"'{saved}/config.json' is not the config of a reward: it needs 'type', 'obs_dim', "
        "'action_dim' and 'options' (KeyError: 'type')."
    )


def test_an_unknown_kind_suggests_the_nearest(saved):
    text = (saved / "config.json").read_text().replace('"mlp"', '"mpl"')
    (saved / "config.json").write_text(text)
    with pytest.raises(UnknownNameError) as error:
        load_reward(saved)
    assert str(error.value).startswith("No reward named 'mpl'. Did you mean 'mlp'? Registered: ")


def test_damaged_weights_and_those_of_another_size(saved):
    weights = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(weights[:-7])
    with pytest.raises(CheckpointError) as error:
        load_reward(saved)
    assert str(error.value).startswith(f"'{saved}/model.safetensors' is damaged: ")
    other = MLPRewardConfig(num_members=2, hidden_sizes=(9,), n_action_steps=2).build(5, 2)
    other.save_pretrained(saved.parent / "other")
    (saved / "model.safetensors").write_bytes(
        (saved.parent / "other" / "model.safetensors").read_bytes()
    )
    with pytest.raises(CheckpointError) as error:
        load_reward(saved)
    assert str(error.value) == (
        f"'{saved}/model.safetensors' is of another model: network.layers.0.weight has shape "
        "(2, 9, 9), expected (2, 9, 8). "
        "Use that model, or delete the file to start this stage again."
    )
