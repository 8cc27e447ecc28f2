"""LeRobot's own SO-101 under the driver, with motors that answer on a pseudo-terminal.

It runs where LeRobot is, without the test environment: `test_lerobot_peer.py` starts it with a
folder to work in, and looks at what it prints.
"""

import json
import math
import os
import struct
import sys
import threading
import time
import tty
from pathlib import Path
from typing import Any

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83
# Addresses of the STS3215's control table, and what LeRobot takes for this model.
MODEL, MIN_LIMIT, MAX_LIMIT, GOAL, PRESENT, MODEL_NUMBER = 3, 9, 11, 42, 56, 777
TORQUE = 40
MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NUM_STEPS = 4095
REACH_M, TURN_RAD = 0.01, 0.06


class Motors:
    """Six Feetech motors on a line, each with its table of bytes; they go where they are sent."""

    def __init__(self):
        self.line, other = os.openpty()
        tty.setraw(self.line)
        tty.setraw(other)
        self.port = os.ttyname(other)
        self.tables = {k: bytearray(128) for k in range(1, 7)}
        self.is_dead = False
        for table in self.tables.values():
            for address, value in (
                (MODEL, MODEL_NUMBER), (MIN_LIMIT, 0), (MAX_LIMIT, NUM_STEPS), (PRESENT, 2048)
            ):  # fmt: skip
                table[address : address + 2] = struct.pack("<H", value)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        buffer = b""
        while True:
            buffer += os.read(self.line, 1024)
            while (start := buffer.find(b"\xff\xff")) >= 0 and len(buffer) >= start + 4:
                end = start + 4 + buffer[start + 3]
                if len(buffer) < end:
                    break
                packet, buffer = buffer[start:end], buffer[end:]
                assert sum(packet[2:]) & 0xFF == 0xFF, "a wrong checksum"
                if not self.is_dead:
                    self.take(packet[2], packet[4], packet[5:-1])

    def take(self, motor, instruction, data):
        if instruction == SYNC_READ:
            for each in data[2:]:
                self.answer(each, self.tables[each][data[0] : data[0] + data[1]])
        elif instruction == SYNC_WRITE:
            address, size = data[:2]
            for k in range(2, len(data), size + 1):
                self.write(data[k], address, data[k + 1 : k + 1 + size])
        elif instruction == PING and motor == 0xFE:
            for each in self.tables:
                self.answer(each, b"")
        elif motor in self.tables:
            found = b""
            if instruction == READ:
                found = bytes(self.tables[motor][data[0] : data[0] + data[1]])
            if instruction == WRITE:
                self.write(motor, data[0], data[1:])
            self.answer(motor, found)

    def write(self, motor, address, data):
        table = self.tables[motor]
        table[address : address + len(data)] = data
        if address == GOAL and table[TORQUE]:
            table[PRESENT : PRESENT + 2] = data

    def answer(self, motor, data):
        body = bytes([motor, len(data) + 2, 0]) + bytes(data)
        os.write(self.line, b"\xff\xff" + body + bytes([~sum(body) & 0xFF]))

    def goal(self, motor):
        return struct.unpack("<H", self.tables[motor][GOAL : GOAL + 2])[0]

    def turn(self, motor, radians):
        """Turn a motor by hand, from the middle."""
        place = round(NUM_STEPS / 2 + radians * NUM_STEPS / math.tau)
        self.tables[motor][PRESENT : PRESENT + 2] = struct.pack("<H", place)


def arm_file(folder):
    """Return an arm of five joints, one link after the other."""
    text = "<body name='gripper_link'><geom size='0.01'/></body>"
    for name in reversed(MOTORS[:5]):
        text = (
            f"<body name='{name}_link' pos='0.1 0 0'><joint name='{name}' axis='0 1 0' "
            f"range='-150 150'/><geom size='0.01'/>{text}</body>"
        )
    path = folder / "arm.xml"
    path.write_text(f"<mujoco><worldbody>{text}</worldbody></mujoco>")
    return path


def write_calibration(folder, kind="robots", name="so_follower"):
    table = {
        name: {"id": k, "drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": NUM_STEPS}
        for k, name in enumerate(MOTORS, 1)
    }
    path = folder / kind / name / "left.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))


def lead(folder, model):
    """Return what a leader that is moved by hand asks for, step by step, and when it is gone."""
    from robopref.errors import HardwareError
    from robopref.hardware.leader import LeaderConfig

    motors = Motors()
    settings = json.dumps({"port": motors.port, "id": "left", "use_degrees": True})
    config = LeaderConfig(model, settings=settings)
    found: dict[str, Any] = {}
    try:
        config.build().connect()
    except HardwareError as error:
        found["not calibrated"] = str(error)
    write_calibration(folder, "teleoperators", "so_leader")
    leader = config.build()
    leader.connect()
    found["torque"] = [table[TORQUE] for table in motors.tables.values()]
    leader.begin(0.0, REACH_M)
    found["still"] = leader.action().tolist()
    motors.turn(1, TURN_RAD)
    motors.turn(6, math.pi)
    found["moved"] = [leader.action().tolist() for _ in range(6)]
    found["goals"] = [motors.goal(k) for k in motors.tables]
    motors.is_dead = True
    found["gone"] = (leader.action().tolist(), [str(word) for word in leader.words()])
    found["again"] = [str(word) for word in leader.words()]
    found["trouble"] = leader.trouble
    leader.disconnect()
    return found


def main(folder):
    os.environ["HF_LEROBOT_CALIBRATION"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    write_calibration(folder)
    from robopref.errors import HardwareError
    from robopref.hardware.arm_model import ArmModel
    from robopref.hardware.lerobot import LeRobotArmConfig
    from robopref.hardware.types import ArmCommand, CommandKind, OperatorAck

    motors = Motors()
    found: dict[str, Any] = {}
    settings = json.dumps({"port": motors.port, "id": "left"})
    model = ArmModel("so101", arm_file(folder), tool="gripper_link", velocity_max_rad_s=(2.0,) * 5)
    arm = LeRobotArmConfig(model, settings=settings).build()
    arm.connect()
    found["start"] = (arm.read().position, arm.read().gripper, str(arm.read().mode))
    arm.start_servo()
    late = []
    for k in range(1, 31):
        now_s = time.monotonic()
        target = (0.01 * k, -0.01 * k, 0.0, 0.0, 0.02 * k)
        arm.read()
        arm.servo(ArmCommand(CommandKind.JOINT_POSITION, target, now_s, now_s + 1, gripper=0.25))
        late.append(time.monotonic() - now_s)
        time.sleep(1 / 30)
    time.sleep(0.1)
    found["end"] = (arm.read().position, arm.read().gripper, str(arm.read().mode))
    found["worst_call_s"] = max(late)
    found["age_s"] = time.monotonic() - arm.read().time_s
    found["goals"] = [motors.goal(k) for k in motors.tables]
    motors.is_dead = True
    end_s = time.monotonic() + 10
    while not arm.read().faults and time.monotonic() < end_s:
        time.sleep(0.01)
    found["dead"] = (str(arm.read().mode), arm.read().faults[0].message)
    motors.is_dead = False
    arm.recover(OperatorAck("ann", "the plug was out", time.monotonic()))
    arm.start_servo()
    found["again"] = str(arm.read().mode)
    arm.disconnect()
    found["torque"] = [table[TORQUE] for table in motors.tables.values()]
    try:
        LeRobotArmConfig(model, settings=json.dumps({"port": "/dev/null"})).build().connect()
    except HardwareError as error:
        found["nobody"] = str(error)
    found["leader"] = lead(folder, model)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
