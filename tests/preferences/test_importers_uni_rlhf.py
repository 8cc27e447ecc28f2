"""Uni-RLHF: labels that point into a data set."""

import json
from typing import Any

import h5py
import numpy as np
import pytest

from robopref.preferences import Answer
from robopref.preferences.importers import PreferenceSet, Source
from robopref.types import STATE
from tests.preferences.foreign_sets import (
    DO,
    error_of,
    prefers_b,
    write_csv,
    write_hdf5,
    write_json,
)


def test_indices_count_rows_as_qlearning_dataset_does(tmp_path, rng):
    """Rows at a time-out and the last row are not counted where the file has time-outs."""
    plain = write_hdf5(tmp_path / "plain.hdf5", rng)
    timed = write_hdf5(tmp_path / "timed.hdf5", rng, timeouts=[9, 19])
    first = {}
    for data in (plain, timed):
        source = write_json(tmp_path / "l.json", data, [1], [12], [30])
        first[data] = PreferenceSet.from_source(source).episodes[0]
    assert first[plain].reward.tolist() == [12, 13, 14, 15]
    assert first[timed].reward.tolist() == [13, 14, 15, 16]
    with h5py.File(plain) as file:
        observations: Any = file["observations"]
        np.testing.assert_array_equal(first[plain].state, observations[12:17])
    source = write_json(tmp_path / "l.json", timed, [1], [54], [0])
    assert error_of(source) == (
        f"'{tmp_path}/l.json' points to rows [54, 58) of '{timed}', which has 57 rows to count."
    )


def test_what_is_known_after_the_last_action(tmp_path, rng):
    data = write_hdf5(tmp_path / "d.hdf5", rng, ends=[3, 21])
    source = write_json(tmp_path / "l.json", data, [1, -1], [0, 20], [10, 56])
    at_end, between, over_end, at_last = PreferenceSet.from_source(source).episodes
    assert at_end.metadata["repeated"] == at_last.metadata["repeated"] == [STATE]
    assert "repeated" not in between.metadata
    assert over_end.metadata["crosses_end"]
    assert "crosses_end" not in at_end.metadata
    assert PreferenceSet.from_source(source).notes() == [
        "1 of 2 answers are ties.",
        "The segments are of 4 recordings at most: those that share steps are windows of one.",
        "1 segments run over the end of an episode, as the source sampled them.",
    ]
    following = rng.normal(size=(60, DO)).astype(np.float32)
    data = write_hdf5(tmp_path / "n.hdf5", rng, ends=[3], next_observations=following)
    source = write_json(tmp_path / "l.json", data, [1], [0], [10])
    episode = PreferenceSet.from_source(source).episodes[0]
    np.testing.assert_array_equal(episode.state[-1], following[3])


def test_windows_of_one_recording_are_known_by_the_steps_they_share(tmp_path, rng):
    data = write_hdf5(tmp_path / "d.hdf5", rng)
    # 0-4, 3-7 and 6-10 are a chain; 10-14 touches none of them, and 30-34 is alone.
    source = write_json(tmp_path / "l.json", data, [1, 1, 0], [0, 3, 30], [6, 10, 0])
    episodes = PreferenceSet.from_source(source).episodes
    starts = {episode.id: episode.metadata["rows"][0] for episode in episodes}
    recordings = {starts[e.id]: starts[e.metadata["recording"]] for e in episodes}
    assert recordings == {0: 0, 3: 0, 6: 0, 10: 10, 30: 30}


