"""Tests for visual_features.py, on videos in a data set and on pictures in memory."""

import numpy as np
import pytest
import torch

from robopref.backbones import SmallCNNConfig
from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.frame_features import VIEWS, AugmentationConfig, FeatureCache
from robopref.preferences.preference import PairwiseView
from robopref.protocols import RewardModel
from robopref.rewards.rapl import RAPLPlusConfig
from robopref.rewards.visual_features import SeenEpisodes, SeenReward
from robopref.types import STATE, SegmentBatch
from robopref.visual_encoders import FrameEncoderConfig

CAMERA = "observation.images.top"


@pytest.fixture
def encoder():
    backbone = SmallCNNConfig(width=2)
    return FrameEncoderConfig(backbone, size=16, precision="float32").build()


def pictures(num, length=6, size=(20, 24)):
    """Return a square that crosses a dark picture, each time at another height."""
    frames = np.zeros((num, length, *size, 3), np.uint8)
    for i in range(num):
        for t in range(length):
            frames[i, t, i : i + 6, 3 * t : 3 * t + 6] = 255
    return frames


class Recorded:
    """Two episodes of recorded frames."""

    def __init__(self, num_frames=6):
        self.decoded, self._frames = 0, pictures(2, num_frames)

    def row(self, episode_id):
        class Row:
            length = 6

        return Row()

    def cut(self, segment):
        return {STATE: np.zeros((segment.length, 1))}, np.full((segment.length, 2), 1.0)

    def content_hash(self, segment):
        return f"hash of {segment.episode_id}"

    def frames(self, segment, camera):
        self.decoded += 1
        return self._frames[int(segment.episode_id)][segment.start :]


def test_segments_of_an_episode_share_one_encoding(encoder, tmp_path):
    recorded = Recorded()
    seen = SeenEpisodes(recorded, FeatureCache(encoder, tmp_path), CAMERA)
    whole, _ = seen.cut(Segment("0", 0, 6))
    part, action = seen.cut(Segment("0", 2, 3))
    assert recorded.decoded == 1
    assert np.array_equal(part[STATE], whole[STATE][2:5])
    assert action.shape == (3, 2)
    assert part[STATE] == pytest.approx(encoder.encode(pictures(2)[0, 2:5]), rel=2e-3, abs=1e-4)
    seen.cut(Segment("1", 0, 6))
    assert recorded.decoded == 2


def test_views_come_with_the_features(encoder):
    cache = FeatureCache(encoder, augmentation=AugmentationConfig(2))
    obs, _ = SeenEpisodes(Recorded(), cache, CAMERA).cut(Segment("0", 1, 4))
    assert obs[VIEWS].shape == (4, 2, encoder.feature_dim)


def test_frames_may_be_rendered_where_none_were_recorded(encoder):
    def render(segment):
        return pictures(2)[1][: segment.length]

    obs, _ = SeenEpisodes(Recorded(), FeatureCache(encoder), CAMERA, render).cut(Segment("0", 0, 6))
    assert obs[STATE] == pytest.approx(encoder.encode(pictures(2)[1]), rel=2e-3, abs=1e-4)


def test_a_video_of_another_length_is_refused_and_not_kept(encoder, tmp_path):
    seen = SeenEpisodes(Recorded(num_frames=5), FeatureCache(encoder, tmp_path), CAMERA)
    with pytest.raises(DataError) as error:
        seen.cut(Segment("0", 0, 6))
    assert str(error.value) == (f"Camera '{CAMERA}' has 5 frames of episode 0, which has 6 steps.")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.fixture
def segments():
    mask = np.arange(6) < np.array([6, 6, 6, 6, 3, 1])[:, None]
    return SegmentBatch({CAMERA: pictures(6)}, np.zeros((6, 6, 2), np.float32), mask)


def test_a_reward_learns_from_pictures_and_scores_them(encoder, segments):
    config = RAPLPlusConfig(num_members=2, max_frames=6)
    reward = SeenReward(config.build(encoder.feature_dim, 2), FeatureCache(encoder), CAMERA)
    assert isinstance(reward, RewardModel)
    pairs = np.array([[i, j] for i in range(4) for j in range(i)])
    names = tuple(f"episode-{i}" for i in range(6))
    ones = np.ones(len(pairs), np.float32)
    view = PairwiseView(segments, names, pairs[:, 0], pairs[:, 1], ones, ones)
    reward.fit(view, generator=torch.Generator().manual_seed(0))
    returns = reward.segment_return(segments)
    assert (np.diff(returns[:4]) < 0).all()
    assert reward.rewards(segments).sum(1) == pytest.approx(returns, abs=1e-4)
    assert reward.uncertainty(segments).shape == (6, 6)
    assert reward.member_returns(segments).shape == (2, 6)
    with pytest.raises(ValueError):
        reward.as_action_scorer("chunk")


def test_views_are_encoded_for_training_and_not_to_score(encoder, segments, monkeypatch):
    encoded, encode = [], encoder.encode

    def counting(frames):
        encoded.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(encoder, "encode", counting)
    cache = FeatureCache(encoder, augmentation=AugmentationConfig(2))
    reward = SeenReward(RAPLPlusConfig().build(encoder.feature_dim, 2), cache, CAMERA)
    reward.rewards(segments)
    assert len(encoded) == 6
    assert reward.see(segments, cache).obs[VIEWS].shape == (6, 6, 2, encoder.feature_dim)
    assert len(encoded) == 6 + 3 * 6


def test_segments_without_the_pictures_are_refused(encoder, segments):
    reward = SeenReward(None, FeatureCache(encoder), "observation.images.wrist")
    with pytest.raises(DataError) as error:
        reward.see(segments)
    assert str(error.value) == (
        f"The segments have no pictures of 'observation.images.wrist', got ['{CAMERA}']."
    )
    with pytest.raises(ValueError) as wrong:
        SeenReward(None, FeatureCache(encoder), "top")
    assert str(wrong.value) == "`camera` must start with 'observation.images.', got 'top'."
