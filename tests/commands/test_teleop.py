"""`robopref teleop` as a whole command, on an arm in simulation: by its page, and by a gamepad."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.cli import main
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.hardware.gamepad import ABS_X, BTN_START, BTN_TR
from robopref.types import IMAGES, STATE
from tests.hardware.event_files import Pipe, key, report, stick, with_range

ON_SIM = ["--robot", "sim", "--robot.model", "ur5e", "--num-episodes", "1", "--speed", "1"]


class Browser:
    """What the page's script does, for a program that prints the page's address."""

    def __init__(self, url):
        self.address, self.token = url.split("/#")
        self.lines, self.since = [], 0

    def look(self):
        found = self._ask(f"/api/state?since={self.since}")
        self.lines += found["lines"]
        self.since = found["next"]
        return found["status"]

    def say(self, word):
        self._ask("/api/word", {"word": word})

    def press(self, key):
        self._ask("/api/key", {"key": key})

    def _ask(self, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "X-Robopref": "1"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.address + path, data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_arm_is_steered_from_a_page_where_there_is_no_terminal(tmp_path):
    out = tmp_path / "by-hand"
    command = ["teleop", *ON_SIM, "--max-episode-steps", "400", "--page",
               "--image-px", "64", "--out", str(out)]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "robopref.cli", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as running:  # fmt: skip
        assert running.stdout is not None
        first = next(line for line in running.stdout if line.startswith(("Page", "Error")))
        assert first.startswith("Page"), first
        rest: list[str] = []
        reading = threading.Thread(target=lambda: rest.extend(running.stdout or ()))
        reading.start()
        page = Browser(first.split()[1])
        asked = 0
        status = None
        while running.poll() is None:
            try:
                status = page.look()
                questions = sum("g begins" in line for line in page.lines)
                if questions > asked:
                    asked = questions
                    page.say("go")
                if status is not None and status["step"] >= 2:
                    page.press("up")
                if status is not None and status["step"] >= 12:
                    page.say("success")
            except OSError:  # It has ended.
                break
            time.sleep(0.1)
        reading.join()
    assert running.returncode == 0, "".join(rest)
    assert asked == 1, "of an arm in simulation nobody asks whether it may begin"
    shown = "".join(rest)
    assert f"1 episodes in {out}." in shown
    assert f"Next:   robopref train policy --data {out}" in shown
    assert "Camera     front: 320 x 240 pixels, 20 a second, not calibrated" in shown
    store = EpisodeStore.open(out)
    episode = store.episode(store.ids[0])
    assert episode.succeeded
    # What the camera saw is there to learn from, and to look at; the arm has moved in it.
    seen = store.frames(Segment(episode.id, 0, len(episode)), IMAGES + "front").astype(int)
    assert seen.shape == (len(episode), 64, 64, 3)
    assert (np.abs(seen[-1] - seen[0]).max(axis=2) > 40).sum() > 20
    assert (out / "recordings" / f"{episode.id}.front.mp4").stat().st_size > 1000
    assert store.validate() == []
    assert episode.extras["safety.by_person"].all()
    assert episode.action[:, 1].max() == 1.0
    assert episode.obs[STATE][-1][1] > episode.obs[STATE][0][1] + 0.02


@pytest.fixture
def no_terminal(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("no_terminal")
def test_an_arm_is_steered_by_a_gamepad_that_is_named_on_the_command_line(
    tmp_path, monkeypatch, capsys
):
    out, pipe = tmp_path / "by-hand", Pipe(tmp_path)
    with_range(monkeypatch)
    ended = threading.Event()

    def hold():
        while not ended.wait(0.2):
            pipe.write(report(key(BTN_TR), stick(ABS_X, 32767)))
            pipe.write(report(key(BTN_START)), report(key(BTN_START, 0)))

    person = threading.Thread(target=hold)
    person.start()
    try:
        command = ["teleop", *ON_SIM, "--max-episode-steps", "8", "--page", "--device", "gamepad"]
        options = ["--device.file", str(pipe.path), "--cameras", "--out", str(out)]
        code = main([*command, *options])
    finally:
        ended.set()
        person.join()
        pipe.unplug()
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "Steering   hold the right shoulder to move" in shown.out
    episode = EpisodeStore.open(out).episode(EpisodeStore.open(out).ids[0])
    assert episode.metadata["safety"]["needs_deadman"]
    assert not (out / "recordings").exists()
    assert episode.extras["safety.by_person"].all()
    np.testing.assert_array_equal(episode.action[:, 0], 1.0)
    assert episode.obs[STATE][-1][0] > episode.obs[STATE][0][0] + 0.02
