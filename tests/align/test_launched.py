"""`align` and `deform` by two processes that a launcher started: what one alone comes to."""

import json

import pytest

from robopref.data.store import EpisodeStore
from tests.test_ranks import ALONE, TWO, finish, start

ALIGN = (
    "robopref.cli", "align", "--env", "planar/avoid-short-v0", "--behaviour", "keep-out",
    "--num-demonstrations", "8", "--num-pool-episodes", "8", "--num-labels", "6",
    "--num-selected-episodes", "8", "--num-test-episodes", "4", "--guard.num-episodes", "4",
    "--base-training.num-steps", "60", "--base-training.batch-size", "63", "--num-workers", "1",
    # A policy of so few steps brings nothing about.
    "--no-use-success", "--out",
)  # fmt: skip
METHODS = {
    "distil": ("--num-rounds", "2", "--method.trainer.num-steps", "20"),
    "ppo": ("--num-rounds", "1", "--method", "ppo", "--method.num-iterations", "2",
            "--method.max-decisions", "8", "--method.num-envs", "2"),
}  # fmt: skip


def stages(run):
    """Return what each stage of a run found."""
    return json.loads((run / "stages.json").read_text())


def check_alike(found, expected):
    """Check that figures are the same but for rounding, and for how long it took."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for name in found.keys() - {"seconds"}:
            check_alike(found[name], expected[name])
    elif isinstance(found, list):
        for one, other in zip(found, expected, strict=True):
            check_alike(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(expected, rel=5e-3, abs=1e-3)
    else:
        assert found == expected


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of the same runs by one process and by two, and what these said."""
    folder = tmp_path_factory.mktemp("runs")
    said = {}
    for method, options in METHODS.items():
        for launcher, num in ((ALONE, "one"), (TWO, "two")):
            name = f"{method}-{num}"
            said[name] = finish(start(*launcher, *ALIGN, folder / name, *options))
    return folder, said


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_align_as_one_does(method, runs):
    folder, said = runs
    out, errors = said[f"{method}-two"]
    assert "in each of 2 processes" in errors
    for line in ("pool done in", "evaluation-aligned done in"):
        assert errors.count(line) == 1  # One process speaks,
    assert out.count("Report: ") == 1
    one, two = (folder / f"{method}-{num}" for num in ("one", "two"))
    # and one acts.
    assert len(EpisodeStore.open(two / "pool")) == len(EpisodeStore.open(one / "pool"))
    found, expected = stages(two), stages(one)
    assert found.keys() == expected.keys()
    for name in found:
        # What acts while it learns magnifies rounding: it meets other states.
        if method != "ppo" or name in ("demonstrations", "base", "pool", "labels", "reward"):
            check_alike(found[name], expected[name])
    assert found["round-1"]["steps"] == expected["round-1"]["steps"]
    assert (two / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_align_from_recorded_episodes_as_one_does(runs, tmp_path):
    folder, _ = runs
    for launcher, name in ((ALONE, "one"), (TWO, "two")):
        finish(start(
            *launcher, "robopref.cli", "align", "--data", folder / "distil-one" / "pool",
            "--policy", folder / "distil-one" / "base", "--behaviour", "keep-out",
            "--no-knows-success", "--no-use-success", "--num-labels", "6",
            "--method.trainer.num-steps", "20", "--out", tmp_path / name,
        ))  # fmt: skip
    check_alike(stages(tmp_path / "two"), stages(tmp_path / "one"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_two_processes_began_one_ends(runs, tmp_path):
    folder, _ = runs
    options = METHODS["distil"]
    running = start(*TWO, *ALIGN, tmp_path, *options)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("base done"):
            break
    running.terminate()
    running.communicate(timeout=300)
    assert "evaluation-aligned" not in stages(tmp_path)
    finish(start(*ALONE, *ALIGN, tmp_path, *options))
    check_alike(stages(tmp_path), stages(folder / "distil-one"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_run_the_loop_of_primitives(tmp_path):
    out, errors = finish(start(
        *TWO, "robopref.cli", "deform", "--env", "deformable/rope-S-v0",
        "--num-demonstrations", "2", "--num-states", "6", "--num-candidates", "16",
        "--num-rounds", "1", "--num-pool-episodes", "2", "--num-test-episodes", "2",
        "--max-episode-steps", "3",
        "--base-training.num-steps", "20", "--explicit.trainer.num-steps", "10",
        "--method", "deformpam-plus", "--method.trainer.num-steps", "10", "--out", tmp_path,
    ))  # fmt: skip
    assert errors.count("in each of 2 processes") == 2  # The clone and the tuned copy.
    assert out.count("Report: ") == 1
    assert set(stages(tmp_path)) >= {"tuned-1", "evaluation-aligned"}
    assert (tmp_path / "report.html").is_file()
