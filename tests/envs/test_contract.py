"""What every registered environment has to do; one cheap task each."""

import dataclasses
import importlib.util
import inspect
from typing import cast

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import PassiveEnvChecker

from robopref.config import from_dict, to_dict
from robopref.envs import ENVS
from robopref.envs.make import make_env
from robopref.envs.scripted import RandomPolicy, scripted_policy
from robopref.protocols import Environment
from robopref.types import SimState

CHEAP_TASKS = {"gymnasium": "InvertedPendulum-v5", "metaworld": "reach-v3", "arm": "reach-v3"}
NEEDS = {
    "robomimic": ["robomimic", "robosuite"],
    "arm": ["ruckig"],
    "arm-deformable": ["ruckig", "robosuite"],
}
REAL_TIME = {"arm", "arm-deformable"}
NOT_PUT_BACK = {"real"}
"""Where there are no snapshots and seeds decide nothing; it has tests of its own."""
HEADINGS = (
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Arguments",
    "Version History",
)


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in REAL_TIME else [])
        for name in ENVS.names()
        if name not in NOT_PUT_BACK
    ]
)
def spec(request):
    for package in NEEDS.get(request.param, []):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"'{request.param}' needs {package}, which is not installed.")
    task = CHEAP_TASKS.get(request.param) or ENVS.config_class(request.param)().task
    return f"{request.param}/{task}"


@pytest.fixture
def is_exact(spec):
    if spec.partition("/")[0] in REAL_TIME:
        pytest.skip(f"'{spec}' moves in real time: no two runs are equal.")


@pytest.fixture
def make(spec):
    made = []

    def make(**options):
        made.append(make_env(spec, **options))
        return made[-1]

    yield make
    for env in made:
        env.close()


def act_randomly(env, rng, num_steps):
    """Act until the episode ends; return the actions taken."""
    policy = RandomPolicy(env.action_space)
    policy.reset(rng)
    actions = []
    for _ in range(num_steps):
        action = policy.act({})
        actions.append(action)
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            break
    return actions


