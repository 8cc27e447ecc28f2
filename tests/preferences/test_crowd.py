"""Tests for scores together with the reliability of who compared."""

import numpy as np
import pytest

from robopref.preferences.crowd import CrowdConfig, fit_crowd


def test_an_annotator_who_guesses_is_told_from_one_who_knows(rng):
    truth = np.linspace(-4, 4, 9)
    a, b = np.array([(i, j) for i in range(9) for j in range(9) if i < j] * 2).T
    right = (truth[b] > truth[a]).astype(float)
    who = np.repeat([0, 1], len(a) // 2)
    guesses = rng.integers(2, size=len(a)).astype(float)
    found = fit_crowd(a, b, np.where(who == 0, right, guesses), who, num_items=9)
    assert found.reliability[0] > 0.9
    assert found.reliability[1] < 0.75
    assert np.corrcoef(found.score, truth)[0, 1] > 0.95


def test_priors_that_cannot_be_are_named():
    with pytest.raises(ValueError) as error:
        CrowdConfig(prior_scale=0)
    assert str(error.value) == "`prior_scale` must be above 0, got 0."
