import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.data.windows import WindowSampler
from robopref.errors import DataError


def episode(length: int, offset: int, *, size: int = 2) -> Episode:
    """Observations count up from `offset`, actions from `offset` + 0.5."""
    steps = offset + np.arange(length + 1, dtype=np.float32)
    outcome = np.zeros(length, np.float32)
    obs = {"observation.state": np.repeat(steps[:, None], size, axis=1)}
    return Episode(
        f"id-{offset}", obs, steps[:-1, None] + 0.5, outcome, outcome > 0, False, True, "env",
        "task", 0, 10,
    )  # fmt: skip


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    n_obs_steps=st.integers(1, 4),
    chunk_size=st.integers(1, 12),
    num_past=st.integers(0, 3),
)
@settings(deadline=None, max_examples=60)
def test_windows_are_those_of_the_definition(lengths, n_obs_steps, chunk_size, num_past):
    episodes = [episode(n, 100 * i) for i, n in enumerate(lengths)]
    sampler = WindowSampler(episodes, n_obs_steps, chunk_size, num_past_actions=num_past)
    assert len(sampler) == sum(lengths)
    batch = sampler.gather(np.arange(len(sampler)))
    number = 0
    for one in episodes:
        for step in range(len(one)):
            obs_steps = np.maximum(np.arange(step - n_obs_steps + 1, step + 1), 0)
            action_steps = np.arange(step, step + chunk_size)
            inside = np.minimum(action_steps, len(one) - 1)
            np.testing.assert_array_equal(batch["observation.state"][number], one.state[obs_steps])
            np.testing.assert_array_equal(batch["action"][number], one.action[inside])
            np.testing.assert_array_equal(batch["action_is_pad"][number], action_steps >= len(one))
            if num_past:
                before = np.maximum(np.arange(step - num_past, step), 0)
                np.testing.assert_array_equal(batch["action.past"][number], one.action[before])
            number += 1


def test_the_first_action_belongs_to_the_last_observation():
    batch = WindowSampler([episode(20, 0)], 3, 4).gather(np.array([7]))
    np.testing.assert_array_equal(batch["observation.state"][0, :, 0], [5, 6, 7])
    np.testing.assert_array_equal(batch["action"][0, :, 0], [7.5, 8.5, 9.5, 10.5])
    assert not batch["action_is_pad"].any()


@pytest.mark.parametrize("num_past", [0, 1])
def test_a_batch_is_contiguous_float32_and_its_own(num_past):
    sampler = WindowSampler([episode(20, 0)], 2, 4, num_past_actions=num_past)
    first, second = sampler.gather(np.array([3, 4])), sampler.gather(np.array([3, 4]))
    for key, shape in (("observation.state", (2, 2, 2)), ("action", (2, 4, 1))):
        assert first[key].shape == shape
        assert first[key].dtype == np.float32
        assert first[key].flags.c_contiguous
        first[key][:] = -1
        np.testing.assert_array_equal(second[key], sampler.gather(np.array([3, 4]))[key])


def test_episode_and_step_of_a_window():
    sampler = WindowSampler([episode(3, 0), episode(1, 100), episode(4, 200)], 1, 1)
    indices = np.arange(8)
    np.testing.assert_array_equal(sampler.episode_of(indices), [0, 0, 0, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(sampler.step_of(indices), [0, 1, 2, 0, 0, 1, 2, 3])


def test_memory_mapped_files_give_the_same_windows(tmp_path):
    episodes = [episode(5, 0), episode(7, 100)]
    indices = np.array([11, 0, 4, 5])
    mapped = WindowSampler(episodes, 2, 3, directory=tmp_path / "cache").gather(indices)
    plain = WindowSampler(episodes, 2, 3).gather(indices)
    assert mapped.keys() == plain.keys()
    for key, value in plain.items():
        np.testing.assert_array_equal(mapped[key], value)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        "action.bin", "observation.state.bin",
    }  # fmt: skip


def test_a_store_is_a_source_of_windows(tmp_path):
    store = EpisodeStore.create(tmp_path / "store", fps=10)
    episodes = [episode(5, 0), episode(7, 100)]
    for one in episodes:
        store.add(one)
    indices = np.arange(12)
    found, wanted = (WindowSampler(e, 2, 3).gather(indices) for e in (store, episodes))
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value)


def test_no_window_there():
    with pytest.raises(IndexError):
        WindowSampler([episode(3, 0)], 1, 1).gather(np.array([3]))


def test_messages():
    with pytest.raises(DataError) as error:
        WindowSampler([], 2, 3)
    assert str(error.value) == "Windows need at least one episode, got none."
    with pytest.raises(DataError) as error:
        WindowSampler([episode(3, 0), episode(3, 9, size=5)], 2, 3)
    assert str(error.value) == (
        "Windows need episodes of one shape: episode id-9 has 'observation.state' float32 (5,), "
        "those before it float32 (2,)."
    )
    with pytest.raises(ValueError) as range_error:
        WindowSampler([episode(3, 0)], 0, 3)
    assert str(range_error.value) == "`n_obs_steps` must be at least 1, got 0."
    with pytest.raises(ValueError) as range_error:
        WindowSampler([episode(3, 0)], 1, 0)
    assert str(range_error.value) == "`chunk_size` must be at least 1, got 0."
