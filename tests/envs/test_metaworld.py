"""Tests for Meta-World: its tasks, its starts, and exact states of all 50."""

from typing import Any

import numpy as np
import pytest

from robopref.envs.make import make_env, make_vector
from robopref.envs.metaworld import MetaWorldConfig
from robopref.envs.metaworld_state import DERIVED_ATTRIBUTES, MODEL_FIELDS, STEP_ATTRIBUTES
from robopref.envs.metaworld_tasks import TASKS
from robopref.envs.scripted import scripted_policy
from robopref.errors import UnknownNameError
from robopref.types import STATE, SimState

# One of each kind: a button, a view as target, an attribute set while stepping, a view as first
# position, two objects, a ball.
FAST_TASKS = (
    "button-press-topdown-v3",
    "basketball-v3",
    "bin-picking-v3",
    "door-lock-v3",
    "stick-pull-v3",
    "soccer-v3",
)
# With the scope "module", pytest runs the tests of a task together: its model is compiled once.
ALL_TASKS = [
    pytest.param(task, marks=() if task in FAST_TASKS else pytest.mark.slow) for task in TASKS
]


def make(task, **options) -> Any:
    return make_env(f"metaworld/{task}", terminate_on_success=False, **options)


def step_both(a, b, action):
    ours, theirs = a.step(action), b.step(action)
    np.testing.assert_array_equal(ours[0][STATE], theirs[0][STATE])
    assert ours[1:] == theirs[1:]
    return ours[0]


def assert_same_state(a, b):
    first, second = a.get_state(), b.get_state()
    np.testing.assert_array_equal(first.step, second.step)
    np.testing.assert_array_equal(first.episode, second.episode)
    assert np.isfinite(first.step).all()
    assert np.isfinite(first.episode).all()


@pytest.mark.parametrize("task", ALL_TASKS, scope="module")
@pytest.mark.parametrize("num_steps", [0, 35])
def test_a_state_continues_bit_for_bit_in_a_fresh_environment(task, num_steps):
    env, fresh = make(task), make(task)
    policy, rng = scripted_policy(env), np.random.default_rng(0)
    obs, _ = env.reset(seed=1)
    for _ in range(num_steps):
        obs, *_ = env.step(policy.act(obs))
    state = env.get_state()
    fresh.reset(seed=7)
    np.testing.assert_array_equal(fresh.set_state(state)[STATE], obs[STATE])
    for step in range(30):
        expert = policy.act(obs)
        obs = step_both(env, fresh, expert if step < 20 else rng.uniform(-1, 1, 4))
    assert_same_state(env, fresh)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=() if task in FAST_TASKS[:2] else pytest.mark.slow)
        for task in TASKS
    ],
    scope="module",
)
def test_pictures_are_equal_in_a_fresh_environment(task):
    env, fresh = make(task), make(task)
    env.reset(seed=1)
    states = [env.get_state()]
    for _ in range(2):
        for _ in range(15):
            env.step(np.array([0.1, 0.5, -0.5, 1.0]))
        states.append(env.get_state())
    fresh.reset(seed=7)
    before = fresh.get_state()
    chosen = np.stack([state.step for state in states])
    pictures = [
        each.render_states(chosen, states[0].episode, width=48, height=48) for each in (env, fresh)
    ]
    np.testing.assert_array_equal(*pictures)
    assert not np.array_equal(pictures[0][0], pictures[0][2])
    np.testing.assert_array_equal(fresh.get_state().step, before.step)
    np.testing.assert_array_equal(fresh.get_state().episode, before.episode)
    env.close()
    fresh.close()


@pytest.mark.parametrize("task", ALL_TASKS, scope="module")
def test_a_start_is_the_packages_own_and_depends_on_the_seed_alone(task):
    from metaworld.env_dict import ENV_CLS_MAP

    env, used = make(task), make(task)
    obs, _ = env.reset(seed=4)
    used.reset(seed=5)
    for _ in range(5):
        used.step(np.array([0.7, 0.5, -1.0, 1.0]))
    used.reset(seed=4)
    assert_same_state(env, used)
    package = ENV_CLS_MAP[task]()
    package._partially_observable = False
    del package.sawyer_observation_space
    package._set_task_called = True
    package._last_rand_vec = env._raw._last_rand_vec
    theirs, _ = package.reset()
    space = env.observation_space[STATE]
    np.testing.assert_array_equal(obs[STATE], theirs.astype(np.float32).clip(space.low, space.high))


@pytest.mark.parametrize("task", ALL_TASKS, scope="module")
def test_states_name_everything_that_changes(task):
    """Whatever a step or a reset changes in the package's environment is in the state."""
    env = make(task)
    env.reset(seed=1)
    raw = env._raw
    attributes, model = _attributes(raw), _model(raw)
    for _ in range(40):
        env.step(np.array([0.1, 0.4, -0.7, 0.5]))
    changed = {name for name, value in _attributes(raw).items() if value != attributes[name]}
    assert changed <= {*STEP_ATTRIBUTES, *DERIVED_ATTRIBUTES}
    assert _changed(model, _model(raw)) == set()
    env.reset(seed=2)
    assert _changed(model, _model(raw)) <= set(MODEL_FIELDS)


