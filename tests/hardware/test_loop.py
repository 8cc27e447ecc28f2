import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.errors import HardwareError, SafetyStop
from robopref.hardware.arm_process import ArmProcess
from robopref.hardware.chunks import Chunk
from robopref.hardware.loop import LoopConfig
from robopref.hardware.mock import MockArmConfig, MockFaults
from robopref.hardware.records import Records, phase_of, stop_of
from robopref.hardware.types import StopLevel
from robopref.hardware.verdicts import Phase
from tests.hardware.streams import HOME, make_config

ROOT = Path(__file__).parents[2]


def make_process(config=None, **safety):
    config = config or MockArmConfig()
    return ArmProcess(config, config.build().spec, make_config(**safety), LoopConfig())


def chunk_to(target, *, seconds=1.0, number=0, start=None):
    """A straight way from home in steps of a tenth of a second."""
    num = round(10 * seconds) + 1
    home = np.array(HOME["xarm7"] if start is None else start)
    positions = home + np.linspace(0, 1, num)[:, None] * (np.array(target) - home)
    return Chunk(number, time.monotonic(), 0.1, positions)


def wait_for(what, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def arm():
    with make_process() as process:
        yield process


def test_a_chunk_is_followed_and_the_timing_reported(arm):
    target = np.add(HOME["xarm7"], 0.1)
    arm.send(chunk_to(target))
    wait_for(lambda: np.abs(np.subtract(arm.state().position, target)).max() < 1e-3)
    arm.close()
    assert arm.timing["num_steps"] > 50
    assert 0 < arm.timing["step_p50_s"] < 0.01


def test_what_was_asked_and_what_was_sent_is_kept(arm):
    far = np.add(HOME["xarm7"], [0, 0, 0, 3.5, 0, 0, 0])
    arm.send(chunk_to(far, number=7))
    wait_for(lambda: any(o["chunk"] == 7 for o in arm.outcomes_since(0)[1]))
    time.sleep(0.5)
    _, outcomes = arm.outcomes_since(0)
    asked = [o for o in outcomes if o["chunk"] == 7]
    assert {bytes(o["decision"]) for o in asked} >= {b"clamp"}
    sent = np.array([o["sent"] for o in outcomes])
    assert np.isfinite(sent).all()


def test_nothing_asked_holds_without_a_stop(arm):
    time.sleep(0.5)
    outcome = arm.outcome()
    assert phase_of(outcome) is Phase.RUNNING
    assert stop_of(outcome) is None
    np.testing.assert_allclose(outcome["sent"], HOME["xarm7"])


def test_a_stop_is_latched_until_it_is_acknowledged(arm):
    arm.send(chunk_to(np.add(HOME["xarm7"], 0.3)))
    time.sleep(0.2)
    arm.stop("a key", StopLevel.CONTROLLED)
    wait_for(lambda: phase_of(arm.outcome()) is Phase.STOPPED)
    with pytest.raises(SafetyStop, match=r"'xarm7' was stopped \(request\): a key"):
        arm.send(chunk_to(HOME["xarm7"]))
    time.sleep(0.3)
    arm.acknowledge("ann", "nothing in the way")
    wait_for(lambda: phase_of(arm.outcome()) is Phase.RUNNING)
    place = arm.state().position
    arm.send(chunk_to(np.add(place, 0.05), start=place))
    wait_for(lambda: np.abs(np.subtract(arm.state().position, place)).max() > 0.04)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (MockFaults(stops_after_s=0.3), "protective stop"),
        slow(MockFaults(nan_after_s=0.3), "7 finite positions"),
        slow(MockFaults(frozen_after_s=0.3), "state is .* ms old"),
        slow(MockFaults(lost_share=1.0), "from where it was sent"),
    ],
)
def test_what_goes_wrong_with_the_arm_stops_it(faults, reason):
    with make_process(MockArmConfig(faults=faults)) as arm:
        arm.send(chunk_to(np.add(HOME["xarm7"], 0.4), seconds=2))
        wait_for(lambda: phase_of(arm.outcome()) is Phase.STOPPED)
        with pytest.raises(SafetyStop, match=reason):
            arm.check_running()


