"""What is special to the diffusion policy: modes, noise errors, its files, its messages."""

import json
from pathlib import Path

import pytest
import torch

from robopref.config import to_dict
from robopref.diffusion import Sampler
from robopref.errors import CheckpointError, UnknownNameError
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.serialization import load_policy
from robopref.types import STATE


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++"])
def test_both_modes_are_sampled_and_nothing_between(name, toy_policy, toy_obs, generator):
    sampler, toy_policy.sampler = toy_policy.sampler, Sampler(name, 50, 10)
    try:
        chunks = toy_policy.sample(toy_obs, 40, generator)
    finally:
        toy_policy.sampler = sampler
    sides = chunks[..., 0]
    # 2,000 samples of a fair coin stray from one half by 0.011; the rest is what was learned.
    assert float((sides[..., 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    # A policy that had collapsed to the mean would be here always, one Gaussian 0.38 of the time.
    assert float((sides.abs() < 0.3).float().mean()) < 0.1
    # A chunk goes one way from its first to its last action.
    assert float((sides.sign() == sides.sign()[..., :1]).float().mean()) > 0.98
    assert float(sides.abs().mean()) == pytest.approx(0.6, abs=0.05)


def test_actions_follow_the_observation(toy_policy, toy_obs, generator):
    second = toy_policy.sample(toy_obs, 40, generator)[:, :, 0, 1].mean(dim=1)
    expected = 0.5 * toy_obs[STATE][:, -1, 0]
    assert float((second - expected).abs().mean()) < 0.08


def test_noise_error_is_the_loss_and_knows_demonstrated_chunks(toy_policy, toy_obs, generator):
    right = torch.zeros(50, 4, 2)
    right[..., 0] = 0.6
    right[..., 1] = 0.5 * toy_obs[STATE][:, -1:, 0]
    between = right.clone()
    between[..., 0] = 0
    _, noise = toy_policy.draw_noising(50, generator)
    steps = torch.full((50,), 10)  # Much later all is noise, and any chunk could be below it.
    errors = [
        toy_policy.noise_error({**toy_obs, "action": chunk}, steps, noise)
        for chunk in (right, between)
    ]
    assert errors[0].shape == (50,)
    assert errors[0].mean() < errors[1].mean()


def test_noise_given_is_noise_used(toy_policy, toy_obs, generator):
    noise = torch.randn(50, 3, 4, 2, generator=generator)
    given = toy_policy.sample(toy_obs, 3, generator, noise=noise)
    # The generator, somewhere else by now, has no say.
    assert torch.equal(given, toy_policy.sample(toy_obs, 3, generator, noise=noise))


def test_the_normaliser_is_saved_with_the_policy(toy_policy, toy_obs, tmp_path):
    toy_policy.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path)
    assert torch.equal(loaded.action_normalizer.scale, toy_policy.action_normalizer.scale)
    assert torch.equal(loaded.encoder.normalizer.loc, toy_policy.encoder.normalizer.loc)
    assert float(loaded.action_normalizer.scale[0]) > 0.6


def test_config_file_names_its_type_and_every_setting(toy_policy, tmp_path):
    toy_policy.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["type"] == "diffusion"
    assert saved["obs_shapes"] == {STATE: [3]}
    assert saved["action_dim"] == 2
    assert saved["denoiser"] == {"type": "mlp", "width": 64, "num_blocks": 2, "step_dim": 64}
    assert saved["encoder"] == {"type": "state", "normalization": "range", "clip": 5.0}
    assert to_dict(toy_policy.config).items() <= saved.items()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"n_action_steps": 12},
            "`n_action_steps` (=12) must not exceed `chunk_size` (=8).",
        ),
        ({"chunk_size": 0}, "`chunk_size` must be at least 1, got 0."),
        ({"num_denoise_steps": 51}, "`num_denoise_steps` must be between 1 and 50, got 51."),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        DiffusionPolicyConfig(**options)
    assert str(error.value) == message


@pytest.fixture
def saved(toy_policy, tmp_path):
    toy_policy.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def message_of(folder: Path, error_class: type[Exception] = CheckpointError, **checks):
    with pytest.raises(error_class) as error:
        load_policy(folder, **checks)
    return str(error.value)


def test_missing_folder(tmp_path):
    path = tmp_path / "none"
    assert message_of(path, FileNotFoundError) == f"No policy at '{path}'."


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(saved, name):
    (saved / name).unlink()
    assert message_of(saved) == f"'{saved}' holds no policy: '{name}' is missing."


def test_damaged_config(saved):
    (saved / "config.json").write_text('{"type": "diff')
    assert message_of(saved) == (
        f"'{saved}/config.json' is damaged: Unterminated string starting at: "
        "line 1 column 10 (char 9)."
    )


def test_truncated_weights(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert message_of(saved).startswith(f"'{path}' is damaged: ")


def test_config_of_something_else(saved):
    (saved / "config.json").write_text('{"architectures": ["bert"]}')
    assert message_of(saved) == (
        f"'{saved}/config.json' is not the config of a policy of robopref: it has no 'type'."
    )


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_unknown_type(saved):
    edit_config(saved, type="act")
    assert message_of(saved, UnknownNameError) == (
        f"'{saved}' holds a policy of type 'act', which is not registered. "
        "Registered: ['diffusion']."
    )


def test_setting_out_of_range(saved):
    edit_config(saved, n_action_steps=9)
    assert message_of(saved) == (
        f"'{saved}/config.json' cannot be used: DiffusionPolicyConfig cannot be built: "
        "`n_action_steps` (=9) must not exceed `chunk_size` (=4)."
    )


def test_unknown_setting(saved):
    edit_config(saved, chunk_sizes=3)
    assert message_of(saved).startswith(
        f"'{saved}/config.json' cannot be used: DiffusionPolicyConfig has no field 'chunk_sizes'. "
        "Did you mean 'chunk_size'? Fields: ["
    )


def test_weights_of_another_policy(saved, tmp_path):
    other = DiffusionPolicyConfig(
        chunk_size=4, n_action_steps=2, denoiser=MLPDenoiserConfig(width=32, num_blocks=2)
    ).build({STATE: (3,)}, 2)
    other.save_pretrained(tmp_path / "other")
    weights = saved / "model.safetensors"
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    assert message_of(saved) == (
        f"'{weights}' is of another policy: 'denoiser.chunk_layer.weight' has shape (32, 8), "
        "expected (64, 8)."
    )


def test_weights_of_another_denoiser(saved, tmp_path):
    other = DiffusionPolicyConfig(chunk_size=4, n_action_steps=2, denoiser="transformer")
    other.build({STATE: (3,)}, 2).save_pretrained(tmp_path / "other")
    weights = saved / "model.safetensors"
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    assert message_of(saved) == (
        f"'{weights}' is of another policy: 'denoiser.step_layer.weight' has shape (128, 64), "
        "expected (64, 64)."
    )


def test_weights_of_another_kind(saved, tmp_path):
    other = DiffusionPolicyConfig(chunk_size=4, n_action_steps=2, denoiser="unet")
    other.build({STATE: (3,)}, 2).save_pretrained(tmp_path / "other")
    weights = saved / "model.safetensors"
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    assert message_of(saved) == (
        f"'{weights}' is of another policy: it has no 'denoiser.step_layer.weight'."
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
