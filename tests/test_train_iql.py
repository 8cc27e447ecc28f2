"""Tests for train_iql.py: rewards of steps, their scale, and what IQL learns from them."""

import dataclasses
import math
import uuid

import numpy as np
import pytest
import torch

from robopref.commands.train_iql import TrainIQLCommand
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.errors import CheckpointError, ConfigError, DataError
from robopref.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from robopref.policies.gaussian import GaussianPolicyConfig
from robopref.policies.iql import IQLConfig, IQLRun
from robopref.policies.iql_members import train_iql_members
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.serialization import load_policy
from robopref.policies.windows import WindowSource
from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.train_iql import RewardScaling, TrainIQLConfig, compute_step_rewards, train_iql
from robopref.trainer import TrainerConfig
from robopref.types import STATE

SMALL = IQLConfig(
    policy=GaussianPolicyConfig(hidden_sizes=(32, 32)), num_steps=20, batch_size=32,
    log_interval=5, checkpoint_interval=10,
)  # fmt: skip
TRAINING = TrainIQLConfig(iql=SMALL)
DIFFUSION = DiffusionPolicyConfig(
    n_obs_steps=1, chunk_size=2, n_action_steps=2, denoiser=MLPDenoiserConfig(width=64)
)
NUM_STEPS = 20


def step(position, action):
    """Move a point by an action of length at most 1; it is solved near the origin."""
    length = np.linalg.norm(action, axis=-1, keepdims=True)
    moved = np.clip(position + 0.1 * action / np.maximum(length, 1), -1, 1)
    return moved.astype(np.float32), np.linalg.norm(moved, axis=-1) < 0.15


def point_episode(index, rng, skill):
    """Return an episode of a point that goes to the origin with this chance, else away from it."""
    position = rng.uniform(-1, 1, 2).astype(np.float32)
    positions: list[np.ndarray] = [position]
    actions: list[np.ndarray] = []
    rewards: list[float] = []
    successes: list[bool] = []
    solved = False
    while len(actions) < NUM_STEPS and not solved:
        towards = -position / (np.linalg.norm(position) + 1e-6)
        direction = towards if rng.random() < skill else -towards
        action = (direction + 0.3 * rng.normal(size=2)).clip(-1, 1).astype(np.float32)
        position, reached = step(position, action)
        solved = bool(reached)
        positions.append(position)
        actions.append(action)
        rewards.append(-float(np.linalg.norm(position)))
        successes.append(solved)
    return Episode(
        str(uuid.UUID(int=index)), {STATE: np.stack(positions)}, np.stack(actions),
        np.array(rewards, np.float32), np.array(successes), solved, not solved, "test/point",
        "go home", index, 10,
    )  # fmt: skip


def success_rate(policy, *, num=100):
    """Return how often the policy brings the point home in time."""
    position = np.random.default_rng(99).uniform(-1, 1, (num, 2)).astype(np.float32)
    solved = np.zeros(num, bool)
    generator = torch.Generator().manual_seed(0)
    policy.reset()
    for _ in range(NUM_STEPS):
        action = policy.select_action({STATE: torch.from_numpy(position)}, generator).numpy()
        position, reached = step(position, action)
        solved |= reached
    return solved.mean()


@pytest.fixture(scope="module")
def mixed():
    """Episodes that go home and away about alike: on average they go nowhere."""
    rng = np.random.default_rng(0)
    return [point_episode(index, rng, skill) for index, skill in enumerate([0.3, 0.55] * 60)]


LEARNING = dataclasses.replace(
    SMALL, num_steps=1000, batch_size=128, learning_rate=1e-3, inverse_temperature=10.0
)


@pytest.fixture
def episodes(rng):
    return [point_episode(index, rng, skill=0.5) for index in range(6)]


@pytest.mark.slow
def test_it_finds_home_where_cloning_and_the_negated_reward_do_not(mixed):
    lengths = [len(episode) for episode in mixed]
    names = ("true", "negated", "cloning", "true")
    scaled = [RewardScaling().apply(compute_step_rewards(n, mixed), lengths) for n in names]
    policies, _ = train_iql_members(
        LEARNING, mixed, np.stack(scaled), [0, 0, 0, 1], clones=[n == "cloning" for n in names],
        device="cpu",
    )  # fmt: skip
    true, negated, cloning, other_seed = (success_rate(policy) for policy in policies)
    assert min(true, other_seed) >= 0.9
    assert cloning <= 0.5
    assert negated <= 0.1


