"""Tests for the losses of groups: lists, regression, unpaired. Each against its formula."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.lists import PlackettLuceConfig, RankDPOConfig
from robopref.policies.finetune.regression import IREPOConfig, PRDPConfig
from robopref.policies.finetune.unpaired import KTOConfig, NPOConfig

ALL = [
    DPOConfig(), PlackettLuceConfig(), RankDPOConfig(), PRDPConfig(), IREPOConfig(), KTOConfig(),
    NPOConfig(),
]  # fmt: skip
implicit_rewards = st.lists(st.floats(-4, 4), min_size=4, max_size=4)


def gradient(losses, implicit):
    (found,) = torch.autograd.grad(losses.sum(), implicit)
    return found


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@given(implicit_rewards)
def test_plackett_luce_is_the_likelihood_of_the_ranking(values):
    order = [2, 0, 3, 1]
    gains = torch.empty(1, 4, dtype=torch.float64)
    for place, item in enumerate(order):
        gains[0, item] = -float(place)
    weight = [math.exp(v) for v in values]
    likelihood = math.prod(
        weight[item] / sum(weight[j] for j in order[place:]) for place, item in enumerate(order)
    )
    loss = PlackettLuceConfig().losses(tensor(values), gains)
    assert float(loss) == pytest.approx(-math.log(likelihood) / 3, rel=1e-6, abs=1e-9)


@given(implicit_rewards)
def test_the_likelihoods_of_all_rankings_sum_to_one(values):
    total = 0.0
    for order in itertools.permutations(range(4)):
        gains = tensor([-float(order.index(i)) for i in range(4)])
        total += math.exp(-3 * float(PlackettLuceConfig().losses(tensor(values), gains)))
    assert total == pytest.approx(1, rel=1e-6)


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_of_two_plackett_luce_is_dpo(first, second):
    implicit, gains = tensor([first, second]), tensor([0.0, 1.0])
    ours = PlackettLuceConfig().losses(implicit, gains)
    assert float(ours) == pytest.approx(float(DPOConfig().losses(implicit, gains)), rel=1e-6)


def test_an_unranked_tail_is_only_below_the_rest():
    implicit = tensor([0.3, -0.2, 0.9]).requires_grad_()
    loss = PlackettLuceConfig().losses(implicit, tensor([1.0, 0.0, 0.0]))
    assert torch.equal(loss, implicit.logsumexp(1) - implicit[:, 0])


def test_rank_dpo_weighs_pairs_by_gain_and_discount():
    implicit = tensor([0.5, -0.3, 0.1])
    gains = tensor([3.0, 1.0, 2.0])
    quality = {0: 2**1 - 1, 2: 2**0.5 - 1, 1: 0.0}
    rank = {0: 1, 2: 2, 1: 3}
    total, weights = 0.0, 0.0
    for i, j in ((0, 2), (0, 1), (2, 1)):
        weight = abs(quality[i] - quality[j]) * abs(
            1 / math.log2(1 + rank[i]) - 1 / math.log2(1 + rank[j])
        )
        margin = float(implicit[0, i] - implicit[0, j])
        total += weight * math.log1p(math.exp(-margin))
        weights += weight
    loss = RankDPOConfig().losses(implicit, gains)
    assert float(loss) == pytest.approx(total / weights, rel=1e-6)


def test_regression_is_least_where_the_difference_is_the_wanted_one():
    config = PRDPConfig(reward_scale=2.0, proximal=100.0)
    implicit = tensor([1.2, 0.2]).requires_grad_()
    loss = config.losses(implicit, tensor([0.5, 0.0]))
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert gradient(loss, implicit).abs().max() < 1e-9


def test_the_proximal_bound_takes_gradients_away():
    config = PRDPConfig(reward_scale=100.0, proximal=1.0)
    implicit = tensor([2.0, 0.0]).requires_grad_()
    found = gradient(config.losses(implicit, tensor([1.0, 0.0])), implicit)
    assert found.abs().max() == 0
    # Beyond the bound on the wrong side it still pulls back.
    implicit = tensor([-2.0, 0.0]).requires_grad_()
    found = gradient(config.losses(implicit, tensor([1.0, 0.0])), implicit)
    assert found[0, 0] < 0


def test_log_odds_without_end_are_bounded():
    loss = IREPOConfig(largest=2.0).losses(tensor([2.0, 0.0]), tensor([50.0, 0.0]))
    assert float(loss) == pytest.approx(0)


def test_kto_weighs_good_and_bad():
    loss = KTOConfig(desirable_weight=0.5).losses(tensor([0.0, 0.0]), tensor([1.0, -1.0]))
    assert float(loss) == pytest.approx((0.5 * 0.5 + 0.5) / 2)


@given(implicit_rewards)
def test_kto_measures_each_chunk_against_the_mean_of_the_batch(values):
    """Eq. 8 of Diffusion-KTO: z0 is the mean of the batch, at least 0, and takes no gradient."""
    rows = [values[:2], values[2:]]
    implicit, gains = tensor(*rows).requires_grad_(), tensor([1.0, -1.0], [-1.0, 1.0])
    config = KTOConfig(desirable_weight=0.5)
    losses = config.losses(implicit, gains)
    z0 = max(0.0, sum(values) / 4)
    slopes = []
    for row, signs, loss in zip(rows, gains.tolist(), losses.tolist(), strict=True):
        terms = [
            (0.5 if sign > 0 else 1.0) * (1 - sigmoid(sign * (value - z0)))
            for value, sign in zip(row, signs, strict=True)
        ]
        assert loss == pytest.approx(sum(terms) / 2)
        slopes.append([
            -sign * (0.5 if sign > 0 else 1.0) * sigmoid(value - z0) * sigmoid(z0 - value) / 2
            for value, sign in zip(row, signs, strict=True)
        ])  # fmt: skip
    torch.testing.assert_close(gradient(losses, implicit), tensor(*slopes))


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@given(st.floats(-4, 4), st.floats(0.1, 20))
def test_npo_is_its_equation_times_beta(log_ratio, beta):
    """Eq. 3 of NPO is 2 / beta times log(1 + ratio^beta), where ratio is of the likelihoods."""
    published = 2 / beta * math.log1p(math.exp(beta * log_ratio))
    implicit = tensor([3.0, beta * log_ratio]).requires_grad_()
    loss = NPOConfig(dpo_beta=beta).losses(implicit, tensor([1.0, -1.0]))
    assert float(loss.detach()) == pytest.approx(beta * published)
    slope = gradient(loss, implicit)[0, 1]
    assert float(slope) == pytest.approx(2 * sigmoid(beta * log_ratio))


def test_npo_looks_at_bad_chunks_alone():
    implicit = tensor([0.7, -0.4]).requires_grad_()
    found = gradient(NPOConfig().losses(implicit, tensor([1.0, -1.0])), implicit)
    assert found[0, 0] == 0
    assert found[0, 1] > 0


@pytest.mark.parametrize("config", ALL, ids=lambda config: type(config).__name__)
def test_better_chunks_are_pushed_up_and_worse_ones_down(config):
    implicit = tensor([0.0, 0.0], [0.0, 0.0]).requires_grad_()
    found = gradient(config.losses(implicit, tensor([1.0, -1.0], [-1.0, 1.0])), implicit)
    assert found[0, 0] <= 0 <= found[0, 1]
    assert found[0, 1] > 0
    assert torch.equal(found[0], found[1].flip(0))


@pytest.mark.parametrize("config", ALL, ids=lambda config: type(config).__name__)
def test_a_place_without_a_chunk_does_nothing(config):
    if config.group_size == 2:
        pytest.skip("It takes pairs.")
    implicit = tensor([0.4, -0.1, 0.0]).requires_grad_()
    loss = config.losses(implicit, tensor([1.0, -1.0, torch.nan]))
    found = gradient(loss, implicit)
    without = config.losses(tensor([0.4, -0.1]), tensor([1.0, -1.0]))
    assert float(loss.detach()) == pytest.approx(float(without))
    assert found[0, 2] == 0


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (PRDPConfig, {"proximal": 0}, "`proximal` must be above 0, got 0."),
        (PRDPConfig, {"reward_scale": -1}, "`reward_scale` must be above 0, got -1."),
        (IREPOConfig, {"largest": 0}, "`largest` must be above 0, got 0."),
    ],
)
def test_scales_of_nothing_are_refused(config, options, message):
    with pytest.raises(ValueError) as error:
        config(**options)
    assert str(error.value) == message
