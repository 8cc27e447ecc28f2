"""`robopref align --teacher web`, answered in a real browser: it waits, and goes on by itself."""

import subprocess
import sys

import pytest

from robopref.preferences.store import PreferenceStore
from tests.labeling.page_project import press, until

NUM_LABELS = 4
COMMAND = (
    "align --teacher web --env planar/group-gripper-v0 --behaviour together --segment-length 40 "
    f"--max-episode-steps 120 --no-use-success --num-labels {NUM_LABELS} --labels-per-round 2 "
    "--num-rounds 1 --num-demonstrations 8 --num-pool-episodes 6 --num-selected-episodes 4 "
    "--num-test-episodes 4 --guard.num-episodes 2 --num-workers 0 --base-training.num-steps 40 "
    "--base-training.batch-size 64 --policy.denoiser mlp --policy.denoiser.width 32 "
    "--policy.denoiser.num-blocks 1 --reward.num-members 2 --reward.fit.trainer.num-steps 10 "
    "--method.trainer.num-steps 15 --selection.num-candidates 2"
)
ANOTHER = (
    "asked => robopref.page?.element.dataset.state === 'ready'"
    " && !asked.includes(robopref.page.query.id)"
)


@pytest.mark.slow
def test_a_run_is_answered_in_a_browser_and_ends_by_itself(browser, tmp_path):
    folder = tmp_path / "run"
    run = subprocess.Popen(
        [sys.executable, "-m", "robopref.cli", *COMMAND.split(), "--out", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert run.stderr is not None
        said = []
        for line in run.stderr:
            said.append(line)
            if line.startswith("Waiting for answers. Label at "):
                break
        assert said[-1].startswith("Waiting for answers."), "".join(said)
        page = browser.new_page()
        page.goto(said[-1].split()[-1].partition("?")[0] + "?annotator=anna")
        first: dict[str, int] = {}
        for _ in range(NUM_LABELS):
            # The next query is chosen once this one is answered.
            until(page, ANOTHER, list(first), seconds=120)
            name, order = page.evaluate("[robopref.page.query.id, robopref.page.query.order]")
            first[name] = order[0]
            press(page, "1")
        said += run.communicate(timeout=300)[1]
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, "".join(said)
    with PreferenceStore(folder / "preferences.sqlite", create=False) as store:
        answers = store.preferences()
    assert {given.query.id: given.ranking.order[0][0] for given in answers} == first
    assert {given.annotator for given in answers} == {"anna"}
    assert (folder / "report.html").exists()
