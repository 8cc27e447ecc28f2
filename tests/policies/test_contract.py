"""What every registered policy, denoiser and encoder must do."""

import dataclasses
import uuid

import numpy as np
import pytest
import torch

from robopref.backbones import SmallCNNConfig
from robopref.config import from_dict, to_dict
from robopref.data.episode import Episode
from robopref.data.normalizer import compute_statistics
from robopref.image_encoder import ImageEncoderConfig
from robopref.policies import DENOISERS, POLICIES
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.serialization import load_policy
from robopref.protocols import Policy
from robopref.resnet_encoder import ResNetEncoderConfig
from robopref.types import IMAGES, POINTS, STATE

OBS_SHAPES = {
    STATE: (5,),
    POINTS: (12, 3),
    IMAGES + "top": (24, 20, 3),
    IMAGES + "side": (16, 16, 3),
}
SEEING = ImageEncoderConfig(backbone=SmallCNNConfig(width=4), size=32, num_points=8, width=16)
ACTION_DIM = 3


def configs():
    """Return every policy with its defaults, and the diffusion policy with every denoiser."""
    found = {name: POLICIES.config_class(name)() for name in POLICIES}
    for denoiser in DENOISERS:
        found[f"diffusion-{denoiser}"] = DiffusionPolicyConfig(denoiser=denoiser)
    found["diffusion-past"] = DiffusionPolicyConfig(num_past_actions=1)
    found["diffusion-ddim"] = DiffusionPolicyConfig(sampler="ddim")
    found["diffusion-images"] = DiffusionPolicyConfig(encoder=SEEING)
    one = dataclasses.replace(SEEING, cameras=("side",), state=(1, 3), train_backbone=True)
    resnet = ResNetEncoderConfig(cameras=("side",), resize=(48, 44), crop=(40, 36), num_points=4)
    found["diffusion-resnet"] = DiffusionPolicyConfig(encoder=resnet)
    found["diffusion-end-to-end"] = DiffusionPolicyConfig(encoder=one)
    return found


@pytest.fixture(params=configs().items(), ids=lambda item: item[0])
def config(request):
    return request.param[1]


@pytest.fixture
def episodes(rng):
    def make(index):
        zeros = np.zeros(20, np.float32)
        obs = {
            key: rng.integers(0, 256, (21, *shape), dtype=np.uint8)
            if key.startswith(IMAGES)
            else (0.2 * rng.normal(size=(21, *shape))).astype(np.float32)
            for key, shape in OBS_SHAPES.items()
        }
        action = rng.uniform(-1, 1, (20, ACTION_DIM)).astype(np.float32)
        return Episode(
            str(uuid.UUID(int=index)), obs, action, zeros, zeros > 0, False, True,
            "test/none", "none", index, 20,
        )  # fmt: skip

    return [make(index) for index in range(4)]


@pytest.fixture
def policy(config, episodes, generator):
    policy = config.build(OBS_SHAPES, ACTION_DIM, generator)
    policy.fit_normalizer(compute_statistics(episodes))
    # The last layer of some networks starts at zero; trained weights do not.
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return policy.eval()


def make_generator(seed=1):
    return torch.Generator().manual_seed(seed)


def make_obs(policy, batch=4):
    generator, steps = make_generator(7), policy.n_obs_steps
    return {
        key: torch.randint(0, 255, (batch, steps, *shape), generator=generator, dtype=torch.uint8)
        if key.startswith(IMAGES)
        else 0.2 * torch.randn((batch, steps, *shape), generator=generator)
        for key, shape in OBS_SHAPES.items()
    }


def test_config_is_frozen_and_round_trips(config):
    assert config.__dataclass_params__.frozen
    built = config.build(OBS_SHAPES, ACTION_DIM).config
    assert from_dict(type(built), to_dict(built)) == built
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n_obs_steps = 3


def test_policy_keeps_the_protocol(policy):
    assert isinstance(policy, Policy)
    assert type(policy).__doc__


def test_candidates_have_the_right_form_and_differ(policy):
    chunks = policy.sample(make_obs(policy), 6, make_generator())
    assert chunks.shape == (4, 6, policy.chunk_size, ACTION_DIM)
    assert chunks.dtype == torch.float32
    assert torch.isfinite(chunks).all()
    assert not torch.equal(chunks[:, 0], chunks[:, 1])


