import numpy as np
import pytest
import torch

from robopref.config import from_dict, to_dict
from robopref.point_attention import PointAttentionConfig
from robopref.policies.primitive_diffusion import PrimitiveDiffusionConfig
from robopref.rewards.deformpam import (
    CandidateReward,
    CandidateRewardConfig,
    DeformPAMRewardConfig,
    Score,
    scores_of,
)
from robopref.scorers import CombinedScorer, ImplicitScorer, LikelihoodScorer, standardise
from robopref.token_encoder import TokenEncoderConfig
from robopref.trainer import TrainerConfig
from robopref.types import POINTS
from tests.clouds import ACTION_DIM, SHAPES, make_rankings

ENCODER = TokenEncoderConfig(num_tokens=16, num_neighbours=8, width=48, num_layers=1, num_heads=2)
CONFIG = CandidateRewardConfig(
    num_members=2, encoder=ENCODER, attention=PointAttentionConfig(48, 1, 2),
    trainer=TrainerConfig(num_steps=150, batch_size=16, learning_rate=2e-3),
)  # fmt: skip


@pytest.fixture(scope="module")
def held_out():
    return make_rankings(np.random.default_rng(8), 40)


@pytest.fixture(scope="module")
def fitted(held_out):
    reward = CONFIG.build(SHAPES, ACTION_DIM, torch.Generator().manual_seed(0))
    rankings = make_rankings(np.random.default_rng(7), 120, ranked=3)
    figures = reward.fit(rankings, validation=held_out, generator=torch.Generator().manual_seed(1))
    return reward, figures


def tensors(view):
    obs = {POINTS: torch.from_numpy(view.obs[POINTS])[:, None]}
    return obs, torch.from_numpy(view.candidates)


def test_config_round_trips():
    assert from_dict(CandidateRewardConfig, to_dict(CONFIG)) == CONFIG


def test_it_orders_candidates_on_clouds_it_has_not_seen(fitted, held_out):
    reward, figures = fitted
    assert figures["validation_accuracy"] > 0.65
    assert figures["validation_accuracy"] == held_out.pair_accuracy(scores_of(reward, held_out))


def test_a_score_does_not_depend_on_the_other_candidates(fitted, held_out):
    obs, candidates = tensors(held_out)
    order = torch.tensor([2, 0, 4])
    some = fitted[0].score(obs, candidates[:, order])
    torch.testing.assert_close(
        some, fitted[0].score(obs, candidates)[:, order], atol=1e-4, rtol=1e-3
    )


def test_its_uncertainty_is_how_far_its_members_differ(fitted, held_out):
    obs, candidates = tensors(held_out)
    with torch.no_grad():
        members = fitted[0].candidate_scores(obs, candidates)
    assert members.shape == (2, 40, 5)
    spread = (members[0] - members[1]).abs() / 2
    torch.testing.assert_close(fitted[0].uncertainty(obs, candidates), spread, atol=1e-5, rtol=1e-4)
    assert spread.max() > 0


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_points_that_are_a_set_may_be_exchanged(held_out, is_symmetric):
    config = CandidateRewardConfig(
        num_members=1, encoder=ENCODER, attention=PointAttentionConfig(48, 1, 2),
        is_symmetric=is_symmetric,
    )  # fmt: skip
    reward = config.build(SHAPES, ACTION_DIM, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in reward.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    obs, candidates = tensors(held_out)
    swapped = reward.score(obs, candidates.roll(3, dims=-1))
    assert torch.allclose(reward.score(obs, candidates), swapped, atol=1e-4) is is_symmetric


def test_it_comes_back_from_disk_as_it_was(fitted, held_out, tmp_path):
    fitted[0].save_pretrained(tmp_path)
    loaded = CandidateReward.from_pretrained(tmp_path)
    assert np.array_equal(scores_of(loaded, held_out), scores_of(fitted[0], held_out))


def test_actions_that_are_no_positions_are_refused():
    with pytest.raises(ValueError) as error:
        CONFIG.build(SHAPES, 4)
    assert str(error.value) == (
        "A primitive is made of positions, three numbers each, got actions of size 4."
    )


@pytest.fixture(scope="module")
def policies():
    config = PrimitiveDiffusionConfig(encoder=ENCODER)
    made = [config.build(SHAPES, ACTION_DIM, torch.Generator().manual_seed(i)) for i in range(2)]
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made[0].parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return [policy.eval() for policy in made]


def test_the_score_is_what_was_asked_for(policies, fitted):
    reward = fitted[0]
    scores: tuple[Score, ...] = ("implicit", "explicit", "combined")
    build = {s: DeformPAMRewardConfig(s).build(policies[0], policies[1], reward) for s in scores}
    assert isinstance(build["implicit"], ImplicitScorer)
    assert build["explicit"] is reward
    assert isinstance(build["combined"], CombinedScorer)


def test_the_combined_score_counts_how_likely_the_policy_before_tuning_makes_a_candidate(
    policies, fitted, held_out
):
    obs, candidates = tensors(held_out)
    config = DeformPAMRewardConfig()
    tuned, before = policies
    parts = config.parts(tuned, before, fitted[0])
    assert list(parts) == ["implicit", "explicit", "likelihood"]
    only_the_last = config.build(tuned, before, fitted[0], weights=(0.0, 0.0, 1.0))
    torch.testing.assert_close(
        only_the_last.score(obs, candidates),
        standardise(LikelihoodScorer(before).score(obs, candidates)),
    )


def test_as_published_every_candidate_meets_noise_of_its_own(policies, held_out):
    obs, candidates = tensors(held_out)
    same = candidates[:, :1].expand(-1, 3, -1, -1)
    published = DeformPAMRewardConfig.published().build(policies[0], policies[1])
    ours = DeformPAMRewardConfig("implicit").build(policies[0], policies[1])
    assert published.score(obs, same).std(dim=1).min() > 0
    assert torch.allclose(ours.score(obs, same).std(dim=1), torch.zeros(40), atol=1e-4)


def test_without_the_ensemble_there_is_only_the_implicit_reward(policies):
    with pytest.raises(ValueError) as error:
        DeformPAMRewardConfig().build(policies[0], policies[1])
    assert str(error.value) == "The score 'combined' needs an explicit reward, got none."
