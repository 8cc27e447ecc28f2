"""Noise schedules, losses and samplers against diffusers' own."""

from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.diffusion import (
    NoiseSchedule,
    draw_denoise_steps,
    draw_noise,
    noise_error,
    prediction_loss,
)
from robopref.sampler import Sampler


def predict(x, denoise_step):
    """Stand in for a network: any smooth function of chunk and step, large enough to be clipped."""
    return torch.tanh(2 * x) + 0.3 * torch.cos(3 * x + 0.1 * denoise_step)


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++"])
@pytest.mark.parametrize(
    ("num_train_steps", "num_denoise_steps"), [(50, 10), (100, 10), (100, 20), (50, 5), (64, 1)]
)
def test_sampling_equals_the_steps_of_diffusers(
    name, num_train_steps, num_denoise_steps, generator
):
    sampler = Sampler(name, num_train_steps, num_denoise_steps)
    noise = torch.randn(3, 4, 8, 2, generator=generator)
    ours = sampler.sample(lambda x, i: predict(x, sampler.steps[i].denoise_step), noise)
    scheduler = sampler.make_scheduler()
    theirs = noise.flatten(0, 1)  # diffusers thresholds each sample of a batch by itself.
    for k in scheduler.timesteps:
        theirs = scheduler.step(predict(theirs, int(k)), k, theirs).prev_sample
    assert [step.denoise_step for step in sampler.steps] == scheduler.timesteps.tolist()
    torch.testing.assert_close(ours.flatten(0, 1), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++"])
def test_samplers_recover_a_point_from_perfect_noise_predictions(name, generator):
    point = torch.linspace(-0.9, 0.9, 16).view(1, 1, 8, 2)
    sampler = Sampler(name, 50, 10)
    schedule = NoiseSchedule(50)

    def exact(x, i):
        k = sampler.steps[i].denoise_step
        return (x - schedule.alpha[k] * point) / schedule.sigma[k]

    sampled = sampler.sample(exact, torch.randn(5, 6, 8, 2, generator=generator))
    torch.testing.assert_close(sampled, point.expand(5, 6, 8, 2), rtol=1e-3, atol=1e-3)


def test_samples_stay_within_the_clip(generator):
    sampler = Sampler("dpm-solver++", 50, 10, clip=0.5)
    noise = torch.randn(4, 2, 8, 3, generator=generator)
    sampled = sampler.sample(lambda x, i: -5 * x, noise)
    assert sampled.abs().max() == 0.5


def test_noise_is_added_as_diffusers_adds_it(generator):
    chunk = torch.randn(64, 8, 4, generator=generator)
    noise = torch.randn(64, 8, 4, generator=generator)
    steps = torch.randint(50, (64,), generator=generator)
    scheduler: Any = DDPMScheduler(50, beta_schedule="squaredcos_cap_v2")
    theirs = scheduler.add_noise(chunk, noise, steps)
    assert torch.equal(NoiseSchedule(50).add_noise(chunk, noise, steps), theirs)


def test_velocity_is_that_of_diffusers_and_says_what_the_noise_was(generator):
    chunk = torch.randn(64, 8, 4, generator=generator)
    noise = torch.randn(64, 8, 4, generator=generator)
    steps = torch.randint(50, (64,), generator=generator)
    scheduler: Any = DDPMScheduler(50, beta_schedule="squaredcos_cap_v2")
    ours = NoiseSchedule(50)
    velocity = ours.velocity(chunk, noise, steps)
    assert torch.equal(velocity, scheduler.get_velocity(chunk, noise, steps))
    noisy = ours.add_noise(chunk, noise, steps)
    torch.testing.assert_close(ours.noise_of(velocity, noisy, steps), noise, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++"])
def test_levels_of_the_sampler_are_those_of_the_schedule(name):
    schedule = NoiseSchedule(50)
    for step in Sampler(name, 50, 10).steps:
        assert step.alpha == pytest.approx(float(schedule.alpha[step.denoise_step]), abs=1e-4)
        assert step.sigma == pytest.approx(float(schedule.sigma[step.denoise_step]), abs=1e-4)


def test_more_solver_steps_than_levels_are_refused():
    with pytest.raises(ValueError) as error:
        Sampler("dpm-solver++", 50, 50)
    assert str(error.value) == (
        "`num_denoise_steps` (=50) must be less than `num_train_steps` (=50) for dpm-solver++, "
        "which skips the noisiest levels. Use fewer steps, or ddim."
    )


def test_padded_actions_do_not_count(generator):
    predicted, noise = torch.randn(2, 5, 8, 3, generator=generator)
    is_pad = torch.zeros(5, 8, dtype=torch.bool)
    is_pad[1, 3:] = True
    loss = prediction_loss(predicted, noise, is_pad)
    error = noise_error(predicted, noise, is_pad)
    changed = predicted.clone()
    changed[1, 3:] += 100
    assert torch.equal(prediction_loss(changed, noise, is_pad), loss)
    assert torch.equal(noise_error(changed, noise, is_pad), error)
    torch.testing.assert_close(error[1], (predicted - noise)[1, :3].square().mean())
    torch.testing.assert_close(loss, (predicted - noise)[~is_pad].square().mean())


@settings(deadline=None, max_examples=30)
@given(batch=st.integers(1, 6), seed=st.integers(0, 1000))
def test_loss_is_the_mean_error_without_padding_or_with_equal_weights(batch, seed):
    generator = torch.Generator().manual_seed(seed)
    predicted, noise = torch.randn(2, batch, 4, 2, generator=generator)
    loss = prediction_loss(predicted, noise)
    torch.testing.assert_close(noise_error(predicted, noise).mean(), loss)
    weighted = prediction_loss(predicted, noise, weight=torch.full((batch,), 3.0))
    torch.testing.assert_close(weighted, loss)


def test_a_chunk_of_weight_zero_does_not_count(generator):
    predicted, noise = torch.randn(2, 2, 4, 2, generator=generator)
    loss = prediction_loss(predicted, noise, weight=torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss, noise_error(predicted, noise)[0])


def test_noise_of_a_row_does_not_depend_on_its_neighbours():
    def make(seed):
        return torch.Generator().manual_seed(seed)

    together = draw_noise((3, 4, 2), [make(1), make(2), make(3)])
    assert torch.equal(together[1:2], draw_noise((1, 4, 2), [make(2)]))


def test_generators_are_counted():
    with pytest.raises(ValueError) as error:
        draw_noise((3, 4), [torch.Generator()])
    assert str(error.value) == "`generator` must hold one generator for each of 3 rows, got 1."


@settings(deadline=None, max_examples=30)
@given(num_steps=st.integers(2, 100), batch=st.integers(1, 300), seed=st.integers(0, 1000))
def test_denoise_steps_are_spread_evenly_over_a_batch(num_steps, batch, seed):
    steps = draw_denoise_steps(num_steps, batch, torch.Generator().manual_seed(seed))
    counts = torch.bincount(steps, minlength=num_steps)
    assert len(counts) == num_steps
    assert (counts - batch / num_steps).abs().max() <= 1


def test_denoise_steps_of_every_row_are_uniform(generator):
    drawn = torch.stack([draw_denoise_steps(10, 8, generator) for _ in range(4000)])
    shares = torch.stack([(drawn == k).float().mean(dim=0) for k in range(10)])
    # Each of the 80 shares is 0.1 with a deviation of 0.0047.
    assert (shares - 0.1).abs().max() < 0.024
