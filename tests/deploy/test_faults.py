"""Whatever goes wrong while an arm moves, it ends at rest, and what was recorded before loads."""

import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from tests.deploy.faults import FAULTS, run_fault, small_disk, within_s

SAID = {
    "loop_killed": "The control loop of 'sawyer' is gone; the arm stopped.",
    "network_dropped": "No controller answers at",
    "policy_raises": "RuntimeError: a mistake in the policy",
    "camera_frozen": "It is frozen: the last",
    "disk_full": "The 2 episodes in ",
    "policy_killed": "",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_the_arm_rests_and_the_data_load(name, tmp_path):
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        with small_disk(folder):
            ended = run_fault(name, folder)
        assert ended.is_safe, ended
        assert ended.rest_s < within_s(name)
        assert SAID[name] in ended.said


@pytest.mark.slow
def test_a_disk_is_full_without_one_of_its_own(tmp_path):
    """Where nothing may be mounted, the process may write no files instead."""
    ended = run_fault("disk_full", tmp_path)
    assert ended.is_safe, ended
    assert "File too large" in ended.said
