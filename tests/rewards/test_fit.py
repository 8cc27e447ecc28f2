import dataclasses

import numpy as np
import pytest
import torch

from robopref.checkpoint import load_tree
from robopref.errors import CheckpointError, DataError
from robopref.preferences.preference import PairwiseView
from robopref.rewards.fit import FitConfig, PairSource, split_validation
from robopref.rewards.measure import measure_pairs
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.trivial import TrueReward
from robopref.trainer import Trainer, TrainerConfig
from robopref.types import STATE, SegmentBatch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def config(num_steps=10, **options):
    fit = FitConfig()
    trainer = dataclasses.replace(fit.trainer, num_steps=num_steps)
    return MLPRewardConfig(
        num_members=3,
        hidden_sizes=(16,),
        n_action_steps=1,
        fit=dataclasses.replace(fit, trainer=trainer, **options),
    )


@pytest.mark.parametrize(("batch_size", "num"), [(8, 5), (5, 5), (3, 3)])
def test_a_batch_that_would_hold_all_pairs_holds_each_once(batch_size, num):
    seen = []

    class Objective(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, batch, generator):
            seen.append(batch["pair"].tolist())
            return self.weight.sum(), {}

    source = PairSource(5, batch_size)
    trainer = TrainerConfig(num_steps=2, batch_size=batch_size)
    Trainer(trainer, Objective(), source, generator=seeded(), device="cpu").fit()
    assert len(source) == 5
    assert [len(pairs) for pairs in seen] == [num, num]
    assert (seen[0] == seen[1] == [0, 1, 2, 3, 4]) == (num == 5)


def test_enough_pairs_are_split_by_episode_and_stop_training(make_pairs):
    pairs = make_pairs(60)
    training, held_out = split_validation(pairs, None, FitConfig(), seeded())
    assert held_out is not None
    assert len(held_out) >= 10
    episodes = [
        {view.episode_ids[i] for i in np.concatenate([view.a, view.b])}
        for view in (training, held_out)
    ]
    assert not episodes[0] & episodes[1]
    figures = config(40).build(5, 2).fit(pairs, generator=seeded())
    assert figures["steps"] <= 40
    assert figures["best_step"] <= figures["steps"]
    assert "validation/loss" in figures


def test_few_pairs_are_all_trained_on(make_pairs):
    pairs = make_pairs(12)
    training, held_out = split_validation(pairs, None, FitConfig(), seeded())
    assert training is pairs
    assert held_out is None
    figures = config(30).build(5, 2).fit(pairs, generator=seeded())
    assert figures["steps"] == figures["best_step"] == 30
    assert "validation/loss" not in figures


def test_entangled_pairs_are_all_trained_on(make_segments):
    # Every pair shares one episode with every other, so nothing can be held out.
    num = 80
    star = PairwiseView(
        make_segments(num + 1),
        tuple(f"episode-{i}" for i in range(num + 1)),
        np.zeros(num, np.int64),
        np.arange(1, num + 1),
        np.ones(num, np.float32),
        np.ones(num, np.float32),
    )
    assert split_validation(star, None, FitConfig(), seeded())[1] is None


def test_early_stopping_keeps_the_best_weights(make_pairs):
    # Labels without any rule: the validation loss soon rises.
    pairs = make_pairs(60)
    flipped = dataclasses.replace(
        pairs, prefers_b=np.random.default_rng(0).integers(0, 2, 60).astype(np.float32)
    )
    validation = dataclasses.replace(
        pairs, prefers_b=np.random.default_rng(1).integers(0, 2, 60).astype(np.float32)
    )
    fit = config(150).fit
    stop = dataclasses.replace(fit.trainer, learning_rate=1e-2, validation_interval=5, patience=3)
    early = dataclasses.replace(config(), fit=dataclasses.replace(fit, trainer=stop))
    figures = early.build(5, 2).fit(flipped, validation=validation, generator=seeded())
    assert figures["best_step"] < figures["steps"] < 150
    never = dataclasses.replace(early.fit, trainer=dataclasses.replace(stop, patience=None))
    late = dataclasses.replace(early, fit=never).build(5, 2)
    late_figures = late.fit(flipped, validation=validation, generator=seeded())
    assert figures["validation/loss"] < late_figures["validation/loss"]


