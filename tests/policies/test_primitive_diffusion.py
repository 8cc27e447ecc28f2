import numpy as np
import pytest
import torch

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.deformpam import DeformPAMConfig, DeformPAMPlusConfig
from robopref.policies.primitive_diffusion import PointDenoiserConfig, PrimitiveDiffusionConfig
from robopref.policies.serialization import load_policy
from robopref.scorers import ImplicitScorer
from robopref.token_encoder import TokenEncoderConfig
from robopref.trainer import Trainer, TrainerConfig
from robopref.types import ACTION, POINTS
from tests.clouds import ACTION_DIM, SHAPES, badness, make_batch, make_heaps, make_rankings

ENCODER = TokenEncoderConfig(num_tokens=16, num_neighbours=8, width=48, num_layers=1, num_heads=2)


class Heaps:
    """Clouds of heaps with good primitives, drawn once."""

    def __init__(self, num):
        self.points, self.action = make_batch(np.random.default_rng(4), num)

    def __len__(self):
        return len(self.points)

    def gather(self, indices):
        return {POINTS: self.points[indices], ACTION: self.action[indices]}


DENOISER = PointDenoiserConfig(width=48, num_heads=2)


def config_of(**options):
    return PrimitiveDiffusionConfig(encoder=ENCODER, denoiser=DENOISER, **options)


@pytest.fixture(scope="session")
def cloned():
    """Return a policy that has seen 128 good primitives."""
    policy = config_of().build(SHAPES, ACTION_DIM, torch.Generator().manual_seed(0))
    trainer = TrainerConfig(num_steps=600, batch_size=16, learning_rate=3e-3, ema_decay=0.98)
    Trainer(trainer, policy, Heaps(128), generator=torch.Generator().manual_seed(1)).fit()
    return policy


@pytest.fixture
def heaps():
    return make_heaps(np.random.default_rng(9), 24)


@pytest.fixture
def obs(heaps):
    return {POINTS: torch.from_numpy(heaps[0])[:, None]}


