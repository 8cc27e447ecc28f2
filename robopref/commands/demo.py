"""`robopref demo`: the main job, once, small."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from robopref.commands import following
from robopref.commands.following import command

DEMOS = {"press": "metaworld/button-press-topdown-v3"}


@dataclass(frozen=True)
class DemoCommand:
    """Teach a robot arm to reach a button from the right, with ten answers.

    Eighty scripted demonstrations, half of which come from the left, make a policy that does
    either. A scripted teacher who prefers the right answers ten queries; a reward is learned, the
    policy's proposals are chosen by it, and the policy is fine-tuned on what was chosen.

    Example:
        robopref demo --out runs/demo
    """

    task: Literal["press"] = "press"
    """Which demo."""
    out: Path = Path("runs/demo")
    """Folder of the run; an interrupted demo goes on from it."""
    seed: int = 0
    """Decides everything random."""
    num_workers: int = 2
    """Processes that record episodes."""

    def run(self) -> None:
        """Run every stage that is not done yet, and write the report."""
        from robopref.align.config import AlignConfig
        from robopref.commands.present import run_loop

        config = AlignConfig(env=DEMOS[self.task], seed=self.seed, num_workers=self.num_workers)
        run_loop(config, self.out)
        again = following.free_folder(self.out.with_name(f"{self.out.name}-left"))
        print(f"Next:   {command('align', '--behaviour', 'detour-left', '--out', again)}")
