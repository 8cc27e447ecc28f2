"""Nothing reaches an arm but through this: a pure function from what is asked to what is sent.

What is sent next is accepted only together with the fastest stop from it: if that stop keeps to the
joint limits, the workspace and the tool's speed, the motion does, and if a later command cannot be
followed, the stop is still there to be taken. So no stream of commands leads out of the limits, as
long as the arm goes where it is sent [1].

A stop is latched. Leaving it takes a person's acknowledgement; then the arm may come back from
outside a limit, slowly and never further out.

This is a layer for research, not a certified one: emergency stop and the controller's own limits
remain the protection.

References:
    [1] Pek & Althoff, Fail-safe motion planning for online verification of autonomous vehicles
        using convex optimization, IEEE T-RO 2021 (a verified stop behind every motion).
"""

import operator
from dataclasses import replace

from robopref.errors import HardwareError
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.motion import Motion, Planner
from robopref.hardware.plausible import (
    doubt_command,
    doubt_course,
    doubt_freshness,
    doubt_state,
    doubt_tracking,
)
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.targets import Aim, Targets
from robopref.hardware.types import (
    ArmCommand,
    ArmSpec,
    ArmState,
    CommandKind,
    OperatorAck,
    StopLevel,
)
from robopref.hardware.verdicts import Decision, Memory, Phase, SentCommand, Verdict, latch

UNCHANGED_RAD = 1e-9
"""A position that differs by less was sent as it was asked for [rad]."""


