import io
import json
import os
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from robopref.data.minari import read_minari, write_minari
from robopref.data.store import EpisodeStore
from robopref.errors import DataError

SIDE = Path(__file__).parents[2] / ".venv-minari/bin/python"


def in_minari(script: str, *arguments: object, root: Path) -> dict:
    """Run `script` with the real package and return the JSON that it prints."""
    if not SIDE.exists():
        pytest.skip("there is no .venv-minari; 'make peers' builds it (Minari needs numpy 2)")
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME")}
    command = [str(SIDE), "-c", script, *map(str, arguments)]
    environment = {**keep, "MINARI_DATASETS_PATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_same(found, episode):
    for key in ("id", "env", "task", "seed", "terminated", "truncated", "fps"):
        assert getattr(found, key) == getattr(episode, key)
    assert found.metadata.items() >= episode.metadata.items()
    for key in ("action", "reward", "success", "sim_states", "sim_episode"):
        np.testing.assert_array_equal(getattr(found, key), getattr(episode, key))
    assert found.obs.keys() == episode.obs.keys()
    for key, value in episode.obs.items():
        np.testing.assert_array_equal(found.obs[key], value)


@pytest.mark.parametrize("more", [False, True])
def test_episodes_survive_export_and_import(store, make_episode, tmp_path, more):
    episodes = [make_episode(i, steps=4 + i) for i in range(3)]
    if more:
        for episode in episodes:
            points = np.random.default_rng(1).normal(size=(len(episode) + 1, 4, 3))
            episode.obs["observation.points"] = points.astype(np.float32)
    for episode in episodes:
        store.add(episode)
    assert write_minari(store, tmp_path / "reach-v0") == 3
    for found, episode in zip(read_minari(tmp_path / "reach-v0"), episodes, strict=True):
        assert_same(found, episode)


def test_pictures_are_left_out_and_that_is_said(store, make_episode, tmp_path, caplog):
    store.add(make_episode(0, camera=True))
    write_minari(store, tmp_path / "reach-v0")
    assert [record.message for record in caplog.records] == [
        "Minari data sets are written without pictures: ['observation.images.corner'] are left out."
    ]
    assert list(next(read_minari(tmp_path / "reach-v0")).obs) == ["observation.state"]


READ = """
import json, sys, minari, numpy as np
dataset = minari.load_dataset(sys.argv[1])
episodes = list(dataset.iterate_episodes())
print(json.dumps({
    "version": minari.__version__, "episodes": dataset.total_episodes, "steps": dataset.total_steps,
    "space": str(dataset.observation_space), "action": dataset.action_space.shape,
    "lengths": [len(e) for e in episodes],
    "observations": [np.asarray(e.observations).tolist() for e in episodes],
    "actions": [e.actions.tolist() for e in episodes],
    "rewards": [e.rewards.tolist() for e in episodes],
    "terminations": [e.terminations.tolist() for e in episodes],
    "success": [e.infos["success"].tolist() for e in episodes],
    "listed": sorted(minari.list_local_datasets()),
    "seeds": [int(m["seed"]) for m in dataset.storage.get_episode_metadata(range(len(episodes)))],
}))
"""


def test_minari_itself_reads_an_export(store, make_episode, tmp_path):
    episodes = [make_episode(i, steps=4 + i) for i in range(3)]
    for episode in episodes:
        store.add(episode)
    write_minari(store, tmp_path / "minari" / "reach-v0")
    found = in_minari(READ, "reach-v0", root=tmp_path / "minari")
    assert (found["episodes"], found["steps"], found["lengths"]) == (3, 15, [4, 5, 6])
    assert found["listed"] == ["reach-v0"]
    assert found["space"] == "Box(-inf, inf, (5,), float32)"
    assert found["action"] == [2]
    for i, episode in enumerate(episodes):
        np.testing.assert_array_equal(np.float32(found["observations"][i]), episode.state)
        np.testing.assert_array_equal(np.float32(found["actions"][i]), episode.action)
        np.testing.assert_array_equal(np.float32(found["rewards"][i]), episode.reward)
        assert found["terminations"][i] == [False] * (3 + i) + [i % 2 == 0]
        assert found["success"][i] == [False, *episode.success.tolist()]
        assert found["seeds"][i] == episode.seed


WRITE = """
import gymnasium as gym, json, minari, numpy as np
from minari.data_collector import EpisodeBuffer
env = gym.make("Pendulum-v1")
buffers = []
for seed in range(3):
    env.action_space.seed(seed)
    steps = [(env.reset(seed=seed)[0],)]
    for _ in range(200):
        action = env.action_space.sample()
        steps.append((*env.step(action)[:4], action))
    observations, rewards, terminations, truncations, actions = (
        [step[i] for step in steps if len(step) > i] for i in range(5))
    buffers.append(EpisodeBuffer(
        seed=seed, observations=np.stack(observations), actions=np.stack(actions),
        rewards=rewards, terminations=terminations, truncations=truncations, infos={}))
dataset = minari.create_dataset_from_buffers(
    "test/pendulum-v0", buffer=buffers, env="Pendulum-v1", algorithm_name="random")
print(json.dumps([e.observations.tolist() for e in dataset.iterate_episodes()]))
"""


def test_what_minari_itself_wrote_is_read(tmp_path):
    observations = in_minari(WRITE, root=tmp_path)
    folder = tmp_path / "test" / "pendulum-v0"
    episodes = list(read_minari(folder, fps=20))
    assert len(episodes) == 3
    for i, episode in enumerate(episodes):
        np.testing.assert_array_equal(episode.state, np.float32(observations[i]))
        assert (episode.env, episode.seed, len(episode)) == ("gymnasium/Pendulum-v1", i, 200)
        assert (episode.terminated, episode.truncated) == (False, True)
    store = EpisodeStore.create(tmp_path / "store", fps=20)
    for episode in [*episodes, *read_minari(folder / "data", fps=20)]:
        store.add(episode)
    assert len(store) == 3


def write_by_hand(folder: Path, *, data_format: str = "hdf5") -> None:
    """A data set with nested observations and JPEG pictures, in Minari's layout."""
    (folder / "data").mkdir(parents=True)
    box = {"type": "Box", "dtype": "float64", "low": [0] * 2, "high": [1] * 2, "shape": [2]}
    picture = {"type": "Box", "dtype": "uint8", "low": 0, "high": 255, "shape": [32, 48, 3]}
    arm = {"type": "Tuple", "subspaces": [box, {"type": "Discrete", "n": 3, "start": 0}]}
    space = {"type": "Dict", "subspaces": {"goal": box, "arm": arm, "view": picture}}
    metadata = {
        "dataset_id": "hand-v0",
        "total_episodes": 1,
        "data_format": data_format,
        "observation_space": json.dumps(space),
    }
    (folder / "data/metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data/main_data.hdf5", "w") as file:
        group = file.create_group("episode_0")
        group["observations/goal"] = np.arange(8.0).reshape(4, 2)
        group["observations/arm/_index_0"] = 10 + np.arange(8.0).reshape(4, 2)
        group["observations/arm/_index_1"] = np.array([0, 1, 2, 1])
        jpegs = []
        for level in (0, 80, 160, 240):
            buffer = io.BytesIO()
            Image.fromarray(np.full((32, 48, 3), level, np.uint8)).save(buffer, "JPEG")
            jpegs.append(np.frombuffer(buffer.getvalue(), np.uint8))
        view = group.create_dataset("observations/view", (4,), h5py.vlen_dtype(np.uint8))
        for i, jpeg in enumerate(jpegs):
            view[i] = jpeg
        group["actions"] = np.zeros((3, 2))
        group["rewards"] = np.arange(3.0)
        group["terminations"] = np.zeros(3, bool)
        group["truncations"] = np.zeros(3, bool)


def test_nested_observations_and_pictures(tmp_path):
    write_by_hand(tmp_path / "hand-v0")
    episode = next(read_minari(tmp_path / "hand-v0", fps=10))
    np.testing.assert_array_equal(episode.state[1], [2, 3, 12, 13, 1])
    assert episode.metadata["observation_keys"] == [["goal", 2], ["arm.0", 2], ["arm.1", 1]]
    pictures = episode.obs["observation.images.view"]
    assert pictures.shape == (4, 32, 48, 3)
    np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), [0, 80, 160, 240], atol=1)
    assert episode.truncated  # neither flag was set: the recording was cut


