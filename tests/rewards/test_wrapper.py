from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation

from robopref.rewards.mlp import MLPRewardConfig
from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.rewards.trivial import NegatedReward, RandomRewardConfig, TrueReward
from robopref.rewards.wrapper import ENVIRONMENT_REWARD, LearnedReward, LearnedVectorReward
from robopref.types import STATE, SegmentBatch
from tests.extras import import_extra


class SmallEnv(gymnasium.Env):
    """Shows noise, pays 7, and is cut off after some steps."""

    def __init__(self, num_steps=7, *, plain=False):
        self.num_steps = num_steps
        self.plain = plain
        box = Box(-10, 10, (5,))
        self.observation_space = box if plain else Dict({STATE: box})
        self.action_space = Box(-1, 1, (2,))

    def observe(self):
        state = self.np_random.normal(size=5).clip(-10, 10).astype(np.float32)
        return state if self.plain else {STATE: state}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action):
        self.count += 1
        return self.observe(), 7.0, False, self.count >= self.num_steps, {}


def mlp(n_action_steps):
    return MLPRewardConfig(2, (8,), n_action_steps).build(5, 2)


REWARDS = {
    "each step": mlp(1),
    "decisions": mlp(3),
    "negated": NegatedReward(mlp(3)),
    "transformer": PreferenceTransformerConfig(2, 8, 1, 2).build(5, 2),
    "noise": RandomRewardConfig().build(5, 2),
}


def play(env, num_steps, seed=0):
    """Return the recorded episode and what was paid."""
    rng = np.random.default_rng(seed)
    obs, _ = env.reset(seed=seed)
    states, actions, paid = [], [], []
    for _ in range(num_steps):
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        states.append(obs[STATE])
        obs, reward, *_ = env.step(action)
        actions.append(action)
        paid.append(reward)
    return segment(states, actions), np.array(paid)


def segment(states, actions):
    return SegmentBatch(
        {STATE: np.array([states])}, np.array([actions]), np.ones((1, len(actions)), bool)
    )


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("num_steps", [1, 6, 7])
def test_what_is_paid_adds_up_to_the_learned_return(name, num_steps):
    reward = REWARDS[name]
    env = LearnedReward(SmallEnv(), reward)
    for seed in (0, 1):  # The second episode knows nothing of the first.
        episode, paid = play(env, num_steps, seed)
        assert paid.sum() == pytest.approx(reward.segment_return(episode)[0], abs=1e-5)


def test_of_a_reward_of_each_step_that_is_what_is_paid():
    episode, paid = play(LearnedReward(SmallEnv(), REWARDS["each step"]), 7)
    assert paid == pytest.approx(REWARDS["each step"].rewards(episode)[0], abs=1e-6)


def test_a_decision_is_paid_as_it_is_carried_out():
    reward = REWARDS["decisions"]
    episode, paid = play(LearnedReward(SmallEnv(), reward), 7)
    for step in range(7):
        begin, so_far = step - step % 3, step % 3 + 1
        action = episode.action[:, begin : step + 1]
        chunk = np.concatenate([action, np.repeat(action[:, -1:], 3 - so_far, axis=1)], axis=1)
        obs = {STATE: torch.from_numpy(episode.obs[STATE][:, [begin]])}
        score = reward.score(obs, torch.from_numpy(chunk[:, None]))
        due = score.item() * so_far / 3
        assert paid[begin : step + 1].sum() == pytest.approx(due, abs=1e-6)


def test_only_the_decision_is_looked_at():
    longest = []

    def function(segments):
        longest.append(segments.mask.shape[1])
        return segments.action[..., 0]

    reward = TrueReward(function)
    play(LearnedReward(SmallEnv(20), reward, decision_steps=4), 9)
    assert longest == [1, 2, 3, 4, 1, 2, 3, 4, 1]
    longest.clear()
    play(LearnedReward(SmallEnv(20), reward), 5)
    assert longest == [1, 2, 3, 4, 5]


def test_the_environments_own_reward_is_kept_and_the_rest_is_as_it_was():
    env, bare = LearnedReward(SmallEnv(1), REWARDS["each step"]), SmallEnv(1)
    assert env.observation_space == bare.observation_space
    assert env.action_space == bare.action_space
    first: dict[str, np.ndarray] = env.reset(seed=3)[0]
    theirs: Any = bare.reset(seed=3)[0]
    assert np.array_equal(first[STATE], theirs[STATE])
    action = np.zeros(2, np.float32)
    obs, reward, terminated, truncated, info = env.step(action)
    after: Any = bare.step(action)[0]
    assert info == {ENVIRONMENT_REWARD: 7.0}
    assert type(reward) is float
    assert (terminated, truncated) == (False, True)
    assert np.array_equal(obs[STATE], after[STATE])


