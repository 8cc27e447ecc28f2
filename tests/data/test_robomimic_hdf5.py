import dataclasses
import json
import sys
from typing import Any

import h5py
import numpy as np
import pytest

from robopref.data.robomimic_format import STATE_KEYS, SimulatorFile
from robopref.data.robomimic_hdf5 import read_robomimic
from robopref.data.robomimic_writer import write_robomimic
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from tests.data.robomimic_files import ENV_ARGS, SIZES, write_like_robomimic


@pytest.fixture
def foreign(tmp_path):
    path = tmp_path / "low_dim.hdf5"
    write_like_robomimic(path)
    return path


def test_demonstrations_come_in_the_order_of_their_numbers(foreign):
    episodes = list(read_robomimic(foreign))
    assert [len(episode) for episode in episodes] == [5 + i for i in range(12)]
    assert [float(episode.action[0, 0]) for episode in episodes] == list(range(12))


def test_an_imported_demonstration_holds_what_the_file_does(foreign):
    episode = list(read_robomimic(foreign))[3]
    assert episode.sim_states is not None
    with h5py.File(foreign) as file:
        demo: Any = file["data/demo_3"]
        wanted = np.concatenate([demo[f"obs/{key}"][:] for key in STATE_KEYS], axis=1)
        last = np.concatenate([demo[f"next_obs/{key}"][-1] for key in STATE_KEYS])
        np.testing.assert_array_equal(episode.sim_states[:-1], demo["states"][:])
    np.testing.assert_array_equal(episode.state, np.stack([*wanted, last]).astype(np.float32))
    assert (episode.env, episode.task, episode.fps) == ("robomimic/lift", "Lift", 20)
    assert list(np.flatnonzero(episode.success)) == [7]
    assert episode.terminated
    assert not episode.truncated
    assert episode.metadata["model_file"] == "<mujoco model='3'/>"
    # The file has no simulator state after the last action, and the metadata says so.
    np.testing.assert_array_equal(episode.sim_states[-1], episode.sim_states[-2])
    assert episode.metadata["repeated"] == ["sim.state"]


def test_without_next_obs_the_last_observation_is_repeated_and_named(tmp_path):
    path = tmp_path / "no_next.hdf5"
    write_like_robomimic(path, num=1, next_obs=False)
    episode = next(read_robomimic(path))
    np.testing.assert_array_equal(episode.state[-1], episode.state[-2])
    assert episode.metadata["repeated"] == [*(f"obs/{key}" for key in sorted(SIZES)), "sim.state"]


def test_filter_keys_and_state_keys(foreign):
    episodes = list(read_robomimic(foreign, filter_key="train", state_keys=["object"]))
    assert [len(episode) for episode in episodes] == [5, 7, 9, 11, 13, 15]
    assert episodes[0].state.shape == (6, 10)


def test_importing_twice_gives_the_same_episodes(foreign, tmp_path):
    store = EpisodeStore.create(tmp_path / "store", fps=20)
    for _ in range(2):
        for episode in read_robomimic(foreign):
            store.add(episode)
    assert len(store) == 12
    assert store.validate() == []


def test_export_of_an_import_is_the_file_again(foreign, tmp_path):
    store = EpisodeStore.create(tmp_path / "store", fps=20)
    for episode in read_robomimic(foreign):
        store.add(episode)
    out = tmp_path / "again.hdf5"
    assert write_robomimic(store, out, masks={"train": store.ids[::2]}) == 12
    one: Any
    two: Any
    with h5py.File(foreign) as one, h5py.File(out) as two:
        assert json.loads(two["data"].attrs["env_args"]) == ENV_ARGS
        assert two["data"].attrs["total"] == one["data"].attrs["total"]
        np.testing.assert_array_equal(two["mask/train"][:], one["mask/train"][:])
        names: list[str] = []
        one["data"].visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        assert len(names) == 12 * (4 + 2 * 4)
        for name in names:
            found, wanted = two["data"][name][:], one["data"][name][:]
            # Observations and actions are float32 in robopref; simulator states are not.
            tolerance = 0 if name.endswith("states") else 1e-6
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=0)
        for i in range(12):
            attributes = [dict(f[f"data/demo_{i}"].attrs) for f in (one, two)]
            assert attributes[0].items() <= attributes[1].items()


