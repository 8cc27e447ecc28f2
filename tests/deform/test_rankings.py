import numpy as np
import pytest

from robopref.deform.rankings import spread_of
from robopref.errors import DataError
from robopref.preferences.query import ActionCandidate, Query


def query(*values):
    items = tuple(ActionCandidate("e", 0, ((float(value),),)) for value in values)
    return Query(f"query {values}", items)


def score(item):
    return np.array([item.action[0][0]])


def test_a_good_state_does_not_spread_its_candidates():
    assert spread_of(score, [query(0, 2), query(100, 102)]) == pytest.approx(1.0)


def test_candidates_that_all_come_to_the_same_cannot_be_ranked():
    with pytest.raises(DataError) as error:
        spread_of(lambda item: np.zeros(1), [query(0, 2)])
    assert str(error.value) == (
        "All candidates of each of 1 states come to the same: a scripted teacher has nothing to "
        "compare. Train the policy longer, or record other episodes."
    )