def message(error_type, call) -> str:
    with pytest.raises(error_type) as error:
        call()
    return str(error.value)


def test_messages(store, make_episode, tmp_path):
    folder = tmp_path / "hand-v0"
    read = lambda **options: list(read_minari(folder, **options))  # noqa: E731
    assert message(FileNotFoundError, read) == f"No Minari data set at '{folder}'."
    write_by_hand(folder)
    assert message(DataError, read) == (
        f"'{folder}' does not say how many steps it has a second. Give `fps` (--fps)."
    )
    main = folder / "data/main_data.hdf5"
    with h5py.File(main, "a") as file:
        del file["episode_0/actions"]
    assert message(DataError, lambda: read(fps=10)) == (
        f"'{main}', episode_0: it has no 'actions'. It has ['observations', 'rewards', "
        "'terminations', 'truncations']."
    )
    with h5py.File(main, "a") as file:
        del file["episode_0"]
    assert message(DataError, lambda: read(fps=10)) == (
        f"'{main}', episode_0 is missing; the data set counts more episodes."
    )
    write_by_hand(tmp_path / "arrow-v0", data_format="arrow")
    assert message(DataError, lambda: list(read_minari(tmp_path / "arrow-v0", fps=1))) == (
        f"'{tmp_path}/arrow-v0' is a Minari data set in the form 'arrow'; robopref reads 'hdf5'. "
        "Write it again with minari in that form."
    )
    assert message(DataError, lambda: list(read_minari(tmp_path, fps=1))) == (
        f"'{tmp_path}' is not a Minari data set: it has no 'data/metadata.json'."
    )
    (folder / "data/metadata.json").write_text("{")
    assert message(DataError, lambda: read(fps=10)) == (
        f"'{folder}/data/metadata.json' is damaged: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)."
    )
    assert message(DataError, lambda: write_minari(store, tmp_path / "new-v0")) == (
        f"'{store.root}' has no episodes to export."
    )
    store.add(make_episode(0))
    assert message(ValueError, lambda: write_minari(store, tmp_path / "reach")) == (
        "A Minari data set is named like 'reach-v0', got 'reach'."
    )
    assert message(FileExistsError, lambda: write_minari(store, folder)) == (
        f"'{folder}' exists. Delete it, or give another name."
    )


