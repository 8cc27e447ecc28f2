"""Data sets that the tests of clips show: simulated, recorded by cameras, and both."""

from dataclasses import replace

import av
import numpy as np

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.envs.make import make_env
from robopref.labeling.clip_jobs import ClipConfig
from robopref.preferences.query import Query
from robopref.types import IMAGES, STATE

ENV = "metaworld/reach-v3"
NUM_STEPS = 24
SMALL = ClipConfig(width=96, height=64, num_processes=1)


def record_simulated(folder, num_episodes, *, cameras=(), num_steps=NUM_STEPS):
    """Record random actions on Meta-World with simulator states, and pictures of `cameras`."""
    env = make_env(ENV)
    store = EpisodeStore.create(folder, fps=env.fps)
    for number in range(num_episodes):
        store.add(_simulated(env, number, cameras, num_steps))
    env.close()
    return store


def record_real(folder, *, num_steps=NUM_STEPS, fps=10.0, seed=0):
    """Record two episodes as a real arm would: pictures, effort, force, a point cloud."""
    store = EpisodeStore.create(folder, fps=fps)
    for number in range(2):
        store.add(_real(np.random.default_rng([seed, number]), number, num_steps, fps))
    return store


def record_policies_of_an_arm(folder):
    """Record four episodes of a real arm: two policies, "careful" and "hasty", from two starts."""
    store = EpisodeStore.create(folder, fps=10.0)
    for number in range(4):
        episode = _real(np.random.default_rng([0, number]), number, NUM_STEPS, 10.0)
        policy = ("careful", "hasty")[number % 2]
        store.add(replace(episode, seed=number // 2, metadata={"policy": policy}))
    return store


def brightness(num_frames, height=48, width=64):
    """Return pictures that each have a brightness of their own."""
    levels = np.linspace(20, 230, num_frames).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).copy()


def pair(ids, name, *, first=(0, 8), second=(4, 5)):
    return Query(name, (Segment(ids[0], *first), Segment(ids[1], *second)))


def decode(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def _simulated(env, number, cameras, num_steps):
    rng = np.random.default_rng(number)
    obs, _ = env.reset(seed=number)
    states, seen, actions, rewards = [env.get_state()], [obs[STATE]], [], []
    for _ in range(num_steps):
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        obs, reward, *_ = env.step(action)
        states.append(env.get_state())
        seen.append(obs[STATE])
        actions.append(action)
        rewards.append(reward)
    steps = np.stack([state.step for state in states])
    pictures = {
        IMAGES + name: env.render_states(
            steps, states[0].episode, width=64, height=48, camera=camera
        )
        for name, camera in cameras
    }
    return Episode(
        id=f"00000000-0000-4000-8000-{number:012d}",
        obs={STATE: np.array(seen, np.float32), **pictures},
        action=np.array(actions), reward=np.array(rewards, np.float32),
        success=np.zeros(num_steps, bool), terminated=False, truncated=True, env=ENV,
        task="reach", seed=number, fps=env.fps, sim_states=steps, sim_episode=states[0].episode,
    )  # fmt: skip


def _real(rng, number, num_steps, fps):
    size = num_steps + 1
    wrench = rng.normal(size=(size, 6)).astype(np.float32)
    return Episode(
        id=f"00000000-0000-4000-8000-1000000000{number:02d}",
        obs={
            STATE: rng.normal(size=(size, 7)).astype(np.float32),
            "observation.ee_pose": np.cumsum(rng.normal(size=(size, 7)), 0).astype(np.float32),
            "observation.effort": rng.normal(size=(size, 7)).astype(np.float32),
            "observation.gripper": rng.uniform(size=(size, 1)).astype(np.float32),
            "observation.wrench": wrench,
            "observation.points": rng.uniform(-1, 1, (size, 200, 3)).astype(np.float32),
            IMAGES + "wrist": brightness(size),
        },
        action=rng.uniform(-1, 1, (num_steps, 6)).astype(np.float32),
        reward=np.zeros(num_steps, np.float32), success=np.zeros(num_steps, bool),
        terminated=False, truncated=True, env="real/arm", task="fold", seed=number, fps=fps,
    )  # fmt: skip