@pytest.mark.slow
def test_a_diffusion_policy_finds_home_by_the_advantage_of_its_chunks(mixed):
    """Cloned as it is, it would go home and away by lot."""
    config = TrainIQLConfig(
        iql=LEARNING,
        actor="diffusion",
        diffusion=DIFFUSION,
        extraction=TrainerConfig(num_steps=800, learning_rate=2e-3, batch_size=128),
    )
    rates = {}
    for reward in ("true", "cloning", "negated"):
        policy, _ = train_iql(config, mixed, reward)
        rates[reward] = success_rate(policy)
    assert rates["true"] >= 0.9
    assert max(rates["cloning"], rates["negated"]) <= 0.5


# Rewards


def test_controls(episodes):
    recorded = np.concatenate([episode.reward for episode in episodes])
    np.testing.assert_array_equal(compute_step_rewards("true", episodes), recorded)
    np.testing.assert_array_equal(compute_step_rewards("negated", episodes), -recorded)
    for name in ("zero", "cloning"):
        assert not compute_step_rewards(name, episodes).any()
    noise = compute_step_rewards("random", episodes)
    assert noise.std() > 0.3
    np.testing.assert_array_equal(noise, compute_step_rewards("random", episodes))
    assert not np.array_equal(noise, compute_step_rewards("random", episodes, seed=1))


@pytest.mark.parametrize(
    "config",
    [
        MLPRewardConfig(num_members=2, hidden_sizes=(8,), n_action_steps=1),
        MLPRewardConfig(num_members=2, hidden_sizes=(8,), n_action_steps=4),
    ],
)
def test_a_learned_reward_judges_whole_episodes(episodes, config):
    from robopref.data.episode import batch_segments

    reward = config.build(2, 2)
    found = compute_step_rewards(reward, episodes)
    start = 0
    for episode in episodes:
        alone = batch_segments([({STATE: episode.state[:-1]}, episode.action)])
        part = found[start : start + len(episode)]
        np.testing.assert_allclose(part, reward.rewards(alone)[0], rtol=1e-5, atol=1e-6)
        start += len(episode)
    assert start == len(found)


def test_a_preference_transformer_gives_what_the_past_decides(episodes):
    reward = PreferenceTransformerConfig(num_members=1, embedding_size=16).build(2, 2)
    whole = compute_step_rewards(reward, episodes[:1])
    short = dataclasses.replace(
        episodes[0],
        obs={STATE: episodes[0].state[:6]},
        **{key: getattr(episodes[0], key)[:5] for key in ("action", "reward", "success")},
    )
    np.testing.assert_allclose(
        compute_step_rewards(reward, [short]), whole[:5], rtol=1e-4, atol=1e-6
    )


def test_rewards_of_another_task(episodes):
    reward = MLPRewardConfig(num_members=1, hidden_sizes=(8,)).build(5, 2)
    with pytest.raises(ValueError) as error:
        compute_step_rewards(reward, episodes)
    assert str(error.value) == (
        "This reward was built for observations of size 5 and actions of size 2, got 2 and 2. Use "
        "the data it was trained for, or train another one."
    )


def test_an_unknown_control(episodes):
    with pytest.raises(ValueError) as error:
        compute_step_rewards("ture", episodes)
    assert str(error.value) == (
        "`reward` must be one of ['cloning', 'negated', 'random', 'true', 'zero'], got 'ture'. "
        "Did you mean 'true'?"
    )


@pytest.mark.parametrize("reward", ["true", "negated"])
def test_a_reward_that_nobody_recorded(episodes, reward):
    silent = dataclasses.replace(episodes[1], metadata={"unknown": ["reward"]})
    with pytest.raises(DataError) as error:
        compute_step_rewards(reward, [episodes[0], silent])
    assert str(error.value) == (
        f"Nobody recorded what 'test/point' paid in episode {silent.id}, so there is nothing to "
        f"train on by '{reward}'. Give the run of a reward (robopref train reward), or 'cloning', "
        "which needs none."
    )
    assert not compute_step_rewards("cloning", [silent]).any()


def test_a_reward_that_is_not_finite(episodes):
    reward = episodes[2].reward.copy()
    reward[3] = math.inf
    broken = [*episodes[:2], dataclasses.replace(episodes[2], reward=reward)]
    with pytest.raises(DataError) as error:
        compute_step_rewards("true", broken)
    assert str(error.value) == f"The reward of episode {broken[2].id} is not finite at step 3."


# Scale

RETURNS = np.array([1, 1, 2, 2, 2, 2], np.float32)  # Of episodes of 2 and 4 steps: 2 and 8.


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (RewardScaling("return-range", "none"), RETURNS * 4 / 6),
        (RewardScaling("return-range", "none", max_episode_steps=1000), RETURNS * 1000 / 6),
        (RewardScaling("return-range", "minus-max"), (RETURNS - 2) * 4 / 6),
        (RewardScaling("none", "minus-one"), RETURNS - 1),
        (RewardScaling("none", "none"), RETURNS),
    ],
)
def test_scaling(scaling, expected):
    np.testing.assert_allclose(scaling.apply(RETURNS, [2, 4]), expected, rtol=1e-6)