def test_soft_labels_are_met(make_segments):
    # One pair, judged b with probability 0.8: its fitted probability is 0.8.
    pair = PairwiseView(
        make_segments(2), ("x", "y"), np.array([0]), np.array([1]),
        np.array([0.8], np.float32), np.ones(1, np.float32),
    )  # fmt: skip
    fit = config(200).fit
    trainer = dataclasses.replace(fit.trainer, learning_rate=1e-2)
    reward = dataclasses.replace(config(), fit=dataclasses.replace(fit, trainer=trainer)).build(
        5, 2
    )
    reward.fit(pair, generator=seeded())
    returns = reward.member_returns(pair.segments)
    probability = 1 / (1 + np.exp(returns[:, 0] - returns[:, 1]))
    assert probability == pytest.approx(np.full(3, 0.8), abs=0.01)


@pytest.mark.parametrize(
    ("options", "expected"), [({"label_smoothing": 0.4}, 0.8), ({"mistake_rate": 0.2}, 0.75)]
)
def test_labels_are_doubted_as_the_options_say(make_segments, options, expected):
    # Smoothing draws the label 1 to 0.8. Of answers of which a fifth are turned around, 0.65 for
    # b is what a probability of 0.75 leads to.
    label = 1.0 if "label_smoothing" in options else 0.2 + 0.6 * 0.75
    pair = PairwiseView(
        make_segments(2), ("x", "y"), np.array([0]), np.array([1]),
        np.array([label], np.float32), np.ones(1, np.float32),
    )  # fmt: skip
    fit = config(200, **options).fit
    fit = dataclasses.replace(fit, trainer=dataclasses.replace(fit.trainer, learning_rate=1e-2))
    reward = dataclasses.replace(config(), fit=fit).build(5, 2)
    reward.fit(pair, generator=seeded())
    returns = reward.member_returns(pair.segments)
    probability = 1 / (1 + np.exp(returns[:, 0] - returns[:, 1]))
    assert probability == pytest.approx(np.full(3, expected), abs=0.01)


def test_a_weight_of_zero_leaves_a_pair_out(make_pairs):
    pairs = make_pairs(8, tie=0)
    wrong = dataclasses.replace(
        pairs,
        prefers_b=np.where(np.arange(8) < 4, pairs.prefers_b, 1 - pairs.prefers_b),
        weight=np.where(np.arange(8) < 4, 1, 0).astype(np.float32),
    )
    rewards = [config(30).build(5, 2) for _ in range(2)]
    rewards[0].fit(wrong, generator=seeded())
    rewards[1].fit(dataclasses.replace(wrong, prefers_b=pairs.prefers_b), generator=seeded())
    returns = [reward.member_returns(pairs.segments) for reward in rewards]
    assert returns[0] == pytest.approx(returns[1], abs=1e-6)


def test_members_with_a_bootstrap_disagree_more(make_pairs):
    pairs, other = make_pairs(12), make_pairs(50, seed=5)
    spread = []
    for bootstrap in (False, True):
        reward = config(150, bootstrap=bootstrap).build(5, 2)
        reward.fit(pairs, generator=seeded())
        spread.append(reward.member_returns(other.segments).std(axis=0).mean())
    assert spread[1] > spread[0]


def test_the_normaliser_sees_training_pairs_alone(make_pairs):
    pairs = make_pairs(60)
    training, held_out = split_validation(pairs, None, FitConfig(), seeded())
    assert held_out is not None
    reward = config(2).build(5, 2)
    reward.fit(pairs, generator=seeded())
    segments = training.compact().segments
    mean = segments.obs[STATE][segments.mask].mean(axis=0)
    assert reward.state_normalizer.loc.numpy() == pytest.approx(mean, abs=1e-5)
    assert mean != pytest.approx(pairs.segments.obs[STATE][pairs.segments.mask].mean(axis=0))


def test_validation_pairs_are_not_resampled(make_pairs, tmp_path):
    pairs, validation = make_pairs(20), make_pairs(15, seed=1)
    reward = config(50, bootstrap=True).build(5, 2)
    figures = reward.fit(pairs, validation=validation, generator=seeded(), directory=tmp_path)
    stopped_by = load_tree(tmp_path / "trainer.safetensors")["best"]["loss"]
    assert stopped_by == pytest.approx(figures["validation/loss"], abs=1e-6)


def test_compact_keeps_the_pairs(make_pairs):
    pairs = make_pairs(9)
    part = pairs.take(np.array([7, 2])).compact()
    assert len(part.segments) == 4
    for side in ("a", "b"):
        assert np.array_equal(
            part.segments.action[getattr(part, side)],
            pairs.segments.action[getattr(pairs, side)[[7, 2]]],
        )
    assert [part.episode_ids[i] for i in part.a] == [pairs.episode_ids[i] for i in pairs.a[[7, 2]]]


