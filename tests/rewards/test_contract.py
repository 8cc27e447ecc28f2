"""What every registered reward has to do; a new one is picked up here by its registration."""

import dataclasses
import inspect
import itertools

import numpy as np
import pytest
import torch

from robopref.config import from_dict, to_dict
from robopref.protocols import ActionScorer, RewardModel
from robopref.rewards import REWARDS
from robopref.rewards.measure import measure_pairs
from robopref.rewards.serialization import load_reward
from robopref.types import STATE

OBS_DIM, ACTION_DIM = 5, 2  # As the fixtures have them.
UNFITTED = {"random", "zero"}
BY_FRAMES = ("rapl", "visual")
"""Rewards that see frames and not actions; what they learn is tested on clips."""


@pytest.fixture(params=REWARDS.names())
def name(request):
    return request.param


def quick(name, **trainer):
    """Return the config of a small reward of that name."""
    config = REWARDS.config_class(name)()
    if name in UNFITTED:
        return config
    if name == "criteria":
        return dataclasses.replace(config, part=quick("mlp", **trainer))
    trainer = dataclasses.replace(config.fit.trainer, **{"num_steps": 12, **trainer})
    small = {"num_members": 2, "fit": dataclasses.replace(config.fit, trainer=trainer)}
    if name.startswith(BY_FRAMES):
        return dataclasses.replace(config, **small)
    if name.endswith("mlp"):
        small |= {"n_action_steps": 3, "hidden_sizes": (16,)}
    if name.endswith("transformer"):
        small |= {"embedding_size": 16, "num_heads": 2}
    if name.startswith("robust"):
        # With as many right labels as below, less noise is better.
        small["gaussian"] = dataclasses.replace(config.gaussian, least_deviation=0.3)
    return dataclasses.replace(config, **small)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_config_is_frozen_documented_and_round_trips(name):
    config_class = REWARDS.config_class(name)
    config = config_class()
    assert to_dict(from_dict(config_class, to_dict(config))) == to_dict(config)
    assert inspect.getdoc(config_class)
    assert inspect.getdoc(type(config.build(OBS_DIM, ACTION_DIM)))
    assert REWARDS.summary(name)
    assert config_class.__dataclass_params__.frozen


def test_shapes_types_and_padding(name, make_segments):
    reward = quick(name).build(OBS_DIM, ACTION_DIM)
    assert isinstance(reward, RewardModel)
    segments = make_segments(7)
    rewards, uncertainty = reward.rewards(segments), reward.uncertainty(segments)
    members = reward.member_returns(segments)
    for values in (rewards, uncertainty):
        assert values.shape == segments.mask.shape
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert (values[~segments.mask] == 0).all()
    assert members.shape[1:] == (7,)
    assert members.shape[0] >= 1
    assert reward.segment_return(segments) == pytest.approx(rewards.sum(axis=1), abs=1e-5)
    assert reward.segment_return(segments) == pytest.approx(members.mean(axis=0), abs=1e-5)


def test_padding_changes_nothing(name, make_segments):
    reward = quick(name).build(OBS_DIM, ACTION_DIM)
    segments = make_segments(6)
    before = reward.rewards(segments), reward.member_returns(segments)
    segments.obs[STATE][~segments.mask] = np.nan
    segments.action[~segments.mask] = 1e6
    assert np.array_equal(reward.rewards(segments), before[0])
    assert np.array_equal(reward.member_returns(segments), before[1])


def test_each_segment_is_scored_by_itself(name, make_segments):
    reward = quick(name).build(OBS_DIM, ACTION_DIM)
    segments = make_segments(5)
    order = np.array([3, 0, 4, 1, 2])
    together = reward.segment_return(segments)
    assert reward.segment_return(segments[order]) == pytest.approx(together[order], abs=1e-5)
    assert reward.segment_return(segments[:0]).shape == (0,)


