import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robopref.data.episode import Episode
from robopref.deform.evaluate import DeformEvaluation, evaluate
from robopref.statistics import mean_interval
from robopref.types import POINTS

LIMIT = 5


class Table:
    """An environment whose state is its quality."""

    max_episode_steps = LIMIT

    def put(self, state):
        self.state = state

    def quality(self):
        return float(self.state.step[0])


def episode(*qualities):
    num = len(qualities) - 1
    return Episode(
        "0", {POINTS: np.zeros((num + 1, 8, 3), np.float32)}, np.zeros((num, 6), np.float32),
        np.zeros(num, np.float32), np.array(qualities[1:]) >= 0.9, False, True, "", "", 0, 0.5,
        sim_states=np.array(qualities)[:, None], sim_episode=np.zeros(1),
    )  # fmt: skip


def test_what_has_ended_stays_as_it_is_and_what_fails_takes_all_steps():
    found = evaluate([episode(0, 0.5, 0.95), episode(0, 0.1, 0.2, 0.3)], Table())
    assert found.curve == pytest.approx((0, 0.3, 0.575, 0.625, 0.625, 0.625))
    assert found.quality == pytest.approx(0.625)
    assert found.success.value == 0.5
    assert found.steps == (2 + LIMIT) / 2
    assert DeformEvaluation.from_dict(found.to_dict()) == found


@given(arrays(float, st.integers(1, 30), elements=st.floats(-1, 1)), st.floats(-5, 5))
def test_the_interval_of_a_mean_is_within_the_values_and_moves_with_them(values, offset):
    low, high = mean_interval(values, num_draws=200)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    moved = mean_interval(values + offset, num_draws=200)
    assert moved == pytest.approx((low + offset, high + offset))
