"""Writes small preference sets as other projects do, and reads answers back."""

import csv
import json

import h5py
import numpy as np
import pytest

from robopref.errors import DataError
from robopref.preferences.importers import PreferenceSet, Source

LENGTH, DO, DA = 4, 3, 2


def npz_arrays(rng, num, *, last=0, action="action", label="label", labels=None):
    arrays = {f"obs_{i}": rng.normal(size=(num, LENGTH + last, DO)) for i in (1, 2)}
    arrays |= {f"{action}_{i}": rng.normal(size=(num, LENGTH, DA)) for i in (1, 2)}
    return arrays | {label: np.asarray(labels, np.float64)}


def write_pt(path, rng, labels, **changes):
    np.savez(path, **(npz_arrays(rng, len(labels), labels=labels) | changes))
    return Source(path, env="metaworld/reach-v3", fps=80.0)


def write_imitation(path, rng, labels, **changes):
    arrays = npz_arrays(rng, len(labels), last=1, action="acts", label="preferences", labels=labels)
    np.savez(path, **(arrays | changes))
    return Source(path, env="gymnasium/Pendulum-v1", fps=20.0)


def write_hdf5(path, rng, num=60, *, ends=(), timeouts=None, **more):
    with h5py.File(path, "w") as file:
        file["observations"] = rng.normal(size=(num, DO)).astype(np.float32)
        file["actions"] = rng.normal(size=(num, DA)).astype(np.float32)
        file["rewards"] = np.arange(num, dtype=np.float32)
        file["terminals"] = np.isin(np.arange(num), ends)
        if timeouts is not None:
            file["timeouts"] = np.isin(np.arange(num), timeouts)
        for key, value in more.items():
            file[key] = value
    return path


def write_json(path, data, label, firsts, seconds, length=LENGTH):
    lists = {"label": label, "indices_1": firsts, "indices_2": seconds, "length": length}
    path.write_text(json.dumps(lists))
    return Source(path, data=data, env="gymnasium/Hopper-v5", fps=125.0)


def write_csv(path, data, rows, options=("first", "second", "tie")):
    """Write what the platform exports: the label is Python's form of a dictionary."""
    names = [
        "id", "query_id", "project_id", "completion_time", "marked_num", "skip_num", "video_url",
        "end_indices_2", "start_indices_1", "query_id", "end_indices_1", "start_indices_2",
        "extra", "label", "feedback_type", "annotator_id", "annotator_name",
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for number, (first, second, label) in enumerate(rows, 1):
            writer.writerow(
                [
                    number, f"q{number}", "p", "2023-06-30 12:00:00", 1, 0, f"{number}.mp4",
                    second + LENGTH, first, f"q{number}", first + LENGTH, second,
                    None, label, "comparative", 3, "anna",
                ]
            )  # fmt: skip
    return Source(path, data=data, options=options, env="gymnasium/Hopper-v5", fps=125.0)


def prefers_b(preferences):
    """Return `prefers_b` of each answer, None where it orders nothing."""
    pairs = [preference.ranking.pairs() for preference in preferences]
    return [each[0][2] if each else None for each in pairs]


def error_of(source):
    with pytest.raises((DataError, ValueError)) as error:
        PreferenceSet.from_source(source)
    return str(error.value)
