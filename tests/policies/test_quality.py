"""Tests for quality.py and finetune/quality.py: told good from bad, it does the good."""

import numpy as np
import pytest
import torch

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.quality import QualityConfig, QualitySource
from robopref.policies.quality import BAD, GOOD, NONE, QUALITY, QualityDiffusionPolicy
from robopref.trainer import TrainerConfig

TRAINER = TrainerConfig(num_steps=150, batch_size=128, learning_rate=3e-3, ema_decay=0.98)


@pytest.fixture(scope="module")
def pool(toy_episodes, toy_scorer):
    returns = np.array([episode.action[:, 0].mean() for episode in toy_episodes])
    return FinetuneData(pool=toy_episodes, returns=returns[None], scorer=toy_scorer)


def told(policy, guidance=1.0, drop_share=0.15):
    return QualityDiffusionPolicy.from_policy(policy, guidance=guidance, drop_share=drop_share)


def run(policy, data, **options):
    config = QualityConfig(TRAINER, **options)
    return config.run(policy, data, generator=torch.Generator().manual_seed(3))[0]


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_untrained_it_acts_as_the_policy_that_it_was_made_from(toy_policy, toy_obs, guidance):
    plain, same = (
        policy.sample(toy_obs, 3, torch.Generator().manual_seed(1))
        for policy in (toy_policy, told(toy_policy, guidance))
    )
    torch.testing.assert_close(plain, same, atol=1e-5, rtol=1e-5)


def test_more_guidance_is_more_of_the_good(toy_policy, pool, share_right):
    tuned = run(toy_policy, pool, good_share=0.45)
    shares = []
    for guidance in (0.0, 1.0):
        object.__setattr__(tuned.config, "guidance", guidance)
        shares.append(share_right(tuned))
    assert shares[0] > 0.8
    assert shares[1] >= shares[0] - 0.01


def test_bad_is_learned_too_and_not_done(toy_policy, pool, toy_obs):
    tuned = run(toy_policy, pool, good_share=0.45)
    chunk = torch.zeros(50, 4, 2)
    chunk[..., 0] = -0.6
    steps, noise = tuned.draw_noising(50, torch.Generator().manual_seed(0))
    errors = [
        tuned.noise_error(
            {**toy_obs, "action": chunk, QUALITY: torch.full((50,), quality)}, steps, noise
        ).mean()
        for quality in (GOOD, BAD)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("quality", "training", "drop_share", "taught"),
    [
        (BAD, True, 0.0, {BAD}),
        (BAD, True, 1.0, {NONE}),
        (BAD, False, 1.0, {BAD}),
        # Without classes, as when it is trained on demonstrations.
        (None, True, 0.5, {GOOD, NONE}),
        (None, False, 1.0, {GOOD}),
    ],
)
def test_classes_are_left_out_in_training_only(
    toy_policy, pool, quality, training, drop_share, taught
):
    policy = told(toy_policy, drop_share=drop_share).train(training)
    batch = QualitySource(toy_policy, pool, torch.full((1500,), BAD)).gather(torch.arange(200))
    if quality is None:
        del batch[QUALITY]
    policy(batch, torch.Generator().manual_seed(0))[0].backward()
    gradient = policy.quality.weight.grad
    assert gradient is not None
    rows = gradient.abs().sum(1).nonzero().flatten()
    assert set(rows.tolist()) == taught


@pytest.mark.parametrize(("guidance", "chunks"), [(0.0, 150), (1.0, 300)])
def test_an_observation_is_encoded_once_and_a_chunk_denoised_twice(
    toy_policy, toy_obs, guidance, chunks
):
    policy, encoded, denoised = told(toy_policy, guidance), [], []
    policy.encoder.register_forward_hook(lambda _m, _i, out: encoded.append(len(out)))
    policy.denoiser.register_forward_hook(lambda _m, _i, out: denoised.append(out[..., 0, 0]))
    policy.sample(toy_obs, 3, torch.Generator().manual_seed(1))
    assert sum(encoded) == 50
    assert [out.numel() for out in denoised] == [chunks] * len(policy.sampler.steps)


def test_predictions_are_pushed_on_from_those_without_a_class(toy_policy, toy_obs, generator):
    policy = told(toy_policy, guidance=2.0)
    x = torch.randn(50, 3, 4, 2, generator=generator)
    with torch.no_grad():
        policy.quality.weight.copy_(torch.randn(policy.quality.weight.shape, generator=generator))
        good, plain = (
            policy.predictor_under(policy.condition({**toy_obs, QUALITY: torch.full((50,), c)}))
            for c in (GOOD, NONE)
        )
        for i in range(len(policy.sampler.steps)):
            pushed = policy.noise_predictor(toy_obs)(x, i)
            expected = 3 * good(x, i) - 2 * plain(x, i)
            torch.testing.assert_close(pushed, expected, atol=1e-4, rtol=1e-4)


def test_chunks_are_told_apart_by_their_advantage(toy_policy, pool, toy_episodes, share_right):
    config = QualityConfig(TRAINER, good_share=0.45, credit="advantage")
    classes = config._classes(toy_policy, pool, torch.Generator().manual_seed(0))
    right = torch.cat([torch.from_numpy(episode.action[:, 0] > 0) for episode in toy_episodes])
    assert float((classes == GOOD).float().mean()) == pytest.approx(0.45, abs=0.01)
    assert bool(right[classes == GOOD].all())
    assert share_right(run(toy_policy, pool, good_share=0.45, credit="advantage")) > 0.9


def test_it_goes_on_from_what_it_knows_of_good_and_bad(toy_policy, pool):
    tuned = run(toy_policy, pool)
    again = QualityDiffusionPolicy.from_policy(tuned, guidance=2.0, drop_share=0.1)
    assert torch.equal(again.quality.weight, tuned.quality.weight)
    assert bool((tuned.quality.weight != 0).any())
    assert (again.config.guidance, again.config.drop_share) == (2.0, 0.1)


NO_RETURNS = "The unlabelled episodes have no learned returns to weigh them by."
NO_SCORER = "Weighing chunks needs a learned reward that scores them."
ALL_ALIKE = (
    "The learned reward tells none of the unlabelled episodes from another, so none of them "
    "can be called good."
)
NOT_FINITE = (
    "The learned reward is not finite for 25 of 1500 windows of the unlabelled episodes, so good "
    "cannot be told from bad. Fit it again."
)


@pytest.mark.parametrize(
    ("returns", "credit", "message"),
    [
        (None, "uniform", NO_RETURNS),
        (None, "advantage", NO_SCORER),
        (np.ones(60), "uniform", ALL_ALIKE),
        (np.r_[np.arange(59.0), np.nan], "uniform", NOT_FINITE),
        (np.r_[np.arange(59.0), np.inf], "uniform", NOT_FINITE),
    ],
)
def test_what_tells_nothing_apart_is_refused(toy_policy, toy_episodes, returns, credit, message):
    columns = None if returns is None else np.stack([returns, returns])
    with pytest.raises(ValueError) as error:
        run(toy_policy, FinetuneData(pool=toy_episodes, returns=columns), credit=credit)
    assert str(error.value) == message


def test_without_episodes_there_is_nothing_to_learn(toy_policy):
    with pytest.raises(ValueError) as error:
        run(toy_policy, FinetuneData())
    assert str(error.value) == "There are no unlabelled episodes to tell good from bad in."
