"""What an arm's cameras see is recorded, and an arm that nobody sees is stopped."""

import io
import time
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.align.collect import open_or_create
from robopref.data.segment import Segment
from robopref.deploy.dry_run import describe_cameras
from robopref.deploy.operator import Word
from robopref.deploy.session import Outcome, Session
from robopref.envs.make import make_env
from robopref.errors import HardwareError
from robopref.hardware.calibration import Calibration, Mount, save_calibration, save_mount
from robopref.hardware.driver import CameraInfo, Intrinsics
from robopref.hardware.synthetic_camera import CameraFaults
from robopref.types import IMAGES
from tests.deploy.acting import ENV, Script, make_turns_of

PX, AGE_S = 64, 1.5


@pytest.fixture(scope="module")
def env():
    env = make_env(ENV, cameras=("front",), image_px=PX, max_episode_steps=150, camera_age_s=AGE_S)
    yield env
    env.close()


class Clock(Script):
    """An operator who knows when they were listened to."""

    first_s = last_s = 0.0

    def words(self):
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        return super().words()


@pytest.mark.slow
def test_what_the_camera_sees_is_recorded_and_becomes_a_video(env, tmp_path):
    store = open_or_create(tmp_path / "data", ENV)
    operator = Clock({30: Word.FAILURE})
    Session(env, operator, 1.0).run(store, make_turns_of(env))
    (episode,) = store
    steps = len(episode)
    assert episode.sim_states is not None
    seen = store.frames(Segment(episode.id, 0, steps), IMAGES + "front").astype(int)
    drawn = env.render_states(
        episode.sim_states[:-1], episode.sim_episode, width=PX, height=PX, camera="front"
    )
    # A camera is a step late, and a few where this machine is busy; it shows what moves.
    errors = [
        np.abs(seen[k] - drawn[max(0, k - 5) : k + 1]).mean(axis=(1, 2, 3)).min()
        for k in range(steps)
    ]
    stayed = np.abs(seen[-5:] - drawn[0]).mean(axis=(1, 2, 3))
    assert np.median(errors) < 6  # Noise, and H.264 keeps half of the colours' resolution.
    assert max(errors[-5:]) < stayed.min()
    assert 0 < episode.extras["safety.camera_age_s"].max() < AGE_S
    (path,) = (store.root / "recordings").iterdir()
    assert path.name == f"{episode.id}.front.mp4"
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    video: Any = av.open(io.BytesIO(content))
    with video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        fps = float(video.streams.video[0].average_rate)
    assert len(pictures) / fps == pytest.approx(operator.last_s - operator.first_s, abs=0.3)
    assert np.abs(pictures[-1].astype(int) - seen[-1]).mean() < 8
    assert store.validate() == []


class Saboteur(Script):
    """An operator beside whom a camera freezes."""

    def __init__(self, env, after):
        super().__init__({})
        self.env, self.after = env, after

    def words(self):
        if self._num == self.after:
            set_faults(self.env, CameraFaults(frozen_after_s=0.0))
        return super().words()


def set_faults(env, faults):
    source = env.eyes.drivers["front"]._source
    source.config = replace(source.config, faults=faults)


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_frozen_camera_stops_the_arm_and_says_so(env, times, tmp_path):
    store = open_or_create(tmp_path / "data", ENV)
    turns = make_turns_of(env, times)
    for number, turn in enumerate(turns):
        done = Session(env, Saboteur(env, 3 + number % 5), 1.0).run(store, [turn])
        assert [each.outcome for each in done] == [Outcome.STOPPED]
        assert "It is frozen: the last" in done[0].reason
        assert env._rig.why_stopped() == done[0].reason
        episode = store.episode(turn.group.ids[0])
        assert episode.metadata["stopped"] == done[0].reason
        ages = episode.extras["safety.camera_age_s"]
        # The step in which it is noticed is the last one.
        assert (ages[:-2] < AGE_S).all()
        set_faults(env, CameraFaults())
    assert len(store) == times
    assert store.validate() == []


def test_a_camera_that_is_frozen_lets_no_episode_begin(env, monkeypatch):
    set_faults(env, CameraFaults(frozen_after_s=0.0))
    with monkeypatch.context() as patch:
        patch.setattr("robopref.arm_cameras.NEW_S", 0.5)
        with pytest.raises(HardwareError, match="shows nothing new"):
            env.reset(seed=0)
    set_faults(env, CameraFaults())
    assert env.reset(seed=0)[0][IMAGES + "front"].shape == (PX, PX, 3)


LENS = Intrinsics(PX, PX, (70.0, 70.0), (31.5, 31.5))
INFO = CameraInfo("synthetic-sawyer-front", PX, PX, 20.0, LENS)
HERE = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def test_the_dry_run_says_how_cameras_are_calibrated_and_refuses_what_does_not_hold(tmp_path):
    assert describe_cameras({"front": INFO}, tmp_path) == (
        "Camera     front: 64 x 64 pixels, 20 a second, not calibrated"
    )
    mount = Mount("front", "base", "2026-11-01T12:00:00+00:00")
    save_mount(tmp_path, mount)
    save_calibration(
        tmp_path,
        Calibration(INFO.serial, mount, "2026-11-02T12:00:00+00:00", LENS, HERE, 12, 0.25, 1e-3),
    )
    assert describe_cameras({"front": INFO}, tmp_path).endswith(
        "20 a second, on the base, calibrated 2026-11-02T12:00:00+00:00 to 0.25 pixels"
    )
    save_mount(tmp_path, replace(mount, since="2026-11-03T12:00:00+00:00"))
    with pytest.raises(HardwareError, match="the camera was mounted anew at 2026-11-03"):
        describe_cameras({"front": INFO}, tmp_path)
