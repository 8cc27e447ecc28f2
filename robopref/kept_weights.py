"""The weights that a training ends with: the last ones, their moving average, or the best."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class KeptWeights:
    """Averages weights while they are trained, and keeps those of the best validation.

    Args:
        objective: What is trained.
        ema_decay: Decay of the moving average; None for none.
        patience: Validations without a better loss after which it is enough; None keeps no best.
    """

    def __init__(
        self, objective: nn.Module, *, ema_decay: float | None, patience: int | None
    ) -> None:
        self._objective = objective
        self._parameters = [p for p in objective.parameters() if p.requires_grad]
        self._patience = patience
        self._best: dict[str, Any] = {"loss": math.inf, "step": 0, "weights": {}, "stale": 0}
        self._ema: Any = None
        if ema_decay is not None:
            from diffusers.training_utils import EMAModel

            self._ema = EMAModel(self._parameters, decay=ema_decay, use_ema_warmup=True, power=0.75)

    def step(self) -> None:
        """Take the weights after a step into the average."""
        if self._ema is not None:
            self._ema.step(self._parameters)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the average in place of the weights."""
        if self._ema is None:
            yield
            return
        self._ema.store(self._parameters)
        self._ema.copy_to(self._parameters)
        try:
            yield
        finally:
            self._ema.restore(self._parameters)

    def judge(self, loss: float, step: int) -> None:
        """Keep the weights that are in place if no loss of a validation was lower."""
        if loss < self._best["loss"]:
            weights = {k: v.detach().clone() for k, v in self._objective.state_dict().items()}
            self._best = {"loss": loss, "step": step, "weights": weights, "stale": 0}
        else:
            self._best["stale"] += 1

    @property
    def is_enough(self) -> bool:
        """Whether the loss has not improved for too long."""
        return self._patience is not None and self._best["stale"] >= self._patience

    def best_step(self, last: int) -> int:
        """Return the step whose weights are kept; the last one if none was best."""
        step: int = self._best["step"] if self._best["weights"] else last
        return step

    def put_in_place(self) -> None:
        """Leave the best weights, or the averaged ones, in the objective."""
        if self._best["weights"]:
            self._objective.load_state_dict(self._best["weights"])
        elif self._ema is not None:
            self._ema.copy_to(self._parameters)

    def state_dict(self) -> dict[str, Any]:
        """Return what goes into a checkpoint."""
        return {"ema": None if self._ema is None else self._ema.state_dict(), "best": self._best}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a checkpoint."""
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])
            self._ema.to(device)
        self._best = state["best"]
