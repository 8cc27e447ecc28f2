"""One training by several processes: the same samples, noise, losses and weights as by one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from robopref import cli
from robopref.checkpoint import load_tree
from robopref.data.store import EpisodeStore
from robopref.diffusion import draw_denoise_steps, draw_noise
from robopref.policies.serialization import load_policy
from robopref.ranks import Ranks
from robopref.shares import Share, batch_mean, divide, draw_rows, sharing
from robopref.tracker import read_metrics
from tests.trained_together import cases, episodes

ROOT = Path(__file__).parents[1]
ALONE = (sys.executable, "-m")
TWO = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")
LOOSE = {"policy-bf16": 2e-3}
"""Rounding to 8 bits magnifies that of a sum in another order."""
FREE = {"reward-of-candidates": ".out.bias"}
"""No ranking depends on what is added to every score: there, Adam only magnifies rounding."""


def start(*words, stop_at_save=False):
    """Start a program, by itself or by a launcher, and return the process."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    if stop_at_save:
        environment["STOP_AT_SAVE"] = "1"
    return subprocess.Popen(
        [str(word) for word in words], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process, *, fails=False):
    """Return what a program wrote, once it has ended."""
    out, errors = process.communicate(timeout=900)
    assert (process.returncode != 0) == fails, errors
    return out, errors


def train(launcher, out, *names, **options):
    return finish(start(*launcher, "tests.trained_together", out, *names, **options))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Return where everything was trained by one process, and where by two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    train(ALONE, one)
    train(TWO, two)
    return one, two


