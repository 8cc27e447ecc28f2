"""`robopref policy`: policies of LeRobot's in, and out again."""

from dataclasses import dataclass
from pathlib import Path

from robopref.commands.following import command, free_folder
from robopref.errors import check_at_least


@dataclass(frozen=True)
class ImportCommand:
    """Read a diffusion policy that LeRobot trained on states or pictures, to fine-tune it.

    It predicts the same noise as there; where LeRobot would sample by DDPM, it samples by DDIM in
    ten steps. A policy that is only to act, or to propose what a reward chooses from, needs no
    import: give LeRobot's folder as --policy.

    Example:
        robopref policy import --source runs/for-lerobot --join-states --out runs/from-lerobot
    """

    source: str
    """Folder of LeRobot's checkpoint, or hf://owner/name on the hub."""
    out: Path
    """Folder for the policy."""
    join_states: bool = False
    """See observation.state and observation.environment_state as one observation.state, laid side
    by side, as robopref's own environments have it."""

    def run(self) -> None:
        """Convert, and save."""
        from robopref.align.actors import find_saved
        from robopref.policies.lerobot_diffusion import import_diffusion

        policy = import_diffusion(
            find_saved(Path(self.source), "policy"), join_states=self.join_states
        )
        policy.save_pretrained(self.out / "policy")
        seen = ", ".join(f"{key} {shape}" for key, shape in policy.obs_shapes.items())
        print(f"Sees {seen}; {policy.num_past_actions} past actions and {policy.chunk_size} more.")
        print(f"The policy is in {self.out / 'policy'}.")
        print(f"Next:   {command('evaluate', '--policy', self.out)}")


@dataclass(frozen=True)
class ExportCommand:
    """Write a diffusion policy as a checkpoint that LeRobot loads.

    It has to denoise by the UNet, predict noise and past actions, and see states, or states and
    pictures by the encoder resnet.

    Example:
        robopref train policy --data runs/demo/demonstrations --policy.denoiser unet \
            --policy.prediction noise --policy.num-past-actions 1 --policy.chunk-size 15 \
            --training.num-steps 20 --training.batch-size 32 --out runs/unet
        robopref policy export --policy runs/unet --proprioception 4 --out runs/for-lerobot
    """

    policy: Path
    """Run of the policy, or the saved policy itself."""
    out: Path
    """Folder for the checkpoint."""
    proprioception: int | None = None
    """How many of the first numbers of the state are the robot's own; the others become
    observation.environment_state, without which LeRobot's policy needs pictures."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.proprioception is not None:
            check_at_least("proprioception", self.proprioception, 1)

    def run(self) -> None:
        """Convert, and save."""
        from robopref.align.actors import find_saved
        from robopref.policies.lerobot_diffusion import export_diffusion
        from robopref.policies.serialization import load_policy

        policy = load_policy(find_saved(self.policy, "policy"))
        export_diffusion(policy, self.out, proprioception=self.proprioception)
        print(f"LeRobot's checkpoint is in {self.out}.")
        again = free_folder(self.out.with_name(f"{self.out.name}-again"))
        print(f"Next:   {command('policy import', '--source', self.out, '--out', again)}")
