"""Our UNet with LeRobot's weights, against LeRobot's own in its side environment."""

import pytest

from benchmarks.policy_speed import LEROBOT, Reference


@pytest.mark.slow
@pytest.mark.skipif(not LEROBOT.exists(), reason="LeRobot is absent; 'make peers' installs it.")
def test_outputs_equal_lerobots():
    with Reference() as reference:
        assert reference.about["parameters"] == 16_880_132
        # Outputs are of the order of one.
        assert reference.difference() < 1e-5
