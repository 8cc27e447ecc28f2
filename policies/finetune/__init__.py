"""Ways to move a policy towards what is preferred: one loss family a file."""

from robopref.registry import Registry

FINETUNE = Registry("fine-tuning method", "robopref.finetune")

__all__ = ["FINETUNE"]