def check_same(one, two, name):
    """Check the weights in the end, and each step's figures."""
    ours, theirs = (load_tree(d / name / "weights.safetensors") for d in (one, two))
    assert ours.keys() == theirs.keys()
    for key in ours:
        if key.endswith(FREE.get(name, ())):
            continue
        # Of a gradient that is 0 but for rounding, Adam makes a step of some size.
        near = torch.isclose(ours[key].double(), theirs[key].double(), atol=LOOSE.get(name, 1e-3))
        assert near.all(), key
    rows, others = (
        [row for path in sorted((d / name).rglob("metrics.jsonl")) for row in read_metrics(path)]
        for d in (one, two)
    )
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert other == pytest.approx(row, rel=LOOSE.get(name, 1e-4), abs=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", cases())
def test_two_processes_train_as_one_does(name, both):
    one, two = both
    check_same(one, two, name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_is_compiled_learns_the_same(both):
    ours, plain = (load_tree(both[0] / f"policy-{name}" / "weights.safetensors")
                   for name in ("compiled", "gaussian"))  # fmt: skip
    assert ours.keys() == plain.keys()
    assert all(torch.allclose(ours[key], plain[key], atol=1e-5) for key in ours)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("first", "then"), [(TWO, ALONE), (ALONE, TWO), (TWO, TWO)])
def test_a_run_goes_on_with_as_many_processes_or_others(first, then, both, tmp_path):
    names = ("policy", "iql", "tuned-ppo", "tuned-dro", "reward-mlp")
    train(first, tmp_path, *names, stop_at_save=True)
    assert not list(tmp_path.glob("*/weights.safetensors"))
    train(then, tmp_path, *names)
    for name in names:
        check_same(both[first == TWO and then == TWO], tmp_path, name)
    if first == then:  # Then it is the same, bit for bit.
        for name in names:
            ours, theirs = (
                load_tree(d / name / "weights.safetensors") for d in (both[1], tmp_path)
            )
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture
def command(tmp_path):
    """Return a command that trains a policy, less where to."""
    store = EpisodeStore.create(tmp_path / "data", fps=20)
    for episode in episodes():
        store.add(episode)
    return (
        "robopref.cli", "train", "policy", "--data", tmp_path / "data", "--no-only-successes",
        "--policy", "diffusion", "--policy.chunk-size", "4", "--policy.n-action-steps", "4",
        "--policy.denoiser", "mlp", "--policy.denoiser.width", "16", "--training.num-steps", "300",
        "--training.batch-size", "30", "--training.checkpoint-interval", "20",
        "--training.log-interval", "1", "--out",
    )  # fmt: skip


def kill_one(launcher, run, rank, signal_number):
    """Send a signal to a rank once some steps were saved."""
    while not (run / "trainer.safetensors").is_file():
        assert launcher.poll() is None, launcher.communicate()
        time.sleep(0.05)
    for child in psutil.Process(launcher.pid).children(recursive=True):
        if child.environ().get("RANK") == str(rank):
            child.send_signal(signal_number)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_is_told_and_costs_what_was_not_saved(rank, command, tmp_path):
    running = start(*TWO, *command, tmp_path / "run")
    kill_one(running, tmp_path / "run", rank, signal.SIGKILL)
    errors = finish(running, fails=True)[1]
    assert (
        "Error: Another process of this training is gone: see above for what ended it. Start the "
        "same command again to go on from the last checkpoint, with as many processes or others."
    ) in errors
    assert load_tree(tmp_path / "run" / "trainer.safetensors")["step"] % 20 == 0
    finish(start(*ALONE, *command, tmp_path / "run"))
    finish(start(*ALONE, *command, tmp_path / "whole"))
    ours, whole = (load_policy(tmp_path / name / "policy") for name in ("run", "whole"))
    for mine, other in zip(ours.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=2e-2)
    steps = [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert steps == list(range(1, 301))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_says_what_a_step_is_made_of_and_a_scheduler_may_stop_it(command, tmp_path):
    running = start(*TWO, *command, tmp_path / "run")
    kill_one(running, tmp_path / "run", 1, signal.SIGTERM)  # One is told, and all stop.
    errors = finish(running, fails=True)[1]
    assert "train policy: 300 steps x 30 a batch, 15 in each of 2 processes: 9000 items, " in errors
    assert "Interrupted. Run the same command again to go on." in errors
    step = load_tree(tmp_path / "run" / "trainer.safetensors")["step"]
    out = finish(start(*TWO, *command, tmp_path / "run"))[0]
    assert out.count("Trained 300 steps") == 1  # One process speaks.
    steps = [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert step < 300
    assert steps == list(range(1, 301))


def parts(num, ranks):
    return [divide(num, rank, ranks) for rank in range(ranks)]


@pytest.mark.parametrize(("num", "ranks"), [(8, 2), (7, 2), (7, 3), (3, 3)])
def test_shares_are_all_rows_once_and_weigh_as_many(num, ranks):
    shares = parts(num, ranks)
    rows = [row for share in shares for row in range(num)[share.rows]]
    assert rows == list(range(num))
    assert sum(share.weight for share in shares) == pytest.approx(ranks)
    values = torch.arange(num, dtype=torch.float64).square()
    means = [share.weight / ranks * values[share.rows].mean() for share in shares]
    assert float(sum(means)) == pytest.approx(float(values.mean()))


def test_where_rows_cannot_be_divided_each_has_all(monkeypatch):
    class Coupled(torch.nn.Linear):
        couples_rows = True

    objective = Coupled(1, 1)
    monkeypatch.setattr(torch.distributed, "new_group", lambda **_: None)
    ranks = Ranks(1, 3)
    assert ranks.share(8) == Share(2, 5, 8, 3)
    assert ranks.share(8, objective) == Share(0, 8, 8, 1)
    assert ranks.share(2) == Share(0, 2, 2, 1)
    assert Share(0, 2, 2, 1).weight == 1


@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_draw_what_one_process_draws(each, ranks):
    def draw(num):
        generator = torch.Generator().manual_seed(0)
        steps = draw_denoise_steps(50, num, generator)
        return steps, draw_noise((num, 4, 2), generator), generator.get_state()

    whole = draw(7 * each)
    found = []
    for share in parts(7, ranks):
        with sharing(share):
            found.append(draw(each * (share.stop - share.start)))
    for kind in (0, 1):
        assert torch.equal(torch.cat([each[kind] for each in found]), whole[kind])
    assert all(torch.equal(state, whole[2]) for *_, state in found)


def test_a_process_alone_is_as_if_there_were_no_others():
    ranks = Ranks()
    assert ranks.share(5) == Share(0, 5, 5, 1)
    assert ranks.on_main(lambda: 3) == ranks.main_first(lambda: 3) == 3
    assert not ranks.any(False)
    module = torch.nn.Linear(2, 2)
    assert ranks.parallel(module) is module
    assert draw_rows(3, torch.ones).tolist() == [1, 1, 1]
    assert float(batch_mean(torch.tensor(6.0), torch.tensor(0.0), 2.0)) == 3


@pytest.mark.parametrize(("num", "batch", "accumulation", "said"), [
    (1, 256, 1, "100 steps x 256 a batch: 25600 items, 25.6 times all 1000."),
    (2, 15, 2, "100 steps x 15 a batch, 7 or 8 in each of 2 processes, 2 batches a step: 3000 "
     "items, 3 times all 1000."),
    (4, 2, 1, "100 steps x 2 a batch, which each of 4 processes computes as a whole: 200 items, "
     "0.2 times all 1000."),
])  # fmt: skip
def test_the_arithmetic_of_a_step(num, batch, accumulation, said, monkeypatch):
    monkeypatch.setattr(torch.distributed, "new_group", lambda **_: None)
    found = Ranks(0, num).arithmetic(
        100, batch, 1000, torch.nn.Linear(1, 1), accumulation=accumulation
    )
    assert found == said


def test_a_command_that_several_processes_cannot_share_says_so(monkeypatch, capsys):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
    assert cli.main(["data", "info", "--data", "runs/none"]) == 2
    assert capsys.readouterr().err == (
        "Error: 'robopref data info' runs in one process, and 2 were started. Run it without the "
        "launcher; train policy, train reward, train iql, align and deform can use several.\n"
    )
