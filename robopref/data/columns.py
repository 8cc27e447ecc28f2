"""Numpy arrays as Arrow columns and back, in the types that LeRobot expects in its parquet files.

A row of shape (1,) is a scalar, (n,) a list of fixed length, and more axes are nested lists.

Shapes: N rows.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robopref.data.schema import Feature
from robopref.errors import DataError, first_line_of


def arrow_type(feature: Feature) -> Any:
    """Return the Arrow type of one row."""
    kind = pa.bool_() if feature.dtype == "bool" else pa.from_numpy_dtype(feature.dtype)
    if feature.shape == (1,):
        return kind
    if len(feature.shape) == 1:
        return pa.list_(kind, feature.shape[0])
    for _ in feature.shape:
        kind = pa.list_(kind)
    return kind


def to_arrow(values: np.ndarray, feature: Feature) -> Any:
    """Return rows (N, *feature.shape) as an Arrow array."""
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    if feature.shape == (1,):
        return array
    if len(feature.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(array, feature.shape[0])
    for length in reversed(feature.shape):
        offsets = np.arange(0, len(array) + 1, length, dtype=np.int32)
        array = pa.ListArray.from_arrays(offsets, array)
    return array


def to_numpy(column: Any, feature: Feature) -> np.ndarray:
    """Return an Arrow column as rows (N, *feature.shape).

    Raises:
        DataError: The column holds nulls or rows of another shape; the message gives the counts.
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    num_rows = len(flat)
    while isinstance(flat, (pa.ListArray, pa.FixedSizeListArray, pa.LargeListArray)):
        flat = flat.flatten()
    if flat.null_count or len(flat) != num_rows * feature.size:
        raise DataError(
            f"{num_rows} rows of {feature} need {num_rows * feature.size} numbers, "
            f"got {len(flat) - flat.null_count}."
        )
    values = np.asarray(flat.to_numpy(zero_copy_only=False)).astype(feature.dtype)
    return values.reshape(num_rows, *feature.shape)


def encode_parquet(tables: list[Any]) -> bytes:
    """Return a parquet file with one row group for each of `tables`."""
    sink = io.BytesIO()
    # Dictionaries do not pay for columns of measured numbers: writing takes thrice as long.
    options = {"compression": "snappy", "use_dictionary": False}
    with pq.ParquetWriter(sink, tables[0].schema, **options) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue()


def open_parquet(path: Path) -> Any:
    """Return an open `pyarrow.parquet.ParquetFile`.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DataError(f"'{path}' is missing.") from error
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    """Return the error for a file that cannot be read as what it should be."""
    reason = first_line_of(error)
    return DataError(f"'{path}' is damaged: {reason}.")
