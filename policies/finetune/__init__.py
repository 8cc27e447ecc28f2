"""Ways to move a policy towards what is preferred: one loss family a file."""

from robopref.registry import Registry

FINETUNE = Registry("fine-tuning method", "robopref.finetune")
FINETUNE.register(
    "distil",
    "robopref.policies.finetune.distil:DistilConfig",
    "Denoising loss on the chosen episodes (rejection-sampling fine-tuning).",
)
FINETUNE.register(
    "dpo",
    "robopref.policies.finetune.dpo:DPOConfig",
    "Diffusion-DPO on the judged pairs, safeguarded and anchored.",
)

__all__ = ["FINETUNE"]
