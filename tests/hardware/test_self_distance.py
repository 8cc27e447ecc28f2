import functools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.errors import HardwareError
from robopref.hardware.arms import MODELS, xarm7
from robopref.hardware.clearance import Clearance
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.self_distance import FAR_M, SURE_M, SelfDistance
from robopref.hardware.supervisor import Supervisor
from robopref.hardware.types import ArmSpec, CommandKind, OperatorAck
from tests.hardware.streams import HOME, command_to, fold, make_config, make_state

NOW = 100.0
RADIUS_M = 0.03
FLAT_ARM = f"""
<mujoco>
  <compiler angle="radian"/>
  <default><geom type="capsule" size="{RADIUS_M}"/></default>
  <worldbody>
    <body name="base">
      <geom fromto="0 0 -0.1 0 0 -0.05"/>
      <body name="a">
        <joint name="j1" axis="0 0 1"/><geom fromto="0.05 0 0 0.25 0 0"/>
        <body name="b" pos="0.3 0 0">
          <joint name="j2" axis="0 0 1"/><geom fromto="0.05 0 0 0.25 0 0"/>
          <body name="c" pos="0.3 0 0">
            <joint name="j3" axis="0 0 1"/><geom fromto="0.05 0 0 0.25 0 0"/>
            <body name="tool" pos="0.3 0 0"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture
def flat(tmp_path):
    path = tmp_path / "flat.xml"
    path.write_text(FLAT_ARM)
    return ArmSpec(
        "flat", ("j1", "j2", "j3"), (-3.0,) * 3, (3.0,) * 3, (2.0,) * 3, (10.0,) * 3, (200.0,) * 3,
        rest_rad=(0.0, 0.3, 0.3), rate_hz=100.0, model=path, tool="tool",
    )  # fmt: skip


ALL_ELSE = ("budget", "workspace", "tool-speed", "first-command")


def supervise(spec, off=()):
    return Supervisor(spec, make_config(off=(*ALL_ELSE, *off)))


@functools.cache
def supervisor_of(name):
    return Supervisor(MODELS[name](), make_config())


def follow(supervisor, memory, target, num, now=NOW):
    """Ask for a target with an arm that goes where it is sent; return all that came out."""
    outs = []
    for _ in range(num):
        now += supervisor.spec.period_s
        state = make_state(memory.motion.position, now)
        memory, out = supervisor.step(memory, command_to(target, now), state, now)
        outs.append(out)
    return memory, outs


def segments(position):
    """Where the capsules of the flat arm's links begin and end."""
    angles, joint = np.cumsum(position), np.zeros(2)
    for angle in angles:
        along = np.array([np.cos(angle), np.sin(angle)])
        yield joint + 0.05 * along, joint + 0.25 * along
        joint = joint + 0.3 * along


def apart(first, second):
    """The distance of two segments in a plane, by points close together."""
    shares = np.linspace(0, 1, 401)[:, None]
    one, other = (start + shares * (end - start) for start, end in (first, second))
    return np.linalg.norm(one[:, None] - other[None], axis=-1).min()


