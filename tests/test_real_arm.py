"""Any arm as an environment: here a simulated one, that a file describes."""

import io
import sys

import gymnasium
import numpy as np
import pytest
import yaml

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan
from robopref.align.recording import Track
from robopref.cli import main
from robopref.config import from_dict, load_yaml
from robopref.data.store import EpisodeStore
from robopref.deploy.operator import ask_on_terminal
from robopref.envs.make import make_env
from robopref.errors import ConfigError, HardwareError, Unattended
from robopref.hardware.arms import MODELS
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.real_arm import RealArmEnv
from robopref.rig import RigConfig
from robopref.seeding import make_generator
from robopref.types import STATE, SimState

IDS = "robopref.gymnasium_ids"
BOX = {"stay_in": {"low_m": [-0.8, -0.8, -0.1], "high_m": [0.8, 0.8, 1.5]}}
CELL = {"robot": {"type": "sim", "model": "xarm7"}, "task": "Reach for the cup.", "workspace": BOX}


@pytest.fixture
def cell(tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(yaml.safe_dump(CELL))
    return path


@pytest.fixture(scope="module")
def env():
    env = RealArmEnv(from_dict(RigConfig, CELL), max_episode_steps=8)
    yield env
    env.close()


def act(env, *way, num=1):
    result = None
    for _ in range(num):
        result = env.step(np.array([*way, 1.0], np.float32))
    assert result is not None
    return result


def test_an_action_moves_the_tool_and_an_episode_begins_where_the_file_says(env):
    first, _ = env.reset(seed=0)
    assert env.observation_space.contains(first)
    start = MODELS["xarm7"]().rest_rad
    np.testing.assert_allclose(first[STATE][8:], start, atol=0.02)
    obs, reward, terminated, truncated, info = act(env, 0, 1, 0, num=8)
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, True, False)
    # The last step is still on its way.
    moved = obs[STATE][:3] - first[STATE][:3]
    assert 0.05 < moved[1] < 0.085
    assert np.abs(moved[[0, 2]]).max() < 0.01
    again, _ = env.reset(seed=1)
    np.testing.assert_allclose(again[STATE], first[STATE], atol=0.02)


def test_the_tool_is_not_asked_to_leave_the_workspace(env):
    env.reset()
    env._target = np.array([0.795, 0.0, 0.4])
    actions = np.tile([[1.0, 0.0, 0.0, 0.0]], (4, 1))
    assert env._targets(actions)[:, 0].max() == pytest.approx(0.8)


def test_a_stop_ends_the_episode_and_the_next_begins_on_a_persons_word(env):
    asked = []

    def answer(question, name):
        asked.append(question)
        return name

    env.reset()
    env.stop("a key was pressed")
    *_, truncated, info = act(env, 1, 0, 0)
    assert (truncated, info["stopped"]) == (True, "a key was pressed")
    try:
        env.confirm = lambda question: answer(question, "")
        with pytest.raises(Unattended, match="stays where it is"):
            env.reset()
        with pytest.raises(RuntimeError, match=r"Call reset\(\) first"):
            act(env, 1, 0, 0)
        assert env._rig.why_stopped() == "a key was pressed"
        env.confirm = lambda question: answer(question, "ann")
        assert env.reset()[0][STATE].shape == (15,)
    finally:
        env.confirm = lambda question: "ann"
    assert asked == ["Put the scene back. 'xarm7' then goes to its start."] * 2


def test_what_is_recorded_needs_no_states(env):
    plan = Plan(
        env="real/cell.yaml",
        actor=ScriptedSpec(None),
        seed=0,
        start_set="test",
        num_episodes=1,
        group_size=1,
    )
    track = Track(env, 0, None)
    while not track.done:
        track.step(np.array([0.5, 0, 0, 1]))
    episode = track.episode(plan, "one", {})
    assert episode.sim_states is None
    assert len(episode) == 8
    assert episode.extras["safety.sent"].shape == (9, 7)
    assert episode.metadata["safety"]["workspace"]["stay_in"] == BOX["stay_in"]


@pytest.mark.slow
def test_collection_runs_unchanged_on_an_arm(cell, tmp_path):
    out = tmp_path / "data"
    policy = DiffusionPolicyConfig().build({STATE: (15,)}, 4, make_generator(0))
    policy.save_pretrained(tmp_path / "policy")
    command = ["collect", "--env", f"real/{cell}", "--policy", str(tmp_path / "policy")]
    command += ["--num-episodes", "2", "--max-episode-steps", "5", "--out", str(out)]
    assert main(command) == 0
    store = EpisodeStore.open(out)
    assert [len(store.episode(name)) for name in store.ids] == [5, 5]


def test_gymnasium_knows_it(cell):
    env = gymnasium.make(f"{IDS}:robopref/RealArm-v0", rig=str(cell))
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    obs, *_ = env.step(env.action_space.sample())
    assert env.observation_space.contains(obs)
    env.close()
    sim = gymnasium.make(f"{IDS}:robopref/SimArm-v0", model="ur5e")
    assert sim.observation_space.sample()[STATE].shape == (14,)
    sim.close()


def test_without_a_terminal_nobody_lets_it_begin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(Unattended, match="no terminal to ask"):
        ask_on_terminal("?")


def test_there_are_no_snapshots(env):
    state = SimState(np.zeros(1), np.zeros(1))
    for call in (env.get_state, env.render_states, lambda: env.set_state(state)):
        with pytest.raises(HardwareError, match="no snapshots"):
            call()
    with pytest.raises(HardwareError, match="No camera is open"):
        env.render()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_rad": [0.0] * 6}, "`start_rad` has 6 joints, and 'xarm7' has 7"),
        ({"start_rad": [0.0, 90.0, 0, 0, 0, 0, 0]}, "Are these degrees?"),
        ({"tool_speed_m_s": 0}, "tool_speed_m_s"),
        ({"off": ["joint-limits"]}, "joint-limits"),
    ],
)
def test_a_cell_that_does_not_fit_its_arm_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RealArmEnv(from_dict(RigConfig, CELL | change))


def test_a_real_arm_needs_a_workspace(monkeypatch):
    monkeypatch.setattr("robopref.rig.SIMULATED", ())
    with pytest.raises(ConfigError, match="Say where the arm may be"):
        from_dict(RigConfig, {"robot": "sim"})
    without = from_dict(RigConfig, {"robot": "sim", "off": ["workspace"]})
    assert without.safety(0.1).workspace is None


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        make_env(f"real/{tmp_path}/none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("robto: sim\n")
    with pytest.raises(ConfigError, match=r"has no field 'robto'\. Did you mean"):
        load_yaml(RigConfig, bad)
