"""Streams of commands that try to lead an arm out of its limits, and what was sent for them.

`python -m tests.hardware.streams NUM_STEPS` drives every arm and prints how far it came beyond each
limit.
"""

import json
import sys
from dataclasses import dataclass, replace

import numpy as np

from robopref.hardware.arms import MODELS
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.self_distance import SelfDistance
from robopref.hardware.supervisor import Supervisor
from robopref.hardware.targets import tool_speeds
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, CommandKind, OperatorAck
from robopref.hardware.workspace import Box, Cylinder, HalfSpace, Workspace

HOME = {name: make().rest_rad for name, make in MODELS.items()}
WORKSPACE = Workspace(
    Box((-1.0, -1.0, -0.2), (1.0, 1.0, 1.4)),
    (HalfSpace((0.0, 0.0, 1.0), 0.0),),
    (Box((0.3, 0.3, 0.0), (0.6, 0.6, 0.3)), Cylinder((-0.5, 0.0, 0.0), 0.1, 0.5)),
    radius_m=0.04,
)


def make_config(**changes):
    return replace(SafetyConfig(WORKSPACE, 1.0, off=("budget",)), **changes)


def make_state(position, now_s, **changes):
    rest = (0.0,) * len(position)
    return replace(ArmState(now_s, tuple(position), rest, ArmMode.SERVO), **changes)


def command_to(value, now_s, kind=CommandKind.JOINT_POSITION, **changes):
    values = tuple(np.asarray(value, float).tolist())
    return replace(ArmCommand(kind, values, now_s, now_s + 1.0), **changes)


class Commands:
    """Commands of every kind, near and far, steady and wild; seeded."""

    def __init__(self, num_joints, home, rng):
        self.num, self.home, self.rng = num_joints, np.array(home), rng
        self.kind = "rest"
        self.target, self.velocity = np.array(home), np.zeros(num_joints)

    def next(self, now_s):
        if self.rng.random() < 0.03:
            self.kind = self.rng.choice(["far", "velocity", "wild", "hold", "silent", "nan", "old"])
            far = self.rng.choice([0.05, 0.5, 3.0])
            self.target = self.home + far * self.rng.normal(size=self.num)
            self.velocity = self.rng.choice([0.1, 1.0, 5.0]) * self.rng.normal(size=self.num)
        target = np.clip(self.target, -12, 12)
        if self.kind == "velocity":
            return command_to(self.velocity, now_s, CommandKind.JOINT_VELOCITY)
        if self.kind == "wild":
            jumps = np.clip(target + self.rng.normal(size=self.num), -12, 12)
            going = tuple(self.rng.normal(size=self.num) * 3)
            return command_to(jumps, now_s, velocity=going, acceleration=going)
        if self.kind == "hold":
            return command_to((), now_s, CommandKind.HOLD)
        if self.kind == "silent":
            return None
        if self.kind == "nan":
            return command_to(np.where(self.rng.random(self.num) < 0.5, np.nan, target), now_s)
        if self.kind == "old":
            return command_to(target, now_s - 5.0)
        return command_to(target, now_s)


@dataclass(frozen=True)
class Sent:
    """Positions sent without a pause, one a period."""

    positions: np.ndarray
    num_stops: int
    filters: frozenset[str]

    def excess(self, supervisor):
        """How far beyond each limit, as a share of it or in its unit; at most 0 is within."""
        spec, config = supervisor.spec, supervisor.config
        velocity = np.diff(self.positions, axis=0) * spec.rate_hz
        acceleration = np.diff(velocity, axis=0) * spec.rate_hz
        jerk = np.diff(acceleration, axis=0) * spec.rate_hz
        placed = supervisor.kinematics.place(self.positions)
        speed, rotation = tool_speeds(placed, spec.period_s)
        itself = SelfDistance(supervisor.kinematics, config.self_distance_m)
        nearest = itself.distances_m(self.positions).min()
        excess = {
            "velocity": (np.abs(velocity) / spec.velocity_max_rad_s).max() - 1,
            "acceleration": (np.abs(acceleration) / spec.acceleration_max_rad_s2).max() - 1,
            "jerk": (np.abs(jerk) / spec.jerk_max_rad_s3).max() - 1,
            "low": (np.array(spec.position_min_rad) - self.positions).max(),
            "high": (self.positions - np.array(spec.position_max_rad)).max(),
            "itself": config.self_distance_m - nearest,
            "tool speed": speed.max() / config.tool_speed_m_s - 1,
            "tool rotation": rotation.max() / config.tool_rotation_rad_s - 1,
        }
        if config.has("workspace"):
            excess["workspace"] = -config.workspace.margins_m(placed.points_m).min()
        return excess