def test_asking_for_more_than_the_arm_does_gains_nothing():
    reward = TrueReward(lambda segments: segments.action[..., 0])
    env = LearnedReward(SmallEnv(), reward)
    env.reset(seed=0)
    assert env.step(np.array([50.0, 0.0]))[1] == 1.0


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_gymnasium_has_nothing_to_object_to(plain, flatten):
    env = LearnedReward(SmallEnv(plain=plain), REWARDS["decisions"])
    check_env(FlattenObservation(env) if flatten else env, skip_render_check=True)


def play_vector(env, num_steps):
    """Return what was paid (T, I), and which environments acted."""
    rng = np.random.default_rng(0)
    env.reset(seed=[0, 1, 2])
    paid, acted = [], []
    for _ in range(num_steps):
        action = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        _, reward, _, _, info = env.step(action)
        assert (info[ENVIRONMENT_REWARD][info[f"_{ENVIRONMENT_REWARD}"]] == 7).all()
        paid.append(reward)
        acted.append(info[f"_{ENVIRONMENT_REWARD}"])
    return np.array(paid), np.array(acted)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("name", ["decisions", "transformer"])
def test_in_parallel_each_is_paid_as_alone(mode, name):
    reward, lengths = REWARDS[name], (4, 5, 9)
    makers = [lambda n=n: SmallEnv(n) for n in lengths]
    together = LearnedVectorReward(SyncVectorEnv(makers, autoreset_mode=mode), reward)
    paid, acted = play_vector(together, 13)
    wrapped = [lambda n=n: LearnedReward(SmallEnv(n), reward) for n in lengths]
    alone = SyncVectorEnv(wrapped, autoreset_mode=mode)
    alone.reset(seed=[0, 1, 2])
    rng = np.random.default_rng(0)
    theirs = [alone.step(rng.uniform(-1, 1, (3, 2)).astype(np.float32))[1] for _ in range(13)]
    assert paid == pytest.approx(np.array(theirs), abs=1e-5)
    resets = [2, 2, 1] if mode == AutoresetMode.NEXT_STEP else [0, 0, 0]
    assert (~acted).sum(axis=0).tolist() == resets
    assert (paid[~acted] == 0).all()


def test_in_parallel_some_may_be_reset_by_hand():
    envs = SyncVectorEnv([lambda: SmallEnv(50)] * 3, autoreset_mode=AutoresetMode.DISABLED)
    env = LearnedVectorReward(envs, TrueReward(lambda s: np.cumsum(s.mask, 1).astype(np.float32)))
    env.reset(seed=0)
    action = np.zeros((3, 2), np.float32)
    # The nth step of an episode is worth n.
    assert [env.step(action)[1].tolist() for _ in range(2)] == [[1] * 3, [2] * 3]
    env.reset(options={"reset_mask": np.array([False, True, False])})
    assert env.step(action)[1].tolist() == [3, 1, 3]


def test_what_does_not_fit_is_refused():
    pictures, buttons = SmallEnv(), SmallEnv()
    pictures.observation_space = Box(0, 1, (2, 2))
    buttons.action_space = Discrete(3)
    for env, message in (
        (pictures, "A learned reward sees observations by LeRobot key, or a vector taken as "
         "'observation.state'; this environment gives Box(0.0, 1.0, (2, 2), float32). "),
        (buttons, "A learned reward scores actions that are vectors; this environment takes "
         "Discrete(3). "),
    ):  # fmt: skip
        with pytest.raises(ValueError) as error:
            LearnedReward(env, REWARDS["noise"])
        assert str(error.value) == (
            message + "Wrap it by robopref.envs.make.make_env('gymnasium/<id>') first."
        )
    with pytest.raises(ValueError) as error:
        LearnedReward(SmallEnv(), REWARDS["noise"], decision_steps=0)
    assert str(error.value) == "`decision_steps` must be at least 1, got 0."
    broken = LearnedReward(SmallEnv(), TrueReward(lambda s: np.full(s.mask.shape, np.nan)))
    broken.reset(seed=0)
    with pytest.raises(ValueError) as error:
        broken.step(np.zeros(2, np.float32))
    assert str(error.value) == "The learned reward returned values that are not finite."


def test_stable_baselines3_learns_what_the_reward_learned(make_pairs):
    sb3 = import_extra("stable_baselines3", "rl")
    reward = MLPRewardConfig(2, (32,), 1).build(5, 2)
    reward.fit(make_pairs(100), generator=torch.Generator().manual_seed(0))
    env = FlattenObservation(LearnedReward(SmallEnv(20), reward))
    agent = sb3.PPO(
        "MlpPolicy", env, n_steps=256, batch_size=64, gamma=0.5, learning_rate=3e-3, seed=0,
        device="cpu",
    )  # fmt: skip
    before = mean_return(env, agent)
    agent.learn(1024)
    assert mean_return(env, agent) > before + 0.5


def mean_return(env, agent):
    total = 0.0
    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            action, _ = agent.predict(obs, deterministic=True)
            obs, reward, _, over, _ = env.step(action)
            total += reward
    return total / 5