class Supervisor:
    """Decides what goes to an arm.

    Args:
        spec: The arm.
        config: The limits beside its own.

    Raises:
        FileNotFoundError: The arm's model is missing.
        HardwareError: The model does not fit the arm.
        MissingExtraError: Ruckig is not installed.
    """

    def __init__(self, spec: ArmSpec, config: SafetyConfig) -> None:
        self.spec, self.config = spec, config
        self.kinematics = Kinematics(spec)
        self._planner = Planner(spec, spec.period_s)
        self._targets = Targets(spec, config, self.kinematics)

    def arm(self, state: ArmState, now_s: float) -> Memory:
        """Return the memory with which motion begins, where the arm is.

        Raises:
            HardwareError: The state cannot be believed, the arm moves, or it is outside a limit.
        """
        self._check_can_start(state, now_s)
        memory = self._begin(state, now_s)
        outside = self._outside(memory)
        if outside:
            raise HardwareError(f"'{self.spec.name}' cannot be armed: {outside}.")
        return memory

    def acknowledge(
        self, memory: Memory, ack: OperatorAck, state: ArmState, now_s: float
    ) -> Memory:
        """Return the memory with which the arm may move again after a stop.

        From outside a limit it may only come back in, at the speed of an approach.

        Raises:
            HardwareError: There is no stop, the acknowledgement is older than it, or the state
                cannot be believed yet.
        """
        if memory.stopped is None:
            raise HardwareError("There is no stop to acknowledge.")
        if not memory.stopped.time_s <= ack.time_s <= now_s:
            raise HardwareError("The acknowledgement is not of after this stop; give a new one.")
        self._check_can_start(state, now_s)
        return replace(self._begin(state, now_s), speed_factor=memory.speed_factor)

    def request_stop(
        self, memory: Memory, reason: str, now_s: float, level: StopLevel = StopLevel.CONTROLLED
    ) -> Memory:
        """Return the memory after a stop was asked for from outside; a key, a signal, a crash."""
        return latch(memory, Verdict("request", Decision.STOP, reason), now_s, level)

    def keep_stopped(self, memory: Memory, reason: str) -> Memory:
        """Return the memory after an acknowledgement that could not be followed, which says why."""
        assert memory.stopped is not None
        verdict = Verdict("request", Decision.STOP, f"it cannot start again: {reason}")
        return replace(memory, stopped=replace(memory.stopped, verdict=verdict))

    def set_speed(self, memory: Memory, factor: float) -> Memory:
        """Return the memory with another share of the greatest speeds.

        Raises:
            ValueError: It is not above 0 and at most 1.
        """
        if not 0 < factor <= 1:
            raise ValueError(f"`factor` must be above 0 and at most 1, got {factor}.")
        return replace(memory, speed_factor=factor)

    def set_deadman(self, memory: Memory, *, held: bool) -> Memory:
        """Return the memory after the key was pressed or let go."""
        return replace(memory, deadman_held=held)

    def step(
        self, memory: Memory, command: ArmCommand | None, state: ArmState, now_s: float
    ) -> tuple[Memory, SentCommand]:
        """Decide what is sent in this period.

        Args:
            memory: What came out of the step before.
            command: What is asked; None where nothing came.
            state: What the arm reported last.
            now_s: The time [s, monotonic clock].

        Returns:
            What to remember, and what to send.
        """
        if memory.phase is Phase.IDLE or memory.motion is None:
            unarmed = Verdict("mode", Decision.HOLD, "the arm was not armed")
            return memory, SentCommand(command, None, (unarmed,), now_s, StopLevel.HOLD)
        memory, verdict = self._judge(memory, command, state, now_s)
        if memory.stopped is not None:
            return self._go_on_stopping(memory, command, now_s)
        wanted = memory.command
        if verdict is not None or wanted is None or wanted.kind is CommandKind.HOLD:
            return self._hold(memory, command, verdict, now_s)
        return self._follow(memory, wanted, command, now_s)

    def _judge(
        self, memory: Memory, command: ArmCommand | None, state: ArmState, now_s: float
    ) -> tuple[Memory, Verdict | None]:
        """Return the memory, with a stop where there has to be one, and why to hold if so."""
        if memory.stopped is not None:
            return memory, memory.stopped.verdict
        doubt = doubt_state(state, self.spec) or doubt_tracking(
            memory, state, self.spec, self.config
        )
        if doubt is None and command is not None:
            doubt = doubt_command(command, self.spec)
            if doubt is None and command.issued_s <= now_s <= command.valid_until_s:
                memory = replace(memory, command=command, last_valid_s=now_s)
        if doubt is None:
            doubt = doubt_freshness(
                memory, state, now_s, period_s=self.spec.period_s, config=self.config
            )
        if doubt is None:
            memory, doubt = doubt_course(memory, state, now_s, spec=self.spec, config=self.config)
        if doubt is not None and doubt.decision is Decision.STOP:
            return latch(memory, doubt, now_s, StopLevel.CONTROLLED), doubt
        return memory, doubt

    def _follow(
        self, memory: Memory, wanted: ArmCommand, asked: ArmCommand | None, now_s: float
    ) -> tuple[Memory, SentCommand]:
        """Go as far towards what is wanted as is allowed."""
        assert memory.motion is not None
        aim = self._targets.aim(memory, wanted)
        planned = self._go_through(memory.motion, aim)
        if planned is not aim.target:
            if planned is None:
                # From such a target there is no way on: it is gone to, not through.
                aim = replace(aim, target=Motion.at_rest(aim.target.position))
            aim = self._targets.slow_down(memory, aim)
            planned = self._planner.towards(memory.motion, aim.target, aim.velocity_max)
        problem: Verdict | None = self._refuse(memory, planned)
        verdicts = [*aim.verdicts, *([problem] if problem else [])]
        if problem is not None and problem.filter in ("workspace", "self-collision"):
            aim = self._targets.pull_inside(memory, aim, problem)
            planned = self._planner.towards(memory.motion, aim.target, aim.velocity_max)
            problem = self._refuse(memory, planned)
        if planned is None or problem is not None:
            planned = self._brake_once(memory.motion)
        return self._send(memory, planned, asked, verdicts, now_s)

    def _go_through(self, motion: Motion, aim: Aim) -> Motion | None:
        """Return the next motion on the way to an aim as it is; None where it has to be at rest."""
        if aim.target.stands_still and self._planner.is_beyond(motion, aim.target):
            # How it would go there at once need not be known.
            return None
        return self._planner.towards(motion, aim.target, aim.velocity_max)

    def _refuse(self, memory: Memory, planned: Motion | None) -> Verdict | None:
        if planned is None:
            return Verdict("rate", Decision.CLAMP, "no motion leads there: it brakes")
        return self._targets.refuse(memory, planned, self._planner.brake(planned))

    def _send(
        self, memory: Memory, motion: Motion, asked: ArmCommand | None,
        verdicts: list[Verdict], now_s: float,
    ) -> tuple[Memory, SentCommand]:  # fmt: skip
        wanted = memory.command
        assert wanted is not None
        if not verdicts and _differs(motion, wanted):
            verdicts.append(Verdict("rate", Decision.CLAMP, "it lies further than one period"))
        is_clamped = any(v.decision is Decision.CLAMP and v.filter != "rate" for v in verdicts)
        since = memory.clamped_since_s if memory.clamped_since_s is not None else now_s
        is_slow = any(v.filter == "first-command" for v in verdicts)
        memory = self._targets.shrink(
            replace(
                memory,
                motion=motion,
                is_approaching=memory.is_approaching and is_slow,
                clamped_since_s=since if is_clamped else None,
            )
        )
        return memory, SentCommand(asked, _position(motion, wanted, now_s), tuple(verdicts), now_s)

    def _hold(
        self, memory: Memory, asked: ArmCommand | None, verdict: Verdict | None, now_s: float
    ) -> tuple[Memory, SentCommand]:
        """Brake, and stay."""
        assert memory.motion is not None
        motion = self._brake_once(memory.motion)
        verdicts = (verdict or Verdict("mode", Decision.HOLD, "a hold was asked, or nothing yet"),)
        memory = replace(memory, motion=motion, is_approaching=True, clamped_since_s=None)
        return memory, SentCommand(asked, _position(motion, asked, now_s), verdicts, now_s)

    def _go_on_stopping(
        self, memory: Memory, asked: ArmCommand | None, now_s: float
    ) -> tuple[Memory, SentCommand]:
        """Brake along the way that was checked; where the arm is not on it, the driver stops it."""
        assert memory.stopped is not None
        assert memory.motion is not None
        stopped = memory.stopped
        if stopped.level is StopLevel.IMMEDIATE or stopped.verdict.filter in ("tracking", "mode"):
            standing = replace(memory, motion=Motion.at_rest(memory.motion.position))
            return standing, SentCommand(asked, None, (stopped.verdict,), now_s, stopped.level)
        motion = self._brake_once(memory.motion)
        sent = _position(motion, None, now_s)
        memory = replace(memory, motion=motion)
        return memory, SentCommand(asked, sent, (stopped.verdict,), now_s, stopped.level)

    def _brake_once(self, motion: Motion) -> Motion:
        return motion if motion.is_at_rest else self._planner.brake(motion).next

    def _check_can_start(self, state: ArmState, now_s: float) -> None:
        doubt = doubt_state(state, self.spec)
        if doubt is None and not abs(now_s - state.time_s) <= self.config.state_age_s:
            doubt = Verdict("freshness", Decision.STOP, "its state is not of now")
        if doubt is not None:
            raise HardwareError(f"'{self.spec.name}' cannot be armed: {doubt.reason}.")
        if max(map(abs, state.velocity)) > STILL_RAD_S:
            raise HardwareError(
                f"'{self.spec.name}' cannot be armed while it moves: its joints turn at up to "
                f"{max(map(abs, state.velocity)):.3f} rad/s."
            )

    def _begin(self, state: ArmState, now_s: float) -> Memory:
        low, high, allowance = self._targets.bounds_around(state.position)
        return Memory(
            Phase.RUNNING, Motion.at_rest(tuple(state.position)), low, high, allowance,
            self.config.speed_factor, armed_s=now_s, last_valid_s=now_s,
        )  # fmt: skip

    def _outside(self, memory: Memory) -> str:
        assert memory.motion is not None
        targets = self._targets
        for name, place, bottom, top in zip(
            self.spec.joint_names, memory.motion.position, targets.low, targets.high, strict=True
        ):
            if not bottom <= place <= top:
                return f"'{name}' is at {place:.3f} rad, outside {bottom:.3f} to {top:.3f}"
        in_space = targets.clearance.num_in_space
        if any(memory.allowance_m[:in_space]):
            return "a link is outside the workspace"
        if any(memory.allowance_m):
            return f"links are nearer to each other than {1e3 * self.config.self_distance_m:.0f} mm"
        return ""


STILL_RAD_S = 0.01
"""A joint slower than this stands still [rad/s]."""


def _differs(motion: Motion, wanted: ArmCommand) -> bool:
    apart = map(abs, map(operator.sub, motion.position, wanted.value))
    return wanted.kind is CommandKind.JOINT_POSITION and bool(max(apart) > UNCHANGED_RAD)


def _position(motion: Motion, wanted: ArmCommand | None, now_s: float) -> ArmCommand:
    return ArmCommand(
        CommandKind.JOINT_POSITION, motion.position, now_s,
        now_s if wanted is None else wanted.valid_until_s, motion.velocity, motion.acceleration,
        gripper=None if wanted is None else wanted.gripper,
        source="" if wanted is None else wanted.source,
        chunk=-1 if wanted is None else wanted.chunk, step=-1 if wanted is None else wanted.step,
    )  # fmt: skip