COMBINE = """
import json, sys, minari
minari.combine_datasets([minari.load_dataset(name) for name in sys.argv[1:]], "both-v0")
print(json.dumps(None))
"""


def test_what_minari_makes_of_exports_comes_back_with_every_number(store, make_episode, tmp_path):
    episodes = [make_episode(i, steps=4 + i) for i in range(3)]
    for episode in episodes:
        points = np.random.default_rng(1).normal(size=(len(episode) + 1, 4, 3))
        episode.obs["observation.points"] = points.astype(np.float32)
        store.add(episode)
    for name in ("first-v0", "second-v0"):
        write_minari(store, tmp_path / "minari" / name)
    in_minari(COMBINE, "first-v0", "second-v0", root=tmp_path / "minari")
    found = list(read_minari(tmp_path / "minari/both-v0", fps=episodes[0].fps))
    assert len(found) == 6
    for again, episode in zip(found, episodes * 2, strict=True):
        # What Minari itself does not copy: seeds, and what robopref has added beside its layout.
        for key in ("terminated", "truncated", "fps"):
            assert getattr(again, key) == getattr(episode, key)
        for key in ("action", "reward", "success", "sim_states"):
            np.testing.assert_array_equal(getattr(again, key), getattr(episode, key))
        assert again.obs.keys() == episode.obs.keys()
        for key, value in episode.obs.items():
            np.testing.assert_array_equal(again.obs[key], value)


