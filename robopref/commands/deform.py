"""`robopref deform`: choose action primitives on point clouds by what a teacher ranked."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from robopref.config import component, resolve, to_dict
from robopref.deform.config import DeformConfig
from robopref.ray_workers import RayConfig


@dataclass(frozen=True)
class DeformCommand(DeformConfig):
    """Clone a policy of primitives, have its candidates ranked, tune, choose among them, report.

    Killed or interrupted, the same command goes on where it was.

    Example:
        robopref deform --env deformable/rope-square-v0 --num-demonstrations 2 --num-states 6 \
            --num-candidates 32 --num-rounds 1 --num-pool-episodes 2 --num-test-episodes 2 \
            --max-episode-steps 4 --base-training.num-steps 20 --explicit.trainer.num-steps 10 \
            --method deformpam-plus --method.trainer.num-steps 10 --out runs/square
    """

    several_processes: ClassVar[bool] = True

    out: Path = Path("runs/deform")
    """Folder of the run."""
    cluster: RayConfig = field(default_factory=RayConfig)
    """Where the workers are."""
    tracker: Any = component("robopref.tracker:TRACKERS", default="tensorboard")
    """What shows the figures of training, beside metrics.jsonl."""

    def run(self) -> None:
        """Run every stage that is not done yet, and write the report."""
        from robopref.commands.present_deform import run_deform
        from robopref.tracker import tracked_by

        names = [field.name for field in dataclasses.fields(DeformConfig)]
        config = DeformConfig(**{name: getattr(self, name) for name in names})
        with tracked_by(resolve(self, "tracker"), self.out, to_dict(config)):
            run_deform(config, self.out, self.cluster.build(self.num_workers))
