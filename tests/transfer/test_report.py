"""The report of a transfer, with clips of a real simulator."""

import base64
import re

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.data.video import Clip, decode_video
from robopref.envs.make import make_env
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.seeding import make_rng
from robopref.transfer import report
from robopref.transfer.film import Film
from robopref.transfer.loading import Place, load_source, load_target
from robopref.transfer.workflow import transfer
from tests.transfer.pushing import DOOR, NUM_STEPS, push


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """Pushes made up as elsewhere, with states of a real simulator to draw."""
    env = make_env(DOOR)
    env.reset(seed=0)
    states = [env.get_state()]
    for _ in range(NUM_STEPS):
        env.step(np.full(4, 0.5, np.float32))
        states.append(env.get_state())
    env.close()
    folder = tmp_path_factory.mktemp("filmed") / "door"
    store = EpisodeStore.create(folder, fps=80.0)
    for number in range(8):
        episode = push(DOOR, 3, number)
        object.__setattr__(episode, "sim_states", np.stack([state.step for state in states]))
        object.__setattr__(episode, "sim_episode", states[0].episode)
        store.add(episode)
    return folder


def found_for(door, target):
    source = load_source(Place(door[0], str(door[1])), make_rng(0))
    loaded = load_target(
        Place(target, None), make_rng(1), num_segments=24, length=None, like=source
    )
    return transfer(SharedFeaturesConfig(), [source], loaded, seed=0)


def test_a_report_says_why_there_are_no_pictures_and_needs_nothing_beside_it(
    door, drawer, tmp_path
):
    outcome = found_for(door, drawer)
    path = tmp_path / "report.html"
    report.write_report(path, outcome, "robopref train reward --data <here>")
    page = path.read_text()
    assert outcome.verdict.text in page.replace("&#39;", "'")
    assert "has no simulator states" in page
    assert "robopref train reward --data &lt;here&gt;" in page
    assert len(re.findall("<svg", page)) == 5 + 2 * 4, "five plots, and paths instead of clips"
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_clips_of_both_tasks_stand_side_by_side(filmed, make_answers, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "CLIP_SIZE", 64)
    monkeypatch.setattr(report, "MOST_FRAMES", 6)
    path = tmp_path / "report.html"
    report.write_report(path, found_for((filmed, make_answers(filmed)), filmed), "next")
    videos = re.findall(r'video src="data:video/mp4;base64,([^"]*)"', path.read_text())
    assert len(videos) == 4
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(base64.b64decode(videos[0]))
    frames = decode_video(Clip(clip, 0, 6), 2.0)
    assert frames.shape == (6, 64, 132, 3)
    assert (frames[:, :, :64].std(axis=0) > 0).any(), "the arm moves"
    assert "source: place " in path.read_text()


def test_a_segment_is_thinned(filmed):
    episodes = EpisodeStore.open(filmed)
    with Film(episodes, size=64, num_frames=6) as film:
        frames = [film.frames(Segment(episodes.rows[0].episode_id, 3, num)) for num in (10, 4)]
    assert [len(clip) for clip in frames] == [6, 4]
