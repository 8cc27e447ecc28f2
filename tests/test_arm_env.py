import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.recording import close_envs
from robopref.arm_env import ArmTaskConfig
from robopref.envs.behaviours import DetourRightConfig
from robopref.envs.make import make_env
from robopref.envs.scripted import scripted_policy
from robopref.hardware.step_record import DECISIONS
from robopref.types import STATE


@pytest.fixture
def env():
    env = ArmTaskConfig("drawer-close-v3", max_episode_steps=150).build()
    yield env
    env.close()


def run_episode(env, seed):
    """Let the package's expert act; return the observations and the last info."""
    policy = scripted_policy(env)
    obs, info = env.reset(seed=seed)
    policy.reset(np.random.default_rng(0))
    seen, done = [obs[STATE]], False
    while not done:
        obs, _, terminated, truncated, info = env.step(policy.act(obs))
        seen.append(obs[STATE])
        done = terminated or truncated
    return np.stack(seen), info


@pytest.mark.slow
def test_an_expert_solves_a_task_through_the_hardware_layer(env):
    seen, info = run_episode(env, 3)
    assert info["success"]
    assert "stopped" not in info
    plain = make_env("metaworld/drawer-close-v3")
    first, _ = plain.reset(seed=3)
    plain.close()
    np.testing.assert_array_equal(seen[0], first[STATE])
    assert np.linalg.norm(seen[-1, :3] - seen[0, :3]) > 0.1
    # The next episode begins without new processes, where its seed says.
    again = env.reset(seed=3)[0][STATE]
    np.testing.assert_array_equal(again, seen[0])
    state = env.get_state()
    env.step(np.full(4, 0.5, np.float32))
    np.testing.assert_array_equal(env.set_state(state)[STATE], again)


def test_a_stop_ends_the_episode_and_says_why(env):
    env.reset(seed=0)
    env._rig.arm.stop("a key was pressed")
    info = {}
    for _ in range(5):
        _, _, _, truncated, info = env.step(np.zeros(4, np.float32))
        if truncated:
            break
    assert info["stopped"] == "a key was pressed"
    assert env.reset(seed=1)[0][STATE].shape == (39,)


def test_what_was_asked_and_sent_is_recorded_with_the_episode(tmp_path):
    plan = Plan(
        env="arm/reach-v3", actor=ScriptedSpec(DetourRightConfig()), seed=3, start_set="pool",
        num_episodes=2, group_size=2, max_episode_steps=15,
    )  # fmt: skip
    store = open_or_create(tmp_path / "data", plan.env)
    with Workers(0) as workers:
        collect(plan, store, workers)
    close_envs()
    assert len(store.rows) == 2
    for row in store.rows:
        episode = store.episode(row.episode_id)
        sent, asked = episode.extras["safety.sent"], episode.extras["safety.asked"]
        assert sent.shape == asked.shape == (len(episode) + 1, 7)
        assert np.abs(sent[-1] - sent[0]).max() > 0.05
        assert np.abs(sent[:-1] - episode.extras["safety.measured"][:-1]).max() < 0.05
        # Until the first action comes the arm holds, and where this machine does not run.
        decisions = episode.extras["safety.decision"]
        assert (decisions < DECISIONS.index("stop")).all()
        assert (decisions == DECISIONS.index("hold")).mean() < 0.5
        assert episode.metadata["arm"] == "sawyer"
        assert episode.metadata["safety"]["off"] == ["budget"]
        assert "stopped" not in episode.metadata
    assert store.validate() == []


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"`speed_factor` must be between 0\.01 and 1"):
        ArmTaskConfig(speed_factor=2.0)
    assert ArmTaskConfig(speed_factor=0.1).step_s == pytest.approx(10 * ArmTaskConfig().step_s)