def test_equal_returns_are_not_divided():
    zeros = np.zeros(6, np.float32)
    np.testing.assert_array_equal(RewardScaling().apply(zeros, [2, 4]), zeros)


def test_bad_scaling():
    with pytest.raises(ValueError) as error:
        RewardScaling(max_episode_steps=0)
    assert str(error.value) == "`max_episode_steps` must be at least 1, got 0."


# Runs


def same(first, second):
    mine, yours = first.state_dict(), second.state_dict()
    return mine.keys() == yours.keys() and all(torch.equal(mine[k], yours[k]) for k in mine)


def test_an_interrupted_run_ends_with_the_same_policy(episodes, tmp_path, monkeypatch):
    whole, _ = train_iql(TRAINING, episodes, "true", directory=tmp_path / "whole")
    update = IQLRun.update

    def fail_late(self):
        if self.step == 15:
            raise OSError("No space left on device")
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(IQLRun, "update", fail_late)
        with pytest.raises(OSError, match="No space left"):
            train_iql(TRAINING, episodes, "true", directory=tmp_path / "cut")
    assert not (tmp_path / "cut" / "policy").exists()
    resumed, result = train_iql(TRAINING, episodes, "true", directory=tmp_path / "cut")
    assert result.steps == 20
    assert same(resumed, whole)
    assert same(load_policy(tmp_path / "cut" / "policy"), whole)
    with pytest.raises(CheckpointError):
        train_iql(TRAINING, episodes, "negated", directory=tmp_path / "cut")


def test_a_diffusion_policy_goes_on_where_it_was(episodes, tmp_path, monkeypatch):
    config = dataclasses.replace(
        TRAINING, actor="diffusion", diffusion=DIFFUSION,
        extraction=TrainerConfig(num_steps=20, checkpoint_interval=10),
    )  # fmt: skip
    whole, _ = train_iql(config, episodes, "true", directory=tmp_path / "whole")
    assert isinstance(load_policy(tmp_path / "whole" / "policy"), DiffusionPolicy)
    gather, calls = WindowSource.gather, [0]

    def fail_late(self, indices):
        calls[0] += 1
        if calls[0] == 15:
            raise OSError("No space left on device")
        return gather(self, indices)

    with monkeypatch.context() as patch:
        patch.setattr(WindowSource, "gather", fail_late)
        with pytest.raises(OSError, match="No space left"):
            train_iql(config, episodes, "true", directory=tmp_path / "cut")
    resumed, _ = train_iql(config, episodes, "true", directory=tmp_path / "cut")
    assert same(resumed, whole)


@pytest.fixture
def data(episodes, tmp_path):
    store = EpisodeStore.create(tmp_path / "data", fps=10)
    for episode in episodes:
        store.add(episode)
    return tmp_path / "data"


def test_the_command_saves_a_policy_and_says_what_is_next(data, episodes, tmp_path, capsys):
    command = TrainIQLCommand(data=data, reward="true", out=tmp_path / "run", iql=SMALL)
    command.run()
    printed = capsys.readouterr().out.splitlines()
    num, successes = sum(map(len, episodes)), sum(e.succeeded for e in episodes)
    assert printed[0] == f"6 episodes of {num} steps, {successes} successful, in {data}."
    assert printed[1].startswith("Trained 20 updates in ")
    assert printed[-1] == (
        f"Next:   robopref evaluate --policy {tmp_path / 'run'} --env test/point"
    )
    assert load_policy(tmp_path / "run" / "policy").chunk_size == 1
    assert (tmp_path / "run" / "metrics.jsonl").is_file()
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(command, reward="zero").run()
    assert str(error.value) == (
        f"'{tmp_path / 'run'}' holds a run with other settings: `reward` was 'true', now 'zero'. "
        "Choose another folder with --out, or delete this one."
    )


def test_the_command_takes_the_reward_of_a_run(data, episodes, tmp_path):
    reward = MLPRewardConfig(num_members=1, hidden_sizes=(8,), n_action_steps=1).build(2, 2)
    reward.save_pretrained(tmp_path / "learned" / "reward")
    TrainIQLCommand(
        data=data, reward=str(tmp_path / "learned"), out=tmp_path / "run", iql=SMALL
    ).run()
    expected, _ = train_iql(TRAINING, episodes, reward)
    assert same(load_policy(tmp_path / "run" / "policy"), expected)


def test_a_reward_that_is_not_there_leaves_nothing(data, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        TrainIQLCommand(data=data, reward="ture", out=tmp_path / "run", iql=SMALL).run()
    assert str(error.value) == (
        "No reward at 'ture': it is no folder, and none of ['true', 'negated', 'zero', 'random', "
        "'cloning']. Did you mean 'true'?"
    )
    assert not (tmp_path / "run").exists()
