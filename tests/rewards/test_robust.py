"""Tests for robust.py: what the deviation does, and what keeps it up."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from robopref.preferences.preference import PairwiseView
from robopref.rewards.losses import PairBatch
from robopref.rewards.robust import (
    GaussianConfig,
    Gaussians,
    RobustMLPConfig,
    RobustTransformerConfig,
)
from robopref.types import STATE


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(kind, **options):
    gaussian = GaussianConfig(**options)
    config: RobustMLPConfig | RobustTransformerConfig
    if kind == "mlp":
        config = RobustMLPConfig(3, (16,), 3, gaussian=gaussian)
    else:
        config = RobustTransformerConfig(3, 16, num_heads=2, gaussian=gaussian)
    trainer = dataclasses.replace(config.fit.trainer, num_steps=60, learning_rate=1e-2)
    return dataclasses.replace(config, fit=dataclasses.replace(config.fit, trainer=trainer))


@pytest.fixture(params=["mlp", "transformer"])
def kind(request):
    return request.param


def gaussians_of(reward, segments):
    with torch.no_grad():
        return reward.compute_gaussians(reward._prepare(segments))


def all_pairs(num):
    a, b = torch.triu_indices(num, num, 1)
    prefers_b = torch.rand(len(a), generator=seeded(4))
    return PairBatch(a, b, prefers_b, torch.ones(1, len(a)), 1.0, 0.0)


def test_mean_returns_are_what_everything_else_sees(kind, make_segments):
    reward, segments = small(kind).build(5, 2), make_segments(6)
    parts = gaussians_of(reward, segments)
    returns = (parts.mean * parts.weight).sum(-1).numpy()
    assert reward.member_returns(segments) == pytest.approx(returns, abs=1e-5)


def test_drawn_returns_have_the_moments_of_sums_of_drawn_steps(kind, make_segments):
    reward, segments = small(kind, least_deviation=0.7).build(5, 2), make_segments(4)
    parts = gaussians_of(reward, segments)
    drawn = parts.draw_returns(40_000, seeded())
    noise = torch.randn((40_000, *parts.mean.shape), generator=seeded(1))
    by_step = ((parts.mean + parts.deviation * noise) * parts.weight).sum(-1)
    # The standard error of these is about half a per cent of the deviation.
    deviation = by_step.std(0)
    assert ((drawn.mean(0) - by_step.mean(0)).abs() < 0.03 * deviation).all()
    assert (drawn.std(0) / deviation - 1).abs().max() < 0.02


def test_gradients_reach_mean_and_deviation_and_a_segment_without_steps_has_none():
    mean, deviation = torch.ones(2, 3, 4, requires_grad=True), torch.ones(2, 3, 4)
    deviation.requires_grad_()
    weight = torch.ones(3, 4)
    weight[1] = 0
    parts = Gaussians(mean, deviation, weight)
    (parts.draw_returns(5, seeded()).square().sum() + parts.lack(2.0).sum()).backward()
    for values in (mean, deviation):
        assert values.grad is not None
        assert torch.isfinite(values.grad).all()
        assert (values.grad[:, 1] == 0).all()
        assert (values.grad[:, [0, 2]] != 0).all()


def test_what_is_lacking_counts_real_steps_alone():
    deviation = torch.tensor([[[0.5, 3.0, 0.0]]])
    parts = Gaussians(torch.zeros(1, 1, 3), deviation, torch.tensor([[1.0, 0.2, 0.0]]))
    assert parts.lack(2.0).tolist() == [0.75]
    assert Gaussians(deviation, deviation, torch.zeros(1, 3)).lack(2.0).tolist() == [0.0]


def test_the_loss_grows_with_the_deviation_whatever_the_labels_are(kind, make_segments):
    # Cross-entropy is convex in the returns: this is why the deviation needs a penalty.
    segments, pairs = make_segments(8), all_pairs(8)
    losses = []
    for least in (1e-3, 0.5, 1.0, 2.0):
        config = small(kind, least_deviation=least, num_samples=2000, penalty=0.0)
        reward = config.build(5, 2, generator=seeded(3))
        inputs = reward._prepare(segments)
        losses.append(reward.pair_losses(inputs, pairs, seeded()).detach())
    mean_alone = reward.pair_losses(inputs, pairs, None).detach()
    torch.testing.assert_close(losses[0], mean_alone, atol=1e-3, rtol=0)
    for less, more in itertools.pairwise(losses):
        assert (less < more).all()


def test_training_begins_at_the_least_deviation_and_the_penalty_keeps_it(kind, make_pairs):
    pairs = make_pairs(20)
    found = {}
    for penalty in (0.0, 10.0):
        reward = small(kind, least_deviation=0.8, penalty=penalty).build(5, 2)
        begin = gaussians_of(reward, pairs.segments).deviation
        assert (begin - 0.8).abs().mean() < 0.3
        reward.fit(pairs, generator=seeded())
        found[penalty] = gaussians_of(reward, pairs.segments).deviation.mean().item()
    assert found[0.0] < 0.5 * 0.8
    assert found[10.0] > 0.95 * 0.8


def test_uncertainty_is_the_deviation_of_the_mixture_of_the_members(kind, make_segments):
    reward, segments = small(kind).build(5, 2), make_segments(6)
    with torch.no_grad():
        predicted = reward.compute_deviations(reward._prepare(segments)).numpy()
    rewards = reward.member_rewards(segments)
    rng = np.random.default_rng(0)
    drawn = rewards + predicted * rng.standard_normal((20_000, *rewards.shape)).astype(np.float32)
    total = reward.uncertainty(segments)
    assert total == pytest.approx(drawn.std(axis=(0, 1)), rel=0.03)
    assert (total >= rewards.std(axis=0)).all()


def test_candidates_have_the_uncertainty_of_their_decision(make_segments):
    reward, segments = small("mlp").build(5, 2), make_segments(4, length=6)
    segments.mask[:] = True
    obs = {STATE: torch.from_numpy(segments.obs[STATE][:, :1])}
    chunk = torch.from_numpy(segments.action[:, None, :3])
    of_steps = reward.uncertainty(segments)[:, :3]
    of_chunk = reward.uncertainty(obs, chunk).numpy()
    # A decision's three steps share it evenly.
    assert np.repeat(of_chunk, 3, axis=1) / 3 == pytest.approx(of_steps, rel=1e-5)


def test_the_transformer_refuses_candidates_and_the_mlp_those_of_another_robot():
    obs, candidates = {STATE: torch.zeros(1, 1, 5)}, torch.zeros(1, 2, 3, 2)
    with pytest.raises(ValueError) as error:
        small("transformer").build(5, 2).uncertainty(obs, candidates)
    assert str(error.value) == (
        "RobustTransformer cannot become an action scorer by 'chunk'. Ways that it has: []."
    )
    with pytest.raises(ValueError) as error:
        small("mlp").build(5, 2).uncertainty(obs, candidates[..., :1])
    assert str(error.value) == (
        "This reward was built for observations of size 5 and actions of size 2, got 5 and 1. "
        "Use the data it was trained for, or train another one."
    )


def test_validation_judges_the_mean(make_pairs):
    pairs, validation = make_pairs(20), make_pairs(15, seed=1)
    reward = small("mlp").build(5, 2)
    figures = reward.fit(pairs, validation=validation, generator=seeded())
    objective = reward._objective(validation.compact(), None)
    with torch.no_grad():
        loss = objective.validate()["loss"]
    assert loss == pytest.approx(figures["validation/loss"], abs=1e-6)


def test_a_soft_label_is_met_by_the_draws_and_exceeded_by_the_mean(kind, make_segments):
    # Noise draws probabilities towards a half, so the mean has to be further out than the label.
    pair = PairwiseView(
        make_segments(2), ("x", "y"), np.array([0]), np.array([1]),
        np.array([0.8], np.float32), np.ones(1, np.float32),
    )  # fmt: skip
    config = small(kind, least_deviation=0.5, num_samples=64)
    trainer = dataclasses.replace(config.fit.trainer, num_steps=200)
    fit = dataclasses.replace(config.fit, trainer=trainer)
    reward = dataclasses.replace(config, fit=fit).build(5, 2)
    reward.fit(pair, generator=seeded())
    drawn = gaussians_of(reward, pair.segments).draw_returns(40_000, seeded(1))
    met = torch.sigmoid(drawn[..., 1] - drawn[..., 0]).mean(0)
    assert met.numpy() == pytest.approx(np.full(3, 0.8), abs=0.03)
    returns = reward.member_returns(pair.segments)
    assert (1 / (1 + np.exp(returns[:, 0] - returns[:, 1])) > 0.82).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "`num_samples` must be at least 1, got 0."),
        ({"least_deviation": 0.0}, "`least_deviation` must be above 0, got 0.0."),
        ({"penalty": -1.0}, "`penalty` must be at least 0, got -1.0."),
    ],
)
def test_config_checks_its_ranges(options, message):
    with pytest.raises(ValueError) as error:
        GaussianConfig(**options)
    assert str(error.value) == message
