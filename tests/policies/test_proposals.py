import pytest
import torch

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.proposals import Proposals
from robopref.policies.selection import BestOfN, BestOfNConfig
from robopref.types import STATE


class Constant:
    """Always proposes one number."""

    n_obs_steps, chunk_size, n_action_steps, action_dim = 2, 8, 8, 2
    device = torch.device("cpu")

    def __init__(self, value, toy_policy):
        self.value, self.obs_shapes = value, toy_policy.obs_shapes
        self.chunk_size = toy_policy.chunk_size
        self.n_action_steps = toy_policy.n_action_steps

    def sample(self, obs, num_candidates, generator):
        shape = (len(obs[STATE]), num_candidates, self.chunk_size, 2)
        return torch.full(shape, self.value)


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("num", "expected"), [(1, [0]), (2, [0, 1]), (5, [0, 1, 2, 0, 1]), (6, [0, 1, 2, 0, 1, 2])]
)
def test_policies_take_turns(toy_policy, toy_obs, num, expected):
    mixed = Proposals([Constant(float(i), toy_policy) for i in range(3)])
    found = mixed.sample(toy_obs, num, seeded())
    assert found.shape == (50, num, toy_policy.chunk_size, 2)
    assert found[7, :, 0, 0].tolist() == expected


def test_the_best_is_found_whoever_proposed_it(toy_policy, toy_obs, toy_scorer):
    mixed = Proposals([toy_policy, Constant(9.0, toy_policy)])
    chosen = BestOfN(mixed, toy_scorer, BestOfNConfig(4, pessimism=0)).select(toy_obs, seeded())
    assert (chosen.chunk == 9.0).all()
    assert set(chosen.chosen.tolist()) == {1}


def test_one_policy_proposes_as_it_does_alone(toy_policy, toy_obs):
    mixed = Proposals([toy_policy])
    alone = toy_policy.sample(toy_obs, 3, seeded())
    assert torch.equal(mixed.sample(toy_obs, 3, seeded()), alone)


def test_policies_that_see_other_things_are_refused(toy_policy):
    other = DiffusionPolicyConfig(n_obs_steps=1).build(toy_policy.obs_shapes, 2, seeded())
    with pytest.raises(ValueError) as error:
        Proposals([toy_policy, other])
    assert str(error.value) == (
        "Policies that propose for one score must be alike, got `n_obs_steps` [2, 1]."
    )
    with pytest.raises(ValueError) as error:
        Proposals([])
    assert str(error.value) == "Give at least one policy that proposes, got none."
