"""The real `lerobot` package reads what robopref recorded: every value, window and picture.

A Meta-World data set with states, simulator states and one camera is recorded, interrupted,
compacted and thinned out; after each step `LeRobotDataset` opens it in its own environment
(`make peers`) and everything it returns is compared with robopref's reader. The speed of windows
is measured on both sides.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.data.windows import WindowSampler
from robopref.envs.make import make_env
from robopref.errors import RoboprefError
from robopref.seeding import derive_uuid, make_rng
from robopref.types import ACTION, STATE

PEER = Path(__file__).parent.parent / ".venv-lerobot" / "bin" / "python"
CAMERA = "observation.images.corner"
N_OBS_STEPS, CHUNK_SIZE = 2, 16
SIZE = 96
VERSIONS = ("lerobot", "torch", "datasets", "decoder")

READ = """
import json, sys, time
import numpy as np, torch
from importlib.metadata import version
from lerobot.datasets.lerobot_dataset import LeRobotDataset
root, out, n_obs, chunk = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
try:
    import torchcodec.decoders
    backend = "torchcodec"
except (ImportError, RuntimeError):  # It needs the system's FFmpeg; PyAV brings its own.
    backend = "pyav"
plain = LeRobotDataset("robopref/roundtrip", root=root, video_backend=backend)
keys = [k for k, f in plain.features.items() if f["dtype"] != "video"] + plain.meta.video_keys
items = [plain[i] for i in range(len(plain))]
arrays = {k: torch.stack([torch.as_tensor(item[k]) for item in items]).numpy() for k in keys}
arrays = {k: np.round(v * 255).astype(np.uint8) if v.ndim == 4 else v for k, v in arrays.items()}
if "sim.state" in arrays:
    # Items are float32, as torch makes them of Python numbers; the columns are what is on disk.
    column = plain.hf_dataset.with_format("arrow")[:len(plain)]["sim.state"]
    exact = np.stack([np.asarray(row, np.float64) for row in column.to_pylist()])
    assert np.array_equal(np.float32(exact), arrays["sim.state"])
    arrays["sim.state"] = exact
fps = plain.fps
deltas = {"observation.state": [i / fps for i in range(1 - n_obs, 1)],
          "action": [i / fps for i in range(chunk)]}
windows = LeRobotDataset(
    "robopref/roundtrip", root=root, video_backend=backend, delta_timestamps=deltas)
start = time.process_time()
items = [windows[i] for i in range(len(windows))]
seconds = time.process_time() - start
for key in ("observation.state", "action", "action_is_pad"):
    arrays["window/" + key] = torch.stack([item[key] for item in items]).numpy()
np.savez(out, **arrays)
print(json.dumps({
    "lerobot": version("lerobot"), "torch": version("torch"), "datasets": version("datasets"),
    "decoder": backend,
    "episodes": plain.num_episodes, "rows": len(plain), "tasks": sorted({i["task"] for i in items}),
    "columns": list(plain.features), "extra_columns": sorted(
        c for c in plain.meta.episodes.column_names if c in ("episode_id", "env_id", "seed")),
    "stats_mean": plain.meta.stats["observation.state"]["mean"].tolist(),
    "windows_per_s": len(items) / seconds}))
