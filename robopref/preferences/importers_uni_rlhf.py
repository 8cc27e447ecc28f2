"""Labels of Uni-RLHF, which point into a data set of D4RL's form.

Two files hold them: `label.csv`, which the platform exports, and the lists of
Clean-Offline-RLHF, which are pickles there and are read here as JSON (docs/preferences.md says how
to convert them). Neither holds the segments.

Shapes: N rows of the data set, L segment length, Do observation size, Da action size.

References:
    Yuan et al., Uni-RLHF: Universal Platform and Benchmark Suite for Reinforcement Learning with
    Diverse Human Feedback, 2024, arXiv:2402.02423.
"""

import ast
import csv
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.hdf5 import hdf5_file
from robopref.errors import DataError, check_choice, reason_of
from robopref.preferences.importers_comparison import (
    ONE_HOT,
    SECOND_IS_ONE,
    Clip,
    Comparison,
    rankings_of,
    to_float32,
)
from robopref.preferences.ranking import Ranking

OPTIONS = {
    "first": Ranking.prefer(0),
    "second": Ranking.prefer(1),
    "tie": Ranking.tie(),
    "cannot-tell": Ranking.incomparable(),
}
"""What an option of a question can mean."""
_SPANS = ("start_indices_1", "end_indices_1", "start_indices_2", "end_indices_2")
_LISTS = ("label", "indices_1", "indices_2", "length")
_TOO_MANY = 2**53
"""From here on float64 does not tell whole numbers apart; no data set has as many rows."""


@dataclass(frozen=True)
class Label:
    """One answer about rows [start, stop) of the first and of the second segment."""

    first: tuple[int, int]
    second: tuple[int, int]
    ranking: Ranking
    annotator: str = ""
    question: str = ""
    confidence: float = 1.0


def read_uni_rlhf(path: Path, data: Path | None, options: Sequence[str]) -> list[Comparison]:
    """Read labels, and the segments that they are about.

    In **JSON**, `label`, `indices_1` and `indices_2` are lists of one length and `length` is the
    number of steps of a segment: label **1 means that the second segment is preferred**, 0 the
    first, -1 and 0.5 a tie; or a row [first, second]. In **label.csv** a label is the number of the
    chosen option in the project's own question, so that `options` has to say what each means;
    every annotator and every question of a row counts, and unanswered rows are left out.

    The data set is HDF5 with `observations` (N, Do), `actions` (N, Da), `terminals` (N,), and if
    there are any `timeouts`, `rewards` and `next_observations`. Where it has `timeouts`, indices
    count rows as D4RL's `qlearning_dataset` does, which Uni-RLHF samples from: without the rows at
    a time-out and without the last row. Uni-RLHF's segments run over the end of an episode now and
    then; `metadata["crosses_end"]` says so.

    Args:
        path: JSON or CSV.
        data: The HDF5 file.
        options: For each option of a question one of `OPTIONS`.

    Raises:
        FileNotFoundError: A file is missing.
        DataError: A file is damaged, lacks a key, or a label points beyond the data set.
        ValueError: `data` was not given, or an option means nothing known.
    """
    if data is None:
        raise ValueError(f"`data` is needed: '{path}' points into an HDF5 file. Give --data.")
    for option in options:
        check_choice("options", option, OPTIONS)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not text: {error}.") from error
    is_csv = path.suffix == ".csv"
    labels = list(_csv_labels(text, path, options) if is_csv else _json_labels(text, path))
    with hdf5_file(data) as file:
        rows = _Rows(file, data)
        clips = {
            span: rows.clip(*span, f"'{path}'")
            for span in dict.fromkeys(s for label in labels for s in (label.first, label.second))
        }
    return [
        Comparison(
            clips[x.first], clips[x.second], x.ranking, x.annotator, x.question, x.confidence
        )
        for x in labels
    ]


def _json_labels(text: str, path: Path) -> Iterator[Label]:
    try:
        lists = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"'{path}' is not JSON: {error}.") from error
    if not isinstance(lists, dict) or not set(_LISTS) <= set(lists):
        has = sorted(lists) if isinstance(lists, dict) else type(lists).__name__
        raise DataError(f"'{path}' must hold {list(_LISTS)}, got {has}.")
    labels = _array(lists, "label", path)
    firsts, seconds, length = (_whole(lists, key, path) for key in _LISTS[1:])
    if length.ndim:
        raise DataError(f"'{path}': 'length' must be one number, got a list.")
    if not labels.shape[:1] == firsts.shape == seconds.shape:
        raise DataError(
            f"'{path}': 'label', 'indices_1' and 'indices_2' must be of one length, got shapes "
            f"{labels.shape}, {firsts.shape} and {seconds.shape}."
        )
    meaning: Mapping[Any, Ranking] = ONE_HOT if labels.ndim == 2 else SECOND_IS_ONE
    rankings = rankings_of(labels, meaning, f"'{path}': 'label'")
    steps = int(length)
    for a, b, (ranking, confidence) in zip(
        firsts.tolist(), seconds.tolist(), rankings, strict=True
    ):
        yield Label((a, a + steps), (b, b + steps), ranking, confidence=confidence)