def test_equal_generators_give_equal_candidates(policy):
    obs = make_obs(policy)
    first = policy.sample(obs, 3, make_generator(1))
    assert torch.equal(first, policy.sample(obs, 3, make_generator(1)))
    assert not torch.equal(first, policy.sample(obs, 3, make_generator(2)))


def test_sampling_leaves_global_randomness_alone(policy):
    before = torch.get_rng_state()
    policy.sample(make_obs(policy), 2, make_generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_building_is_seeded_and_leaves_global_randomness_alone(config):
    before = torch.get_rng_state()
    first, same, other = (
        config.build(OBS_SHAPES, ACTION_DIM, make_generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([p.flatten() for p in x.parameters()]) for x in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_observation_gets_the_same_whatever_its_neighbours(policy):
    obs = make_obs(policy)
    together = policy.sample(obs, 3, [make_generator(i) for i in range(4)])
    alone = policy.sample({key: value[2:3] for key, value in obs.items()}, 3, [make_generator(2)])
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-4)


def test_candidates_answer_to_the_observation(policy):
    obs = make_obs(policy)
    other = {key: value // 2 if key.startswith(IMAGES) else value + 1 for key, value in obs.items()}
    assert not torch.equal(
        policy.sample(obs, 2, make_generator()), policy.sample(other, 2, make_generator())
    )


def test_actions_stay_in_the_range_of_the_data(policy, episodes):
    actions = np.concatenate([episode.action for episode in episodes])
    chunks = policy.sample(make_obs(policy), 16, make_generator()).numpy()
    assert (chunks >= actions.min(axis=0) - 1e-5).all()
    assert (chunks <= actions.max(axis=0) + 1e-5).all()


def test_saved_policy_is_the_same_policy(policy, tmp_path):
    policy.save_pretrained(tmp_path / "policy")
    loaded = load_policy(tmp_path / "policy")
    again = type(policy).from_pretrained(tmp_path / "policy")
    obs = make_obs(policy)
    expected = policy.sample(obs, 3, make_generator())
    for other in (loaded, again):
        assert other.config == policy.config
        assert torch.equal(other.sample(obs, 3, make_generator()), expected)
    assert {path.name for path in (tmp_path / "policy").iterdir()} == {
        "config.json", "model.safetensors", "README.md",
    }  # fmt: skip


def test_select_action_executes_chunks(policy):
    obs = make_obs(policy)
    newest = {key: value[:, -1] for key, value in obs.items()}
    repeated = {
        key: torch.stack([value] * policy.n_obs_steps, dim=1) for key, value in newest.items()
    }
    chunk = policy.predict_action_chunk(repeated, make_generator())
    generator = make_generator()
    policy.reset()
    for step in range(policy.n_action_steps):
        assert torch.equal(policy.select_action(newest, generator), chunk[:, step])
    policy.select_action(newest, generator)
    policy.reset()
    assert torch.equal(policy.select_action(newest, make_generator()), chunk[:, 0])


def test_loss_is_positive_and_trains_every_weight(policy, generator):
    batch = {
        **make_obs(policy, 16),
        "action": torch.rand(16, policy.chunk_size, ACTION_DIM, generator=generator),
        "action_is_pad": torch.zeros(16, policy.chunk_size, dtype=torch.bool),
    }
    loss, _ = policy.train()(batch, generator)
    loss.backward()
    assert loss > 0
    for name, parameter in policy.named_parameters():
        if not parameter.requires_grad:
            assert name.startswith("encoder.backbone."), name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_bad_observations_are_refused(policy):
    num, key = policy.n_obs_steps, next(iter(policy.obs_shapes))
    *first, last = policy.obs_shapes[key]
    names = ", ".join(str(size) for size in (num, *first, last))
    other = (2, num, *first, last + 1)
    refused = [
        ({}, f"The policy needs '{key}', got only []."),
        (
            {key: torch.zeros(other)},
            f"`obs['{key}']` must have shape (B, {names}), got {other}.",
        ),
        (
            {key: torch.full((2, num, *first, last), torch.nan)},
            f"`obs['{key}']` holds values that are not finite.",
        ),
    ]
    for obs, message in refused:
        with pytest.raises(ValueError) as error:
            policy.sample(obs, 1, make_generator())
        assert str(error.value) == message
