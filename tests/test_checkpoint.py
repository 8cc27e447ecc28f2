"""Tests for checkpoint.py."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from robopref.checkpoint import load_tree, load_weights, save_tree
from robopref.errors import CheckpointError

tensors = st.builds(
    lambda shape, dtype, seed: (
        torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 100
    ).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8,
                     torch.bool]),
    st.integers(0, 100),
)  # fmt: skip
leaves = st.one_of(
    tensors, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()
)
keys = st.one_of(st.integers(), st.text(st.sampled_from("ab/'1"), max_size=3))
trees = st.dictionaries(
    st.text(st.sampled_from("ab/'1"), max_size=3),
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        same_keys = list(one) == list(other)
        return same_keys and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


@given(trees)
def test_what_is_written_is_read_back_equal(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "tree.safetensors"
    save_tree(path, tree)
    assert equal(load_tree(path), tree)


def test_keys_that_look_alike_are_kept_apart(tmp_path):
    inner = {1: torch.tensor(1), "1": torch.tensor(2)}
    tree = {"x": inner, "a": {"b": torch.tensor(3)}, "a/b": torch.tensor(4)}
    save_tree(tmp_path / "t", tree)
    assert equal(load_tree(tmp_path / "t"), tree)


def test_bits_are_kept(tmp_path):
    x = torch.tensor([math.nan, math.inf, -0.0, 1e-45])
    save_tree(tmp_path / "t", {"x": x, "y": 0.1 + 0.2, "z": math.inf})
    loaded = load_tree(tmp_path / "t")
    assert torch.equal(loaded["x"].view(torch.int32), x.view(torch.int32))
    assert loaded["y"] == 0.1 + 0.2
    assert loaded["z"] == math.inf


def test_tensors_that_share_memory_and_views_are_kept(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    save_tree(tmp_path / "t", {"a": base, "b": base, "c": base.T, "d": base[1:, ::2]})
    loaded = load_tree(tmp_path / "t")
    assert torch.equal(loaded["a"], loaded["b"])
    assert torch.equal(loaded["c"], base.T)
    assert torch.equal(loaded["d"], base[1:, ::2])


def test_tuples_come_back_as_lists(tmp_path):
    save_tree(tmp_path / "t", {"a": (1, (2, 3))})
    assert load_tree(tmp_path / "t") == {"a": [1, [2, 3]]}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {"b": {1, 2}}}, "A checkpoint cannot hold a set ('/a/b')."),
        ({"a": {2.5: 1}}, "Checkpoint keys must be str or int, got 2.5 under '/a'."),
    ],
)
def test_only_tensors_and_plain_values_are_taken(tree, message, tmp_path):
    with pytest.raises(TypeError) as error:
        save_tree(tmp_path / "t", tree)
    assert str(error.value) == message
    assert not list(tmp_path.iterdir())


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_tree(tmp_path / "t")
    assert str(error.value) == f"No checkpoint at '{tmp_path / 't'}'."


@pytest.mark.parametrize("size", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_told_as_damaged(size, tmp_path):
    path = tmp_path / "t"
    save_tree(path, {"a": torch.arange(100)})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError) as error:
        load_tree(path)
    assert str(error.value).startswith(f"'{path}' is damaged: ")
    assert str(error.value).endswith(". Delete it to start this stage again.")


def test_a_file_of_another_program(tmp_path):
    path = tmp_path / "t"
    save_file({"a": torch.arange(3)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as error:
        load_tree(path)
    assert str(error.value) == (
        f"'{path}' is not a checkpoint of robopref: its header says format 'pt', "
        "expected 'robopref-1'."
    )


def test_a_pickle_is_refused_without_being_run(tmp_path):
    path = tmp_path / "t"

    class Bomb:
        def __reduce__(self):
            return (path.with_name("exploded").touch, ())

    torch.save(Bomb(), path)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_tree(path)
    assert not path.with_name("exploded").exists()


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "t"
    save_tree(path, {"a": 1})
    monkeypatch.setattr("os.fsync", lambda _descriptor: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        save_tree(path, {"a": 2})
    assert load_tree(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (nn.Linear(3, 5), "weight has shape (5, 3), expected (2, 3)"),
        (nn.Linear(3, 2, bias=False), "it lacks bias"),
        (nn.BatchNorm1d(2), "it has running_mean, which is not expected"),
    ],
)
def test_weights_of_another_model_are_refused_untouched(other, difference):
    module = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(module, other.state_dict(), where="runs/a/policy")
    assert str(error.value) == (
        f"'runs/a/policy' is of another model: {difference}. "
        "Use that model, or delete the file to start this stage again."
    )
    assert equal(dict(module.state_dict()), before)
    with pytest.raises(CheckpointError) as error:
        load_weights(module, other.state_dict(), where="a", remedy="Download it again.")
    assert str(error.value) == f"'a' is of another model: {difference}. Download it again."


def test_weights_of_an_equal_model_are_loaded():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_weights(one, other.state_dict(), where="here")
    assert torch.equal(one.weight, other.weight)