def _array(lists: Mapping[str, Any], key: str, path: Path) -> np.ndarray:
    try:
        return np.asarray(lists[key])
    except ValueError as error:  # Lists of several lengths.
        raise DataError(f"'{path}': '{key}' is no array of numbers: {reason_of(error)}.") from error


def _whole(lists: Mapping[str, Any], key: str, path: Path) -> np.ndarray:
    values = _array(lists, key, path)
    numbers = values.astype(np.float64) if values.dtype.kind in "iuf" else np.array(np.nan)
    if not (np.abs(numbers) < _TOO_MANY).all() or (numbers != np.floor(numbers)).any():
        raise DataError(f"'{path}': '{key}' must hold whole numbers, got {_shown(lists[key])}.")
    return numbers.astype(np.int64)


def _shown(value: Any) -> str:
    return textwrap.shorten(str(value), 60, placeholder=" ...")


def _csv_labels(text: str, path: Path, options: Sequence[str]) -> Iterator[Label]:
    reader = csv.DictReader(text.splitlines())
    missing = [key for key in (*_SPANS, "label") if key not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"'{path}' lacks the columns {missing} of a comparison. It has {reader.fieldnames}."
        )
    for row in reader:
        where = f"Line {reader.line_num} of '{path}'"
        if not row["label"]:
            continue
        try:
            start_1, stop_1, start_2, stop_2 = (int(row[key]) for key in _SPANS)
            # The export writes Python's own form of {annotator: {question: option}}.
            chosen = ast.literal_eval(row["label"])
            answers = [(a, q, o) for a, given in chosen.items() for q, o in given.items()]
        except (AttributeError, SyntaxError, TypeError, ValueError) as error:
            raise DataError(f"{where} is not a comparison of Uni-RLHF: {error}.") from error
        for annotator, question, option in answers:
            if option is not None:
                ranking = _option(option, options, where)
                spans = ((start_1, stop_1), (start_2, stop_2))
                # The first question keeps the criterion's own name.
                yield Label(
                    *spans, ranking, str(annotator), "" if str(question) == "0" else str(question)
                )


def _option(option: Any, options: Sequence[str], where: str) -> Ranking:
    if not isinstance(option, int) or not 0 <= option < len(options):
        raise DataError(
            f"{where} has the label {option!r}, and `options` gives a meaning to 0 to "
            f"{len(options) - 1}: {list(options)}. Say what every option means (--options)."
        )
    return OPTIONS[options[option]]


class _Rows:
    """The rows of a data set as Uni-RLHF counts them.

    Args:
        file: The open HDF5 file.
        path: Where it is, for messages.
    """

    def __init__(self, file: Any, path: Path) -> None:
        missing = [key for key in ("observations", "actions", "terminals") if key not in file]
        if missing:
            raise DataError(f"'{path}' has no {missing}. It has {sorted(file)}.")
        self._file = file
        self._path = path
        self._ends = file["terminals"][:].astype(bool)
        self._numbers = np.arange(len(self._ends))
        if "timeouts" in file:
            timeouts = file["timeouts"][:].astype(bool)
            self._numbers = np.flatnonzero(~timeouts[:-1])
            self._ends |= timeouts

    def clip(self, start: int, stop: int, where: str) -> Clip:
        """Return the segment of rows [start, stop)."""
        if not 0 <= start < stop <= len(self._numbers):
            raise DataError(
                f"{where} points to rows [{start}, {stop}) of '{self._path}', which has "
                f"{len(self._numbers)} rows to count."
            )
        numbers = self._numbers[start:stop]
        state, action = (self._read(key, numbers) for key in ("observations", "actions"))
        if state.ndim != 2 or action.ndim != 2:
            raise DataError(
                f"'{self._path}': 'observations' and 'actions' must have shapes (N, Do) and "
                f"(N, Da), got rows of {state.shape[1:]} and {action.shape[1:]}."
            )
        reward = self._read("rewards", numbers) if "rewards" in self._file else None
        crosses = self._ends[numbers[:-1]].any() or (np.diff(numbers) != 1).any()
        metadata: dict[str, Any] = {"rows": [int(numbers[0]), int(numbers[-1]) + 1]}
        if crosses:
            metadata["crosses_end"] = True
        return Clip(np.concatenate([state, *self._next(numbers[-1:])]), action, reward, metadata)

    def _next(self, last: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the observation after row `last`, (1, Do), if the file has it."""
        if "next_observations" in self._file:
            yield self._read("next_observations", last)
        elif not self._ends[last[0]] and last[0] + 1 < len(self._ends):
            yield self._read("observations", last + 1)

    def _read(self, key: str, numbers: np.ndarray) -> np.ndarray:
        low, high = int(numbers[0]), int(numbers[-1]) + 1
        values = self._file[key][low:high]
        if len(values) != high - low:
            raise DataError(
                f"'{self._path}': '{key}' has {len(self._file[key])} rows, 'terminals' has "
                f"{len(self._ends)}; they must be as many."
            )
        return to_float32(values[numbers - low], f"'{self._path}': '{key}' from row {low} on")
