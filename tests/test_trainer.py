"""Tests for trainer.py."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from torch import nn

from robopref.checkpoint import load_tree, save_tree
from robopref.errors import CheckpointError
from robopref.nn import MIN_PARAMETERS_FOR_THREADS
from robopref.tracker import read_metrics
from robopref.trainer import Trainer, TrainerConfig


class Items:
    """A line with noise: x (N, 3) and y (N, 1)."""

    def __init__(self, num=64):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(num, 3, generator=generator)
        noise = 0.1 * torch.randn(num, 1, generator=generator)
        self.y = self.x @ torch.tensor([[1.0], [-2.0], [0.5]]) + noise

    def __len__(self):
        return len(self.x)

    def gather(self, indices):
        return {"x": self.x[indices], "y": self.y[indices]}


class Regression(nn.Module):
    """Least squares with dropout drawn from the passed generator."""

    def __init__(self, hidden=8, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.net = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, batch, generator):
        keep = torch.rand(batch["x"].shape, generator=generator) > 0.1
        loss = (self.net(batch["x"] * keep) - batch["y"]).square().mean()
        return loss, {"weight": next(self.parameters()).mean()}


CONFIGS = {
    "plain": TrainerConfig(num_steps=30, batch_size=8, warmup_steps=5, checkpoint_interval=7,
                           log_interval=5),
    "averaged": TrainerConfig(num_steps=30, batch_size=8, warmup_steps=5, checkpoint_interval=7,
                              log_interval=5, ema_decay=0.95),
    "stopping": TrainerConfig(num_steps=60, batch_size=8, learning_rate=0.1, warmup_steps=2,
                              checkpoint_interval=7, log_interval=5, validation_interval=4,
                              patience=3, ema_decay=0.9),
    "accumulating": TrainerConfig(num_steps=20, batch_size=4, warmup_steps=5, log_interval=5,
                                  checkpoint_interval=7, gradient_accumulation=3),
}  # fmt: skip


class StoppedError(Exception):
    """The moment at which a test ends a run, as a kill would."""


def make_trainer(config, directory, *, stop_after=None, interrupt_after=None, by=signal.SIGINT):
    """Return a trainer that dies, or is interrupted, in the step after so many."""
    objective, steps = Regression(), 0

    class Source(Items):
        def gather(self, indices):
            nonlocal steps
            steps += 1
            if stop_after is not None and steps > stop_after * config.gradient_accumulation:
                raise StoppedError
            if interrupt_after is not None and steps == interrupt_after:
                os.kill(os.getpid(), by)
            return super().gather(indices)

    trainer = Trainer(
        config, objective, Source(), generator=torch.Generator().manual_seed(0),
        validate=lambda: {"loss": full_loss(objective)}, directory=directory, device="cpu",
    )  # fmt: skip
    return trainer, objective


def full_loss(objective):
    items = Items()
    return (objective.net(items.x) - items.y).square().mean().item()


def weights(objective):
    return torch.cat([parameter.detach().flatten() for parameter in objective.parameters()])


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kills", [(1,), (7,), (8,), (13, 1, 9), (19,)])
def test_a_killed_run_ends_with_the_same_weights(name, kills, tmp_path):
    config = CONFIGS[name]
    whole, objective = make_trainer(config, tmp_path / "whole")
    expected = whole.fit()
    for kill in kills:
        with pytest.raises(StoppedError):
            make_trainer(config, tmp_path / "parts", stop_after=kill)[0].fit()
    resumed, again = make_trainer(config, tmp_path / "parts")
    result = resumed.fit()
    assert torch.equal(weights(again), weights(objective))
    assert (result.steps, result.best_step) == (expected.steps, expected.best_step)
    assert result.figures == expected.figures
    assert read_metrics(tmp_path / "parts" / "metrics.jsonl") == read_metrics(
        tmp_path / "whole" / "metrics.jsonl"
    )
    one, other = (load_tree(tmp_path / d / "trainer.safetensors") for d in ("whole", "parts"))
    assert torch.equal(one["generator"], other["generator"])


def test_a_finished_run_is_not_trained_again(tmp_path):
    config = CONFIGS["stopping"]
    trainer, objective = make_trainer(config, tmp_path)
    first = trainer.fit()
    assert first.steps < config.num_steps  # It did stop early.
    again, reloaded = make_trainer(config, tmp_path, stop_after=0)
    second = again.fit()
    assert torch.equal(weights(reloaded), weights(objective))
    assert (second.steps, second.best_step) == (first.steps, first.best_step)


def test_early_stopping_keeps_the_best_weights(tmp_path):
    config = CONFIGS["stopping"]
    trainer, objective = make_trainer(config, tmp_path)
    result = trainer.fit()
    losses = load_tree(tmp_path / "trainer.safetensors")["best"]
    assert result.best_step == losses["step"]
    assert result.steps == result.best_step + 3 * 4  # Patience times the interval.
    assert full_loss(objective) == losses["loss"]


def test_without_patience_the_last_weights_stay_and_no_others_are_kept(tmp_path):
    config = replace(CONFIGS["stopping"], patience=None, ema_decay=None)
    trainer, objective = make_trainer(config, tmp_path)
    result = trainer.fit()
    assert result.best_step == result.steps == config.num_steps
    tree = load_tree(tmp_path / "trainer.safetensors")
    assert tree["best"]["weights"] == {}
    last = torch.cat([tensor.flatten() for tensor in tree["objective"].values()])
    assert torch.equal(weights(objective), last)


def test_trainers_of_one_process_may_differ_in_precision():
    seen = []

    class Watching(Regression):
        def forward(self, batch, generator):
            seen.append(self.net(batch["x"]).dtype)
            return super().forward(batch, generator)

    for precision in ("no", "bf16", "no"):
        Trainer(
            TrainerConfig(num_steps=1, mixed_precision=precision), Watching(), Items(),
            generator=torch.Generator().manual_seed(0), device="cpu",
        ).fit()  # fmt: skip
    assert seen == [torch.float32, torch.bfloat16, torch.float32]


def test_the_average_of_the_weights_is_what_stays(tmp_path):
    trainer, objective = make_trainer(CONFIGS["averaged"], tmp_path)
    trainer.fit()
    tree = load_tree(tmp_path / "trainer.safetensors")
    shadow = torch.cat([parameter.flatten() for parameter in tree["ema"]["shadow_params"]])
    assert torch.equal(weights(objective), shadow)
    last = torch.cat([tensor.flatten() for tensor in tree["objective"].values()])
    assert not torch.equal(shadow, last)


def test_training_lowers_the_loss_without_a_directory():
    config = TrainerConfig(num_steps=300, batch_size=16, learning_rate=1e-2)
    trainer, objective = make_trainer(config, None)
    before = full_loss(objective)
    trainer.fit()
    assert full_loss(objective) < 0.2 * before


def test_the_learning_rate_warms_up_and_decays(tmp_path):
    config = TrainerConfig(num_steps=20, batch_size=8, warmup_steps=10, learning_rate=1.0,
                           log_interval=1)  # fmt: skip
    make_trainer(config, tmp_path)[0].fit()
    rates = [row["learning_rate"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.05


def test_equal_seeds_give_equal_weights_whatever_the_global_state():
    torch.manual_seed(1)
    first, one = make_trainer(CONFIGS["plain"], None)
    first.fit()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, other = make_trainer(CONFIGS["plain"], None)
    second.fit()
    assert torch.equal(weights(one), weights(other))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(("variable", "hidden", "used"), [
    (None, 8, 1), ("2", 8, 2), (None, 2 * MIN_PARAMETERS_FOR_THREADS, 2),
])  # fmt: skip
def test_a_small_model_is_trained_by_one_thread(variable, hidden, used, monkeypatch):
    if variable is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    seen = []

    class Watched(Regression):
        def forward(self, batch, generator):
            seen.append(torch.get_num_threads())
            return super().forward(batch, generator)

    torch.set_num_threads(2)
    try:
        trainer = Trainer(
            TrainerConfig(num_steps=2, batch_size=2), Watched(hidden), Items(),
            generator=torch.Generator().manual_seed(0), device="cpu",
        )  # fmt: skip
        trainer.fit()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [used, used]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_saves_and_the_next_run_goes_on(signal_number, tmp_path):
    config = CONFIGS["plain"]
    whole, expected = make_trainer(config, tmp_path / "whole")
    whole.fit()
    trainer, _ = make_trainer(config, tmp_path / "parts", interrupt_after=11, by=signal_number)
    handler = signal.getsignal(signal_number)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert signal.getsignal(signal_number) is handler
    # The step in which it was pressed was finished, and nothing after it was begun.
    assert load_tree(tmp_path / "parts" / "trainer.safetensors")["step"] == 11
    resumed, objective = make_trainer(config, tmp_path / "parts")
    resumed.fit()
    assert torch.equal(weights(objective), weights(expected))


@pytest.mark.slow
def test_a_real_kill_loses_nothing_that_was_saved(tmp_path):
    script = textwrap.dedent(
        f"""
        import importlib.util, os, signal, sys, torch
        torch.set_num_threads(1)
        spec = importlib.util.spec_from_file_location("t", {__file__!r})
        t = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(t)
        from pathlib import Path
        trainer, _ = t.make_trainer(t.CONFIGS["plain"], Path({str(tmp_path / "parts")!r}))
        save = trainer._save
        def save_and_die():
            save()
            if trainer.step == 14:
                os.kill(os.getpid(), signal.SIGKILL)
        trainer._save = save_and_die
        trainer.fit()
        """
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    config = CONFIGS["plain"]
    whole, expected = make_trainer(config, tmp_path / "whole")
    whole.fit()
    resumed, objective = make_trainer(config, tmp_path / "parts", stop_after=16)
    resumed.fit()  # 16 steps are left after the 14 that were saved.
    assert torch.equal(weights(objective), weights(expected))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_told(value, tmp_path):
    class Broken(Items):
        def gather(self, indices):
            return {"x": self.x[indices], "y": self.y[indices] * value}

    trainer = Trainer(
        CONFIGS["plain"], Regression(), Broken(), generator=torch.Generator().manual_seed(0),
        directory=tmp_path, description="reward", device="cpu",
    )  # fmt: skip
    with pytest.raises(FloatingPointError) as error:
        trainer.fit()
    assert str(error.value) == (
        "The gradient is not finite at step 0 of 'reward'. "
        "Check the data for extreme values, or lower `learning_rate`."
    )
    assert not (tmp_path / "trainer.safetensors").exists()


def test_other_settings_are_refused(tmp_path):
    make_trainer(CONFIGS["plain"], tmp_path)[0].fit()
    path = tmp_path / "trainer.safetensors"
    saved = load_tree(path)["config"]
    other, _ = make_trainer(TrainerConfig(num_steps=31), tmp_path)
    with pytest.raises(CheckpointError) as error:
        other.fit()
    assert str(error.value) == (
        f"'{path}' was made with other training settings: {saved}. "
        "Use those, or delete the file to start this stage again."
    )


def test_another_model_is_refused(tmp_path):
    make_trainer(CONFIGS["plain"], tmp_path)[0].fit()
    path = tmp_path / "trainer.safetensors"
    other = Trainer(
        CONFIGS["plain"], Regression(hidden=5), Items(),
        generator=torch.Generator().manual_seed(0), directory=tmp_path, device="cpu",
    )  # fmt: skip
    with pytest.raises(CheckpointError) as error:
        other.fit()
    assert str(error.value) == (
        f"'{path}' is of another model: net.0.weight has shape (8, 3), expected (5, 3). "
        "Use that model, or delete the file to start this stage again."
    )


@pytest.mark.parametrize("change", ["seed", "weights", "data"])
def test_another_start_is_refused(change, tmp_path):
    make_trainer(CONFIGS["plain"], tmp_path)[0].fit()
    other = Trainer(
        CONFIGS["plain"], Regression(seed=int(change == "weights")),
        Items(64 + (change == "data")), directory=tmp_path, device="cpu",
        generator=torch.Generator().manual_seed(int(change == "seed")),
    )  # fmt: skip
    with pytest.raises(CheckpointError) as error:
        other.fit()
    assert str(error.value) == (
        f"'{tmp_path / 'trainer.safetensors'}' was begun from other data, another model or another "
        "seed. Use those, or delete the file to start this stage again."
    )


def test_another_checkpoint_is_refused(tmp_path):
    path = tmp_path / "trainer.safetensors"
    save_tree(path, {"weights": torch.zeros(3)})
    with pytest.raises(CheckpointError) as error:
        make_trainer(CONFIGS["plain"], tmp_path)[0].fit()
    assert str(error.value) == (
        f"'{path}' is not a training checkpoint: it holds ['weights']. "
        "Delete the file to start this stage again."
    )


def test_a_damaged_checkpoint_is_refused(tmp_path):
    make_trainer(CONFIGS["plain"], tmp_path)[0].fit()
    path = tmp_path / "trainer.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError) as error:
        make_trainer(CONFIGS["plain"], tmp_path)[0].fit()
    assert str(error.value).startswith(f"'{path}' is damaged: ")
    assert str(error.value).endswith("Delete it to start this stage again.")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_steps", 0, "`num_steps` must be at least 1, got 0."),
        ("batch_size", 0, "`batch_size` must be at least 1, got 0."),
        ("gradient_accumulation", 0, "`gradient_accumulation` must be at least 1, got 0."),
        ("log_interval", 0, "`log_interval` must be at least 1, got 0."),
        ("validation_interval", 0, "`validation_interval` must be at least 1, got 0."),
        ("checkpoint_interval", -3, "`checkpoint_interval` must be at least 1, got -3."),
        ("learning_rate", -1.0, "`learning_rate` must be at least 0, got -1.0."),
        ("warmup_steps", -1, "`warmup_steps` must be at least 0, got -1."),
        ("weight_decay", -1.0, "`weight_decay` must be at least 0, got -1.0."),
        ("max_grad_norm", 0.0, "`max_grad_norm` must be more than 0, got 0.0."),
        ("ema_decay", 1.5, "`ema_decay` must be between 0 and 1, got 1.5."),
        ("patience", 0, "`patience` must be at least 1, got 0."),
    ],
)
def test_ranges(field, value, message):
    with pytest.raises(ValueError) as error:
        TrainerConfig(**{field: value})
    assert str(error.value) == message


def test_empty_source_is_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        Trainer(
            CONFIGS["plain"], Regression(), Items(0), generator=torch.Generator(),
            directory=tmp_path, device="cpu", description="policy",
        )  # fmt: skip
    assert str(error.value) == "There is nothing to train 'policy' on: its source holds no items."
