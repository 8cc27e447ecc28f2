import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from robopref.serving.wire import KINDS, WireError, need, pack, unpack

msgpack = need("msgpack")

numbers = scalar_dtypes().filter(lambda dtype: dtype.kind in KINDS)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.floats()


@given(arrays(numbers, array_shapes(min_dims=0, min_side=0, max_side=4)), st.text(), plain)
def test_a_message_comes_back_as_it_was(array, key, value):
    back = unpack(pack({"x": array, "inside": {"y": value}, "number": array.dtype.type(1)}))
    assert back["x"].dtype == array.dtype
    np.testing.assert_array_equal(back["x"], array)
    assert back["x"].flags.writeable
    assert back["number"] == array.dtype.type(1)
    np.testing.assert_equal(back["inside"], {"y": value})


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data):
    with contextlib.suppress(WireError):
        assert isinstance(unpack(data), dict)


@given(st.data())
def test_a_message_with_some_bytes_changed_is_a_message_or_refused(data):
    whole = bytearray(pack({"x": np.arange(6.0).reshape(2, 3), "name": "arm"}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        unpack(bytes(whole))


@pytest.mark.parametrize(
    ("array", "change"),
    [
        (np.zeros(3), {b"dtype": "|O"}),
        (np.zeros(3), {b"dtype": "V8"}),
        (np.zeros(3), {b"dtype": "3f8"}),
        (np.zeros(3), {b"dtype": 8}),
        (np.zeros(3), {b"shape": [2]}),
        (np.zeros(3), {b"shape": [-3]}),
        (np.zeros(3), {b"shape": [3] + [1] * 8}),
        (np.zeros(3), {b"shape": [2**62, 2**62]}),
        (np.zeros(3), {b"data": "text"}),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(array, change):
    honest = {
        b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str,
        b"shape": array.shape,
    }  # fmt: skip
    assert unpack(msgpack.packb({"x": honest}))["x"].shape == (3,)
    with pytest.raises(WireError, match="An array"):
        unpack(msgpack.packb({"x": honest | change}))


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([object()]), np.array(["a"]), 1j])
def test_what_is_no_number_or_text_is_not_sent(value):
    with pytest.raises(WireError):
        pack({"x": value})


def test_a_message_is_a_map_of_names():
    for other in ([1, 2], {1: 2}, "text", None):
        with pytest.raises(WireError, match="must be a map"):
            unpack(msgpack.packb(other))
    with pytest.raises(WireError, match="cannot be read"):
        unpack(b"\x91" * 5000)