"""


def run(quick: bool) -> dict[str, Any]:
    """Record, compare at each step, and time windows."""
    if not PEER.exists():
        raise RoboprefError(f"There is no '{PEER}'. Build it with: make peers")
    num_episodes, num_steps = (4, 20) if quick else (10, 60)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        store = record(root, num_episodes, num_steps)
        steps = {"recorded": compare(root)}
        interrupt(root)
        steps["interrupted"] = compare(root)
        store = EpisodeStore.open(root)
        store.compact()
        steps["compacted"] = compare(root)
        store.delete(store.ids[1::3])
        steps["thinned out"] = compare(root)
        speed = compare_speed(Path(folder) / "plain", 3 if quick else 20)
    versions = steps["recorded"]["versions"]
    worst = max(step["pictures_differ"] for step in steps.values())
    equal = all(step["equal"] for step in steps.values())
    return {
        "versions": versions,
        "steps": steps,
        "figures": {
            "values_equal": {"value": float(equal), "floor": 1.0, "ok": equal},
            "rows_read": {"value": float(sum(step["rows"] for step in steps.values()))},
            "pictures_differ": {"value": worst, "n": SIZE * SIZE},
            **speed,
        },
    }


def record(root: Path, num_episodes: int, num_steps: int) -> EpisodeStore:
    """Record episodes of random actions with pictures from one camera."""
    env: Any = make_env("metaworld/reach-v3", max_episode_steps=num_steps)
    store = EpisodeStore.create(root, fps=env.fps)
    for number in range(num_episodes):
        store.add(_record_episode(env, number, num_steps))
    env.close()
    return store


def interrupt(root: Path) -> None:
    """Leave what a writer leaves that is killed just before its commit point."""
    store = EpisodeStore.open(root)
    row = store.rows[-1]
    number = row.data_file.next()
    copies = {
        root / "data" / row.data_file.path(".parquet"): root / "data" / number.path(".parquet"),
        root / "videos" / CAMERA / row.videos[CAMERA].file.path(".mp4"): root
        / "videos"
        / CAMERA
        / row.videos[CAMERA].file.next().path(".mp4"),
    }
    for source, target in copies.items():
        shutil.copy(source, target)


def compare(root: Path) -> dict[str, Any]:
    """Return what LeRobot read, and whether it equals what robopref reads."""
    found, arrays = read_with_lerobot(root)
    store = EpisodeStore.open(root)
    episodes = list(store)
    ours = _columns(store, episodes)
    equal = {key: bool(np.array_equal(arrays[key], value)) for key, value in ours.items()}
    sampler = WindowSampler(episodes, N_OBS_STEPS, CHUNK_SIZE)
    for key, value in sampler.gather(np.arange(len(sampler))).items():
        equal["window/" + key] = bool(np.array_equal(arrays["window/" + key], value))
    frames = [store.frames(Segment(row.episode_id, 0, row.length), CAMERA) for row in store.rows]
    theirs = arrays[CAMERA].transpose(0, 2, 3, 1).astype(int)
    mean = store.stats()[STATE]["mean"]
    equal["statistics"] = bool(np.allclose(found.pop("stats_mean"), mean))
    equal["counts"] = (found["episodes"], found["rows"]) == (len(store), store.num_steps)
    versions = {key: found.pop(key) for key in VERSIONS}
    return {
        "versions": versions,
        **found,
        "equal": all(equal.values()),
        "unequal": [key for key, same in equal.items() if not same],
        "pictures_differ": float(np.abs(theirs - np.concatenate(frames)).mean()),
        "files": sum(1 for _ in root.glob("data/*/*.parquet")),
    }


def compare_speed(root: Path, num_episodes: int) -> dict[str, Any]:
    """Return windows a second of processor time of both sides, on one thread, without pictures."""
    rng = np.random.default_rng(0)
    store = EpisodeStore.create(root, fps=80)
    for number in range(num_episodes):
        store.add(_random_episode(number, rng))
    theirs = read_with_lerobot(root)[0]["windows_per_s"]
    sampler = WindowSampler(store, N_OBS_STEPS, CHUNK_SIZE)
    batches = [rng.integers(0, len(sampler), 256) for _ in range(2000)]
    start = time.process_time()
    for indices in batches:
        sampler.gather(indices)
    ours = 256 * len(batches) / (time.process_time() - start)
    return {
        "windows_per_s": {"value": ours, "floor": 1e6, "ok": ours >= 1e6, "n": len(batches)},
        "lerobot_windows_per_s": {"value": theirs, "n": store.num_steps},
        "windows_ratio": {"value": ours / theirs},
    }


def read_with_lerobot(root: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Open a data set with `LeRobotDataset`, offline, and return what it says and holds."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "arrays.npz"
        command = [str(PEER), "-c", READ, str(root), str(out), str(N_OBS_STEPS), str(CHUNK_SIZE)]
        keep = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": folder, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env={**keep, **offline}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RoboprefError(f"LeRobot could not read '{root}':\n{done.stderr[-3000:]}")
        with np.load(out) as arrays:
            return json.loads(done.stdout.splitlines()[-1]), dict(arrays)


def _columns(store: EpisodeStore, episodes: list[Episode]) -> dict[str, np.ndarray]:
    """Return every column of the data set as robopref reads it."""
    lengths = [len(episode) for episode in episodes]
    tasks = list(dict.fromkeys(row.task for row in store.rows))
    frames = np.concatenate([np.arange(length) for length in lengths])
    return {
        STATE: np.concatenate([episode.state[:-1] for episode in episodes]),
        ACTION: np.concatenate([episode.action for episode in episodes]),
        "sim.state": np.concatenate([np.asarray(e.sim_states)[:-1] for e in episodes]),
        "next.reward": np.concatenate([episode.reward for episode in episodes]),
        "next.success": np.concatenate([episode.success for episode in episodes]),
        "timestamp": (frames / store.fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(sum(lengths)),
        "task_index": np.repeat([tasks.index(row.task) for row in store.rows], lengths),
    }


def _record_episode(env: Any, number: int, num_steps: int) -> Episode:
    rng = make_rng(0, "lerobot-roundtrip", number)
    obs, _ = env.reset(seed=number)
    start = env.get_state()
    states, actions, rewards, successes, sim_states = [obs[STATE]], [], [], [], [start.step]
    for _ in range(num_steps):
        actions.append(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        obs, reward, _, _, info = env.step(actions[-1])
        states.append(obs[STATE])
        rewards.append(reward)
        successes.append(bool(info["success"]))
        sim_states.append(env.get_state().step)
    pictures = env.render_states(
        np.stack(sim_states), start.episode, width=SIZE, height=SIZE, camera="corner"
    )
    return Episode(
        id=derive_uuid(0, "lerobot-roundtrip", number),
        obs={STATE: np.stack(states), CAMERA: pictures},
        action=np.stack(actions),
        reward=np.array(rewards, np.float32),
        success=np.array(successes),
        terminated=False,
        truncated=True,
        env="metaworld/reach-v3",
        task=f"reach, style {number % 2}",
        seed=number,
        fps=env.fps,
        sim_states=np.stack(sim_states),
        sim_episode=start.episode,
        metadata={"policy": "random"},
    )


def _random_episode(number: int, rng: np.random.Generator) -> Episode:
    """Return an episode of the sizes of Meta-World: 39 observations, 4 actions, 500 steps."""
    outcome = np.zeros(500, np.float32)
    obs = {STATE: rng.normal(size=(501, 39)).astype(np.float32)}
    action = rng.normal(size=(500, 4)).astype(np.float32)
    return Episode(
        f"id-{number}", obs, action, outcome, outcome > 0, False, True, "env", "task", number, 80
    )
