"""`robopref demo`: the main job, once, small."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robopref.commands import following
from robopref.commands.following import command

PRESS = "metaworld/button-press-topdown-v3"


@dataclass(frozen=True)
class DemoCommand:
    """Teach a robot arm to reach a button from the right, with ten answers; or to lay a rope.

    Eighty scripted demonstrations, half of which come from the left, make a policy that does
    either. A scripted teacher who prefers the right answers ten queries; a reward is learned, the
    policy's proposals are chosen by it, and the policy is fine-tuned on what was chosen.

    With --task rope a policy is cloned that picks and places a rope, seen as a point cloud; a
    teacher ranks its candidates at a few states, and what is learned from that chooses among them.

    Example:
        robopref demo --out runs/demo
    """

    task: Literal["press", "rope"] = "press"
    """Which demo."""
    out: Path = Path("runs/demo")
    """Folder of the run; an interrupted demo goes on from it."""
    seed: int = 0
    """Decides everything random."""
    num_workers: int = 2
    """Processes that record episodes."""

    def run(self) -> None:
        """Run every stage that is not done yet, and write the report."""
        if self.task == "rope":
            self._lay_rope()
            return
        from robopref.align.config import AlignConfig
        from robopref.commands.present import run_loop
        from robopref.workers import Workers

        config = AlignConfig(env=PRESS, seed=self.seed, num_workers=self.num_workers)
        run_loop(config, self.out, Workers(self.num_workers))
        again = following.free_folder(self.out.with_name(f"{self.out.name}-left"))
        print(f"Next:   {command('align', '--behaviour', 'detour-left', '--out', again)}")

    def _lay_rope(self) -> None:
        from robopref.commands.present_deform import run_deform
        from robopref.deform.config import small
        from robopref.workers import Workers

        config = small(seed=self.seed, num_workers=self.num_workers)
        run_deform(config, self.out, Workers(self.num_workers))
