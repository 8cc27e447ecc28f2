"""Clips in a real browser: it starts at once, and shows exactly the picture that it is sent to."""

import base64

import numpy as np
import pytest

from robopref.labeling.clips import Timing
from robopref.labeling.encoding import CODECS, write_clip
from tests.labeling.clip_data import brightness

SEEK = """
async ({source, times}) => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = source;
    await new Promise((done, failed) => {
        video.onloadeddata = done;
        video.onerror = () => failed(new Error(video.error.message));
    });
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const drawing = canvas.getContext("2d", {willReadFrequently: true});
    const levels = [];
    for (const time of times) {
        const seeked = new Promise(done => { video.onseeked = done; });
        // A busy browser has it decoded before it has it to draw; of frame 0 nothing new comes.
        const drawn = new Promise(done => video.requestVideoFrameCallback(done));
        video.currentTime = time;
        await seeked;
        await Promise.race([drawn, new Promise(done => setTimeout(done, 2000))]);
        drawing.drawImage(video, 0, 0);
        const pixels = drawing.getImageData(0, 0, canvas.width, canvas.height).data;
        levels.push(pixels.reduce((sum, x, i) => i % 4 === 3 ? sum : sum + x, 0) * 4 / 3
                    / pixels.length);
    }
    return {levels, duration: video.duration};
}
"""


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@pytest.mark.parametrize("recorded_hz", [10.0, 80.0])
def test_a_browser_shows_the_picture_that_it_is_sent_to(browser, tmp_path, codec, recorded_hz):
    count = 40
    timing = Timing.of([count], recorded_hz)
    pictures = brightness(count)
    path = tmp_path / f"clip{codec.suffix}"
    write_clip(path, [pictures], timing.fps, codec, num_frames=count)
    frames = [0, 39, 3, 4, 5, 17, 16, 15, 30, 1]
    page = browser.new_page()
    found = page.evaluate(
        SEEK,
        {
            "source": f"data:{codec.media_type};base64,"
            + base64.b64encode(path.read_bytes()).decode(),
            "times": [(frame + 0.5) / timing.fps for frame in frames],
        },
    )
    page.close()
    np.testing.assert_allclose(found["levels"], pictures[frames].mean(axis=(1, 2, 3)), atol=2.4)
    assert found["duration"] == pytest.approx(count / timing.fps, abs=0.01)