@pytest.mark.parametrize("camera", [False, True])
def test_episodes_survive_export_and_import(store, make_episode, tmp_path, camera):
    episodes = [make_episode(i, steps=4 + i, camera=camera) for i in range(3)]
    for episode in episodes:
        store.add(episode)
    out = tmp_path / "out.hdf5"
    write_robomimic(store, out)
    back = EpisodeStore.create(tmp_path / "back", fps=20)
    for episode in read_robomimic(out):
        back.add(episode)
    assert back.ids == store.ids
    for episode in episodes:
        found = back.episode(episode.id)
        for key in ("env", "task", "seed", "terminated", "truncated"):
            assert getattr(found, key) == getattr(episode, key)
        assert found.metadata.items() >= episode.metadata.items()
        for key in ("action", "reward", "success", "sim_states", "sim_episode"):
            np.testing.assert_array_equal(getattr(found, key), getattr(episode, key))
        np.testing.assert_array_equal(found.state, episode.state)
    if camera:
        key = "observation.images.corner"
        segment = Segment(episodes[1].id, 0, 5)
        difference = back.frames(segment, key).astype(int) - store.frames(segment, key)
        assert np.abs(difference).mean() < 3


def test_what_made_the_episodes_is_said_where_they_do_not_say_it(store, make_episode, tmp_path):
    store.add(make_episode(0))
    simulator = SimulatorFile(ENV_ARGS, "<mujoco>" + "x" * 100_000, [("a", 2), ("b", 3)])
    write_robomimic(store, tmp_path / "out.hdf5", simulator=simulator)
    (episode,) = read_robomimic(tmp_path / "out.hdf5", state_keys=["a", "b"])
    np.testing.assert_array_equal(episode.state, make_episode(0).state)
    assert episode.metadata["model_file"] == simulator.model_file
    assert episode.metadata["env_args"] == ENV_ARGS
    assert episode.env == "metaworld/reach-v3"


@pytest.mark.filterwarnings("ignore")  # robomimic warns about its own dependencies.
def test_robomimic_itself_reads_an_export(store, make_episode, tmp_path, capsys):
    pytest.importorskip("robomimic")
    for i in range(3):
        store.add(make_episode(i, steps=6 + i))
    out = tmp_path / "out.hdf5"
    write_robomimic(store, out, masks={"train": store.ids[:2]})
    from robomimic.utils import file_utils, obs_utils
    from robomimic.utils.dataset import SequenceDataset

    modalities = {"obs": {"low_dim": ["state"]}}
    obs_utils.initialize_obs_utils_with_obs_specs([modalities])
    metadata = file_utils.get_env_metadata_from_dataset(str(out))
    assert metadata["env_name"] == "metaworld/reach-v3"
    shapes = file_utils.get_shape_metadata_from_dataset(str(out), ["state"])
    assert shapes["ac_dim"] == 2
    assert dict(shapes["all_shapes"]) == {"state": [5]}
    for filter_key, num in ((None, 21), ("train", 13)):
        dataset = SequenceDataset(
            str(out), obs_keys=["state"], dataset_keys=["actions", "rewards", "dones"],
            frame_stack=2, seq_length=4, hdf5_cache_mode="low_dim", filter_by_attribute=filter_key,
        )  # fmt: skip
        assert len(dataset) == num
        items: list[Any] = [dataset[i] for i in range(num)]
    episode = make_episode(0, steps=6)
    np.testing.assert_array_equal(items[0]["obs"]["state"], episode.state[[0, 0, 1, 2, 3]])
    np.testing.assert_array_equal(items[0]["next_obs"]["state"], episode.state[[1, 1, 2, 3, 4]])
    np.testing.assert_array_equal(items[2]["actions"], episode.action[[1, 2, 3, 4, 5]])
    assert [float(item["dones"][1]) for item in items[:6]] == [0, 0, 0, 0, 0, 1]
    assert "robomimic" in sys.modules
    capsys.readouterr()


def message(error_type, call) -> str:
    with pytest.raises(error_type) as error:
        call()
    return str(error.value)


