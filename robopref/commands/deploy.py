"""`robopref deploy`: a policy on an arm, looked at first, watched, and recorded."""

import getpass
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands.cell import ARM_TASK, Corners, env_of, first_camera
from robopref.commands.collect import check_image_px, name_policy
from robopref.config import component, resolve
from robopref.errors import check_at_least, check_between

if TYPE_CHECKING:
    from robopref.align.collect import Plan
    from robopref.data.store import EpisodeStore
    from robopref.deploy.acting import ChunkActor
    from robopref.deploy.session import Done


@dataclass(frozen=True)
class DeployCommand:
    """Let a policy act on an arm: a dry run first, then slowly, under the supervisor and your eyes.

    Keys: space stops, p pauses, g goes on, s and f end the episode as success or failure, + and -
    change the speed, t takes over, q quits. What was asked, what was sent and why is recorded with
    each episode.

    Example:
        robopref deploy --policy runs/demo/aligned --num-episodes 1 --yes --out runs/deployed
        robopref deploy --robot ur --robot.address 192.168.1.10 --policy runs/cup \
            --stay-in -0.2 -0.6 0 0.8 0.6 1 --out runs/cup-deployed
    """

    policy: Path | None = None
    """Run of the policy."""
    server: str | None = None
    """Address of a policy that `robopref serve` serves elsewhere, as ws://HOST:PORT, in place of
    `policy`; its token, if any, is read from the environment variable ROBOPREF_TOKEN."""
    against: Path | None = None
    """Run of another policy: both run from the same starts, in an order that nobody is told, and
    the labelling page compares them without their names."""
    reward: Path | None = None
    """Run of a reward, by which the policy's proposals are chosen; those that the arm cannot carry
    out are dropped first."""
    env: str = ARM_TASK
    """Where the arm is: "arm/<task>", a simulated arm at a task of Meta-World,
    "arm-deformable/<task>", one that performs primitives, or "real/<file>", a cell of your own that
    a file describes. With `robot`, the cell that the arm is put into."""
    robot: Any = component("robopref.hardware:ARMS", or_none=True)
    """The arm, in place of that of `env`; its options follow it."""
    stay_in: Corners | None = None
    """With `robot`: where all its links stay, by the lower and the upper corner of a box in the
    frame of its base [m]."""
    num_episodes: int = 5
    """Episodes to run."""
    max_episode_steps: int | None = None
    """Time limit, in steps; by default 200, and of primitives as many as the task allows."""
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
    device: Any = component("robopref.hardware:TELEOPERATORS", default="keyboard")
    """What you steer by when you take over; its options follow it."""
    speed: float = 0.1
    """Share of the greatest speeds to begin with; + and - change it."""
    operator: str = ""
    """Who stands beside the arm and takes responsibility; by default, the user's name."""
    page: bool = False
    """Also show a page with the same keys and large buttons, at an address of this machine."""
    yes: bool = False
    """Go without asking after the dry run; needed where there is no terminal."""
    query: int = 0
    """So many pairs of the recorded episodes become queries for the labelling page."""
    out: Path = Path("runs/deployed")
    """Folder that keeps the episodes. Interrupted, the same command runs what is missing."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_episodes", self.num_episodes, 1)
        check_at_least("query", self.query, 0)
        check_between("speed", self.speed, 0.01, 1)
        if (self.policy is None) == (self.server is None):
            raise ValueError("Give either --policy or --server, which say whose actions are done.")
        if self.server is not None and self.reward is not None:
            raise ValueError(
                "The server chooses among its policy's proposals: give --reward to robopref serve."
            )
        if self.reward is not None and performs_primitives(self.env):
            raise ValueError(
                "A run of `robopref deform` chooses by what it has learned itself: leave `reward` "
                "out."
            )
        check_image_px(self.image_px)

    def run(self) -> None:
        """Look, ask, run and record."""
        from robopref.align.checks import check_env
        from robopref.align.collect import open_or_create
        from robopref.align.run import Run

        env = env_of(self.env, resolve(self, "robot"), self.stay_in, self.out)
        cameras = first_camera(env) if self.cameras is None else self.cameras
        steps = self.max_episode_steps
        if steps is None and not performs_primitives(env):
            steps = MAX_EPISODE_STEPS
        check_env(env, steps, cameras)
        store = open_or_create(self.out, env)
        changing = ("num_episodes", "yes", "query", "operator", "speed", "device", "page")
        Run(self.out, self, may_change=changing)
        replace(
            self, env=env, robot=None, stay_in=None, cameras=cameras, max_episode_steps=steps
        ).record(store)

    def record(self, store: "EpisodeStore") -> None:
        """Look, ask, run and record, where the arm is as `env` says."""
        from robopref.deploy.dry_run import describe_cameras
        from robopref.deploy.operator import KEYS_SHOWN, TerminalOperator
        from robopref.deploy.page import OperatorPage
        from robopref.deploy.session import Session, make_turns
        from robopref.envs.make import make_env

        device = resolve(self, "device").build()
        options: dict[str, Any] = {
            "speed_factor": self.speed, "needs_deadman": device.has_deadman
        }  # fmt: skip
        if self.max_episode_steps is not None:
            options["max_episode_steps"] = self.max_episode_steps
        if self.cameras:
            options |= {"cameras": self.cameras, "image_px": self.image_px}
        env: Any = make_env(self.env, **options)
        try:
            turns = make_turns([self._actor(policy, env) for policy in self._policies()], self.seed)
            name, page = self.operator or getpass.getuser(), OperatorPage() if self.page else None
            with TerminalOperator(name, device, page) as operator:
                session = Session(env, operator, self.speed)
                if self.cameras:
                    operator.tell(describe_cameras(env.open_cameras(), self.calibrations))
                operator.tell(session.preview(turns[0]))
                operator.tell(f"Keys       {KEYS_SHOWN}")
                if not self.yes and not session.may_begin():
                    return
                done = session.run(store, turns)
        finally:
            env.close()
        self._report(store, done)

    def _policies(self) -> "list[Path | str]":
        """Return the runs of policies, and addresses of those that are served."""
        return [p for p in (self.policy, self.server, self.against) if p is not None]

    def _actor(self, policy: "Path | str", env: Any) -> "tuple[ChunkActor, Plan]":
        """Return who acts by a policy, and which episodes."""
        from robopref.align.actors import PolicyActor, policy_spec
        from robopref.align.checks import check_policy_fits
        from robopref.align.collect import Plan
        from robopref.deploy.feasible import drop_what_cannot_be_done

        spec: Any
        actor: ChunkActor | None = None
        if isinstance(policy, Path) and performs_primitives(self.env):
            from robopref.deform.saved import saved_spec

            name = name_policy(policy, None)
            spec = saved_spec(policy, name)
            actor, loaded = spec.build([env]), spec.proposer(env.task.primitive)
        elif isinstance(policy, Path):
            spec, name = policy_spec(policy, self.reward), name_policy(policy, self.reward)
            loaded = spec.load(task=env.task_description)
            drop_what_cannot_be_done(loaded, env)
        else:
            from robopref.serving.remote import RemoteSpec

            spec = RemoteSpec(policy)
            loaded = spec.load()
            name = loaded.served.name
        check_policy_fits(loaded, env)
        plan = Plan(
            env=self.env, actor=spec, seed=self.seed, start_set="test",
            num_episodes=self.num_episodes, group_size=1, max_episode_steps=self.max_episode_steps,
            cameras=self.cameras or (), image_px=self.image_px,
            metadata={"name": "deploy", "policy": name},
            namespace=str(policy),
        )  # fmt: skip
        return actor or PolicyActor(loaded), plan

    def _report(self, store: "EpisodeStore", done: "list[Done]") -> None:
        from collections import Counter

        counts = Counter(each.outcome.value for each in done)
        ends = ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing left"
        print(f"{len(store.rows)} episodes in {self.out}; now: {ends}.")
        database = self.out / "preferences.sqlite"
        if self.query:
            from robopref.commands.query import QueryCommand

            QueryCommand(self.out, str(database), num=self.query, segment_length=None).run()
        blind = "" if self.against is None else " --first-queries 0 --learner none"
        print(f"Next:   robopref label --data {self.out} --db {database}{blind}")


MAX_EPISODE_STEPS = 200
"""Steps of an episode unless something is said."""


def performs_primitives(env: str) -> bool:
    """Return whether an action is a whole primitive there."""
    return env.partition("/")[0] == "arm-deformable"
