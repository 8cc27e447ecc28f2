"""What goes wrong while an arm is moved and its episodes recorded, and how the arm ends.

`python -m tests.deploy.faults ADDRESS OUT [mistake|freeze]` is the process that moves it: an expert
at a task of Meta-World, deployed as a policy is. The controller is another process, which outlives
it.
"""

import contextlib
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robopref.align.actors import ScriptedSpec
from robopref.align.collect import Plan, open_or_create
from robopref.arm_env import STALL_S, ArmTaskConfig
from robopref.arm_table import scene_of
from robopref.config import to_dict
from robopref.data.store import EpisodeStore
from robopref.deploy.operator import Word
from robopref.deploy.session import Session, make_turns
from robopref.envs.behaviours import DetourRightConfig
from robopref.hardware.keyboard import Keyboard
from robopref.hardware.kinematics import joint_ids
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess
from robopref.hardware.sim_server import SILENT_S
from robopref.hardware.supervisor import STILL_RAD_S
from robopref.hardware.synthetic_camera import CameraFaults
from robopref.hardware.types import ArmMode

ROOT = Path(__file__).parents[2]
ENV, NUM_STEPS = "arm/drawer-close-v3", 24
EPISODES_BEFORE = 2
WATCHDOG_S, BLIND_S = STALL_S, 1.0
"""An arm is at rest so long after the fault at the latest [s]: the watchdog of `arm/<task>`; and so
old is the newest picture of a camera that does not see."""
DISK_BYTES = 3_000_000


class Expert:
    """The package's expert, with whom something goes wrong in the middle of an episode."""

    def __init__(self, env, others=()):
        self._actor = ScriptedSpec(DetourRightConfig()).build([env])
        self._env, self._others, self._num_episodes, self._num = env, others, 0, 0

    def begin(self, seeds):
        self._num_episodes, self._num = self._num_episodes + 1, 0
        self._actor.begin(seeds)

    def act(self, obs):
        self._num += 1
        if self._num_episodes > EPISODES_BEFORE and self._num == 5:
            say("moving", time.monotonic())
            if "mistake" in self._others:
                raise RuntimeError("a mistake in the policy")
            if "freeze" in self._others:
                source = self._env.eyes.drivers["front"]._source
                source.config = replace(source.config, faults=CameraFaults(frozen_after_s=0.0))
        return self._actor.act(obs)

    def act_chunk(self, obs):
        return self._actor.act(obs)[:, None]


class Bystander:
    """An operator who says nothing, and whose screen others read."""

    name = "ann"
    device = Keyboard()

    def words(self):
        return []

    def urgent(self):
        return None

    def show(self, status):
        self.seen = status

    def tell(self, text):
        say(text)

    def wait_for(self, wanted):
        del wanted
        return Word.QUIT


def say(*words):
    print(*words, flush=True)  # noqa: T201


def main():
    address, out, *others = sys.argv[1:]
    config = ArmTaskConfig(
        ENV.partition("/")[2], max_episode_steps=NUM_STEPS, address=address, camera_age_s=BLIND_S
    )  # fmt: skip
    env = config.build()
    if "freeze" in others:
        env = env.with_cameras(("front",), 64)
    plan = Plan(
        env=ENV, actor=ScriptedSpec(DetourRightConfig()), seed=0, start_set="test",
        num_episodes=50, group_size=1, max_episode_steps=NUM_STEPS, namespace="faults",
        metadata={"name": "deploy", "policy": "expert"},
    )  # fmt: skip
    store = open_or_create(Path(out), ENV)
    try:
        env.reset(seed=0)
        assert env._rig is not None
        say("loop", env._rig.arm._process.pid)
        turns = make_turns([(Expert(env, others), plan)], seed=0)
        Session(env, Bystander(), 1.0).run(store, turns)
    finally:
        env.close()