def test_measured_figures_are_the_closed_forms(make_pairs):
    class Known(TrueReward):
        def member_returns(self, segments):
            return np.stack([np.log([1.0, 3.0]), np.log([1.0, 1.0])])

    pair = make_pairs(1, tie=0)
    pair = dataclasses.replace(pair, prefers_b=np.ones(1, np.float32))
    measured = measure_pairs(Known(lambda segments: segments.mask), pair)
    assert measured["accuracy"] == 1.0
    assert measured["loss"] == pytest.approx((-np.log(0.75) - np.log(0.5)) / 2)
    assert measured["ece"] == pytest.approx(1 - (0.75 + 0.5) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda pairs: pairs.take(np.array([], np.int64)),
            "`preferences` must hold at least 1 pair, got 0. Answer more queries; skips and "
            "'cannot tell' do not count.",
        ),
        (
            lambda pairs: dataclasses.replace(pairs, prefers_b=np.full(4, 0.5, np.float32)),
            "`preferences` must hold at least 1 pair with a winner, got 4 ties. "
            "Answer more queries.",
        ),
        (
            lambda pairs: dataclasses.replace(pairs, prefers_b=np.array([0, 1, -1, 1], np.float32)),
            "`prefers_b` must be between 0 and 1, got -1.0 for pair 2.",
        ),
        (
            lambda pairs: dataclasses.replace(
                pairs,
                segments=SegmentBatch(
                    {STATE: np.zeros((8, 12, 3), np.float32)},
                    np.zeros((8, 12, 4), np.float32),
                    np.ones((8, 12), bool),
                ),
            ),
            "This reward was built for observations of size 5 and actions of size 2, got 3 and 4. "
            "Use the data it was trained for, or train another one.",
        ),
        (
            lambda pairs: dataclasses.replace(
                pairs,
                segments=SegmentBatch(
                    {"observation.environment_state": np.zeros((8, 12, 3), np.float32)},
                    pairs.segments.action,
                    pairs.segments.mask,
                ),
            ),
            "`segments.obs` must hold 'observation.state', got ['observation.environment_state'].",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(make_pairs, change, message):
    with pytest.raises(ValueError) as error:
        config().build(5, 2).fit(change(make_pairs(4)), generator=seeded())
    assert str(error.value) == message


def test_a_number_that_is_not_finite_is_found(make_pairs):
    pairs = make_pairs(4)
    pairs.segments.mask[3, :4] = True
    pairs.segments.obs[STATE][3, 2, 1] = np.nan
    with pytest.raises(DataError) as error:
        config().build(5, 2).fit(pairs, generator=seeded())
    assert str(error.value) == (
        "'observation.state' is not finite at step 2 of segment 3, which is of episode episode-3."
    )


def test_a_checkpoint_of_other_answers_is_refused(make_pairs, tmp_path):
    # Silently going on with it would pass over the answers that came in since.
    config(4).build(5, 2).fit(make_pairs(4), generator=seeded(), directory=tmp_path)
    config(4).build(5, 2).fit(make_pairs(4), generator=seeded(), directory=tmp_path)
    with pytest.raises(CheckpointError) as error:
        config(4).build(5, 2).fit(make_pairs(5), generator=seeded(), directory=tmp_path)
    assert str(error.value) == (
        f"'{tmp_path}' holds a fit to other preferences. Delete it, or give another folder."
    )


def test_scoring_data_of_another_robot_is_refused(make_segments):
    segments = make_segments(2)
    with pytest.raises(ValueError) as error:
        config().build(39, 4).rewards(segments)
    assert str(error.value) == (
        "This reward was built for observations of size 39 and actions of size 4, got 5 and 2. "
        "Use the data it was trained for, or train another one."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be above 0, got 0.0."),
        ({"label_smoothing": 1.0}, "`label_smoothing` must be below 1, got 1.0."),
        ({"label_smoothing": -0.1}, "`label_smoothing` must be at least 0, got -0.1."),
        ({"mistake_rate": 0.5}, "`mistake_rate` must be below 0.5, got 0.5."),
        ({"validation_fraction": 0.7}, "`validation_fraction` must be between 0 and 0.5, got 0.7."),
        ({"min_validation_pairs": 0}, "`min_validation_pairs` must be at least 1, got 0."),
    ],
)
def test_config_checks_its_ranges(options, message):
    with pytest.raises(ValueError) as error:
        FitConfig(**options)
    assert str(error.value) == message
