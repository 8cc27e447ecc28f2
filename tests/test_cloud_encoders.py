import numpy as np
import pytest
import torch

from robopref.cloud_encoders import CLOUD_ENCODERS, turned
from robopref.config import from_dict, to_dict
from robopref.seeding import seeded_weights
from robopref.token_encoder import TokenEncoderConfig, farthest_points
from robopref.types import ACTION, POINTS, STATE
from tests.clouds import SHAPES, make_batch


@pytest.fixture(params=CLOUD_ENCODERS.names())
def config(request):
    return CLOUD_ENCODERS.config_class(request.param)()


@pytest.fixture
def encoder(config, generator):
    with seeded_weights(generator):
        return config.build(SHAPES, 1).eval()


@pytest.fixture
def obs(rng):
    return {POINTS: make_batch(rng, 3)[0]}


def test_config_round_trips(config):
    assert from_dict(type(config), to_dict(config)) == config


def test_tokens_have_a_place_and_features(encoder, obs):
    tokens = encoder(obs)
    assert tokens.shape[0] == 3
    assert tokens.shape[2] == 3 + encoder.feature_dim
    assert torch.isfinite(tokens).all()
    assert tokens[..., :3].abs().max() <= 1.5


def test_the_order_of_the_points_does_not_matter(encoder, obs, generator):
    shuffled = obs[POINTS][:, :, torch.randperm(SHAPES[POINTS][0], generator=generator)]
    torch.testing.assert_close(encoder({POINTS: shuffled}), encoder(obs), atol=1e-4, rtol=1e-3)


def test_where_the_cloud_lies_does_not_matter(encoder, obs):
    moved = obs[POINTS] + torch.tensor([0.13, -0.07, 0.0])
    torch.testing.assert_close(encoder({POINTS: moved}), encoder(obs), atol=2e-3, rtol=1e-2)


def test_clouds_of_different_shape_have_different_tokens(encoder, obs):
    tokens = encoder(obs)
    assert not torch.allclose(tokens[0], tokens[1], atol=1e-3)


def test_a_cloud_does_not_depend_on_its_neighbours(encoder, obs):
    alone = encoder({POINTS: obs[POINTS][:1]})
    torch.testing.assert_close(alone, encoder(obs)[:1], atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_weight(config, obs, generator):
    with seeded_weights(generator):
        encoder = config.build(SHAPES, 1)
    encoder(obs)[..., 3:].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_actions_go_into_the_frame_and_back(encoder, obs, rng):
    action = torch.from_numpy(rng.normal(size=(3, 4, 1, 6))).float()
    framed = encoder.to_frame(action, obs)
    torch.testing.assert_close(encoder.from_frame(framed, obs), action)
    middle = obs[POINTS].mean(dim=(1, 2)) * torch.tensor([1.0, 1.0, 0.0])
    assert torch.allclose(framed[:, 0, 0, :3] * encoder.extent_m + middle, action[:, 0, 0, :3])


def test_of_several_actions_a_cloud_all_get_its_frame(encoder, obs, rng):
    action = torch.from_numpy(rng.normal(size=(6, 1, 6))).float()
    together = encoder.to_frame(action, obs)
    apart = encoder.to_frame(action.view(3, 2, 1, 6), obs)
    torch.testing.assert_close(together, apart.flatten(0, 1))


@pytest.mark.parametrize(
    ("shapes", "steps", "message"),
    [
        ({STATE: (4,)}, 1,
         "An encoder of point clouds needs 'observation.points' of shape (P, 3) with P at least 8, "
         "got {'observation.state': (4,)}."),
        ({POINTS: (5, 3)}, 1,
         "An encoder of point clouds needs 'observation.points' of shape (P, 3) with P at least 8, "
         "got {'observation.points': (5, 3)}."),
        (SHAPES, 2, "An encoder of point clouds sees one at a time, got `n_obs_steps` 2."),
    ],
)  # fmt: skip
def test_what_is_no_cloud_is_refused(shapes, steps, message):
    with pytest.raises(ValueError) as error:
        TokenEncoderConfig().build(shapes, steps)
    assert str(error.value) == message


def test_farthest_points_cover_the_cloud(rng):
    points = torch.from_numpy(rng.uniform(-1, 1, (2, 200, 3))).float()
    chosen = farthest_points(points, 20)
    assert all(len(set(row)) == 20 for row in chosen.tolist())
    for cloud, row in zip(points, chosen, strict=True):
        covered = torch.cdist(cloud, cloud[row]).amin(1).max()
        by_chance = torch.cdist(cloud, cloud[:20]).amin(1).max()
        assert covered < by_chance


def test_turning_keeps_what_is_start_and_what_is_end(rng):
    points, action = make_batch(rng, 50)
    generator = torch.Generator().manual_seed(0)
    both = turned({POINTS: points, ACTION: action, "other": points}, 180, generator)
    assert both["other"] is points
    moved, places = both[POINTS], both[ACTION].view(50, 2, 3)
    before = torch.cdist(action.view(50, 2, 3), points[:, 0])
    torch.testing.assert_close(torch.cdist(places, moved[:, 0]), before, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(moved[..., 2], points[..., 2])
    first, second = (a[:, 1] - a[:, 0] for a in (action.view(50, 2, 3), places))
    angles = [torch.atan2(sweep[:, 1], sweep[:, 0]) for sweep in (first, second)]
    change = (angles[1] - angles[0] + np.pi) % (2 * np.pi) - np.pi
    assert change.abs().max() > 2.5
    assert abs(float(change.mean())) < 0.6


def test_turning_is_bounded_and_turns_the_actions_of_a_cloud_together(rng):
    points, action = make_batch(rng, 40)
    twice = action.repeat_interleave(2, dim=0)
    both = turned({POINTS: points, ACTION: twice}, 20, torch.Generator().manual_seed(1))
    assert torch.equal(both[ACTION][::2], both[ACTION][1::2])
    for a, b in ((action.view(40, 2, 3), both[ACTION][::2].view(40, 2, 3)),):
        sweep, after = a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]
        cos = (sweep[:, :2] * after[:, :2]).sum(1) / (
            sweep[:, :2].norm(dim=1) * after[:, :2].norm(dim=1)
        )
        assert cos.min() > np.cos(np.radians(20.1))
        assert cos.min() < np.cos(np.radians(15))