class Relay:
    """Passes datagrams on to a controller, until it is cut."""

    def __init__(self, target):
        self._target, self._ways, self._is_open = target, {}, True
        self.is_cut = False
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self.address = self._front.getsockname()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def close(self):
        self._is_open = False
        self._thread.join()
        for each in (self._front, *self._ways.values()):
            each.close()

    def _pass_on(self):
        while self._is_open:
            ready, _, _ = select.select([self._front, *self._ways.values()], [], [], 0.05)
            for sock in ready:
                with contextlib.suppress(ConnectionError):
                    data, sender = sock.recvfrom(65536)
                    if not self.is_cut:
                        self._send(sock, data, sender)

    def _send(self, sock, data, sender):
        if sock is not self._front:
            client = next(each for each, way in self._ways.items() if way is sock)
            self._front.sendto(data, client)
            return
        if sender not in self._ways:
            self._ways[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._ways[sender].connect(self._target)
        self._ways[sender].send(data)


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Args:
        rest_s: Time from the fault until the arm was at rest [s].
        is_held: Whether it stayed where it was, and follows nobody.
        num_kept: Episodes that load, without a problem.
        num_before: Episodes that were stored before the fault.
        said: What the process that moved it wrote last.
    """

    rest_s: float
    is_held: bool
    num_kept: int
    num_before: int
    said: str

    @property
    def is_safe(self):
        return self.is_held and self.num_kept >= self.num_before >= EPISODES_BEFORE


class Scene:
    """A controller with the task's arm, a relay before it, and somebody who looks at the arm."""

    def __init__(self):
        env = ArmTaskConfig(ENV.partition("/")[2]).build()
        raw = env._raw
        config = SimArmConfig("sawyer", scene=scene_of(raw))
        self._dofs = raw.model.jnt_dofadr[joint_ids(raw.model, config.build().spec)]
        self._controller = SimProcess(to_dict(config))
        self._link = SimLink(self._controller.address)
        self.relay = Relay(self._controller.address)
        env.close()

    def speed(self):
        return float(np.abs(np.array(self._link.ask("scene")["qvel"])[self._dofs]).max())

    def mode(self):
        return ArmMode(self._link.ask("scene")["mode"])

    def wait_for_rest(self, timeout_s=10.0):
        """Return since when it rests; it has to for a fifth of a second."""
        end, since = time.monotonic() + timeout_s, None
        while time.monotonic() < end:
            now = time.monotonic()
            since = (since or now) if self.speed() < STILL_RAD_S else None
            if since is not None and now - since > 0.2:
                return since
            time.sleep(0.002)
        raise AssertionError("the arm does not come to rest")

    def is_held(self):
        """Whether it stays at rest, and follows nobody within twice the controller's patience."""
        end = time.monotonic() + 2 * SILENT_S
        while self.mode() is ArmMode.SERVO and time.monotonic() < end:
            if self.speed() > STILL_RAD_S:
                return False
            time.sleep(0.02)
        return self.mode() is not ArmMode.SERVO and self.speed() < STILL_RAD_S

    def close(self):
        self.relay.close()
        self._link.close()
        self._controller.close()


class Running:
    """The process that moves the arm."""

    def __init__(self, scene, out, *others):
        self.scene, self.out = scene, out
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.faults", "{}:{}".format(*scene.relay.address),
             str(out), *others],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            start_new_session=True,
        )  # fmt: skip
        self.loop_pid = int(self.wait_for("loop ").split()[1])

    def wait_for(self, start):
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith(start):
                return line
        raise AssertionError(f"it ended before '{start}': {''.join(lines)}")

    def wait_until_it_moves(self):
        self.wait_for("moving")
        while self.scene.speed() < 5 * STILL_RAD_S:
            time.sleep(0.002)

    def end(self):
        """Return what it wrote since the last `wait_for`."""
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        # Not `communicate`: it passes over what `wait_for` read ahead.
        assert self.process.stdout is not None
        with self.process.stdout as rest:
            return rest.read()


def kill_policy(running):
    running.wait_until_it_moves()
    running.process.kill()
    return time.monotonic()


def kill_loop(running):
    running.wait_until_it_moves()
    os.kill(running.loop_pid, signal.SIGKILL)
    return time.monotonic()


def drop_network(running):
    running.wait_until_it_moves()
    running.scene.relay.is_cut = True
    return time.monotonic()


def fail_inside(running):
    """Wait until what was asked for goes wrong by itself: a mistake, or a camera that freezes."""
    return float(running.wait_for("moving").split()[1])


def fill_disk(running):
    """Leave no byte to write; known when the episode that runs is to be stored."""
    running.wait_until_it_moves()
    folder = running.out.parent
    if shutil.disk_usage(folder).total <= DISK_BYTES:
        with contextlib.suppress(OSError), (folder / "filler").open("wb", 0) as file:
            while True:
                file.write(bytes(4096))
    else:
        # No disk of its own was permitted: the process may write no files any more instead.
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (0, 0))
    running.wait_for("Traceback")
    return time.monotonic()


FAULTS = {
    "policy_killed": kill_policy, "loop_killed": kill_loop, "network_dropped": drop_network,
    "policy_raises": fail_inside, "camera_frozen": fail_inside, "disk_full": fill_disk,
}  # fmt: skip
INSIDE = {"policy_raises": ["mistake"], "camera_frozen": ["freeze"]}


def within_s(name):
    """Return how soon the arm has to be at rest [s]."""
    return WATCHDOG_S + (BLIND_S if name == "camera_frozen" else 0)


def run_fault(name, folder):
    """Let one thing go wrong once, and return how the arm and its data ended."""
    out, scene = folder / "data", Scene()
    try:
        running = Running(scene, out, *INSIDE.get(name, []))
        begun = FAULTS[name](running)
        rest_s = max(0.0, scene.wait_for_rest() - begun)
        said = running.end()
        is_held = scene.is_held()
        (folder / "filler").unlink(missing_ok=True)
        store = EpisodeStore.open(out)
        kept = [store.episode(row.episode_id) for row in store.rows]
        whole = [each for each in kept if 0 < len(each) <= NUM_STEPS]
        return Ended(rest_s, is_held, len(whole), EPISODES_BEFORE, said)
    finally:
        scene.close()


@contextlib.contextmanager
def small_disk(folder):
    """Let a folder be a disk of its own, where that is permitted."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    try:
        yield folder
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


if __name__ == "__main__":
    main()
