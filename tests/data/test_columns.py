import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robopref.data.columns import arrow_type, encode_parquet, to_arrow, to_numpy
from robopref.data.schema import Feature
from robopref.errors import DataError

shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)
dtypes = st.sampled_from(["bool", "uint8", "int32", "int64", "float32", "float64"])


@given(st.data(), shapes, dtypes, st.integers(1, 6), st.integers(0, 5), st.integers(1, 6))
@settings(deadline=None)
def test_arrays_come_back_bit_for_bit(data, shape, dtype, num_rows, start, num_groups):
    feature = Feature(dtype, shape)
    values = data.draw(hnp.arrays(dtype, (num_rows, *shape)))
    column = to_arrow(values, feature)
    assert column.type == arrow_type(feature)
    groups = [pa.table({"x": column.slice(i)}) for i in range(min(num_groups, num_rows))]
    read = pq.read_table(io.BytesIO(encode_parquet(groups)))["x"]
    expected = np.concatenate([values[i:] for i in range(len(groups))])
    for found in (to_numpy(read, feature), to_numpy(read.slice(start), feature)):
        want = expected[len(expected) - len(found) :]
        assert found.dtype == want.dtype
        assert found.shape == want.shape
        assert found.tobytes() == want.tobytes()


def test_nulls_and_ragged_rows_are_refused():
    feature = Feature("float32", (2,))
    for column in (
        pa.array([[1, 2], [3]], pa.list_(pa.float32())),
        pa.array([[1, 2], [3, None]], pa.list_(pa.float32())),
    ):
        with pytest.raises(DataError) as error:
            to_numpy(column, feature)
        assert str(error.value) == "2 rows of float32 (2,) need 4 numbers, got 3."