def test_messages(foreign, tmp_path, store, make_episode):
    absent = tmp_path / "absent.hdf5"
    assert message(FileNotFoundError, lambda: next(read_robomimic(absent))) == (
        f"No file at '{absent}'."
    )
    text = tmp_path / "text.hdf5"
    text.write_text("no hdf5")
    assert message(DataError, lambda: next(read_robomimic(text))) == (
        f"'{text}' is not readable as HDF5: Unable to synchronously open file (file signature not "
        "found)."
    )
    truncated = tmp_path / "truncated.hdf5"
    truncated.write_bytes(foreign.read_bytes()[:-2000])
    assert message(DataError, lambda: next(read_robomimic(truncated))).startswith(
        f"'{truncated}' is not readable as HDF5: Unable to synchronously open file (truncated file"
    )
    other = tmp_path / "other.hdf5"
    with h5py.File(other, "w") as file:
        file["data"] = 1
    assert message(DataError, lambda: next(read_robomimic(other))) == (
        f"'{other}' is not a robomimic file: it has no group 'data' with the attribute 'env_args'."
    )
    assert message(DataError, lambda: next(read_robomimic(foreign, filter_key="trian"))) == (
        f"'{foreign}' has no filter key 'trian'. Did you mean 'train'? It has ['train']."
    )
    assert message(DataError, lambda: next(read_robomimic(foreign, state_keys=["pose"]))) == (
        f"'{foreign}', demo_0: it has no vectors ['pose'] in 'obs'. It has {sorted(SIZES)}."
    )
    with h5py.File(foreign, "a") as file:
        del file["data/demo_0/actions"]
        del file["data/demo_1/obs"]
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift"})
    assert message(DataError, lambda: next(read_robomimic(foreign))) == (
        f"'{foreign}' does not say how many steps it has a second. Give `fps` (--fps)."
    )
    assert message(DataError, lambda: next(read_robomimic(foreign, fps=20))) == (
        f"'{foreign}', demo_0: it has no 'actions'. It has ['dones', 'next_obs', 'obs', 'rewards', "
        "'states']."
    )
    with h5py.File(foreign, "a") as file:
        del file["data/demo_0"]
    assert message(DataError, lambda: next(read_robomimic(foreign, fps=20))) == (
        f"'{foreign}', demo_1: it has no 'obs'. Extract observations with robomimic first."
    )
    assert message(DataError, lambda: write_robomimic(store, absent)) == (
        f"'{store.root}' has no episodes to export."
    )
    store.add(make_episode(0))
    assert message(FileExistsError, lambda: write_robomimic(store, foreign)) == (
        f"'{foreign}' exists. Delete it, or give another name."
    )


def test_messages_about_names_and_numbers(foreign, tmp_path, store, make_episode):
    with h5py.File(foreign, "a") as file:
        demo: Any = file["data/demo_0"]
        rewards = demo["rewards"][:]
        del demo["rewards"]
        demo["rewards"] = rewards[:-1]
        file["mask/gone"] = np.array(["demo_99"], "S")
    assert message(DataError, lambda: next(read_robomimic(foreign))) == (
        f"'{foreign}', demo_0: 'rewards' must have shape (5,), got (4,)."
    )
    assert message(DataError, lambda: next(read_robomimic(foreign, filter_key="gone"))) == (
        f"'{foreign}' has no demonstration 'data/demo_<number>' for the name 'demo_99'."
    )
    with h5py.File(foreign, "a") as file:
        file.move("data/demo_3", "data/third")
    assert message(DataError, lambda: next(read_robomimic(foreign))) == (
        f"'{foreign}' has no demonstration 'data/demo_<number>' for the name 'third'."
    )
    for text, reason in (
        ("{}", "have an 'env_name' that is text, got None."),
        ("no json", "be a JSON object, and is not: Expecting value: line 1 column 1 (char 0)."),
    ):
        with h5py.File(foreign, "a") as file:
            file["data"].attrs["env_args"] = text
        assert message(DataError, lambda: next(read_robomimic(foreign))) == (
            f"'{foreign}', data: the attribute 'env_args' must {reason}"
        )
    store.add(make_episode(0))
    store.add(dataclasses.replace(make_episode(1), env="metaworld/push-v3"))
    out = tmp_path / "two.hdf5"
    assert message(DataError, lambda: write_robomimic(store, out)) == (
        f"'{store.root}' has episodes of ['metaworld/push-v3', 'metaworld/reach-v3']; a robomimic "
        "file has one environment."
    )
    assert not out.exists()
