"""Damaged robomimic files: one message that names the file and what in it is wrong."""

import json

import h5py
import numpy as np
import pytest

from robopref.data.robomimic_hdf5 import read_robomimic
from robopref.errors import DataError
from tests.data.robomimic_files import ENV_ARGS, SIZES, write_like_robomimic

DEMO = "data/demo_1"
"""The second demonstration, of 6 steps: the first one is sound."""
PARTS = None
"""Stands for a group, where an array should be."""


def put(key, value):
    """Return what puts `value` in the place of `key`."""

    def damage(file):
        if key in file:
            del file[key]
        if value is PARTS:
            file.create_group(f"{key}/part")
        else:
            file[key] = value

    return damage


def attribute(node, name, value):
    def damage(file):
        file[node].attrs[name] = value

    return damage


def named(key):
    """Return how a message names a key of the second demonstration, after the file."""
    group, _, name = key.rpartition("/")
    return f", demo_1{group and f', {group}'}: '{name}'"


@pytest.fixture
def refused(tmp_path):
    """Return what gives the error of reading a damaged file, after the file's name."""

    def refuse(damage, **options) -> str:
        path = tmp_path / "x.hdf5"
        write_like_robomimic(path, num=2)
        with h5py.File(path, "a") as file:
            damage(file)
        with pytest.raises(DataError) as error:
            list(read_robomimic(path, **options))
        message = str(error.value)
        assert message.startswith(f"'{path}'")
        assert len(message.splitlines()) == 1
        return message.removeprefix(f"'{path}'")

    return refuse


@pytest.mark.parametrize("key", ["actions", "rewards", "states", "obs/object", "next_obs/object"])
def test_a_group_in_the_place_of_an_array(refused, key):
    assert refused(put(f"{DEMO}/{key}", PARTS)) == (
        f"{named(key)} has parts ['part'], and must be one array."
    )


@pytest.mark.parametrize("key", ["obs", "next_obs"])
def test_an_array_in_the_place_of_a_group(refused, key):
    assert refused(put(f"{DEMO}/{key}", np.zeros(6))) == (
        f"{named(key)} is one array, and must be a group."
    )


@pytest.mark.parametrize(
    ("key", "shape", "wanted"),
    [
        ("actions", (), "(N, Da)"),
        ("rewards", (5,), "(6,)"),
        ("success", (5,), "(6,)"),
        ("states", (5, 32), "(6, Ds)"),
        ("final_state", (31,), "(32,)"),
        ("sim_episode", (), "(De,)"),
        ("obs/object", (), "(6, ...)"),
        ("obs/object", (5, 10), "(6, ...)"),
        ("next_obs/object", (5, 10), "(6, 10)"),
        ("next_obs/object", (0, 10), "(6, 10)"),
        ("next_obs/object", (6, 8), "(6, 10)"),
    ],
)
def test_an_array_of_another_shape(refused, key, shape, wanted):
    assert refused(put(f"{DEMO}/{key}", np.zeros(shape))) == (
        f"{named(key)} must have shape {wanted}, got {shape}."
    )


@pytest.mark.parametrize(
    ("key", "row", "wanted"),
    [("actions", (8,), (7,)), ("states", (31,), (32,)), ("obs/object", (8,), (10,))],
)
def test_rows_unlike_those_of_the_demonstration_before(refused, key, row, wanted):
    assert refused(put(f"{DEMO}/{key}", np.zeros((6, *row)))) == (
        f", demo_1: '{key}' must have rows of shape {wanted} as in the demonstrations before, "
        f"got {row}."
    )


@pytest.mark.parametrize(
    ("key", "shape"), [("actions", (6, 7)), ("rewards", (6,)), ("obs/object", (6, 10))]
)
def test_text_in_the_place_of_numbers(refused, key, shape):
    assert refused(put(f"{DEMO}/{key}", np.full(shape, "a", "S"))) == (
        f"{named(key)} must hold numbers, got the type |S1."
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.zeros((0, 7)), "it has no steps: 'actions' has shape (0, 7)."),
        (h5py.Empty("f"), "'actions' is empty."),
        (
            h5py.SoftLink("/nowhere"),
            "it has no 'actions'. It has ['actions', 'dones', 'next_obs', 'obs', 'rewards', "
            "'states'].",
        ),
    ],
)
def test_no_actions(refused, value, said):
    assert refused(put(f"{DEMO}/actions", value)) == f", demo_1: {said}"