def test_equal_generators_give_equal_rewards_and_no_global_randomness(name, make_pairs):
    pairs = make_pairs(6)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    returns = []
    for _ in range(2):
        reward = quick(name).build(OBS_DIM, ACTION_DIM, generator=seeded(3))
        reward.fit(pairs, generator=seeded(1))
        returns.append(reward.member_returns(pairs.segments))
    assert np.array_equal(returns[0], returns[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_second_fit_forgets_the_first(name, make_pairs):
    pairs = make_pairs(6)
    fresh, used = (quick(name).build(OBS_DIM, ACTION_DIM) for _ in range(2))
    used.fit(make_pairs(4, seed=9), generator=seeded(7))
    for reward in (fresh, used):
        reward.fit(pairs, generator=seeded(1))
    assert np.array_equal(fresh.member_returns(pairs.segments), used.member_returns(pairs.segments))


def test_saves_and_loads_to_equal_output(name, make_pairs, tmp_path):
    pairs = make_pairs(6)
    reward = quick(name).build(OBS_DIM, ACTION_DIM, generator=seeded(3))
    reward.fit(pairs, generator=seeded())
    reward.save_pretrained(tmp_path / "reward")
    for loaded in (
        load_reward(tmp_path / "reward"), type(reward).from_pretrained(tmp_path / "reward")
    ):  # fmt: skip
        assert loaded.config == reward.config
        assert np.array_equal(
            loaded.member_returns(pairs.segments), reward.member_returns(pairs.segments)
        )
    files = {path.name for path in (tmp_path / "reward").iterdir()}
    assert files == {"README.md", "config.json", "model.safetensors"}


def test_fit_reports_figures(name, make_pairs):
    reward = quick(name).build(OBS_DIM, ACTION_DIM)
    figures = reward.fit(make_pairs(6), validation=make_pairs(5, seed=1), generator=seeded())
    for part, figure in itertools.product(("train", "validation"), ("accuracy", "loss", "ece")):
        assert np.isfinite(figures[f"{part}/{figure}"])


def test_learns_a_linear_preference(name, make_pairs):
    if name in UNFITTED or name.startswith(BY_FRAMES):
        pytest.skip("It learns nothing by design, or nothing of actions.")
    config = quick(name, num_steps=200, learning_rate=3e-3)
    if name.endswith("mlp"):
        config = dataclasses.replace(config, n_action_steps=1)
    if name == "criteria":
        config = dataclasses.replace(
            config, part=dataclasses.replace(config.part, n_action_steps=1)
        )
    reward = config.build(OBS_DIM, ACTION_DIM)
    reward.fit(make_pairs(500, length=6), generator=seeded())
    assert measure_pairs(reward, make_pairs(300, length=6, seed=1))["accuracy"] > 0.9


def test_a_resumed_fit_equals_an_uninterrupted_one(name, make_pairs, tmp_path):
    if name in UNFITTED:
        pytest.skip("It is not trained.")
    pairs = make_pairs(6)
    config = quick(name, checkpoint_interval=4)
    whole = config.build(OBS_DIM, ACTION_DIM)
    whole.fit(pairs, generator=seeded(2))

    class StoppedError(Exception):
        pass

    stopped = config.build(OBS_DIM, ACTION_DIM)
    network = stopped.parts[0] if name == "criteria" else stopped
    compute, calls = network.pair_losses, itertools.count()

    def fail_at_the_seventh_step(*arguments):
        if next(calls) == 6:
            raise StoppedError
        return compute(*arguments)

    network.pair_losses = fail_at_the_seventh_step
    with pytest.raises(StoppedError):
        stopped.fit(pairs, generator=seeded(2), directory=tmp_path)
    resumed = config.build(OBS_DIM, ACTION_DIM)
    figures = resumed.fit(pairs, generator=seeded(2), directory=tmp_path)
    assert figures["steps"] == 12
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_candidate_scores(name):
    reward = quick(name).build(OBS_DIM, ACTION_DIM)
    if "chunk" not in reward.action_scorer_ways():
        with pytest.raises(ValueError) as error:
            reward.as_action_scorer("chunk")
        assert str(error.value) == (
            f"{type(reward).__name__} cannot become an action scorer by 'chunk'. "
            f"Ways that it has: {list(reward.action_scorer_ways())}."
        )
        return
    scorer = reward.as_action_scorer("chunk")
    assert isinstance(scorer, ActionScorer)
    obs = {STATE: torch.randn(3, 2, OBS_DIM, generator=seeded())}
    candidates = torch.randn(3, 4, 6, ACTION_DIM, generator=seeded(1))
    order = torch.tensor([2, 0, 3, 1])
    for compute in (scorer.score, scorer.uncertainty):
        values = compute(obs, candidates)
        assert values.shape == (3, 4)
        assert torch.isfinite(values).all()
        assert not values.requires_grad
        assert torch.allclose(compute(obs, candidates[:, order]), values[:, order], atol=1e-6)


def test_an_unknown_way_lists_those_there_are(name):
    reward = quick(name).build(OBS_DIM, ACTION_DIM)
    with pytest.raises(ValueError) as error:
        reward.as_action_scorer("simulate")
    assert str(error.value) == (
        f"{type(reward).__name__} cannot become an action scorer by 'simulate'. "
        f"Ways that it has: {list(reward.action_scorer_ways())}."
    )