def shaken(policy, seed=5):
    """Return the policy with weights that are not those of the start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return policy.eval()


@pytest.fixture
def policy():
    return shaken(config_of().build(SHAPES, ACTION_DIM, torch.Generator().manual_seed(0)))


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.slow
def test_it_learns_where_to_pick_and_where_to_place(cloned, obs, heaps):
    _, small, large = heaps
    sampled = cloned.sample(obs, 8, seeded())[:, :, 0].numpy()
    wrong = badness(sampled, small[:, None], large[:, None])
    turned_round = badness(sampled, large[:, None], small[:, None])
    assert np.median(wrong) < 0.06
    assert np.median(turned_round) > 0.15


def test_a_cloud_that_is_moved_moves_what_is_proposed(policy, obs):
    offset = torch.tensor([0.2, -0.1, 0.0])
    noise = torch.randn((24, 4, 1, 6), generator=seeded())
    before = policy.sample(obs, 4, seeded(), noise=noise)
    after = policy.sample({POINTS: obs[POINTS] + offset}, 4, seeded(), noise=noise)
    torch.testing.assert_close(after, before + offset.repeat(2), atol=2e-3, rtol=1e-2)


def test_candidates_do_not_see_one_another(policy, obs):
    noise = torch.randn((24, 6, 1, 6), generator=seeded())
    many = policy.sample(obs, 6, seeded(), noise=noise)
    few = policy.sample(obs, 2, seeded(), noise=noise[:, [4, 1]])
    torch.testing.assert_close(few, many[:, [4, 1]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_points_that_are_a_set_may_be_exchanged(obs, is_symmetric):
    config = config_of(is_symmetric=is_symmetric)
    policy = shaken(config.build(SHAPES, ACTION_DIM, seeded(0)))
    noise = torch.randn((24, 3, 1, 6), generator=seeded())
    straight = policy.sample(obs, 3, seeded(), noise=noise)
    swapped = policy.sample(obs, 3, seeded(), noise=noise.roll(3, dims=-1)).roll(3, dims=-1)
    assert torch.allclose(straight, swapped, atol=1e-4) is is_symmetric


def test_one_cloud_for_several_actions_is_the_cloud_of_each(policy, obs, rng):
    action = torch.from_numpy(rng.normal(0, 0.1, (72, 1, 6))).float()
    steps, noise = policy.draw_noising(72, seeded())
    shared = policy.noise_error({**obs, ACTION: action}, steps, noise)
    each = {POINTS: obs[POINTS].repeat_interleave(3, dim=0), ACTION: action}
    torch.testing.assert_close(shared, policy.noise_error(each, steps, noise))


@pytest.mark.slow
def test_it_comes_back_from_disk_as_it_was(cloned, obs, tmp_path):
    cloned.save_pretrained(tmp_path)
    loaded = load_policy(tmp_path, obs_shapes=SHAPES, action_dim=6)
    assert torch.equal(loaded.sample(obs, 2, seeded()), cloned.sample(obs, 2, seeded()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_size": 2},
         "`chunk_size` must be 1, got 2: a primitive is one action for one cloud."),
        ({"augment_yaw_deg": 200.0}, "`augment_yaw_deg` must be between 0 and 180, got 200.0."),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        PrimitiveDiffusionConfig(**options)
    assert str(error.value) == message


def test_actions_that_are_no_positions_are_refused():
    with pytest.raises(ValueError) as error:
        config_of().build(SHAPES, 7)
    assert str(error.value) == (
        "A primitive is made of positions, three numbers each, got actions of size 7."
    )


def test_a_cloud_that_is_not_finite_is_refused(policy, obs):
    broken = obs[POINTS].clone()
    broken[3, 0, 5, 1] = torch.nan
    with pytest.raises(ValueError) as error:
        policy.sample({POINTS: broken}, 2, seeded())
    assert str(error.value) == "`obs['observation.points']` holds values that are not finite."


TRAINER = TrainerConfig(num_steps=60, batch_size=80, learning_rate=5e-4, warmup_steps=10)


@pytest.fixture(scope="session", params=[DeformPAMConfig, DeformPAMPlusConfig])
def method(request):
    return request.param(trainer=TRAINER)


@pytest.fixture(scope="session")
def rankings():
    return make_rankings(np.random.default_rng(2), 80)


@pytest.fixture(scope="session")
def held_out():
    return make_rankings(np.random.default_rng(3), 40)


@pytest.fixture(scope="session")
def tuned(method, cloned, rankings):
    before = {key: value.clone() for key, value in cloned.state_dict().items()}
    tuned, result = method.run(cloned, FinetuneData(rankings=rankings), generator=seeded())
    return tuned, result, before


@pytest.mark.slow
def test_the_reference_stays_as_it_was(tuned, cloned):
    after, _, before = tuned
    assert all(torch.equal(cloned.state_dict()[key], value) for key, value in before.items())
    changed = [not torch.equal(after.state_dict()[key], value) for key, value in before.items()]
    assert sum(changed) > len(changed) / 2


@pytest.mark.slow
def test_before_tuning_no_candidate_is_likelier(cloned, rankings):
    scorer = ImplicitScorer(cloned, cloned)
    obs = {POINTS: torch.from_numpy(rankings.obs[POINTS])[:, None]}
    assert not scorer.score(obs, torch.from_numpy(rankings.candidates)).any()


@pytest.mark.slow
def test_the_implicit_reward_orders_candidates_that_were_not_ranked(tuned, cloned, held_out):
    scorer = ImplicitScorer(tuned[0], cloned)
    obs = {POINTS: torch.from_numpy(held_out.obs[POINTS])[:, None]}
    scores = scorer.score(obs, torch.from_numpy(held_out.candidates)).numpy()
    assert held_out.pair_accuracy(scores) > 0.6


@pytest.mark.slow
def test_the_implicit_reward_does_not_depend_on_the_order_of_the_candidates(tuned, cloned, obs):
    scorer = ImplicitScorer(tuned[0], cloned)
    candidates = cloned.sample(obs, 5, seeded())
    order = torch.tensor([3, 0, 4, 2, 1])
    scores = scorer.score(obs, candidates)
    torch.testing.assert_close(
        scorer.score(obs, candidates[:, order]), scores[:, order], atol=1e-3, rtol=1e-3
    )


def test_rankings_need_a_policy_that_sees_one_observation(toy_policy, rankings):
    with pytest.raises(ValueError) as error:
        DeformPAMPlusConfig().run(toy_policy, FinetuneData(rankings=rankings), generator=seeded())
    assert str(error.value) == (
        "Candidates were ranked for one observation each, and the policy needs 2. "
        "Take a policy with `n_obs_steps` 1."
    )


@pytest.mark.slow
def test_without_rankings_there_is_nothing_to_learn(cloned):
    with pytest.raises(ValueError) as error:
        DeformPAMConfig().run(cloned, FinetuneData(), generator=seeded())
    assert str(error.value) == (
        "There are no rankings of action candidates to learn from. Answer queries about "
        "candidates, as in robopref deform, or take `groups.source` candidates: the policy's own "
        "proposals in the order of the learned score."
    )
