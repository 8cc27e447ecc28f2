"""robomimic's own tools on what robopref recorded and exported, and the way back."""

import json
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("robomimic", reason="The extra 'robomimic' is not installed.")
pytest.importorskip("robosuite", reason="The extra 'robomimic' is not installed.")

from robopref import cli
from robopref.data.robomimic_format import STATE_KEYS
from robopref.data.robomimic_hdf5 import read_robomimic
from robopref.data.store import EpisodeStore
from robopref.envs.make import make_env
from robopref.envs.robomimic_package import env_robosuite
from robopref.types import STATE, SimState

pytestmark = pytest.mark.filterwarnings("ignore")  # robomimic warns about its own dependencies.
SIZES = (3, 4, 2, 10)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a data set of lift's expert, recorded by the command line, and its export."""
    folder = tmp_path_factory.mktemp("lift")
    data, out = folder / "data", folder / "lift.hdf5"
    commands = (
        ["collect", "--env", "robomimic/lift", "--behaviour", "high-return", "--num-episodes", "2",
         "--num-workers", "0", "--out", data],
        ["data", "export", "--data", data, "--out", out],
    )  # fmt: skip
    for command in commands:
        assert cli.main([str(part) for part in command]) == 0
    return EpisodeStore.open(data), out


@pytest.fixture(scope="module")
def package_env(exported):
    """Return the environment that robomimic makes from the exported file."""
    env_robosuite()  # From here on robomimic finds its own module.
    from robomimic.utils import env_utils, file_utils

    metadata = file_utils.get_env_metadata_from_dataset(str(exported[1]))
    return env_utils.create_env_from_metadata(metadata, render=False, render_offscreen=False)


def test_the_experts_were_recorded_as_they_are(exported):
    store, _ = exported
    assert len(store) == 2
    assert all(episode.succeeded for episode in store)
    assert {row.env for row in store.rows} == {"robomimic/lift"}
    assert {row.length < 60 for row in store.rows} == {True}


def test_robomimic_makes_the_environment_that_the_file_names(exported, package_env):
    with h5py.File(exported[1]) as file:
        data: Any = file["data"]
        env_args = json.loads(data.attrs["env_args"])
        assert "<mujoco model=" in data["demo_0"].attrs["model_file"]
    assert (env_args["env_name"], env_args["type"], env_args["env_version"]) == ("Lift", 1, "1.5.2")
    assert env_args["env_kwargs"]["control_freq"] == 20
    assert package_env.name == "Lift"
    assert package_env.action_dimension == 7


def test_robomimics_data_set_reads_the_observations_by_its_own_keys(exported):
    from robomimic.utils import file_utils, obs_utils
    from robomimic.utils.dataset import SequenceDataset

    store, path = exported
    obs_utils.initialize_obs_utils_with_obs_specs([{"obs": {"low_dim": list(STATE_KEYS)}}])
    shapes = file_utils.get_shape_metadata_from_dataset(str(path), list(STATE_KEYS))
    assert dict(shapes["all_shapes"]) == {
        key: [size] for key, size in zip(STATE_KEYS, SIZES, strict=True)
    }
    dataset = SequenceDataset(
        str(path), obs_keys=STATE_KEYS, dataset_keys=["actions", "rewards", "dones"], seq_length=2
    )
    assert len(dataset) == store.num_steps
    episode = store.episode(store.ids[0])
    item: Any = dataset[3]
    joined = np.concatenate([item["obs"][key] for key in STATE_KEYS], axis=1)
    np.testing.assert_array_equal(joined, episode.state[3:5])
    np.testing.assert_array_equal(item["actions"], episode.action[3:5])


@pytest.mark.slow
def test_playing_back_the_states_gives_the_recorded_observations(exported, package_env):
    store, path = exported
    with h5py.File(path) as file:
        for i, episode in enumerate(store):
            demo: Any = file[f"data/demo_{i}"]
            states = demo["states"][:]
            package_env.reset()
            package_env.reset_to({"model": demo.attrs["model_file"], "states": states[0]})
            for t, state in enumerate(states):
                found = package_env.reset_to({"states": state})
                joined = np.concatenate([found[key] for key in STATE_KEYS]).astype(np.float32)
                np.testing.assert_array_equal(joined, episode.state[t])
            assert package_env.get_reward() == pytest.approx(episode.reward[-2], abs=1e-6)


@pytest.mark.slow
def test_robomimics_script_extracts_the_same_observations_and_rewards(exported, tmp_path):
    from robomimic.scripts.dataset_states_to_obs import dataset_states_to_obs

    store, path = exported
    arguments: dict[str, Any] = {
        "dataset": str(path), "output_name": "again.hdf5", "n": None, "shaped": True,
        "camera_names": [], "camera_height": 84, "camera_width": 84, "done_mode": 0,
        "copy_rewards": False, "copy_dones": False, "compress": False, "exclude_next_obs": False,
    }  # fmt: skip
    dataset_states_to_obs(SimpleNamespace(**arguments))
    episodes = list(read_robomimic(path.parent / "again.hdf5"))
    assert [len(episode) for episode in episodes] == [row.length for row in store.rows]
    for again, episode in zip(episodes, store, strict=True):
        np.testing.assert_array_equal(again.state[:-1], episode.state[:-1])
        np.testing.assert_allclose(again.reward[:-1], episode.reward[:-1], atol=1e-6)
        assert again.env == "robomimic/lift"


def test_an_import_of_the_export_replays_in_our_environment(exported):
    store, path = exported
    env: Any = make_env("robomimic/lift")
    for again, episode in zip(read_robomimic(path), store, strict=True):
        assert again.id == episode.id
        assert again.env == episode.env
        assert again.sim_states is not None
        assert episode.sim_states is not None
        np.testing.assert_array_equal(again.sim_states, episode.sim_states)
        assert again.sim_episode is not None
        assert episode.sim_episode is not None
        np.testing.assert_array_equal(again.sim_episode, episode.sim_episode)
        env.set_state(again.sim_state(4))
        for t in range(4, len(again)):
            obs, reward, _, _, info = env.step(again.action[t])
            np.testing.assert_array_equal(obs[STATE], episode.state[t + 1])
            assert reward == pytest.approx(episode.reward[t])
            assert info["success"] == episode.success[t]
    env.close()


@pytest.mark.slow
def test_a_file_of_robomimics_own_replays_from_its_states_and_model(exported, tmp_path):
    store, path = exported
    own = tmp_path / "own.hdf5"
    with h5py.File(path) as ours, h5py.File(own, "w") as file:
        ours.copy("data", file)
        demos: Any = file["data"]
        for demo in demos.values():
            states = demo["states"][:, :32]
            for name in ("states", "sim_episode", "final_state", "success"):
                del demo[name]
            demo["states"] = states  # time, positions, velocities: all that robomimic keeps.
            del demo.attrs["robopref"]
    imported = EpisodeStore.create(tmp_path / "store", fps=20)
    for episode in read_robomimic(own):
        imported.add(episode)
    env: Any = make_env("robomimic/lift")
    for again, episode in zip(imported, store, strict=True):
        assert again.env == "robomimic/lift"
        env.use_model(again.metadata["model_file"])
        for t in range(len(again)):
            obs = env.set_state(again.sim_state(t))
            np.testing.assert_array_equal(obs[STATE], episode.state[t])
    again = imported.episode(imported.ids[-1])
    assert again.sim_states is not None
    pictures = env.render_states(again.sim_states[:2], again.sim_episode, width=32, height=24)
    assert pictures.std() > 5
    assert isinstance(again.sim_state(0), SimState)
    env.close()