def test_distances_are_those_of_the_shapes(flat, rng):
    itself = SelfDistance(Kinematics(flat), 0.01)
    assert itself.pairs == (("base", "b"), ("base", "c"), ("a", "c"))
    for position in rng.uniform(-2.8, 2.8, (30, 3)):
        links = list(segments(position))
        wanted = apart(links[0], links[2]) - 2 * RADIUS_M
        # Capsules that cross are deeper in each other than their axes are near.
        if wanted > 0:
            found = itself.distances_m(position[None])[0, -1]
            assert found == pytest.approx(min(wanted, FAR_M), abs=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_a_distance_changes_no_more_than_is_thought(name, rng):
    """So that what is not measured again is not too near."""
    spec = MODELS[name]()
    itself = SelfDistance(Kinematics(spec), 0.01)
    start = rng.uniform(spec.position_min_rad, spec.position_max_rad, (20, spec.num_joints))
    moved = 10 ** rng.uniform(-4, -0.5, (20, 1)) * rng.normal(size=start.shape)
    changed = np.abs(itself.distances_m(start + moved) - itself.distances_m(start))
    reach = np.abs(moved) @ itself._leverage.T
    # Where one is inside the other, how deep is not a distance.
    assert (changed <= reach + SURE_M)[itself.distances_m(start) > 0].all()
    assert (changed > 0.2 * reach).any()


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_not_measured_again_is_as_if_it_were(name, seed):
    """A walk near where an arm would meet itself, in a workspace that it leaves now and then."""
    rng = np.random.default_rng(seed)
    supervisor = supervisor_of(name)
    config, kinematics = supervisor.config, supervisor.kinematics
    assert config.workspace is not None
    clearance, every = Clearance(config, kinematics), SelfDistance(kinematics, 0.01)
    place = fold(supervisor, rng) if rng.random() < 0.7 else np.array(HOME[name])
    num_clear = 0
    for _ in range(25):
        steps = 10 ** rng.uniform(-4, -1.5) * rng.normal(size=(6, len(place)))
        way = place + np.cumsum(steps, axis=0)
        points = kinematics.place(way).points_m
        num_clear += clearance.is_clear(way, points)
        found = clearance.lacks_m(way, points)
        wanted = np.maximum(0.01 - every.distances_m(way).min(axis=1), 0)
        np.testing.assert_allclose(found[:, -1], wanted, atol=1e-7)
        np.testing.assert_array_equal(
            found[:, :-1], np.maximum(-config.workspace.margins_m(points), 0.0)
        )
        place = way[1]
    assert num_clear < 25


def test_an_arm_that_would_fold_into_itself_stops_before(flat):
    arm = supervise(flat)
    memory = arm.arm(make_state((0.0, 0.3, 0.3), NOW), NOW)
    memory, outs = follow(arm, memory, (0.0, 2.6, 2.6), 600)
    sent = np.array([out.sent.value for out in outs])
    distances = SelfDistance(arm.kinematics, 0.01).distances_m(sent).min(axis=1)
    assert distances.min() >= 0.01 - 1e-6
    assert distances[-1] < 0.02  # as near as it may, and quietly
    assert np.ptp(sent[-100:], axis=0).max() < 2e-3
    assert "self-collision" in {v.filter for out in outs for v in out.verdicts}
    # Back it goes as ever.
    memory, outs = follow(arm, memory, (0.0, 0.3, 0.3), 600, NOW + 6)
    np.testing.assert_allclose(outs[-1].sent.value, (0.0, 0.3, 0.3), atol=1e-6)


def test_braking_is_part_of_it(flat):
    """Fast towards itself: it brakes in time, at no more than its greatest deceleration."""
    arm = supervise(flat)
    memory = arm.arm(make_state((0.0, 0.3, 0.3), NOW), NOW)
    now, places = NOW, []
    for _ in range(300):
        now += flat.period_s
        assert memory.motion is not None
        command = command_to((0.0, 1.9, 1.9), now, CommandKind.JOINT_VELOCITY)
        state = make_state(memory.motion.position, now)
        memory, _ = arm.step(memory, command, state, now)
        assert memory.motion is not None
        places.append(memory.motion.position)
    speed = np.diff(places, axis=0) * flat.rate_hz
    assert np.abs(speed).max() > 1.5
    assert np.abs(np.diff(speed, axis=0)).max() * flat.rate_hz <= 10.0 + 1e-6
    found = SelfDistance(arm.kinematics, 0.01).distances_m(np.array(places))
    assert 0.01 - 1e-6 <= found.min() < 0.03


def test_it_is_turned_off_by_name(flat):
    arm = supervise(flat, off=("self-collision",))
    memory = arm.arm(make_state((0.0, 0.3, 0.3), NOW), NOW)
    _, outs = follow(arm, memory, (0.0, 2.6, 2.6), 600)
    np.testing.assert_allclose(outs[-1].sent.value, (0.0, 2.6, 2.6), atol=1e-6)
    with pytest.raises(ValueError, match="`self_distance_m` must be"):
        make_config(self_distance_m=0.5)


def test_links_that_are_too_near_may_only_part(flat):
    """Pushed together by hand."""
    arm = supervise(flat)
    folded = (0.0, 2.0, 2.25)
    assert SelfDistance(arm.kinematics, 0.01).lacks_m(np.array([folded]))[0] > 0
    with pytest.raises(HardwareError, match="links are nearer to each other than 10 mm"):
        arm.arm(make_state(folded, NOW), NOW)
    memory = arm.request_stop(arm.arm(make_state(HOME_FLAT, NOW), NOW), "pushed", NOW)
    ack = OperatorAck("ann", "it is free", NOW + 1)
    memory = arm.acknowledge(memory, ack, make_state(folded, NOW + 1), NOW + 1)
    memory, outs = follow(arm, memory, (0.0, 2.3, 2.5), 50, NOW + 1)
    np.testing.assert_allclose([out.sent.value for out in outs], [folded] * 50, atol=1e-4)
    memory, outs = follow(arm, memory, HOME_FLAT, 200, NOW + 1.5)
    lacks = SelfDistance(arm.kinematics, 0.01).lacks_m(np.array([o.sent.value for o in outs]))
    assert (np.diff(lacks) <= 1e-6).all()
    assert lacks[-1] == 0


HOME_FLAT = (0.0, 0.3, 0.3)


def test_links_that_are_built_near_are_left_out():
    kinematics = Kinematics(xarm7())
    usual, wide = (len(SelfDistance(kinematics, least).pairs) for least in (0.01, 0.1))
    assert wide < usual


def test_an_arm_without_shapes_has_nothing_to_meet(flat, tmp_path):
    bare = tmp_path / "bare.xml"
    bare.write_text(
        re.sub(
            r"<geom fromto[^>]*>", "<inertial pos='0 0 0' mass='1' diaginertia='1 1 1'/>", FLAT_ARM
        )
    )
    itself = SelfDistance(Kinematics(replace(flat, model=bare)), 0.01)
    assert itself.pairs == ()
    assert itself.lacks_m(np.zeros((4, 3))).tolist() == [0.0] * 4
    assert itself.clear_share(np.zeros(3), np.ones(3)) == 1.0
