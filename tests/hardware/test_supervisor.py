import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.errors import HardwareError
from robopref.hardware.arms import MODELS, ur5e, xarm7
from robopref.hardware.motion import Motion, Planner
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.supervisor import Supervisor
from robopref.hardware.types import ArmMode, CommandKind, Fault, OperatorAck, StopLevel
from robopref.hardware.verdicts import Decision, Phase
from tests.hardware.streams import HOME, command_to, drive, make_config, make_state

ROOT = Path(__file__).parents[2]
NOW = 100.0


@pytest.fixture(scope="module", params=MODELS)
def supervisor(request):
    return Supervisor(MODELS[request.param](), make_config())


@pytest.fixture(scope="module")
def xarm():
    return Supervisor(xarm7(), make_config())


def start(supervisor):
    home = HOME[supervisor.spec.name]
    return supervisor.arm(make_state(home, NOW), NOW), home


def follow(supervisor, memory, commands, now=NOW):
    """Step through commands with an arm that goes where it is sent; return all that came out."""
    outs = []
    for command in commands:
        now += supervisor.spec.period_s
        state = make_state(memory.motion.position, now)
        issued = None if command is None else replace(
            command, issued_s=now, valid_until_s=now + 1
        )  # fmt: skip
        memory, out = supervisor.step(memory, issued, state, now)
        outs.append(out)
    return memory, outs


