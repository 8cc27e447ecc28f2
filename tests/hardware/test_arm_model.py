import math

import pytest

from robopref.errors import HardwareError
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.kinematics import Kinematics

URDF = """
<robot name="two">
  <link name="base"/>
  <link name="upper"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0"
    iyz="0"/></inertial></link>
  <link name="lower"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0"
    iyz="0"/></inertial></link>
  <joint name="shoulder" type="revolute"><parent link="base"/><child link="upper"/>
    <axis xyz="0 0 1"/><limit lower="0.2" upper="2" velocity="1.5" effort="10"/></joint>
  <joint name="elbow" type="continuous"><parent link="upper"/><child link="lower"/>
    <origin xyz="0.5 0 0"/><axis xyz="0 0 1"/><limit velocity="3" effort="5"/></joint>
</robot>
"""
MJCF = """
<mujoco><worldbody><body name="upper"><joint name="shoulder" range="-90 90"/>
<geom size="0.1"/></body></worldbody></mujoco>
"""


def test_a_urdf_says_which_limits_an_arm_has(tmp_path):
    file = tmp_path / "two.urdf"
    file.write_text(URDF)
    spec = ArmModel(file=file, tool="lower").spec(50.0)
    assert (spec.name, spec.joint_names) == ("two", ("shoulder", "elbow"))
    assert spec.position_min_rad == pytest.approx((0.2, -2 * math.pi))
    assert spec.position_max_rad == pytest.approx((2.0, 2 * math.pi))
    assert spec.velocity_max_rad_s == (1.5, 3.0)
    assert spec.rest_rad == pytest.approx((0.2, 0.0))
    assert spec.rate_hz == 50.0
    assert Kinematics(spec).place([[0.5, 0.0]]).tool_m[0, 0] == pytest.approx(0.5 * math.cos(0.5))


def test_an_mjcf_says_no_speeds_so_they_have_to_be_given(tmp_path):
    file = tmp_path / "one.xml"
    file.write_text(MJCF)
    with pytest.raises(HardwareError, match=r"does not say how fast its joints may turn\. Give"):
        ArmModel(file=file, tool="upper").spec()
    spec = ArmModel("mine", file, tool="upper", velocity_max_rad_s=(1.0,)).spec()
    assert (spec.name, spec.rate_hz) == ("mine", 100.0)
    assert spec.position_max_rad == pytest.approx((math.pi / 2,))
    with pytest.raises(HardwareError, match=r"no joint 'elbow' in .* It has \['shoulder'\]"):
        ArmModel(file=file, tool="upper", joints=("elbow",)).spec()


def test_a_name_or_a_file_is_needed(tmp_path):
    with pytest.raises(ValueError, match="`name` must be one of"):
        ArmModel("ur7")
    with pytest.raises(ValueError, match="`tool` must name the body"):
        ArmModel(file=tmp_path / "two.urdf")
    with pytest.raises(FileNotFoundError, match="No robot model at"):
        ArmModel(file=tmp_path / "two.urdf", tool="lower").spec()