def _attributes(raw):
    """Return the attributes that hold numbers of their own, in a form that compares."""
    kept: dict[str, Any] = {}
    for name, value in raw.__dict__.items():
        if isinstance(value, np.ndarray):
            base: Any = value
            while isinstance(base, np.ndarray):
                base = base.base
            if base is None:
                kept[name] = value.tobytes()
        elif value is None or isinstance(value, (bool, int, float, np.number)):
            kept[name] = value
        elif isinstance(value, dict):
            kept[name] = repr(value)
    return kept


def _model(raw):
    names = (name for name in dir(raw.model) if not name.startswith("_"))
    fields = {name: getattr(raw.model, name) for name in names}
    return {name: v.copy() for name, v in fields.items() if isinstance(v, np.ndarray)}


def _changed(before, after):
    return {
        name for name in before if not np.array_equal(before[name], after[name], equal_nan=True)
    }


def test_the_tasks_are_those_of_the_package():
    from metaworld.env_dict import ENV_CLS_MAP

    assert sorted(TASKS) == sorted(ENV_CLS_MAP)


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(UnknownNameError) as error:
        MetaWorldConfig(task="reech-v3")
    assert str(error.value) == (
        "No Meta-World task named 'reech-v3'. Did you mean 'reach-v3'? Tasks, the nearest of 50: "
        "['reach-v3', 'reach-wall-v3', 'sweep-v3', 'drawer-open-v3', 'coffee-push-v3']."
    )


def test_limits_are_checked():
    with pytest.raises(ValueError) as error:
        MetaWorldConfig(max_episode_steps=0)
    assert str(error.value) == "`max_episode_steps` must be at least 1, got 0."


def test_the_goal_can_be_seen():
    env = make("reach-v3")
    goals = [env.reset(seed=seed)[0][STATE][36:39] for seed in range(3)]
    assert len({tuple(goal) for goal in goals}) == 3
    assert np.all(np.stack(goals) != 0)


@pytest.mark.parametrize("terminate", [True, False])
def test_success_ends_the_episode_if_asked_to(terminate):
    env = make_env("metaworld/reach-v3", terminate_on_success=terminate, max_episode_steps=90)
    policy = scripted_policy(env)
    obs, _ = env.reset(seed=0)
    num_steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        obs, reward, terminated, truncated, info = env.step(policy.act(obs))
        num_steps += 1
        assert isinstance(info["success"], bool)
        assert 0 <= reward <= 10
    assert terminated is terminate
    assert truncated is not terminate
    assert (num_steps == 90) is not terminate


def test_an_episode_past_its_limit_is_over():
    env = make("reach-v3", max_episode_steps=2)
    env.reset(seed=0)
    action = np.zeros(4, np.float32)
    assert [env.step(action)[3] for _ in range(2)] == [False, True]
    with pytest.raises(RuntimeError) as error:
        env.step(action)
    assert str(error.value) == "No episode is running. Call reset() first."


def test_actions_beyond_the_range_are_clipped():
    env, other = make("reach-v3"), make("reach-v3")
    for each in (env, other):
        each.reset(seed=0)
    large, limit = np.array([5.0, -3.0, 1.0, 9.0]), np.array([1.0, -1.0, 1.0, 1.0])
    np.testing.assert_array_equal(env.step(large)[0][STATE], other.step(limit)[0][STATE])
    assert_same_state(env, other)


def test_a_state_of_another_task_is_refused():
    env, other = make("reach-v3"), make("soccer-v3")
    env.reset(seed=0)
    other.reset(seed=0)
    state, wrong = env.get_state(), other.get_state()
    with pytest.raises(ValueError) as error:
        env.set_state(SimState(wrong.step, wrong.episode))
    assert str(error.value) == (
        "A simulator state of metaworld/reach-v3 must have sizes "
        f"({len(state.step)}, {len(state.episode)}) (step, episode), "
        f"got ({len(wrong.step)}, {len(wrong.episode)}). "
        "States can be set in environments of the same task only."
    )


def test_vector_of_environments_is_as_many_single_ones():
    vector: Any = make_vector("metaworld/reach-v3", 2)
    single = make_env("metaworld/reach-v3")
    obs, _ = vector.reset(seed=[5, 5])
    np.testing.assert_array_equal(obs[STATE][0], obs[STATE][1])
    obs, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(obs[STATE][1], single.reset(seed=4)[0][STATE])
    action = np.array([[0.0, 0.0, 0.0, 0.0], [0.5, -0.5, 1.0, 0.0]], np.float32)
    obs, reward, *_ = vector.step(action)
    ours = single.step(action[1])
    np.testing.assert_array_equal(obs[STATE][1], ours[0][STATE])
    assert reward[1] == ours[1]
    vector.close()
