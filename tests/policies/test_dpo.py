"""Tests for finetune/dpo.py and what it is made of: links, pairs of windows, the safeguard."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.two_ways import ANSWERS, METHODS, judge
from robopref.data.segment import Segment
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.policies.finetune.dpo import Divergence, DPOConfig, derivative
from robopref.policies.finetune.links import LINKS
from robopref.policies.finetune.objective import PreferenceObjective, loser_scale
from robopref.types import STATE

ALPHA = 0.3
FUNCTIONS: dict[Divergence, Callable[[torch.Tensor], torch.Tensor]] = {
    "reverse-kl": lambda u: u * u.log(),
    "forward-kl": lambda u: -u.log(),
    "jensen-shannon": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
    "alpha": lambda u: (u ** (1 - ALPHA) - (1 - ALPHA) * u - ALPHA) / (ALPHA * (ALPHA - 1)),
}
"""f of each divergence: table 1 of Wang et al., 2023, arXiv:2309.16240."""
MENDED, AS_PUBLISHED = METHODS["safeguarded, anchored"], METHODS["as published"]


def whole(episode):
    return Segment(episode.id, 0, len(episode))


@pytest.fixture(scope="session")
def judged(toy_episodes):
    """Return 30 pairs of demonstrations; the first of each goes right and is preferred."""
    return judge(toy_episodes)


def groups(policy, episodes, *judgements):
    data = FinetuneData(judged=episodes, judgements=judgements)
    return ANSWERS.build(policy, data, 2, torch.Generator().manual_seed(0))


def tune(config, policy, data):
    return config.run(policy, data, generator=torch.Generator().manual_seed(3))


def test_vanilla_diffusion_dpo_fails_by_overshooting_and_raises_the_error_of_the_preferred_too(
    toy_policy, judged, toy_obs
):
    """The mechanism of the failure: overshooting in the right direction pays as well as imitating.

    The denoising error of preferred chunks rises, actions leave the data, and the part of the task
    that nobody judged (the second action follows the state) is lost.
    """
    broken, found = tune(AS_PUBLISHED, toy_policy, judged)
    assert found.figures["implicit_accuracy"] > 0.95
    assert found.figures["error_change_preferred"] > 0.1
    mended, found = tune(MENDED, toy_policy, judged)
    assert found.figures["error_change_preferred"] < 0
    assert found.figures["implicit_accuracy"] > 0.9
    base_lost, broken_lost, mended_lost = (
        task_error(policy, toy_obs) for policy in (toy_policy, broken, mended)
    )
    assert broken_lost > 2 * base_lost
    assert mended_lost < 1.3 * base_lost


def task_error(policy, obs):
    """Return how far the second action is from following the state."""
    chunks = policy.sample(obs, 40, torch.Generator().manual_seed(5))
    return float((chunks[:, :, 0, 1] - 0.5 * obs[STATE][:, -1, :1]).abs().mean())


def test_the_mended_one_does_what_was_preferred(toy_policy, judged, share_right):
    tuned, _ = tune(MENDED, toy_policy, judged)
    assert share_right(tuned) > 0.9


def test_a_tie_pulls_to_neither_side(toy_policy, toy_episodes):
    objective = PreferenceObjective(toy_policy, toy_policy, AS_PUBLISHED)
    one, other, third, fourth = map(whole, toy_episodes[:4])
    tie, order = Judgement.of_pair(one, other, 0.5), Judgement.of_pair(third, fourth, 0.0)
    windows = groups(toy_policy, toy_episodes, tie, order)
    loss, _ = objective(windows.gather(torch.arange(25)), torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad(loss, list(objective.parameters()), allow_unused=True)
    assert loss.item() == pytest.approx(np.log(2), rel=1e-5)
    assert all(g is None or g.abs().max() < 1e-5 for g in gradients)


@pytest.mark.parametrize("soft_labels", [False, True])
def test_which_side_stands_first_does_not_matter(toy_policy, toy_episodes, soft_labels):
    moved = copy.deepcopy(toy_policy)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.05)
    config = DPOConfig(groups=ANSWERS, soft_labels=soft_labels)
    objective = PreferenceObjective(moved, toy_policy, config)
    one, other = whole(toy_episodes[0]), whole(toy_episodes[1])
    losses = []
    for pair in (Judgement.of_pair(one, other, 0.2), Judgement.of_pair(other, one, 0.8)):
        batch = groups(toy_policy, toy_episodes, pair).gather(torch.arange(25))
        losses.append(objective(batch, torch.Generator().manual_seed(0))[0].item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_soft_labels_stop_at_the_log_odds():
    config = DPOConfig(dpo_beta=1.0, soft_labels=True)
    gains = torch.tensor([[1.5, 0.0]])
    implicit = torch.tensor([[1.5, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(config.losses(implicit, gains).sum(), implicit)
    assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("name", ["reverse-kl", "forward-kl", "jensen-shannon", "alpha"])
@given(st.floats(-8, 8), st.floats(0.01, 3))
def test_divergences_are_increasing_and_level_off(name, log_ratio, more):
    held = derivative(name, torch.tensor([log_ratio, log_ratio + more], dtype=torch.float64), 0.5)
    assert held[1] > held[0]
    if name != "reverse-kl" and log_ratio > 0:
        assert held[1] - held[0] < more


@pytest.mark.parametrize("name", FUNCTIONS)
@given(st.lists(st.floats(-4, 4), min_size=2, max_size=5))
def test_divergences_are_the_derivatives_of_their_functions(name, log_ratios):
    """Up to a constant, which cancels in a pair."""
    log_ratio = torch.tensor(log_ratios, dtype=torch.float64)
    ratio = log_ratio.exp().requires_grad_()
    (slope,) = torch.autograd.grad(FUNCTIONS[name](ratio).sum(), ratio)
    apart = derivative(name, log_ratio, ALPHA) - slope
    torch.testing.assert_close(apart, apart[:1].expand_as(apart))


@given(st.floats(-3, 3), st.floats(0.1, 5))
def test_ipo_is_its_equation_and_least_at_a_margin_of_one_half(gap, tau):
    """Eq. 17 of Azar et al., whose tau is `dpo_beta`; here it is tau squared times as large."""

    def loss(difference):
        implicit = tau * torch.stack([difference, torch.zeros_like(difference)])[None]
        order = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        return DPOConfig(link="ipo", dpo_beta=tau).losses(implicit, order).sum()

    found = loss(torch.tensor(gap, dtype=torch.float64))
    assert float(found) == pytest.approx(tau**2 * (gap - 1 / (2 * tau)) ** 2)
    least = torch.tensor(1 / (2 * tau), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(least), least)
    assert abs(float(slope)) < 1e-9
    for aside in (-0.1, 0.1):
        assert loss(least + aside) > loss(least)


@pytest.mark.parametrize("name", LINKS)
@given(st.floats(-5, 5), st.floats(0.01, 3))
def test_more_margin_is_better_up_to_where_the_link_says(name, margin, more):
    low, high = (float(LINKS[name](torch.tensor([m]))) for m in (margin, margin + more))
    if name != "ipo" or margin + more <= 0.5:
        assert high <= low + 1e-6


@given(st.integers(0, 10_000), st.floats(0, 0.99))
def test_the_safeguard_keeps_its_share_of_the_winners_progress(seed, safeguard):
    rng = torch.Generator().manual_seed(seed)
    difference = torch.randn(12, 4, 6, generator=rng)
    winners = torch.randint(4, (12,), generator=rng)
    best = torch.nn.functional.one_hot(winners, 4).bool()
    scale = loser_scale(difference, best, safeguard)
    assert ((scale >= 0) & (scale <= 1)).all()
    for row, winner, factors in zip(difference, winners, scale, strict=True):
        assert factors[winner] == 1
        gained = row[winner].square().sum()
        for loser in {0, 1, 2, 3} - {int(winner)}:
            lost = factors[loser] * (row[winner] * row[loser]).sum()
            assert gained - lost >= safeguard * gained - 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dpo_beta": 0}, "`dpo_beta` must be above 0, got 0."),
        ({"anchor": -1}, "`anchor` must be at least 0, got -1."),
        ({"safeguard": 2}, "`safeguard` must be between 0 and 1, got 2."),
        ({"alpha": 1}, "`alpha` must lie between 0 and 1, got 1."),
        ({"label_smoothing": 0.6}, "`label_smoothing` must be between 0 and 0.5, got 0.6."),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        DPOConfig(**options)
    assert str(error.value) == message
