"""Clips in step, measured from the pixels that the browser shows."""

import numpy as np
import pytest

from tests.labeling.page_project import NUM_STEPS, READY, press, serve_project, until

# The clips of these tests are of one brightness each picture, so that a pixel tells which it is.
READ = """() => [...document.querySelectorAll('.picture canvas')].map((canvas) =>
  canvas.getContext('2d').getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data[0])"""
WATCH = """(milliseconds) => new Promise((resolve) => {
  const seen = [], end = performance.now() + milliseconds;
  const read = %s;
  (function look() {
    seen.push(read());
    if (performance.now() < end) requestAnimationFrame(look); else resolve(seen);
  })();
})""" % READ  # fmt: skip  # noqa: UP031  # Braces are JavaScript's.
LEVELS = np.linspace(20, 230, NUM_STEPS + 1).astype(np.uint8)[:NUM_STEPS]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with serve_project(tmp_path_factory.mktemp("project")) as served:
        served.ask_clips(2)
        yield served


def frames_of(pixels):
    """Return which picture each pixel is of."""
    return np.abs(np.array(pixels)[..., None] - LEVELS.astype(int)).argmin(axis=-1)


def most_apart(seen):
    """Return by how many pictures the clips differed at most."""
    return int(np.ptp(frames_of(seen), axis=1).max())


@pytest.mark.slow
def test_clips_are_within_a_frame_while_playing_looping_and_scrubbing(project, pages):
    page = pages.open(project)
    fps = page.evaluate("robopref.page.judge.stage.player.fps")
    playing = page.evaluate(WATCH, 1000 * NUM_STEPS / fps + 1200)
    press(page, "s")
    fast = page.evaluate(WATCH, 1500)
    page.evaluate("robopref.page.judge.stage.player.seek(0)")
    page.evaluate(
        """() => { window.scrubbing = setInterval(() => {
          const scrubber = document.querySelector('.scrub input');
          scrubber.value = Math.floor(Math.random() * 24);
          scrubber.dispatchEvent(new Event('input'));
        }, 70); }"""
    )
    scrubbing = page.evaluate(WATCH, 1500)
    page.evaluate("clearInterval(window.scrubbing)")
    for seen in (playing, fast, scrubbing):
        assert most_apart(seen) <= 1
        # Something moved: all of it was not one picture held.
        assert len(np.unique(frames_of(seen))) > NUM_STEPS / 3
    first = frames_of(playing)[:, 0]
    assert (np.diff(first) < -NUM_STEPS / 2).any(), "It did not loop."
    assert page.evaluate("robopref.page.judge.stage.player.drift.max") <= 1


@pytest.mark.slow
def test_a_step_shows_the_next_picture_of_every_clip(project, pages):
    page = pages.open(project)
    press(page, "Space", "Home")
    for frame in range(6):
        until(page, "frame => robopref.page.judge.stage.player.frame === frame", frame)
        assert frames_of(page.evaluate(READ)).tolist() == [frame, frame]
        press(page, ".")
    press(page, "End")
    until(page, "robopref.page.judge.stage.player.frame === 23")
    press(page, ",")
    until(page, "robopref.page.judge.stage.player.frame === 22")
    assert frames_of(page.evaluate(READ)).tolist() == [22, 22]


@pytest.mark.slow
def test_playing_goes_on_after_steps_and_jumps(project, pages):
    page = pages.open(project)
    press(page, ".", ".", "Space")  # Played while the step is still under way.
    assert len(np.unique(frames_of(page.evaluate(WATCH, 1500)))) > 4
    press(page, "Home")
    assert len(np.unique(frames_of(page.evaluate(WATCH, 1500)))) > 4
    press(page, "o", "End")  # Without a loop it stops there.
    until(page, "robopref.page.judge.stage.player.playing === false")
    assert frames_of(page.evaluate(READ)).tolist() == [NUM_STEPS - 1] * 2
    press(page, "Space")
    assert len(np.unique(frames_of(page.evaluate(WATCH, 1500)))) > 4


@pytest.mark.slow
def test_a_clip_whose_decoder_lags_holds_the_other_back(project, pages):
    page = pages.open(project)
    page.evaluate(
        """() => { const { video } = robopref.page.judge.stage.player.tracks[1];
          window.stalling = setInterval(() => {
            video.pause(); setTimeout(() => video.play(), 250); }, 700); }"""
    )
    seen = page.evaluate(WATCH, 8000)
    page.evaluate("clearInterval(window.stalling)")
    assert most_apart(seen) <= 1
    assert len(np.unique(frames_of(seen))) > NUM_STEPS / 2


@pytest.mark.slow
def test_without_frame_callbacks_clips_still_keep_step(project, pages):
    page = pages.open(project)
    page.add_init_script("delete HTMLVideoElement.prototype.requestVideoFrameCallback")
    page.goto(project.address)
    page.wait_for_selector(READY)
    assert page.evaluate("!('requestVideoFrameCallback' in document.createElement('video'))")
    seen = page.evaluate(WATCH, 5000)
    assert most_apart(seen) <= 1
    assert len(np.unique(frames_of(seen))) > NUM_STEPS / 2
