"""The training loop: every model of robopref is trained here and nowhere else.

An objective is a module whose `forward(batch, generator)` returns the loss and figures to log. The
loop talks to the device through accelerate, so the same code runs on a CPU, a GPU, or many.
Everything random comes from one generator whose state is saved, so a resumed run ends with the
same weights, bit for bit, as one that was never interrupted (one process, CPU, equal threads).
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robopref.errors import check_at_least, check_between
from robopref.nn import threads_for
from robopref.run_checkpoint import RunCheckpoint
from robopref.tracker import Tracker, watch

Batch = Mapping[str, Tensor]


@runtime_checkable
class BatchSource(Protocol):
    """Where batches come from."""

    def __len__(self) -> int:
        """Return how many items there are."""
        ...

    def gather(self, indices: Tensor) -> Batch:
        """Return the items at `indices`, on the CPU, first axis as `indices`."""
        ...


@runtime_checkable
class ChangesWithProgress(Protocol):
    """A source that hands out other items as training goes on, such as a curriculum."""

    def at_progress(self, progress: float) -> None:
        """Take note of how much of the training is done, 0 to 1."""
        ...


@dataclass(frozen=True)
class TrainerConfig:
    """How a model is trained."""

    num_steps: int = 2000
    """Gradient steps."""
    batch_size: int = 256
    """Items a step, over all processes."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW; cosine decay to zero."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    ema_decay: float | None = None
    """Decay of the moving average of the weights; None for none."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision of the forward pass."""
    gradient_accumulation: int = 1
    """Batches a gradient step."""
    log_interval: int = 50
    """Steps between log lines."""
    validation_interval: int = 100
    """Steps between validations."""
    patience: int | None = None
    """Stop after this many validations without a better loss and keep the best; None never."""
    checkpoint_interval: int = 500
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_steps", "batch_size", "gradient_accumulation", "log_interval",
                     "validation_interval", "checkpoint_interval"):  # fmt: skip
            check_at_least(name, getattr(self, name), 1)
        for name in ("learning_rate", "weight_decay", "warmup_steps"):
            check_at_least(name, getattr(self, name), 0)
        if not self.max_grad_norm > 0:
            raise ValueError(f"`max_grad_norm` must be more than 0, got {self.max_grad_norm}.")
        if self.ema_decay is not None:
            check_between("ema_decay", self.ema_decay, 0, 1)
        if self.patience is not None:
            check_at_least("patience", self.patience, 1)


@dataclass(frozen=True)
class TrainResult:
    """What a training run ended with."""

    steps: int
    seconds: float
    figures: Mapping[str, float]
    best_step: int