def test_missing_rewards_are_not_taken_for_zeros(refused):
    def damage(file):
        del file[f"{DEMO}/rewards"]

    assert refused(damage) == (
        ", demo_1: it has no 'rewards', and zeros would be taken for what was earned. Write them "
        "with robomimic's dataset_states_to_obs; where nothing was rewarded, add an array "
        "'rewards' of 6 zeros."
    )


def test_next_obs_without_what_obs_has(refused):
    def damage(file):
        for key in SIZES:
            del file[f"{DEMO}/next_obs/{key}"]

    assert refused(damage) == ", demo_1, next_obs: it has no 'object'. It has []."


def test_numbers_too_large_for_float32(refused):
    damage = put(f"{DEMO}/actions", np.full((6, 7), 1e300))
    assert refused(damage).endswith(": 'action' is not finite at step 0.")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("robopref", "x", "must be a JSON object, and is not: Expecting value: line 1 column 1 "
                          "(char 0)."),
        ("robopref", "[1]", "must be a JSON object, and is not: it is a list."),
        ("robopref", 3, "must be text, got int64."),
        ("robopref", '{"metadata": []}', "has the 'metadata' [], which must be of the type dict."),
        ("robopref", '{"seed": "x"}', "has the 'seed' 'x', which must be of the type int."),
        ("model_file", [1.0], "must be text, got ndarray."),
    ],
)  # fmt: skip
def test_what_a_demonstration_says_of_itself(refused, name, value, said):
    damage = attribute(DEMO, name, value)
    assert refused(damage) == f", demo_1: the attribute '{name}' {said}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[]", "be a JSON object, and is not: it is a list."),
        (3, "be text, got int64."),
        ('{"env_name": 3}', "have an 'env_name' that is text, got 3."),
        ('{"env_name": "Lift", "env_kwargs": [1]}', "have 'env_kwargs' that are an object, got "
                                                    "[1]."),
    ],
)  # fmt: skip
def test_env_args_that_cannot_be(refused, value, said):
    damage = attribute("data", "env_args", value)
    assert refused(damage) == f", data: the attribute 'env_args' must {said}"


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        (None, " does not say how many steps it has a second."),
        ({"control_freq": "20"}, ": 'control_freq' in 'env_kwargs' must be a number above 0 [Hz], "
                                 "got '20'."),
        ({"control_freq": -20}, ": 'control_freq' in 'env_kwargs' must be a number above 0 [Hz], "
                                "got -20."),
    ],
)  # fmt: skip
def test_a_rate_that_cannot_be(refused, tmp_path, kwargs, said):
    damage = attribute("data", "env_args", json.dumps({**ENV_ARGS, "env_kwargs": kwargs}))
    assert refused(damage) == f"{said} Give `fps` (--fps)."
    assert next(read_robomimic(tmp_path / "x.hdf5", fps=10)).fps == 10


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("data/demo_0", np.zeros(6), ", data: 'demo_0' is one array, and must be a group."),
        ("mask", np.zeros(3), ": 'mask' is one array, and must be a group."),
        ("mask/train", PARTS, ", mask: 'train' has parts ['part'], and must be one array."),
        ("mask/train", np.arange(3), ", mask: 'train' must list names, got the type int64."),
        ("mask/train", "demo_1", ", mask: 'train' must have shape (N,), got ()."),
        ("mask/train", np.array([b"\xff"], "S"), " has no demonstration 'data/demo_<number>' for "
                                                 "the name '\ufffd'."),
    ],
)  # fmt: skip
def test_names_that_lead_nowhere(refused, key, value, said):
    assert refused(put(key, value), filter_key="train") == said


@pytest.mark.parametrize("error", [OSError("torn"), RuntimeError("torn")])
def test_what_h5py_raises_where_a_table_of_names_is_damaged(refused, monkeypatch, error):
    def torn(*_args):
        raise error

    monkeypatch.setattr(h5py.Group, "get", torn)
    assert refused(lambda file: None) == " is not readable as HDF5: torn."
