"""A policy that is served, and an arm that asks it."""

import subprocess
import sys

import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.cli import main
from robopref.data.store import EpisodeStore
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.seeding import make_generator
from robopref.types import STATE

ROBOPREF = [sys.executable, "-m", "robopref.cli"]


def save(folder, obs_size, action_size):
    sizes = {STATE: (obs_size,)}, action_size
    DiffusionPolicyConfig().build(*sizes, make_generator(0)).save_pretrained(folder)
    return folder


@pytest.fixture
def serve():
    """Return what runs the command and returns the address that it prints."""
    running = []

    def start(policy):
        command = [*ROBOPREF, "serve", "--policy", str(policy), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.stdout.readline().split()[-1]

    yield start
    for process in running:
        process.terminate()
        process.communicate()


@pytest.mark.slow
def test_an_arm_does_what_a_server_says(tmp_path, serve):
    address = serve(save(tmp_path / "press" / "policy", 39, 4))
    out = tmp_path / "deployed"
    done = subprocess.run(
        [*ROBOPREF, "deploy", "--server", address, "--num-episodes", "1", "--speed", "1", "--yes",
         "--max-episode-steps", "12", "--out", str(out)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    store = EpisodeStore.open(out)
    assert len(store.rows) == 1
    episode = store.episode(store.ids[0])
    assert episode.metadata["policy"] == "press"
    assert len(episode) == 12


def test_a_policy_for_another_arm_is_refused_before_anything_moves(tmp_path, capsys):
    folder = save(tmp_path / "policy", 7, 4)
    assert main(["deploy", "--policy", str(folder), "--yes", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "observes 'observation.state' of shape (7,)" in said
    assert "another task or another arm" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Give either --policy or --server"),
        (["--policy", "x", "--server", "ws://x"], "Give either --policy or --server"),
        (["--server", "ws://x", "--reward", "y"], "give --reward to robopref serve"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message, capsys):
    assert main(["deploy", *options]) == 2
    assert message in capsys.readouterr().err
