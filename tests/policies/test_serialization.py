"""What is special to the files of policies; tests/test_pretrained.py has what they share."""

import json
import shutil

import pytest
import torch

from robopref.config import to_dict
from robopref.errors import CheckpointError
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.serialization import load_policy
from robopref.types import STATE


@pytest.fixture
def saved(toy_policy, tmp_path):
    toy_policy.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def message_of(folder, **checks):
    with pytest.raises(CheckpointError) as error:
        load_policy(folder, **checks)
    return str(error.value)


def test_the_normaliser_is_saved_with_the_policy(toy_policy, saved):
    loaded = load_policy(saved)
    assert torch.equal(loaded.action_normalizer.scale, toy_policy.action_normalizer.scale)
    assert torch.equal(loaded.encoder.normalizer.loc, toy_policy.encoder.normalizer.loc)
    assert float(loaded.action_normalizer.scale[0]) > 0.6


def test_the_config_names_the_parts_with_every_setting(toy_policy, saved):
    options = json.loads((saved / "config.json").read_text())["options"]
    assert options["denoiser"] == {"type": "mlp", "width": 64, "num_blocks": 2, "step_dim": 64}
    assert options["encoder"] == {
        "type": "state", "beside": [], "normalization": "range", "clip": 5.0
    }  # fmt: skip
    assert options == to_dict(toy_policy.config)


@pytest.mark.parametrize(
    ("denoiser", "difference"),
    [
        (
            MLPDenoiserConfig(width=32, num_blocks=2),
            "denoiser.chunk_layer.weight has shape (32, 8), expected (64, 8)",
        ),
        ("unet", "it lacks denoiser.step_layer.weight"),
    ],
)
def test_weights_of_another_denoiser(saved, tmp_path, denoiser, difference):
    other = DiffusionPolicyConfig(chunk_size=4, n_action_steps=2, denoiser=denoiser)
    other.build({STATE: (3,)}, 2).save_pretrained(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", saved)
    assert message_of(saved) == (
        f"'{saved}/model.safetensors' is of another model: {difference}. "
        "It and 'config.json' must come from the same save."
    )


def test_policy_of_another_observation(saved):
    assert message_of(saved, obs_shapes={STATE: (39,)}) == (
        f"The policy in '{saved}' needs 'observation.state' of shape (3,), got (39,). "
        "It was trained for another task."
    )
    assert message_of(saved, obs_shapes={"observation.images.top": (3, 8, 8)}) == (
        f"The policy in '{saved}' needs 'observation.state' of shape (3,), got none. "
        "It was trained for another task."
    )


def test_policy_of_another_action(saved):
    assert message_of(saved, obs_shapes={STATE: (3,)}, action_dim=7) == (
        f"The policy in '{saved}' returns actions of size 2, expected 7. "
        "It was trained for another task."
    )
    assert load_policy(saved, obs_shapes={STATE: (3,)}, action_dim=2).action_dim == 2