def assert_same_obs(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_config_is_frozen_and_round_trips(spec):
    config_class = ENVS.config_class(spec.partition("/")[0])
    config = config_class()
    assert config_class.__dataclass_params__.frozen
    assert from_dict(config_class, to_dict(config)) == config
    assert dataclasses.replace(config, task=spec.partition("/")[2]).task in spec


@pytest.mark.filterwarnings("ignore:.*Box (action|observation) space:UserWarning")
@pytest.mark.usefixtures("is_exact")
def test_gymnasium_accepts_it(make):
    env = make()
    assert isinstance(env, Environment)
    check_env(cast(gymnasium.Env, env), skip_render_check=True)


@pytest.mark.filterwarnings("ignore:.*Box (action|observation) space:UserWarning")
def test_an_episode_of_it_keeps_to_what_gymnasium_asks(make, rng):
    env = PassiveEnvChecker(cast(gymnasium.Env, make()))
    env.reset(seed=3)
    act_randomly(env, rng, 10)


def test_names_and_rate(make, spec):
    env = make()
    assert env.env_id == spec
    assert env.task_description
    assert env.fps > 0
    assert env.default_camera in env.cameras


@pytest.mark.usefixtures("is_exact")
def test_equal_seed_gives_an_equal_episode_whatever_came_before(make, rng):
    fresh, used = make(), make()
    used.reset(seed=8)
    act_randomly(used, rng, 10)
    (obs, _), (again, _) = fresh.reset(seed=3), used.reset(seed=3)
    assert_same_obs(obs, again)
    action = np.full(fresh.action_space.shape, 0.3, np.float32)
    assert_same_obs(fresh.step(action)[0], used.step(action)[0])


def test_different_seeds_give_different_episodes(make):
    env = make()
    first, second = env.reset(seed=1)[0], env.reset(seed=2)[0]
    assert any(not np.array_equal(first[key], second[key]) for key in first)


def test_a_seed_of_63_bits_survives_the_state(make):
    env, other = make(), make()
    obs, _ = env.reset(seed=2**63 - 25)
    other.reset(seed=0)
    assert_same_obs(other.set_state(env.get_state()), obs)


@pytest.mark.usefixtures("is_exact")
def test_a_state_continues_bit_for_bit_in_a_fresh_environment(make, rng):
    env, other = make(), make()
    env.reset(seed=1)
    act_randomly(env, rng, 3)
    state = env.get_state()
    other.reset(seed=7)
    other.set_state(state)
    for _ in range(30):
        action = rng.uniform(-0.2, 0.2, env.action_space.shape).astype(np.float32)
        ours, theirs = env.step(action), other.step(action)
        assert_same_obs(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        assert ours[4]["success"] == theirs[4]["success"]
        if ours[2] or ours[3]:
            break
    np.testing.assert_array_equal(env.get_state().step, other.get_state().step)


def test_a_state_can_be_set_before_any_reset(make):
    env, other = make(), make()
    obs, _ = env.reset(seed=1)
    assert_same_obs(other.set_state(env.get_state()), obs)


@pytest.mark.usefixtures("is_exact")
def test_pictures_of_states_leave_the_episode_alone(make, rng):
    env, other = make(), make()
    states = []
    for each in (env, other):
        each.reset(seed=1)
        states = [each.get_state()]
        each.step(np.full(env.action_space.shape, 0.5, np.float32))
        states.append(each.get_state())
    pictures = env.render_states(
        np.stack([s.step for s in states]), states[0].episode, width=64, height=48
    )
    assert pictures.shape == (2, 48, 64, 3)
    assert pictures.dtype == np.uint8
    assert pictures.std() > 5
    action = np.full(env.action_space.shape, -0.5, np.float32)
    assert_same_obs(env.step(action)[0], other.step(action)[0])


def test_a_state_of_another_size_is_refused(make):
    env = make()
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(ValueError) as error:
        env.set_state(SimState(state.step[:0], state.episode))
    assert str(error.value).startswith(
        f"A simulator state of {env.env_id} must have sizes "
        f"({len(state.step)}, {len(state.episode)}) (step, episode), "
        f"got (0, {len(state.episode)})."
    )


@pytest.mark.parametrize("method", ["step", "get_state"])
def test_nothing_runs_before_a_reset(make, method):
    env = make()
    arguments = [env.action_space.sample()] if method == "step" else []
    with pytest.raises(RuntimeError) as error:
        getattr(env, method)(*arguments)
    assert str(error.value) == "No episode is running. Call reset() first."


def test_actions_are_checked(make):
    env = make()
    env.reset(seed=0)
    (size,) = env.action_space.shape
    with pytest.raises(ValueError) as error:
        env.step(np.zeros(size + 1, np.float32))
    assert str(error.value) == f"`action` must have shape ({size},), got ({size + 1},)."
    with pytest.raises(ValueError) as error:
        env.step(np.full(size, np.nan, np.float32))
    assert str(error.value) == f"`action` must be finite, got {[float('nan')] * size}."


def test_the_scripted_policy_finishes(make, rng):
    env = make(max_episode_steps=120)
    policy = scripted_policy(env)
    obs, _ = env.reset(seed=0)
    policy.reset(rng)
    done = False
    for _ in range(120):
        action = policy.act(obs)
        assert env.action_space.contains(action)
        obs, _, terminated, truncated, _ = env.step(action)
        done = terminated or truncated
        if done:
            break
    assert done


def test_the_class_is_documented_like_a_gymnasium_environment(make):
    text = inspect.getdoc(type(make())) or ""
    for heading in HEADINGS:
        assert f"## {heading}\n" in text
    assert "| unit |" in text.partition("## Observation Space")[2].partition("## Rewards")[0]