def test_every_annotator_and_question_of_an_export(tmp_path, rng):
    data = write_hdf5(tmp_path / "d.hdf5", rng)
    rows = [
        (0, 20, "{'3': {'0': 1, '1': 0}, '4': {'0': 2}}"), (5, 30, ""), (8, 40, "{'3': {'0': 3}}")
    ]  # fmt: skip
    options = ("first", "second", "tie", "cannot-tell")
    source = write_csv(tmp_path / "label.csv", data, rows, options)
    preferences = PreferenceSet.from_source(source).preferences
    assert [(p.annotator, p.criterion) for p in preferences] == [
        ("human-3", "overall"), ("human-3", "overall-1"), ("human-4", "overall"),
        ("human-3", "overall"),
    ]  # fmt: skip
    assert prefers_b(preferences) == [1.0, 0.0, 0.5, None]
    assert preferences[3].ranking.answer is Answer.INCOMPARABLE
    assert len({p.query.id for p in preferences[:3]}) == 1
    assert PreferenceSet.from_source(source).save(tmp_path / "out") == (4, 4)


def test_uni_rlhf_errors(tmp_path, rng):
    data = write_hdf5(tmp_path / "d.hdf5", rng)
    labels = tmp_path / "l.json"
    assert error_of(write_json(labels, None, [1], [0], [9])) == (
        f"`data` is needed: '{labels}' points into an HDF5 file. Give --data."
    )
    assert "'label', 'indices_1' and 'indices_2' must be of one length" in error_of(
        write_json(labels, data, [1, 0], [0], [9])
    )
    labels.write_text("[1]")
    source = Source(labels, data=data, env="e/t", fps=1.0)
    assert error_of(source) == (
        f"'{labels}' must hold ['label', 'indices_1', 'indices_2', 'length'], got list."
    )
    table = tmp_path / "label.csv"
    assert error_of(write_csv(table, data, [(0, 20, "{'3': {'0': 3}}")])) == (
        f"Line 2 of '{table}' has the label 3, and `options` gives a meaning to 0 to 2: "
        "['first', 'second', 'tie']. Say what every option means (--options)."
    )
    assert error_of(write_csv(table, data, [(0, 20, "__import__('os')")])).startswith(
        f"Line 2 of '{table}' is not a comparison of Uni-RLHF: "
    )
    assert "`options` must be one of" in error_of(write_csv(table, data, [], ("left",)))
    with h5py.File(data, "a") as file:
        del file["actions"]
    assert error_of(write_json(labels, data, [1], [0], [9])) == (
        f"'{data}' has no ['actions']. It has ['observations', 'rewards', 'terminals']."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": [[[1, 0]]]}, "'label' must hold numbers of shape (N,) or (N, 2), got int64 of "
                                "shape (1, 1, 2)."),
        ({"label": ["a"]}, "'label' must hold numbers of shape (N,) or (N, 2), got <U1 of shape "
                           "(1,)."),
        ({"label": [[1], [1, 0]]}, "'label' is no array of numbers: "),
        ({"indices_1": [1.7]}, "'indices_1' must hold whole numbers, got [1.7]."),
        ({"indices_2": ["a"]}, "'indices_2' must hold whole numbers, got ['a']."),
        ({"indices_2": [1e300]}, "'indices_2' must hold whole numbers, got [1e+300]."),
        ({"length": float("inf")}, "'length' must hold whole numbers, got inf."),
        ({"length": [4]}, "'length' must be one number, got a list."),
        ({"length": None}, "'length' must hold whole numbers, got None."),
    ],
)  # fmt: skip
def test_lists_that_cannot_be(tmp_path, rng, changes, said):
    data = write_hdf5(tmp_path / "d.hdf5", rng)
    source = write_json(tmp_path / "l.json", data, [1], [0], [20])
    source.path.write_text(json.dumps(json.loads(source.path.read_text()) | changes))
    assert error_of(source).startswith(f"'{tmp_path}/l.json': {said}")


def test_a_length_beyond_what_a_float_holds(tmp_path, rng):
    source = write_json(tmp_path / "l.json", write_hdf5(tmp_path / "d.hdf5", rng), [1], [0], [20])
    source.path.write_text(source.path.read_text().replace('"length": 4', '"length": 1e400'))
    assert error_of(source) == f"'{source.path}': 'length' must hold whole numbers, got inf."
