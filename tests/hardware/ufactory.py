"""A stand-in for the part of UFACTORY's SDK that speaks to grippers."""


class GripperCalls:
    """The SDK's class as far as grippers go; positions of the first in pulses."""

    def __init__(self, error=0, code=0):
        self.error, self.code, self.place, self.calls = error, code, 850, []

    def get_gripper_err_code(self):
        return self.code, self.error

    def set_gripper_enable(self, enable):
        self.calls.append("enable")
        return 0

    def set_gripper_mode(self, mode):
        self.calls.append(f"mode {mode}")
        return 0

    def set_gripper_speed(self, speed):
        self.calls.append(f"speed {speed}")
        return 0

    def get_gripper_position(self):
        return self.code, self.place

    def get_gripper_g2_position(self):
        return self.code, self.place

    def set_gripper_position(self, pos, wait=False, wait_motion=True):
        return self._move(pos, wait, wait_motion)

    def set_gripper_g2_position(self, pos, speed=100, force=50, wait=False, wait_motion=True):
        return self._move(pos, wait, wait_motion)

    def disconnect(self):
        self.calls.append("disconnect")

    def _move(self, pos, wait, wait_motion):
        assert not wait
        assert not wait_motion, "the SDK would wait for the arm"
        self.place = pos
        return self.code
