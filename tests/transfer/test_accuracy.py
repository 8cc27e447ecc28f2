import numpy as np
import pytest

from robopref.statistics import wilson
from robopref.transfer.accuracy import measure


def test_figures_are_what_they_are_called():
    probability = np.array([0.9, 0.8, 0.7, 0.2, 0.5])
    found = measure("m", "t", probability, np.array([True, True, False, False, True]))
    assert found.accuracy == pytest.approx(3.5 / 5), "what says nothing is half right"
    assert found.brier == pytest.approx(np.mean([0.01, 0.04, 0.49, 0.04, 0.25]))
    assert found.coverage_at_90 == pytest.approx(3 / 5), "the three most confident are right"
    assert found.num == 5
    assert found.interval == wilson(4, 5)


@pytest.mark.parametrize("is_right", [True, False])
def test_turning_all_pairs_round_turns_nothing_else(is_right, rng):
    probability = rng.random(50)
    is_b = (probability > 0.5) == is_right
    found, turned = measure("m", "t", probability, is_b), measure("m", "t", 1 - probability, ~is_b)
    assert found.accuracy == turned.accuracy == float(is_right)
    assert found.brier == pytest.approx(turned.brier)
    assert found.coverage_at_90 == turned.coverage_at_90 == float(is_right)
