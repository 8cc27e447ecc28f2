"""LeRobot's policies that see pictures, imported and exported."""

from dataclasses import replace

import pytest
import torch

from robopref.encoders import StateEncoderConfig
from robopref.errors import CheckpointError
from robopref.policies.lerobot_diffusion import (
    export_diffusion,
    import_diffusion,
)
from robopref.types import IMAGES
from tests.policies.lerobot_policies import (
    CONFIG,
    EYES,
    SEEN,
    edit,
    make_pictured,
    make_policy,
    make_seeing,
)


@pytest.fixture
def noise():
    return torch.randn(4, 3, 16, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shared": True, "norm": "batch", "resize": (50, 40), "crop": (45, 36)},
        {"crop": None, "states": StateEncoderConfig(clip=1e6), "random_crop": False},
    ],
)
def test_what_sees_pictures_is_imported_as_it_was(noise, tmp_path, changes):
    policy = make_seeing(replace(EYES, **changes))
    export_diffusion(policy, tmp_path)
    again = import_diffusion(tmp_path)
    assert again.config.encoder == replace(
        policy.config.encoder, cameras=("top", "back"), states=again.config.encoder.states
    )
    obs = make_pictured(policy)
    chunks = [p.sample(obs, 3, torch.Generator(), noise=noise[:2]) for p in (policy, again)]
    torch.testing.assert_close(*chunks, rtol=1e-4, atol=1e-5)
    # What is equal is not equal because nothing is seen.
    for camera in policy.encoder.cameras:
        other = {**obs, camera: obs[camera].flip(-2)}
        assert (policy.encoder(other) - policy.encoder(obs)).abs().max() > 1e-4


def test_pictures_too_small_to_find_anything_in_are_refused():
    with pytest.raises(ValueError) as small:
        make_seeing(replace(EYES, crop=(28, 26)))
    assert str(small.value) == (
        "Pictures must leave more than one location in the maps of resnet18, or it sees nothing: "
        "more than 32 pixels on a side, got (28, 26)."
    )
    with pytest.raises(ValueError) as crop:
        make_seeing(replace(EYES, crop=(45, 40)))
    assert str(crop.value) == "`crop` must lie within the pictures, (44, 42), got (45, 40)."
    with pytest.raises(ValueError) as sizes:
        EYES.build({**SEEN, IMAGES + "top": (50, 50, 3)}, 2)
    assert str(sizes.value) == (
        "Cameras must record pictures of one size where `resize` is None, got [(50, 50, 3), "
        "(44, 42, 3)]."
    )


def test_pictures_are_cropped_at_random_in_training_only():
    policy = make_seeing()
    obs = make_pictured(policy)
    view = policy.augmented(obs, torch.Generator().manual_seed(1))
    camera = IMAGES + "top"
    assert view[camera].shape == (2, 2, 3, 40, 38)
    whole = policy.encoder.pixels[0](obs[camera].float() / 255).movedim(-1, 2)
    places = [
        (down, right)
        for down in range(5) for right in range(5)
        if torch.equal(whole[0, ..., down : down + 40, right : right + 38], view[camera][0])
    ]  # fmt: skip
    assert len(places) == 1
    assert not torch.allclose(policy.encoder(view), policy.encoder(obs))
    middle = {**obs, camera: obs[camera][:, :, 2:42, 2:40]}
    cropless = replace(EYES, crop=None)
    shapes = {**SEEN, camera: (40, 38, 3), IMAGES + "back": (40, 38, 3)}
    middle[IMAGES + "back"] = obs[IMAGES + "back"][:, :, 2:42, 2:40]
    other = make_policy(replace(CONFIG, encoder=cropless), shapes)
    other.load_state_dict(policy.state_dict())
    torch.testing.assert_close(policy.encoder(obs), other.encoder(middle))


def test_batch_norm_keeps_its_statistics():
    policy = make_seeing(replace(EYES, norm="batch"))
    obs = make_pictured(policy)
    alone = policy.encoder({key: value[:1] for key, value in obs.items()})
    before = {name: value.clone() for name, value in policy.named_buffers()}
    torch.testing.assert_close(policy.train().encoder(obs)[:1], alone, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in policy.named_buffers())


def test_states_between_which_pictures_lie_are_not_joined(tmp_path):
    policy = make_seeing()
    export_diffusion(policy, tmp_path)
    with pytest.raises(ValueError) as joined:
        import_diffusion(tmp_path, join_states=True)
    assert str(joined.value) == (
        "`join_states` is for policies without pictures: LeRobot lays them between "
        "'observation.state' and 'observation.environment_state'. Import the policy without it."
    )
    with pytest.raises(ValueError) as parted:
        export_diffusion(policy, tmp_path / "out", proprioception=2)
    assert str(parted.value) == ("`proprioception` must be left out: the policy sees pictures.")
    edit(tmp_path, use_separate_rgb_encoder_per_camera=False)
    with pytest.raises(CheckpointError) as other:
        import_diffusion(tmp_path)
    assert str(other.value) == (
        f"'{tmp_path}/model.safetensors' lacks diffusion.rgb_encoder.backbone.0.weight. It and "
        "'config.json' must come from the same save."
    )