class Trainer:
    """Trains `objective` on batches from `source`.

    Args:
        config: How.
        objective: Module whose `forward(batch, generator)` returns (loss, figures).
        source: Where batches come from.
        generator: All randomness, on the CPU.
        validate: Returns figures that must hold "loss"; called with the averaged weights in place.
        directory: Where checkpoints and logs go; None keeps nothing and cannot resume.
        description: What the progress bar calls it.
        device: "auto" for the best there is, or "cpu".

    Raises:
        ValueError: The source is empty.
    """

    def __init__(
        self,
        config: TrainerConfig,
        objective: nn.Module,
        source: BatchSource,
        *,
        generator: torch.Generator,
        validate: Callable[[], Mapping[str, float]] | None = None,
        directory: Path | None = None,
        description: str = "train",
        device: Literal["auto", "cpu"] = "auto",
    ) -> None:
        from accelerate import Accelerator

        if len(source) == 0:
            raise ValueError(
                f"There is nothing to train '{description}' on: its source holds no items."
            )
        self.config = config
        self.source = source
        self.generator = generator
        self.validate = validate
        self.directory = directory
        self.description = description
        # Its precision holds for a whole process, in which trainers may differ: it is set in
        # `_train_step` instead. The optimizer stays as it is: accelerate's looks for packages at
        # every step, and only adds what float16 and TPUs need.
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
        self.model = self.accelerator.prepare(objective)
        self._objective = objective
        self._parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._ema = self._make_ema()
        self._checkpoint = None
        if directory is not None:
            path = directory / "trainer.safetensors"
            self._checkpoint = RunCheckpoint(path, config, objective, generator, len(source))
        self.step = 0
        self._best: dict[str, Any] = {"loss": math.inf, "step": 0, "weights": {}, "stale": 0}
        self._figures: dict[str, float] = {}

    def fit(self) -> TrainResult:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            CheckpointError: The checkpoint in `directory` is of another run.
            FloatingPointError: The loss is not finite.
            KeyboardInterrupt: Ctrl-C; the step was finished and saved first.
        """
        start = time.monotonic()
        self._resume()
        directory = self.directory if self.accelerator.is_main_process else None
        num = self.config.num_steps
        watching = watch(directory, self.description, total=num, done=self.step)
        with threads_for(self.optimizer), watching as seen:
            while self.step < num and not self._out_of_patience():
                self._figures |= self._train_step()
                self.step += 1
                self._after_step(seen.tracker)
                seen.bar.advance(1, loss=self._figures.get("loss", math.nan))
                if seen.interrupt:
                    self._save()
                    raise KeyboardInterrupt
        self._save()
        self._finish()
        best_step = self._best["step"] if self._best["weights"] else self.step
        return TrainResult(self.step, time.monotonic() - start, dict(self._figures), best_step)

    def _train_step(self) -> dict[str, float]:
        self.model.train()
        learning_rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        log = (self.step + 1) % self.config.log_interval == 0
        self.optimizer.zero_grad(set_to_none=True)
        bf16 = self.config.mixed_precision == "bf16"
        figures: dict[str, float] = {}
        for _ in range(self.config.gradient_accumulation):
            batch = self._next_batch()
            with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16):
                loss, extra = self.model(batch, self.generator)
            self.accelerator.backward(loss / self.config.gradient_accumulation)
            if log:
                figures = {"loss": loss.item(), **_as_floats(extra)}
        norm = self.accelerator.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        assert norm is not None
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"The gradient is not finite at step {self.step} of '{self.description}'. "
                "Check the data for extreme values, or lower `learning_rate`."
            )
        self.optimizer.step()
        if self._ema is not None:
            self._ema.step(self._parameters)
        return figures | ({"learning_rate": learning_rate} if log else {})

    def _next_batch(self) -> Batch:
        """Return this process's share of the next batch."""
        if isinstance(self.source, ChangesWithProgress):
            self.source.at_progress(self.step / self.config.num_steps)
        indices = torch.randint(
            len(self.source), (self.config.batch_size,), generator=self.generator
        )
        ranks = self.accelerator.num_processes
        if ranks > 1:
            indices = indices.chunk(ranks)[self.accelerator.process_index]
        device = self.accelerator.device
        return {key: value.to(device) for key, value in self.source.gather(indices).items()}

    def _learning_rate(self) -> float:
        config = self.config
        if self.step < config.warmup_steps:
            return config.learning_rate * (self.step + 1) / config.warmup_steps
        span = max(config.num_steps - config.warmup_steps, 1)
        done = (self.step - config.warmup_steps) / span
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _after_step(self, tracker: Tracker | None) -> None:
        if self.validate is not None and self.step % self.config.validation_interval == 0:
            self._validate()
        if tracker is not None and self.step % self.config.log_interval == 0:
            tracker.log(self.step, self._figures)
        if self.step % self.config.checkpoint_interval == 0:
            self._save()

    def _validate(self) -> None:
        assert self.validate is not None
        self.model.eval()
        if self._ema is not None:
            self._ema.store(self._parameters)
            self._ema.copy_to(self._parameters)
        with torch.no_grad():
            figures = dict(self.validate())
        self._figures |= {f"validation/{key}": value for key, value in figures.items()}
        if self.config.patience is not None:
            self._keep_if_best(figures["loss"])
        if self._ema is not None:
            self._ema.restore(self._parameters)

    def _keep_if_best(self, loss: float) -> None:
        if loss < self._best["loss"]:
            weights = {k: v.detach().clone() for k, v in self._objective.state_dict().items()}
            self._best = {"loss": loss, "step": self.step, "weights": weights, "stale": 0}
        else:
            self._best["stale"] += 1

    def _out_of_patience(self) -> bool:
        return self.config.patience is not None and self._best["stale"] >= self.config.patience

    def _finish(self) -> None:
        """Leave the best weights, or the averaged ones, in the objective."""
        if self._best["weights"]:
            self._objective.load_state_dict(self._best["weights"])
        elif self._ema is not None:
            self._ema.copy_to(self._parameters)
        self._objective.eval()

    def _make_ema(self) -> Any:
        if self.config.ema_decay is None:
            return None
        from diffusers.training_utils import EMAModel

        return EMAModel(
            self._parameters, decay=self.config.ema_decay, use_ema_warmup=True, power=0.75
        )

    def _save(self) -> None:
        if self._checkpoint is None or not self.accelerator.is_main_process:
            return
        self._checkpoint.save(
            {
                "step": self.step,
                "optimizer": self.optimizer.state_dict(),
                "ema": self._ema.state_dict() if self._ema is not None else None,
                "generator": self.generator.get_state(),
                "best": self._best,
                "figures": self._figures,
            }
        )

    def _resume(self) -> None:
        state = self._checkpoint.load() if self._checkpoint is not None else None
        if state is None:
            return
        self.optimizer.load_state_dict(state["optimizer"])
        if self._ema is not None:
            self._ema.load_state_dict(state["ema"])
            self._ema.to(self.accelerator.device)
        self.generator.set_state(state["generator"])
        self.step = state["step"]
        self._best = state["best"]
        self._figures = state["figures"]


def _as_floats(figures: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(torch.as_tensor(value).detach()) for key, value in figures.items()}
