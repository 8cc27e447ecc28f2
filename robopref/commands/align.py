"""`robopref align`: move a policy to what a teacher prefers."""

from dataclasses import dataclass, fields
from pathlib import Path

from robopref.align.config import AlignConfig


@dataclass(frozen=True)
class AlignCommand(AlignConfig):
    """Clone a policy, ask a teacher, learn a reward, select and fine-tune, evaluate, report.

    Killed or interrupted, the same command goes on where it was.

    Example:
        robopref align --env metaworld/drawer-close-v3 --behaviour detour-left --out runs/drawer
    """

    out: Path = Path("runs/align")
    """Folder of the run."""

    def run(self) -> None:
        """Run every stage that is not done yet."""
        from robopref.align.report_text import same_parts
        from robopref.commands.present import run_loop

        values = {f.name: getattr(self, f.name) for f in fields(AlignConfig)}
        config = AlignConfig(**values)
        run_loop(config, self.out)
        print(
            f"Next:   robopref evaluate --policy {self.out}/aligned {' '.join(same_parts(config))}"
        )
