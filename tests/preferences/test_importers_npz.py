"""Preference sets as npz files: every label, every segment, every bad file."""

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.preferences.importers import PreferenceSet, Source
from robopref.preferences.importers_npz import write_npz
from robopref.types import STATE
from tests.preferences.foreign_sets import (
    DA,
    DO,
    LENGTH,
    error_of,
    npz_arrays,
    prefers_b,
    write_imitation,
    write_pt,
)


@pytest.mark.parametrize(
    ("write", "labels", "expected"),
    [
        (write_pt, [0, 1, 0.5, -1], [0.0, 1.0, 0.5, 0.5]),
        (write_pt, [[1, 0], [0, 1], [0.5, 0.5]], [0.0, 1.0, 0.5]),
        (write_imitation, [1, 0, 0.5], [0.0, 1.0, 0.5]),
    ],
)
def test_every_label_of_a_convention(tmp_path, rng, write, labels, expected):
    source = write(tmp_path / "a.npz", rng, labels)
    assert prefers_b(PreferenceSet.from_source(source).preferences) == expected


def test_segments_hold_what_the_file_does(tmp_path, rng):
    source = write_pt(tmp_path / "a.npz", rng, [1, 0])
    imported = PreferenceSet.from_source(source)
    imported.save(tmp_path / "out")
    store = EpisodeStore.open(tmp_path / "out")
    with np.load(source.path) as arrays:
        for number, preference in enumerate(imported.preferences):
            for item, i in zip(preference.query.items, (1, 2), strict=True):
                assert isinstance(item, Segment)
                obs, action = store.cut(item)
                expected = arrays[f"obs_{i}"][number].astype(np.float32)
                np.testing.assert_array_equal(obs[STATE], expected)
                expected = arrays[f"action_{i}"][number].astype(np.float32)
                np.testing.assert_array_equal(action, expected)
    episode = store.episode(store.ids[0])
    # The file has no observation after the last action: the last one stands there, and is named.
    assert episode.metadata["repeated"] == [STATE]
    assert not episode.knows("reward")
    assert not episode.knows("success")
    np.testing.assert_array_equal(episode.state[-1], episode.state[-2])
    assert (episode.env, episode.fps) == ("metaworld/reach-v3", 80.0)


def test_imitation_gives_the_last_observation_and_rewards(tmp_path, rng):
    rewards = rng.normal(size=(1, LENGTH))
    source = write_imitation(tmp_path / "a.npz", rng, [1], rews_1=rewards, rews_2=-rewards)
    episode = PreferenceSet.from_source(source).episodes[0]
    with np.load(source.path) as arrays:
        np.testing.assert_array_equal(episode.state, arrays["obs_1"][0].astype(np.float32))
    np.testing.assert_array_equal(episode.reward, rewards[0].astype(np.float32))
    assert "repeated" not in episode.metadata
    assert episode.knows("reward")
    assert not episode.knows("success")


def test_npz_there_and_back(tmp_path, rng):
    imported = PreferenceSet.from_source(write_pt(tmp_path / "a.npz", rng, [1, 0, 0.5]))
    imported.save(tmp_path / "out")
    episodes = EpisodeStore.open(tmp_path / "out")
    assert write_npz(imported.preferences, episodes.cut, tmp_path / "b.npz") == 3
    again = PreferenceSet.from_source(Source(tmp_path / "b.npz", env="e/t", fps=80.0))
    assert prefers_b(again.preferences) == [1.0, 0.0, 0.5]
    assert [p.query for p in again.preferences] == [p.query for p in imported.preferences]


def test_probabilities_are_read_as_unsure_answers_and_written_again(tmp_path, rng):
    soft = [0.25, 0.75, 0.5, 1.0]
    for source in (
        write_pt(tmp_path / "a.npz", rng, soft),
        write_pt(tmp_path / "rows.npz", rng, [[1 - p, p] for p in soft]),
        write_imitation(tmp_path / "b.npz", rng, [1 - p for p in soft]),
    ):
        answers = PreferenceSet.from_source(source).preferences
        assert [pair[2] for a in answers for pair in a.segment_pairs()] == soft
        assert [a.confidence for a in answers] == [0.75, 0.75, 1.0, 1.0]
    imported = PreferenceSet.from_source(write_pt(tmp_path / "a.npz", rng, soft))
    imported.save(tmp_path / "out")
    write_npz(imported.preferences, EpisodeStore.open(tmp_path / "out").cut, tmp_path / "c.npz")
    again = PreferenceSet.from_source(Source(tmp_path / "c.npz", env="e/t", fps=80.0))
    assert again.preferences == imported.preferences


