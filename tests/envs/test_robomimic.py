"""Tests for robomimic's tasks: through the real packages, quietly, with exact states."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("robomimic", reason="The extra 'robomimic' is not installed.")
pytest.importorskip("robosuite", reason="The extra 'robomimic' is not installed.")

from robopref.data.robomimic_format import ENV_NAMES
from robopref.envs import robomimic_package as package
from robopref.envs.make import make_env
from robopref.envs.robomimic import RobomimicConfig
from robopref.envs.robomimic_state import MODEL_FIELDS, StateLayout, forward
from robopref.envs.robomimic_tasks import TASKS, num_arms
from robopref.envs.scene import read_scene
from robopref.envs.scripted import scripted_policy
from robopref.errors import MissingExtraError, UnknownNameError
from robopref.types import STATE, SimState

# An object's poses are seen from the hand; the door's place is in the model. The others are slow.
FAST_TASKS = ("can", "door")
ALL_TASKS = [
    pytest.param(task, marks=() if task in FAST_TASKS else pytest.mark.slow) for task in TASKS
]
OLD_OSC_POSE = {
    "type": "OSC_POSE", "input_max": 1, "input_min": -1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "kp": 150, "damping": 1, "impedance_mode": "fixed", "kp_limits": [0, 300],
    "damping_limits": [0, 10], "position_limits": None, "orientation_limits": None,
    "uncouple_pos_ori": True, "control_delta": True, "interpolation": None, "ramp_ratio": 0.2,
}  # fmt: skip
"""As in the data sets that were published with robomimic."""


@pytest.fixture(scope="module")
def lift():
    env: Any = make_env("robomimic/lift")
    yield env
    env.close()


def models_fields(env):
    model = package.mujoco_model(env._package.env)
    fields = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {k: np.array(v) for k, v in fields.items() if isinstance(v, np.ndarray)}


def changed(before, after):
    return {k for k in before if not np.array_equal(before[k], after[k], equal_nan=True)}


def test_every_task_of_robosuite_is_there_or_left_out_for_a_reason():
    import robosuite

    package.env_robosuite()
    left_out = {"NutAssemblySingle", "PickPlaceSingle", "TwoArmPegInHole", "Wipe"}
    assert set(robosuite.ALL_ENVIRONMENTS) == {*ENV_NAMES.values(), *left_out}
    assert ENV_NAMES.keys() == TASKS.keys()


def test_an_unknown_task_is_named():
    with pytest.raises(UnknownNameError) as error:
        make_env("robomimic/lfit")
    assert str(error.value) == (
        f"No robomimic task named 'lfit'. Did you mean 'lift'? Tasks: {sorted(TASKS)}."
    )


@pytest.mark.parametrize("task", ALL_TASKS)
def test_a_state_continues_exactly_and_a_reset_edits_no_more_of_the_model(task, rng):
    env, other = make_env(f"robomimic/{task}"), make_env(f"robomimic/{task}")
    obs, _ = env.reset(seed=1)
    assert env.action_space.shape == (7 * num_arms(task),)
    at_reset = models_fields(env)

    def act():
        return rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)

    for _ in range(4):
        obs = env.step(act())[0]
    assert changed(at_reset, models_fields(env)) == set()
    other.reset(seed=7)
    assert changed(at_reset, models_fields(other)) <= set(MODEL_FIELDS)
    np.testing.assert_array_equal(other.set_state(env.get_state())[STATE], obs[STATE])
    for _ in range(12):
        action = act()
        ours, theirs = env.step(action), other.step(action)
        np.testing.assert_array_equal(ours[0][STATE], theirs[0][STATE])
        assert ours[1:] == theirs[1:]
    np.testing.assert_array_equal(env.get_state().step, other.get_state().step)
    env.close()
    other.close()


def test_an_observation_is_that_of_the_state_and_in_the_order_of_robomimics_files():
    env: Any = make_env("robomimic/can")
    env.reset(seed=0)
    obs = env.step(np.full(7, 0.5, np.float32))[0][STATE]
    raw = env._package.env
    hand, can = raw.sim.data.get_site_xpos("gripper0_right_grip_site"), raw.obj_body_id["Can"]
    np.testing.assert_allclose(obs[0:3], hand, atol=1e-6)
    np.testing.assert_allclose(obs[9:12], raw.sim.data.body_xpos[can], atol=1e-6)
    np.testing.assert_allclose(obs[12:16], raw.sim.data.body_xquat[can][[1, 2, 3, 0]], atol=1e-6)
    # The can as the hand sees it, computed from the four entries before it.
    from scipy.spatial.transform import Rotation

    seen = Rotation.from_quat(obs[3:7]).inv().apply(obs[9:12] - obs[0:3])
    np.testing.assert_allclose(obs[16:19], seen, atol=1e-5)
    env.close()


def test_a_row_of_a_robomimic_file_is_a_state(lift, rng):
    obs, _ = lift.reset(seed=3)
    for _ in range(3):
        obs = lift.step(rng.uniform(-1, 1, 7).astype(np.float32))[0]
    row = lift._package.env.sim.get_state().flatten()
    assert row.shape == (32,)
    np.testing.assert_array_equal(lift.get_state().step[:32], row)
    lift.reset(seed=4)
    np.testing.assert_array_equal(lift.set_state(SimState(row, np.zeros(0)))[STATE], obs[STATE])
    picture = lift.render_states(row[None], np.zeros(0), width=64, height=48)
    assert picture.std() > 5


def test_only_success_is_rewarded_where_the_reward_is_not_shaped(lift, rng):
    sparse = make_env("robomimic/lift", shaped_reward=False)
    policy = scripted_policy(sparse)
    obs, _ = sparse.reset(seed=0)
    lift.reset(seed=0)
    shaped, rewards, done = [], [], False
    info: dict[str, Any] = {}
    while not done:
        action = policy.act(obs)
        obs, reward, done, _, info = sparse.step(action)
        rewards.append(reward)
        shaped.append(lift.step(action)[1])
    assert info["success"]
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    assert shaped[-1] == 1.0
    assert 0.0 < shaped[0] < shaped[-2] < 1.0
    sparse.close()


def test_the_controller_of_old_files_is_the_same_arm(lift):
    whole = package.whole_controller(OLD_OSC_POSE)
    assert whole["type"] == "BASIC"
    assert whole["body_parts"]["right"]["gripper"] == {"type": "GRIP"}
    assert package.whole_controller(whole) == whole
    old = package.make_package_env(
        "Lift", robots="Panda", control_freq=20, controller_configs=OLD_OSC_POSE
    )
    lift.reset(seed=0)
    row = lift.get_state().step[:32]
    lift.set_state(SimState(row, np.zeros(0)))
    StateLayout(old.env).unpack_robomimic(old.env, row)
    action = np.array([0.5, -0.2, 0.3, 0.1, 0.0, 0.2, 1.0], np.float32)
    obs = lift.step(action)[0][STATE]
    old.step(action)
    forward(old.env)
    np.testing.assert_allclose(old.get_observation()["robot0_eef_pos"], obs[:3], atol=1e-6)


def test_another_model_is_taken_or_refused_whole(lift):
    obs, _ = lift.reset(seed=5)
    state = lift.get_state()
    model = lift.file_attributes().model_file
    for wrong, reason in (
        ("<mujoco/>", "`model_file` is no model that MuJoCo can load: "),
        ("no model", "`model_file` is no model that MuJoCo can load: syntax error: line 1"),
    ):
        with pytest.raises(ValueError) as error:
            lift.use_model(wrong)
        assert str(error.value).startswith(reason)
    can: Any = make_env("robomimic/can")
    with pytest.raises(ValueError) as error:
        can.use_model(model)
    assert str(error.value) == (
        "`model_file` must be of the task PickPlaceCan, which has 37 positions and 9 actuators, "
        "got 16 and 9."
    )
    np.testing.assert_array_equal(lift.set_state(state)[STATE], obs[STATE])
    lift.use_model(model)
    with pytest.raises(RuntimeError):
        lift.get_state()
    np.testing.assert_array_equal(lift.set_state(state)[STATE], obs[STATE])
    can.close()


def test_scenes_show_hand_gripper_object_and_goal(lift):
    obs = lift.reset(seed=0)[0][STATE]
    scene = read_scene("robomimic/lift", np.stack([obs, obs]))
    np.testing.assert_allclose(scene.hand[1], obs[:3])
    np.testing.assert_allclose(scene.objects[0, 0], obs[9:12])
    np.testing.assert_allclose(scene.opening, [0.52, 0.52], atol=0.02)
    np.testing.assert_allclose(scene.goal[0], [obs[9], obs[10], 0.84])
    # Preference Transformer's order: the object, joints, the hand.
    theirs = np.concatenate([obs[9:19], np.full(28, np.nan), obs[:9], np.zeros(2)])[None]
    assert theirs.shape == (1, 49)
    other = read_scene("robomimic/lift", theirs)
    for name in ("hand", "opening", "objects", "goal"):
        np.testing.assert_array_equal(getattr(other, name), getattr(scene[:1], name))
    with pytest.raises(ValueError) as error:
        read_scene("robomimic/can", theirs)
    assert str(error.value) == (
        "A state of 'robomimic/can' must have 23 numbers, or as in the sets of Preference "
        "Transformer 53, got 49."
    )
    state = np.tile(np.arange(23.0) / 100.0, (2, 1))
    np.testing.assert_allclose(read_scene("robomimic/can", state).goal[1], [0.1975, 0.4025, 0.86])
    np.testing.assert_allclose(read_scene("robomimic/square", state).goal[1], [0.23, 0.1, 0.83])


@pytest.mark.parametrize(
    ("task", "body", "height_m"), [("can", "bin2", 0.8), ("square", "peg1", 0.85)]
)
def test_goals_are_where_robosuite_has_them(task, body, height_m):
    env: Any = make_env(f"robomimic/{task}")
    goal = read_scene(env.env_id, env.reset(seed=0)[0][STATE][None]).goal[0]
    raw = env._package.env
    place = raw.target_bin_placements[3] if task == "can" else raw.sim.data.get_body_xpos(body)
    np.testing.assert_allclose(goal[:2], place[:2])
    assert place[2] == height_m
    assert abs(goal[2] - height_m) < 0.08
    env.close()


def test_a_task_without_a_scene_says_so():
    with pytest.raises(ValueError) as error:
        RobomimicConfig(task="stack").read_scene(np.zeros((1, 32)))
    assert str(error.value) == (
        "What is object and goal in observations of 'robomimic/stack' is not known. It is for: "
        "['bread', 'can', 'cereal', 'lift', 'milk', 'round', 'square']."
    )


@pytest.mark.slow
def test_the_packages_print_nothing_and_leave_the_process_as_it_was():
    script = (
        "import json, os, sys; from robopref.envs.make import make_env; "
        "env = make_env('robomimic/lift'); env.reset(seed=0); "
        "env.step(env.action_space.sample()); env.close(); "
        "print(json.dumps([os.environ.get('MUJOCO_GL'), 'mujoco_py' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(done.stdout) == [None, False]


def test_a_door_that_moves_in_the_model_cannot_be_exported():
    env: Any = make_env("robomimic/door")
    with pytest.raises(ValueError) as error:
        env.file_attributes()
    assert str(error.value) == (
        "Episodes of 'robomimic/door' cannot be written as a robomimic file: a reset moves the "
        "door in the model itself, and the file would show it where it was not."
    )
    env.close()


def test_without_the_packages_the_extra_is_named(monkeypatch):
    package.env_robosuite.cache_clear()
    monkeypatch.setitem(sys.modules, "robomimic.envs.env_robosuite", None)
    with pytest.raises(MissingExtraError) as error:
        make_env("robomimic/lift")
    assert str(error.value).startswith("robomimic's tasks need robomimic and robosuite (import of ")
    assert str(error.value).endswith("Install them with: pip install 'robopref[robomimic]'.")