@pytest.mark.slow
def test_late_calls_are_survived_and_counted():
    faults = MockFaults(late_s=0.03, late_every=20)
    with make_process(MockArmConfig(faults=faults)) as arm:
        target = np.add(HOME["xarm7"], 0.1)
        arm.send(chunk_to(target))
        wait_for(lambda: np.abs(np.subtract(arm.state().position, target)).max() < 1e-3)
        arm.close()
    assert arm.timing["worst_step_s"] > 0.03
    assert arm.timing["late_share"] > 0


def test_an_arm_that_cannot_be_used_says_why():
    config = MockArmConfig(faults=MockFaults(nan_after_s=0.0))
    with pytest.raises(HardwareError, match=r"'xarm7' cannot be used\. HardwareError: .*armed"):
        make_process(config).start()


def test_a_chunk_for_another_arm_is_refused(arm):
    with pytest.raises(ValueError, match="needs 7 joints, got 6"):
        arm.send(Chunk(0, time.monotonic(), 0.1, np.zeros((3, 6))))
    with pytest.raises(ValueError, match="at most 64 actions, got 65"):
        arm.send(Chunk(0, time.monotonic(), 0.1, np.zeros((65, 7))))


POLICY = """
import sys, time
import numpy as np
from tests.hardware.test_loop import *
process = make_process()
process.start()
print(process._process.pid, flush=True)
if sys.argv[1] == "raise":
    with process:
        raise RuntimeError("a mistake in the policy")
for k in range(1000):
    process.send(chunk_to(np.add(HOME["xarm7"], 0.3), seconds=5, number=k))
    time.sleep(0.2)
"""


SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}


@pytest.mark.parametrize("how", ["kill", slow("raise"), slow("terminate"), slow("interrupt")])
def test_the_arm_rests_when_the_policy_is_gone(how):
    """Killed with a signal that cannot be caught, or by its own mistake."""
    with subprocess.Popen(
        [sys.executable, "-c", POLICY, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=ROOT,
    ) as policy:  # fmt: skip
        assert policy.stdout is not None
        line = policy.stdout.readline()
        assert line, policy.communicate()
        pid = int(line)
        if how != "raise":
            time.sleep(0.5)
            policy.send_signal(SIGNALS[how])
        policy.communicate(timeout=30)
    wait_for(lambda: not alive(pid), 10)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status").read_text()
    return "State:\tZ" not in status


def test_records_hold_what_they_were_given():
    from robopref.hardware.records import chunk_of, chunk_record, state_of, state_record
    from robopref.hardware.rings import Ring
    from tests.hardware.streams import make_state

    records = Records(7)
    ring = Ring(records.states, 4)
    try:
        assert ring.newest() is None
        for k in range(6):
            ring.write(state_record(make_state(HOME["xarm7"], float(k), gripper=0.25)))
        newest = ring.newest()
        assert newest is not None
        assert state_of(newest) == make_state(HOME["xarm7"], 5.0, gripper=0.25)
        count, kept = ring.since(0)
        assert count == 6
        assert [float(r["time_s"]) for r in kept] == [2.0, 3.0, 4.0, 5.0]
    finally:
        ring.close()
    chunk = Chunk(3, 1.0, 0.1, np.arange(14.0).reshape(2, 7), np.array([0.0, 1.0]), "run")
    stored = np.array([chunk_record(chunk)], records.chunks)
    back = chunk_of(stored[0])
    np.testing.assert_array_equal(back.positions, chunk.positions)
    assert (back.number, back.source) == (3, "run")
    assert back.gripper is not None
    np.testing.assert_array_equal(back.gripper, [0.0, 1.0])
