"""How fast the parts are, each beside its reference in the same run.

References that could not run here are left out of the ratios; `notes` names them.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.imitation_process import Imitation
from benchmarks.timing import figure, matmul_seconds, rate
from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan, Workers, record
from robopref.data.episode import Episode, batch_segments
from robopref.data.segment import Segment
from robopref.data.windows import WindowSampler
from robopref.envs.behaviours import DetourRightConfig
from robopref.envs.make import make_env
from robopref.envs.metaworld_raw import make_raw
from robopref.preferences.pool import CandidatePool
from robopref.preferences.strategies import DisagreementConfig
from robopref.render import gl_backends
from robopref.rewards.mlp import MLPRewardConfig
from robopref.seeding import make_rng
from robopref.types import STATE

ENV = "metaworld/button-press-topdown-v3"
PARTS = ("reward_speed", "policy_speed")


def run(quick: bool) -> dict[str, Any]:
    """Return the figures; quick takes each for about a second."""
    # mujoco.Renderer must be told; robopref's own looks for what is there.
    os.environ.setdefault("MUJOCO_GL", gl_backends()[0])
    seconds = 1.0 if quick else 8.0
    before = matmul_seconds()
    notes: list[str] = []
    figures: dict[str, Any] = {}
    for work in (_choice, _windows, _clips):
        print(work.__name__[1:], flush=True)
        figures |= work(seconds, notes)
    print("collection", flush=True)
    figures |= _collection(20 if quick else 120)
    for name in PARTS:
        print(name, flush=True)
        found = _apart(name, quick)
        figures |= found["figures"]
        notes += found.get("notes", [])
    return {
        "figures": figures,
        "notes": notes,
        "threads": torch.get_num_threads(),
        "matmul_ms_before_after": [1e3 * before, 1e3 * matmul_seconds()],
    }


def _apart(name: str, quick: bool) -> dict[str, Any]:
    """Run another benchmark in a process of its own: renderers and caches here must not matter."""
    command = [sys.executable, "-m", "robopref.cli", "bench", name, "--json", "-"]
    done = subprocess.run(
        [*command, "--quick"] if quick else command, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _episodes(num: int, num_steps: int) -> list[Episode]:
    rng = make_rng(0, "episodes")
    return [
        Episode(
            id=str(i),
            obs={STATE: rng.standard_normal((num_steps + 1, 39)).astype(np.float32)},
            action=rng.standard_normal((num_steps, 4)).astype(np.float32),
            reward=np.zeros(num_steps, np.float32),
            success=np.zeros(num_steps, bool),
            terminated=False,
            truncated=True,
            env=ENV,
            task="",
            seed=i,
            fps=80.0,
        )
        for i in range(num)
    ]


def _choice(seconds: float, notes: list[str]) -> dict[str, Any]:
    """Choose 50 queries among 10,000 pairs of 50-step segments, from episodes to queries.

    Beside it the imitation library's fragmenters, with networks of the same shape; they score both
    segments of every pair, robopref each segment once.
    """
    episodes = {e.id: e for e in _episodes(200, 500)}
    shape = {
        "num_members": 5, "hidden_sizes": [128, 128], "length": 50, "obs_dim": 39, "action_dim": 4,
        "batch_size": 32,
    }  # fmt: skip
    # One action a decision: a reward of each step, as the library's is.
    reward = MLPRewardConfig(num_members=5, hidden_sizes=(128, 128), n_action_steps=1).build(39, 4)

    def choose() -> int:
        segments = [Segment(key, start, 50) for key in episodes for start in range(0, 500, 50)]
        batch = batch_segments([s.cut(episodes[s.episode_id]) for s in segments])
        pool = CandidatePool.build(segments, batch, rng=make_rng(0, "pairs"), num_pairs=10_000)
        DisagreementConfig().build().propose(pool, reward, 50, make_rng(0, "choice"))
        return 1

    ours = [1 / r for r in rate(choose, seconds=seconds, min_runs=3)]
    figures = {"choose_50_of_10000_pairs_s": figure(ours, floor=0.5, at_most=True)}
    if not Imitation.is_there():
        notes.append("No .venv-imitation: its choice was not timed ('make peers' builds it).")
        return figures
    with Imitation(shape) as imitation:
        theirs = [imitation.choose(50, 10_000) for _ in range(1 if seconds < 2 else 3)]
    ours += [1 / r for r in rate(choose, seconds=seconds, min_runs=3)]
    return {
        "choose_50_of_10000_pairs_s": figure(ours, floor=0.5, at_most=True),
        "choose_50_of_10000_pairs_s_imitation": figure(theirs),
        "choose_ratio_to_imitation": figure([np.median(theirs) / np.median(ours)]),
    }


def _windows(seconds: float, notes: list[str]) -> dict[str, Any]:
    """Random windows of 2 observations and 16 actions, 256 at a time."""
    episodes = _episodes(100, 200)
    sampler = WindowSampler(episodes, 2, 16)
    rng = make_rng(0, "windows")
    draws = [rng.integers(len(sampler), size=256) for _ in range(200)]

    def gather() -> int:
        for indices in draws:
            sampler.gather(indices)
        return 256 * len(draws)

    ours = rate(gather, seconds=seconds)
    figures = {"windows_per_s": figure(ours, floor=1_000_000)}
    theirs = _robomimic_windows(episodes, seconds, notes)
    if theirs:
        figures["windows_per_s_robomimic_cached"] = figure(theirs)
        figures["windows_ratio_to_robomimic"] = figure([np.median(ours) / np.median(theirs)])
    lerobot = _lerobot_windows(notes)
    if lerobot:
        figures["windows_per_s_lerobot"] = figure([lerobot])
        figures["windows_ratio_to_lerobot"] = figure([np.median(ours) / lerobot])
    return figures


def _robomimic_windows(episodes: list[Episode], seconds: float, notes: list[str]) -> list[float]:
    """Return the windows a second of robomimic's own data set, everything cached."""
    try:
        from robomimic.utils.dataset import SequenceDataset
        from robomimic.utils.obs_utils import initialize_obs_utils_with_obs_specs
    except ImportError:
        notes.append("robomimic is not installed: its windows were not timed.")
        return []
    import h5py

    initialize_obs_utils_with_obs_specs({"obs": {"low_dim": ["state"]}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.hdf5"
        with h5py.File(path, "w") as file:
            data = file.create_group("data")
            for i, episode in enumerate(episodes):
                demo = data.create_group(f"demo_{i}")
                demo.attrs["num_samples"] = len(episode)
                demo["obs/state"], demo["actions"] = episode.state[:-1], episode.action
        theirs = SequenceDataset(
            str(path), ["state"], ["actions"], load_next_obs=False, frame_stack=2, seq_length=16,
            hdf5_cache_mode="all", hdf5_use_swmr=False,
        )  # fmt: skip
        draws = make_rng(0, "windows").integers(len(theirs), size=(8, 256))

        def read() -> int:
            # A batch, as its own training loop gets it from a loader.
            for indices in draws:
                torch.utils.data.default_collate([theirs[int(index)] for index in indices])
            return draws.size

        return rate(read, seconds=seconds, min_runs=3)


_LEROBOT = """
import sys, time, torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
fps = float(sys.argv[2])
deltas = {"observation.state": [-1 / fps, 0.0], "action": [i / fps for i in range(16)]}
data = LeRobotDataset("local/speed", root=sys.argv[1], delta_timestamps=deltas)
loader = torch.utils.data.DataLoader(data, batch_size=256, shuffle=True)
batches = iter(loader)
next(batches)
start = time.perf_counter()
count = sum(len(batch["action"]) for _, batch in zip(range(8), batches))
print(count / (time.perf_counter() - start))
"""


def _lerobot_windows(notes: list[str]) -> float | None:
    """Return the windows a second of LeRobotDataset, on the same episodes written by robopref."""
    python = Path(".venv-lerobot/bin/python")
    if not python.is_file():
        notes.append("No .venv-lerobot: LeRobotDataset was not timed ('make peers' builds it).")
        return None
    from robopref.data.store import EpisodeStore

    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore.create(Path(folder) / "data", fps=80)
        for episode in _episodes(40, 200):
            store.add(episode)
        done = subprocess.run(
            [str(python), "-W", "ignore", "-c", _LEROBOT, str(store.root), "80"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        notes.append(f"LeRobotDataset could not be timed: {done.stderr.strip().splitlines()[-1]}")
        return None
    return float(done.stdout.split()[-1])


def _clips(seconds: float, notes: list[str]) -> dict[str, Any]:
    """Pictures at 96 px from simulator states, and with the simulator's default settings."""
    import mujoco

    env: Any = make_env(ENV)
    env.reset(seed=0)
    states = []
    for _ in range(30):
        env.step(np.array([0.3, 0.2, -0.1, 0.0], np.float32))
        states.append(env.get_state())
    steps, episode = np.stack([s.step for s in states]), states[0].episode

    def ours() -> int:
        return len(env.render_states(steps, episode, width=96, height=96))

    raw = make_raw(ENV.partition("/")[2], 500)
    raw.start(make_rng(0, "clips"))
    renderer = mujoco.Renderer(raw.model, 96, 96)

    def default() -> int:
        for _ in range(10):
            renderer.update_scene(raw.data)
            renderer.render()
        return 10

    fast, slow = rate(ours, seconds=seconds, min_runs=3), rate(default, seconds=seconds, min_runs=3)
    renderer.close()
    env.close()
    return {
        "clip_frames_per_s": figure(fast),
        "clip_frames_per_s_default_settings": figure(slow),
        "clip_ratio_to_default_settings": figure([np.median(fast) / np.median(slow)]),
    }


def _collection(num_episodes: int) -> dict[str, Any]:
    """Record scripted episodes with one worker and with two, in turn."""
    actor = ScriptedSpec(DetourRightConfig(), 0.5, 0.1)
    plan = Plan(ENV, actor, 0, "pool", num_episodes, group_size=5)
    rates: dict[int, list[float]] = {1: [], 2: []}
    with Workers(1) as one, Workers(2) as two:
        pools = {1: one, 2: two}
        for workers in pools.values():
            list(record(plan.groups()[:4], workers))  # Builds the environments.
        for _ in range(3):
            for num, workers in pools.items():
                start = time.perf_counter()
                steps = sum(len(e) for group in record(plan.groups(), workers) for e in group)
                rates[num].append(steps / (time.perf_counter() - start))
    ratios = [b / a for a, b in zip(rates[1], rates[2], strict=True)]
    return {
        "collect_steps_per_s_1_worker": figure(rates[1]),
        "collect_steps_per_s_2_workers": figure(rates[2]),
        "collect_ratio_2_workers": figure(ratios, floor=1.7),
    }


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