def fold(supervisor, rng):
    """Return a place a little before the arm would meet itself, on a straight way from home."""
    spec, home = supervisor.spec, np.array(HOME[supervisor.spec.name])
    itself = SelfDistance(supervisor.kinematics, supervisor.config.self_distance_m)
    while True:
        target = rng.uniform(spec.position_min_rad, spec.position_max_rad)
        way = home + np.linspace(0, 1, 400)[:, None] * (target - home)
        near = itself.distances_m(way).min(axis=1) < itself.least_m + 0.002
        if near.any():
            return way[int(near.argmax()) - 1]


def drive(supervisor, num_steps, rng, *, error_rad=0.0, start=None):
    """Send a stream to an arm that goes where it is sent; every stop is acknowledged at rest.

    Args:
        supervisor: Decides what is sent.
        num_steps: Periods.
        rng: Makes the stream, and the errors.
        error_rad: How far the arm is from where it was sent, at most.
        start: Where it begins, and comes back to; None for home.
    """
    spec, now = supervisor.spec, 100.0
    place = np.array(HOME[spec.name] if start is None else start)
    commands = Commands(spec.num_joints, place, rng)
    memory = supervisor.arm(make_state(place, now), now)
    # At rest before it begins, so that the first differences count.
    sent, stops, filters = [place] * 4, 0, set()
    for _ in range(num_steps):
        now += spec.period_s
        error = rng.uniform(-error_rad, error_rad, spec.num_joints)
        state = make_state(sent[-1] + error, now)
        memory, out = supervisor.step(memory, commands.next(now), state, now)
        assert out.sent is not None
        sent.append(np.array(out.sent.value))
        filters |= {verdict.filter for verdict in out.verdicts}
        if memory.stopped is not None and memory.motion.is_at_rest:
            stops += 1
            still = make_state(sent[-1], now)
            memory = supervisor.acknowledge(memory, OperatorAck("test", "ok", now), still, now)
            sent += [sent[-1]] * 3
    return Sent(np.array(sent), stops, frozenset(filters))


def main():
    steps = -(-int(sys.argv[1]) // (3 * len(MODELS)))
    found = []
    for place, make in enumerate(MODELS.values()):
        spec = make()
        inside = Supervisor(spec, make_config())
        # With room to fold, since a table is in the way of most of it.
        free = Supervisor(spec, make_config(off=("budget", "workspace")))
        start = fold(free, np.random.default_rng(place))
        for name, supervisor, error_rad, begin in (
            ("exact", inside, 0.0, None), ("inexact", inside, 0.05, None),
            ("folded", free, 0.01, start),
        ):  # fmt: skip
            rng = np.random.default_rng([place, int(1e3 * error_rad)])
            sent = drive(supervisor, steps, rng, error_rad=error_rad, start=begin)
            excess = {name: float(value) for name, value in sent.excess(supervisor).items()}
            found.append(
                {
                    "arm": spec.name, "stream": name, "steps": steps, "stops": sent.num_stops,
                    "excess": excess, "filters": sorted(sent.filters),
                    "moved_rad": float(np.ptp(sent.positions, axis=0).max()),
                }
            )  # fmt: skip
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
