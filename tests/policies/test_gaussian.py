"""The Gaussian policy: its density, its mean, its range, and that it clones."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from robopref.policies.gaussian import GaussianPolicyConfig
from robopref.types import ACTION, STATE


@pytest.fixture
def policy(generator):
    policy = GaussianPolicyConfig(hidden_sizes=(16,)).build({STATE: (3,)}, 2, generator)
    bounds = {"min": np.array([-2.0, 0.0]), "max": np.array([2.0, 1.0])}
    zeros = {"min": -np.ones(3), "max": np.ones(3)}
    policy.fit_normalizer(
        {key: {**value, "mean": 0 * value["min"], "std": 1 + 0 * value["min"]}
         for key, value in ((ACTION, bounds), (STATE, zeros))}
    )  # fmt: skip
    return policy


def test_the_density_is_that_of_torch(policy, generator):
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-0.3, 0.4]))
    features = torch.randn(5, 3, generator=generator)
    action = torch.rand(5, 2, generator=generator)
    expected = Independent(Normal(policy.mean(features), policy.log_std.exp()), 1).log_prob(action)
    torch.testing.assert_close(policy.log_prob(features, action), expected)


def test_weights_say_how_much_an_action_counts(policy, generator):
    batch = {STATE: torch.randn(2, 1, 3), ACTION: torch.rand(2, 1, 2)}
    second, _ = policy({key: value[1:] for key, value in batch.items()}, generator)
    weighted, _ = policy({**batch, "weight": torch.tensor([0.0, 2.0])}, generator)
    torch.testing.assert_close(weighted, second)


def test_the_mean_is_executed_and_draws_spread_around_it(policy, generator):
    obs = {STATE: torch.randn(1, 1, 3, generator=generator)}
    with torch.no_grad():
        policy.log_std.fill_(-2.0)
    executed = policy.predict_action_chunk(obs, generator)
    assert torch.equal(executed, policy.predict_action_chunk(obs, torch.Generator().manual_seed(9)))
    drawn = policy.sample(obs, 20_000, generator)[0, :, 0]
    torch.testing.assert_close(drawn.mean(0), executed[0, 0], atol=0.02, rtol=0)
    expected = torch.tensor([2.0, 0.5]) * np.exp(-2)  # In units of half the range.
    torch.testing.assert_close(drawn.std(0), expected, atol=0.01, rtol=0.02)


def test_the_spread_is_bounded(policy):
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-50.0, 50.0]))
    assert policy.bounded_log_std().tolist() == [-5.0, 2.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_obs_steps": 0}, "`n_obs_steps` must be at least 1, got 0."),
        ({"hidden_sizes": (8, 0)}, "`hidden_sizes` must be at least 1, got 0."),
        ({"min_log_std": 2.0}, "`min_log_std` must be below 2.0, got 2.0."),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ValueError) as error:
        GaussianPolicyConfig(**options)
    assert str(error.value) == message