def run_streams(num_steps):
    """Drive every arm in a process of its own, where no types are checked at every call."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hardware.streams", str(num_steps)],
        capture_output=True, text=True, cwd=ROOT, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "num_steps",
    [20_000, pytest.param(1_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(1600)])],
)
def test_no_stream_of_commands_leads_out_of_the_limits(num_steps):
    found = run_streams(num_steps)
    assert sum(run["steps"] for run in found) >= num_steps
    for run in found:
        assert {name: x for name, x in run["excess"].items() if x > 1e-6} == {}, run["arm"]
        assert run["stops"] > 0  # commands of NaN came too
        assert run["moved_rad"] > (0.02 if run["stream"] == "folded" else 0.2)
    folded = [run["filters"] for run in found if run["stream"] == "folded"]
    assert sum("self-collision" in filters for filters in folded) >= len(MODELS) / 2


def test_the_same_stream_gives_the_same_answer(xarm):
    first, second = (drive(xarm, 300, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.positions, second.positions)


def test_a_motion_within_the_limits_passes_as_it_is(supervisor):
    memory, home = start(supervisor)
    slow = replace(
        supervisor.spec,
        acceleration_max_rad_s2=tuple(0.3 * a for a in supervisor.spec.acceleration_max_rad_s2),
        jerk_max_rad_s3=tuple(0.3 * j for j in supervisor.spec.jerk_max_rad_s3),
    )
    planner, motion = Planner(slow, slow.period_s), Motion.at_rest(home)
    target = Motion.at_rest(tuple(p + 0.05 for p in home))
    asked = []
    while motion is not target:
        planned = planner.towards(motion, target, (0.05,) * slow.num_joints)
        assert planned is not None
        motion = planned
        asked.append(
            command_to(
                motion.position, NOW, velocity=motion.velocity, acceleration=motion.acceleration
            )
        )
    assert len(asked) > 50
    _, outs = follow(supervisor, memory, asked)
    assert [out.verdicts for out in outs] == [()] * len(asked)
    sent = np.array([out.sent.value for out in outs])
    np.testing.assert_allclose(sent, [command.value for command in asked], atol=1e-9)


def test_a_far_target_is_reached_and_kept(supervisor):
    memory, home = start(supervisor)
    target = tuple(p + 0.1 for p in home)
    _, outs = follow(supervisor, memory, [command_to(target, NOW)] * 500)
    assert outs[0].verdicts
    assert outs[-1].verdicts == ()
    np.testing.assert_allclose(outs[-1].sent.value, target, atol=1e-9)


def test_a_target_outside_the_workspace_is_approached_and_not_shaken_at(xarm):
    memory, home = start(xarm)
    outside = np.add(home, (0, 1.5, 0, 0, 0, 0, 0))
    _, outs = follow(xarm, memory, [command_to(outside, NOW)] * 1500)
    end = np.array([out.sent.value for out in outs[-100:]])
    assert "workspace" in {verdict.filter for verdict in outs[-1].verdicts}
    margin = xarm.config.workspace.margins_m(xarm.kinematics.place(end).points_m).min()
    assert -1e-6 <= margin < 0.03
    assert np.ptp(end, axis=0).max() < 1e-3


def test_a_velocity_is_followed_until_it_is_no_longer_asked_for(xarm):
    memory, home = start(xarm)
    velocity = (0.1, 0, 0, 0, 0, 0, 0.0)
    memory, outs = follow(
        xarm, memory, [command_to(velocity, NOW, CommandKind.JOINT_VELOCITY)] * 100
    )
    assert outs[-1].sent.velocity[0] == pytest.approx(0.1, abs=1e-3)
    assert outs[-1].sent.value[0] - home[0] == pytest.approx(0.1, rel=0.1)
    memory, outs = follow(xarm, memory, [None] * 30, NOW + 1.0)
    assert memory.motion.is_at_rest
    assert outs[-1].verdicts[0].filter == "freshness"


def test_silence_holds_then_stops_and_the_stop_stays(xarm):
    memory, home = start(xarm)
    memory, _ = follow(xarm, memory, [command_to(np.array(home) + 0.3, NOW)] * 20)
    memory, outs = follow(xarm, memory, [None] * 40, NOW + 0.2)
    decisions = [out.verdicts[0].decision if out.verdicts else None for out in outs]
    periods = xarm.config.watchdog_s * xarm.spec.rate_hz
    assert decisions.index(Decision.HOLD) <= 2
    assert decisions.index(Decision.STOP) <= periods + 1
    assert memory.motion.is_at_rest
    memory, outs = follow(xarm, memory, [command_to(home, NOW)] * 50, NOW + 0.6)
    assert {out.stop for out in outs} == {StopLevel.CONTROLLED}
    assert np.ptp([out.sent.value for out in outs], axis=0).max() == 0


def test_a_first_command_far_away_is_approached_slowly(xarm):
    memory, home = start(xarm)
    target = np.array(home) + 0.3
    memory, outs = follow(xarm, memory, [command_to(target, NOW)] * 60)
    assert "first-command" in {verdict.filter for verdict in outs[0].verdicts}
    limit = xarm.config.gate_speed * xarm.spec.velocity_max_rad_s[0]
    assert max(map(abs, outs[-1].sent.velocity)) <= limit + 1e-9


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"position": (np.nan,) * 7}, "finite"),
        ({"position": (0.0,) * 6}, "finite"),
        ({"position": (90.0,) * 7}, "finite"),
        ({"mode": ArmMode.PROTECTIVE_STOP}, "mode"),
        ({"faults": (Fault("S1", "joint 1 is hot"),)}, "mode"),
        ({"time_s": NOW - 5}, "freshness"),
        ({"time_s": np.nan}, "finite"),
        ({"position": (1.0,) * 7}, "tracking"),
    ],
)
def test_a_state_that_cannot_be_believed_stops_the_arm(xarm, changes, name):
    memory, home = start(xarm)
    now = NOW + xarm.spec.period_s
    state = replace(make_state(home, now), **changes)
    memory, out = xarm.step(memory, command_to(home, now), state, now)
    assert memory.phase is Phase.STOPPED
    assert out.verdicts[0].filter == name
    assert out.stop is StopLevel.CONTROLLED
    # Good states and commands do not lead out of it.
    memory, outs = follow(xarm, memory, [command_to(np.array(home) + 0.1, NOW)] * 5, now)
    assert all(out.stop is not None for out in outs)
    assert all(out.sent is None or out.sent.value == home for out in outs)


def test_only_an_acknowledgement_after_the_stop_leads_out_of_it(xarm):
    memory, home = start(xarm)
    memory = xarm.request_stop(memory, "a key", NOW + 1)
    state = make_state(home, NOW + 2)
    with pytest.raises(HardwareError, match="is not of after this stop"):
        xarm.acknowledge(memory, OperatorAck("ann", "looked", NOW + 0.5), state, NOW + 2)
    faulty = replace(state, faults=(Fault("S1", "joint 1 is hot"),))
    with pytest.raises(HardwareError, match="joint 1 is hot"):
        xarm.acknowledge(memory, OperatorAck("ann", "looked", NOW + 2), faulty, NOW + 2)
    memory = xarm.acknowledge(memory, OperatorAck("ann", "looked", NOW + 2), state, NOW + 2)
    assert memory.phase is Phase.RUNNING
    with pytest.raises(HardwareError, match="no stop to acknowledge"):
        xarm.acknowledge(memory, OperatorAck("ann", "looked", NOW + 2), state, NOW + 2)
    with pytest.raises(ValueError, match="operator's name"):
        OperatorAck(" ", "looked", NOW)


def test_from_beyond_a_joint_limit_it_only_comes_back_in():
    """Pushed there by hand: inward slowly, outward never."""
    arm = Supervisor(xarm7(), make_config(off=("budget", "workspace")))
    memory, home = start(arm)
    # Within what the joint can do, beyond the margin that is kept from it.
    outside = (home[0], arm.spec.position_max_rad[1] - 0.01, *home[2:])
    with pytest.raises(HardwareError, match=r"'joint2' is at 2.084 rad, outside"):
        arm.arm(make_state(outside, NOW), NOW)
    memory = acknowledged(arm, memory, outside)
    further = np.add(outside, (0, 0.005, 0, 0, 0, 0, 0))
    memory, outs = follow(arm, memory, [command_to(further, NOW)] * 20, NOW + 1)
    assert all(out.sent.value[1] <= outside[1] for out in outs)
    memory, outs = follow(arm, memory, [command_to(home, NOW)] * 100, NOW + 1.2)
    places = np.array([out.sent.value[1] for out in outs])
    assert (np.diff(places) <= 1e-12).all()
    assert places[-1] < places[0] - 0.01
    slow = arm.config.gate_speed * arm.spec.velocity_max_rad_s[1]
    assert max(abs(out.sent.velocity[1]) for out in outs) <= slow + 1e-9


def test_from_outside_the_workspace_it_only_comes_back_in(xarm):
    memory, _ = start(xarm)
    outside = (0.0, 1.2, 0.0, 0.5, 0.0, 1.0, 0.0)
    with pytest.raises(HardwareError, match="a link is outside the workspace"):
        xarm.arm(make_state(outside, NOW), NOW)
    memory = acknowledged(xarm, memory, outside)
    rng, margins = np.random.default_rng(0), []
    for _ in range(15):
        target = command_to(np.array(memory.motion.position) + rng.normal(size=7), NOW)
        memory, outs = follow(xarm, memory, [target] * 10, NOW + 1)
        placed = xarm.kinematics.place([out.sent.value for out in outs])
        margins += xarm.config.workspace.margins_m(placed.points_m).min(axis=1).tolist()
    assert min(margins) < 0
    worst = np.minimum(margins, 0)
    assert (np.diff(worst) >= -1e-6).all()
    lifted = np.array(memory.motion.position) - np.array([0, 1.0, 0, 0, 0, 0, 0])
    memory, _ = follow(xarm, memory, [command_to(lifted, NOW)] * 300, NOW + 1)
    assert not any(memory.allowance_m)


def acknowledged(arm, memory, position):
    """Return the memory of an arm that stands where it was pushed, after a stop."""
    memory = arm.request_stop(memory, "pushed", NOW)
    ack = OperatorAck("ann", "it is free", NOW + 1)
    return arm.acknowledge(memory, ack, make_state(position, NOW + 1), NOW + 1)


def test_a_limit_that_tightens_while_it_moves_gives_the_fastest_stop(xarm):
    memory, _ = start(xarm)
    velocity = (0.4, 0, 0, 0, 0, 0, 0.0)
    fast = command_to(velocity, NOW, CommandKind.JOINT_VELOCITY)
    memory, _ = follow(xarm, memory, [fast] * 60)
    before = memory.motion
    memory = xarm.set_speed(memory, 0.02)
    _, outs = follow(xarm, memory, [fast], NOW + 0.6)
    assert "speed" in {verdict.filter for verdict in outs[0].verdicts}
    stop = Planner(xarm.spec, xarm.spec.period_s).brake(before).next
    np.testing.assert_allclose(outs[0].sent.value, stop.position, atol=1e-9)


def test_pushing_against_something_stops_it(xarm):
    arm = Supervisor(ur5e(), make_config())
    memory, home = start(arm)
    now = NOW
    while memory.stopped is None:
        assert memory.motion is not None
        now += arm.spec.period_s
        pushed = tuple(np.array(memory.motion.position) + 0.05)
        state = make_state(pushed, now, effort=(140.0,) * 6)
        memory, _ = arm.step(memory, command_to(home, now), state, now)
        assert now < NOW + 1
    assert memory.stopped.verdict.filter == "effort"
    assert now - NOW == pytest.approx(arm.config.effort_s, abs=3 * arm.spec.period_s)


def test_a_key_that_must_be_held(xarm):
    arm = Supervisor(xarm7(), make_config(needs_deadman=True))
    memory, home = start(arm)
    target = command_to(np.array(home) + 0.1, NOW)
    memory, outs = follow(arm, memory, [target] * 5)
    assert {out.verdicts[0].filter for out in outs} == {"deadman"}
    memory, outs = follow(arm, arm.set_deadman(memory, held=True), [target] * 5, NOW + 0.1)
    assert outs[-1].sent.value != home


@pytest.mark.parametrize("changes", [{"episode_s": 0.5}, {"clamps_s": 0.5}])
def test_a_motion_without_an_end_is_stopped(changes):
    arm = Supervisor(xarm7(), make_config(off=(), **changes))
    memory, home = start(arm)
    outside = np.add(home, (0, 0, 0, 5.0, 0, 0, 0))
    memory, outs = follow(arm, memory, [command_to(outside, NOW)] * 120)
    assert outs[-1].verdicts[0].filter == "budget"
    assert memory.motion is not None
    assert memory.motion.is_at_rest


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="`workspace` must be given: a box"):
        SafetyConfig()
    with pytest.raises(ValueError, match=r"`off` must be one of .*, got 'finite'"):
        SafetyConfig(off=("workspace", "finite"))
    with pytest.raises(ValueError, match="look like degrees"):
        replace(xarm7(), position_max_rad=(360.0,) * 7)
    with pytest.raises(HardwareError, match="names the joint 'elbow', which is not in"):
        Supervisor(replace(ur5e(), joint_names=("elbow",) * 6), make_config())
    with pytest.raises(FileNotFoundError, match="No robot model at"):
        Supervisor(replace(ur5e(), model=ur5e().model.with_name("none.xml")), make_config())