NESTED = """
import json, minari, numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from minari.data_collector import EpisodeBuffer
space = Dict({
    "arm": Tuple((Box(-1, 1, (2,), np.float64), Discrete(3))),
    "view": Box(0, 255, (32, 48, 3), np.uint8)})
buffers = []
for seed in range(2):
    rng, num = np.random.default_rng(seed), 5 + seed
    view = np.stack([np.full((32, 48, 3), 10 * i, np.uint8) for i in range(num + 1)])
    ends = np.arange(num) == num - 1
    buffers.append(EpisodeBuffer(
        seed=seed, rewards=rng.normal(size=num), terminations=ends, truncations=~ends & False,
        observations={
            "arm": (rng.uniform(-1, 1, (num + 1, 2)), rng.integers(0, 3, num + 1)), "view": view},
        actions=rng.uniform(-1, 1, (num, 2)).astype(np.float32),
        infos={"success": np.concatenate([[False], ends])}))
dataset = minari.create_dataset_from_buffers(
    "lab/arm-v0", buffer=buffers, observation_space=space,
    action_space=Box(-1, 1, (2,), np.float32), algorithm_name="random")
print(json.dumps([{
    "arm": e.observations["arm"][0].tolist(), "kind": e.observations["arm"][1].tolist(),
    "view": np.asarray(e.observations["view"]).mean(axis=(1, 2, 3)).tolist(),
    "actions": e.actions.tolist(), "rewards": e.rewards.tolist(),
    "success": e.infos["success"].tolist()} for e in dataset.iterate_episodes()]))
"""


def test_what_minari_wrote_in_parts_goes_there_and_back(tmp_path):
    told = in_minari(NESTED, root=tmp_path / "minari")
    episodes = list(read_minari(tmp_path / "minari/lab/arm-v0", fps=10))
    for episode, of in zip(episodes, told, strict=True):
        state = np.concatenate([of["arm"], np.array(of["kind"])[:, None]], axis=1)
        np.testing.assert_array_equal(episode.state, np.float32(state))
        pictures = episode.obs["observation.images.view"]
        np.testing.assert_allclose(pictures.mean(axis=(1, 2, 3)), of["view"], atol=1e-9)
        np.testing.assert_array_equal(episode.action, np.float32(of["actions"]))
        np.testing.assert_array_equal(episode.reward, np.float32(of["rewards"]))
        assert episode.success.tolist() == of["success"][1:]
        assert (episode.succeeded, episode.terminated) == (True, True)
    store = EpisodeStore.create(tmp_path / "store", fps=10)
    store.add_all(episodes)
    write_minari(store, tmp_path / "minari/again-v0")
    found = in_minari(READ, "again-v0", root=tmp_path / "minari")
    for i, episode in enumerate(episodes):
        np.testing.assert_array_equal(np.float32(found["observations"][i]), episode.state)
        np.testing.assert_array_equal(np.float32(found["actions"][i]), episode.action)
        np.testing.assert_array_equal(np.float32(found["rewards"][i]), episode.reward)
        assert found["success"][i] == [False, *episode.success.tolist()]


def test_actions_of_several_parts_are_refused(tmp_path):
    write_by_hand(tmp_path / "hand-v0")
    main = tmp_path / "hand-v0/data/main_data.hdf5"
    with h5py.File(main, "a") as file:
        del file["episode_0/actions"]
        file["episode_0/actions/arm"] = np.zeros((3, 2))
    assert message(DataError, lambda: list(read_minari(tmp_path / "hand-v0", fps=10))) == (
        f"'{main}', episode_0: 'actions' has parts ['arm'], and must be one array."
    )