def test_npz_errors_name_file_and_key(tmp_path, rng):
    path = tmp_path / "a.npz"
    where = f"'{path}'"

    def refused(labels=(1, 0), **changes):
        return error_of(write_pt(path, rng, labels, **changes))

    assert refused([1, 1.3]) == (
        f"{where}: 'label' is 1.3 for pair 1; it must be one of [-1.0, 0.0, 0.5, 1.0], or a "
        "probability between two of them."
    )
    assert "is [0.3, 0.9] for pair 0" in refused([[0.3, 0.9], [1.0, 0.0]])
    nan = np.zeros((2, LENGTH, DO))
    nan[1, 2, 0] = np.nan
    assert refused(obs_2=nan) == f"{where}: 'obs_2' is not finite at [1, 2, 0]."
    assert refused(obs_2=nan[:, :, :1].astype("U3")) == (
        f"{where}: 'obs_2' must hold numbers, got the type <U3."
    )
    assert refused(action_1=np.zeros((2, LENGTH + 1, DA))) == (
        f"{where}: 'obs_1' must have shape (N, L, Do) or (N, L + 1, Do) to match 'action_1' "
        "(N, L, Da), got (2, 4, 3) and (2, 5, 2)."
    )
    assert refused(obs_2=np.zeros((2, LENGTH, 5))) == (
        f"{where}: 'label': the first segments have shapes (4, 3) and (4, 2), the second ones "
        "(4, 5) and (4, 2); they must be equal."
    )
    assert refused(label=np.ones(3)) == (
        f"{where}: 'label' has shape (3,), and there are 2 first and 2 second segments; all must "
        "be as many."
    )
    arrays = npz_arrays(rng, 2, labels=[1, 0])
    del arrays["action_2"]
    np.savez(path, **arrays)
    assert error_of(Source(path, env="e/t", fps=1.0)) == (
        f"{where} has no 'action_2'. It has ['action_1', 'label', 'obs_1', 'obs_2']."
    )
    np.savez(path, x=np.ones(1))
    assert "has neither 'label'" in error_of(Source(path, env="e/t", fps=1.0))


@pytest.mark.parametrize(
    ("write", "labels", "said"),
    [
        (write_pt, np.array(["a"]), "'label' must hold numbers of shape (N,) or (N, 2), got <U1 of "
                                    "shape (1,)."),
        (write_pt, np.zeros((1, 1, 2)), "'label' must hold numbers of shape (N,) or (N, 2), got "
                                        "float64 of shape (1, 1, 2)."),
        (write_imitation, np.array([[0.3, 0.7]]), "'preferences' must hold numbers of shape (N,), "
                                                  "got float64 of shape (1, 2)."),
    ],
)  # fmt: skip
def test_labels_of_another_type_or_shape(tmp_path, rng, write, labels, said):
    key = "label" if write is write_pt else "preferences"
    source = write(tmp_path / "a.npz", rng, [1], **{key: labels})
    assert error_of(source) == f"'{source.path}': {said}"


def test_pickles_and_damaged_files_are_refused(tmp_path, rng):
    path = tmp_path / "a.npz"
    refused = error_of(write_pt(path, rng, [1], label=np.array([{}], object)))
    assert refused == (
        f"'{path}' is not readable as npz: Object arrays cannot be loaded when allow_pickle=False."
    )
    path.write_bytes(b"\x80\x04]\x94.")
    assert error_of(Source(path)).startswith(f"'{path}' is not readable as npz: ")
    write_pt(path, rng, [1])
    path.write_bytes(path.read_bytes()[:-40])
    assert error_of(Source(path)).startswith(f"'{path}' is not readable as npz: ")
    source = write_pt(path, rng, [1])
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 150] ^= 255  # in the first array, after its header
    path.write_bytes(content)
    assert error_of(source).startswith(f"'{path}' is not readable as npz: ")
    np.save(tmp_path / "one.npy", np.ones(1))
    (tmp_path / "one.npy").rename(path)
    assert error_of(source) == f"'{path}' is not readable as npz: File is not a zip file."
