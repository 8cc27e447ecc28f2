"""Tests for Dawid and Skene's method, against the example of their paper."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.preferences.dawid_skene import dawid_skene

# Dawid and Skene 1979, table 1: five anaesthetists on 45 patients, the first three times.
TABLE_1 = """
111 1 1 1 1|333 4 3 3 4|112 2 1 2 2|222 3 1 2 1|222 3 2 2 2|222 3 3 2 2|122 2 1 1 1|333 3 4 3 3|
222 2 2 2 3|232 2 2 2 3|444 4 4 4 4|222 3 3 4 3|111 1 1 1 1|222 3 2 1 2|121 1 1 1 1|111 2 1 1 1|
111 1 1 1 1|111 1 1 1 1|222 2 2 2 1|222 1 3 2 2|222 2 2 2 2|222 2 2 2 1|222 3 2 2 2|221 2 2 2 2|
111 1 1 1 1|111 1 1 1 1|232 2 2 2 2|111 1 1 1 1|111 1 1 1 1|112 1 1 2 1|111 1 1 1 1|333 3 2 3 3|
111 1 1 1 1|222 2 2 2 2|222 3 2 3 2|433 4 3 4 3|221 2 2 3 2|232 3 2 3 3|333 3 4 3 2|111 1 1 1 1|
111 1 1 1 1|121 2 1 1 1|232 2 2 2 2|121 1 1 1 1|222 2 2 2 2"""


def published():
    counts = np.zeros((5, 45, 4))
    for unit, row in enumerate(TABLE_1.replace("\n", "").split("|")):
        for annotator, answers in enumerate(row.split()):
            for answer in answers:
                counts[annotator, unit, int(answer) - 1] += 1
    return counts


def votes(*rows, num_classes=2):
    """Return counts of one answer per annotator (row) and unit; None for no answer."""
    counts = np.zeros((len(rows), len(rows[0]), num_classes))
    for annotator, row in enumerate(rows):
        for unit, answer in enumerate(row):
            if answer is not None:
                counts[annotator, unit, answer] = 1
    return counts


def test_the_example_of_the_paper():
    found = dawid_skene(published())
    # Section 4 of the paper: shares of the classes, and table 2: error rates of two observers.
    np.testing.assert_allclose(found.share, [0.40, 0.42, 0.11, 0.07], atol=0.005)
    np.testing.assert_allclose(
        found.confusion[0],
        np.array(
            [[0.89, 0.11, 0, 0], [0.07, 0.88, 0.05, 0], [0, 0.34, 0.66, 0], [0, 0, 0.56, 0.44]]
        ),
        atol=0.005,
    )
    np.testing.assert_allclose(
        found.confusion[1],
        np.array([[0.83, 0.17, 0, 0], [0.05, 0.63, 0.31, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        atol=0.01,
    )
    truth = found.truth.argmax(axis=1) + 1
    assert list(truth[[1, 10, 35]]) == [4, 4, 4], "the three patients of the last class"


def test_who_contradicts_all_others_is_found_out():
    right = [0, 1] * 10
    found = dawid_skene(
        votes(right, right, [1 - x for x in right]), prior_right=1, prior_wrong=1, one_rate=True
    )
    assert found.truth.argmax(axis=1).tolist() == right
    assert found.accuracy[0] > 0.9
    assert found.accuracy[2] < 0.1


def test_a_single_annotator_is_believed_as_the_prior_says():
    found = dawid_skene(votes([0, 1, 1]), prior_right=4.5, prior_wrong=0.5, one_rate=True)
    assert found.accuracy[0] == pytest.approx(found.truth.max(axis=1)[0], abs=1e-6)
    assert found.truth[:, 1] == pytest.approx([0.1, 0.9, 0.9], abs=0.01)


@given(st.lists(st.lists(st.sampled_from([0, 1]), min_size=6, max_size=6), min_size=1, max_size=5))
def test_names_of_the_classes_do_not_matter_with_one_rate(rows):
    options: dict[str, Any] = {"prior_right": 4.5, "prior_wrong": 0.5, "one_rate": True}
    found = dawid_skene(votes(*rows), **options)
    turned = dawid_skene(votes(*[[1 - x for x in row] for row in rows]), **options)
    np.testing.assert_allclose(found.truth, turned.truth[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(found.truth.sum(axis=1), 1)


def test_units_need_answers():
    with pytest.raises(ValueError) as error:
        dawid_skene(votes([0, None]))
    assert str(error.value) == (
        "`counts` must give each of one or more units one answer or more, of two classes or more, "
        "got shape (1, 2, 2)."
    )
