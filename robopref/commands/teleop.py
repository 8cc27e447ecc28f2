"""`robopref teleop`: demonstrations by hand."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.commands import following
from robopref.commands.cell import ARM_TASK, Corners, env_of, first_camera
from robopref.commands.collect import check_image_px
from robopref.config import component, resolve
from robopref.errors import HardwareError, check_at_least, check_between


@dataclass(frozen=True)
class TeleopCommand:
    """Steer an arm by hand, under the supervisor, and record what was done.

    With the keyboard, arrow keys move the tool along x and y of the arm's base, u and j up and
    down; o opens the gripper and c closes it. Whatever the device: s and f end an episode as
    success or failure, space stops, q quits.

    Example:
        robopref teleop --env arm/reach-v3 --num-episodes 2 --out runs/by-hand
    """

    env: str = ARM_TASK
    """Where the arm is: "arm/<task>", a simulated arm at a task of Meta-World, or "real/<file>", a
    cell of your own that a file describes. With `robot`, the cell that the arm is put into."""
    robot: Any = component("robopref.hardware:ARMS", or_none=True)
    """The arm, in place of that of `env`; its options follow it."""
    stay_in: Corners | None = None
    """With `robot`: where all its links stay, by the lower and the upper corner of a box in the
    frame of its base [m]."""
    device: Any = component("robopref.hardware:TELEOPERATORS", default="keyboard")
    """What the arm is steered by; its options follow it."""
    num_episodes: int = 5
    """Episodes to record."""
    max_episode_steps: int | None = None
    """Time limit; None for the environment's own."""
    seed: int = 0
    """Decides the starts."""
    cameras: tuple[str, ...] | None = None
    """Cameras whose pictures are recorded, and become a video of each episode; the arm is stopped
    when one does not see. By default the first one that is there; nothing after the option: none.
    """
    image_px: int = 224
    """Width and height of their pictures, an even number."""
    calibrations: Path = Path("runs/cameras")
    """Folder with the mounts and calibrations of cameras; one that does not hold any more is
    refused before the arm is armed."""
    page: bool = False
    """Also show a page with the same keys and large buttons, at an address of this machine."""
    speed: float = 0.35
    """Share of the greatest speeds to begin with; + and - change it."""
    operator: str = ""
    """Who steers and takes responsibility; by default, the user's name."""
    out: Path = Path("runs/teleop")
    """Folder that keeps the episodes. Interrupted, the same command records what is missing."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        check_between("speed", self.speed, 0.01, 1)
        check_image_px(self.image_px)

    def run(self) -> None:
        """Let a person steer, and record."""
        import sys

        from robopref.align.actors import PersonSpec
        from robopref.align.checks import check_env
        from robopref.align.collect import Plan, open_or_create
        from robopref.align.run import Run
        from robopref.deploy.dry_run import describe_cameras
        from robopref.deploy.operator import KEYS_SHOWN, TerminalOperator
        from robopref.deploy.page import OperatorPage
        from robopref.deploy.session import Session, make_turns
        from robopref.envs.make import make_env

        if not self.page and not sys.stdin.isatty():
            raise HardwareError(
                "Steering takes the keys of a terminal, and this is none. --page shows a page with "
                "the same keys."
            )
        where = env_of(self.env, resolve(self, "robot"), self.stay_in, self.out)
        cameras = first_camera(where) if self.cameras is None else self.cameras
        check_env(where, self.max_episode_steps, cameras)
        store = open_or_create(self.out, where)
        Run(self.out, self, may_change=("num_episodes", "operator", "speed", "device", "page"))
        device = resolve(self, "device").build()
        options: dict[str, Any] = {
            "speed_factor": self.speed, "needs_deadman": device.has_deadman
        }  # fmt: skip
        if self.max_episode_steps is not None:
            options["max_episode_steps"] = self.max_episode_steps
        if cameras:
            options |= {"cameras": cameras, "image_px": self.image_px}
        env: Any = make_env(where, **options)
        name = self.operator or getpass.getuser()
        spec = PersonSpec()
        plan = Plan(
            env=where, actor=spec, seed=self.seed, start_set="pool", group_size=1,
            num_episodes=self.num_episodes, max_episode_steps=self.max_episode_steps,
            cameras=cameras, image_px=self.image_px,
            metadata={"name": "teleop", "policy": name}, namespace="teleop",
        )  # fmt: skip
        try:
            person: Any = spec.build([env])
            turns = make_turns([(person, plan)], self.seed)
            page = OperatorPage() if self.page else None
            with TerminalOperator(name, device, page) as operator:
                session = Session(env, operator, self.speed, by_hand=True)
                if cameras:
                    operator.tell(describe_cameras(env.open_cameras(), self.calibrations))
                operator.tell(session.preview(turns[0]))
                operator.tell(f"Steering   {device.shown}")
                operator.tell(f"Keys       {KEYS_SHOWN}")
                if session.may_begin():
                    session.run(store, turns)
        finally:
            env.close()
        print(f"{len(store.rows)} episodes in {self.out}.")
        if len(store.rows):
            print("Next:   " + following.command("train policy", "--data", self.out))
