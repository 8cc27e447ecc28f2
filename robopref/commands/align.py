"""`robopref align`: move a policy to what a teacher prefers."""

import dataclasses
import functools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robopref.align.config import AlignConfig
from robopref.config import component, resolve, to_dict
from robopref.errors import ConfigError
from robopref.ray_workers import RayConfig

if TYPE_CHECKING:
    from robopref.align.offline import OfflineConfig

_ROLLED_OUT = ("num_episodes", "success_margin")
"""What the guard has no use for without a simulator."""


@dataclass(frozen=True)
class AlignCommand(AlignConfig):
    """Clone a policy, ask a teacher, learn a reward, select and fine-tune, evaluate, report.

    Killed or interrupted, the same command goes on where it was. With --data there is no simulator:
    the policy of an earlier run is fine-tuned on recorded episodes alone.

    Example:
        robopref align --env metaworld/drawer-close-v3 --behaviour detour-left --out runs/drawer
        robopref align --data runs/demo/pool --policy runs/demo/base --out runs/offline
    """

    several_processes: ClassVar[bool] = True

    policy: Any = component("robopref.policies:POLICIES", default="diffusion", or_path=True)
    """Policy that is cloned from the demonstrations; with --data, the run of a policy."""
    data: Path | None = None
    """Recorded episodes to align from without a simulator; --policy names the policy's run then."""
    out: Path = Path("runs/align")
    """Folder of the run."""
    cluster: RayConfig = field(default_factory=RayConfig)
    """Where the workers are."""
    tracker: Any = component("robopref.tracker:TRACKERS", default="tensorboard")
    """What shows the figures of training, beside metrics.jsonl."""

    def run(self) -> None:
        """Run every stage that is not done yet."""
        if self.data is not None:
            self._run_offline(self._offline_config(self.data))
            return
        from robopref.align.report_text import same_parts
        from robopref.commands.present import run_loop
        from robopref.tracker import tracked_by

        if isinstance(self.policy, Path):
            raise ConfigError(
                f"--policy {self.policy} is a saved policy; without --data one is cloned anew. "
                "Add --data with recorded episodes, or leave --policy out."
            )
        names = [field.name for field in dataclasses.fields(AlignConfig)]
        config = AlignConfig(**{name: getattr(self, name) for name in names})
        with tracked_by(resolve(self, "tracker"), self.out, to_dict(config)):
            run_loop(config, self.out, self.cluster.build(self.num_workers))
        print(
            f"Next:   robopref evaluate --policy {self.out}/aligned {' '.join(same_parts(config))}"
        )

    def _offline_config(self, data: Path) -> "OfflineConfig":
        from robopref.align.offline import OfflineConfig

        if not isinstance(self.policy, Path):
            raise ConfigError(
                "With --data, --policy must name the run of a policy, such as runs/demo/base."
            )
        default = AlignConfig()
        shared = {field.name for field in dataclasses.fields(OfflineConfig)}
        idle = [f.name for f in dataclasses.fields(AlignConfig) if f.name not in shared]
        # As plain values, a component by its name equals the same one built.
        own, usual = to_dict(dataclasses.replace(self, policy=default.policy)), to_dict(default)
        changed = [name for name in idle if own[name] != usual[name]]
        changed += [
            f"guard.{name}"
            for name in _ROLLED_OUT
            if getattr(self.guard, name) != getattr(default.guard, name)
        ]
        cluster = to_dict(self.cluster)
        changed += [name for name, usual in to_dict(RayConfig()).items() if cluster[name] != usual]
        for name in changed:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} means nothing with --data, which rolls nothing out.")
        given: dict[str, Any] = {name: getattr(self, name) for name in shared - {"data", "policy"}}
        return OfflineConfig(data, self.policy, **given)

    def _run_offline(self, config: "OfflineConfig") -> None:
        from robopref.align.offline import OfflineAlignment
        from robopref.align.offline_report import (
            next_step,
            seen_by_training,
            write_offline_report,
        )
        from robopref.commands.present import how_to_reach
        from robopref.ranks import get_ranks
        from robopref.tracker import tracked_by

        alignment = OfflineAlignment(
            config, self.out,
            person=how_to_reach(config, self.out, resolve(config, "behaviour").question),
            announce=functools.partial(print, file=sys.stderr, flush=True),
        )  # fmt: skip
        with tracked_by(resolve(self, "tracker"), self.out, to_dict(config)):
            found = alignment.execute()
        report = get_ranks().on_main(lambda: write_offline_report(alignment))
        for name in ("held_out_accuracy", "implicit_accuracy", "drift"):
            print(f"{name.replace('_', ' '):<18} {found[name]:.2f}")
        seen = seen_by_training(found.get("held_out", 0))
        print(f"Implicit accuracy is that of judged pairs. {seen}")
        print("Success and preferred rate: not measured.")
        for line in found["reasons"] + ["The base was kept."] * found["kept_base"]:
            print(line)
        print(f"Report: {report}")
        note, command = next_step(alignment)
        print(f"Next:   {command or note}")
        if command and note:
            print(f"        {note}")
