"""Tests for frame_features.py: encoded once, kept whole, and augmented alike through a clip."""

import numpy as np
import pytest
import torch

from robopref.backbones import SmallCNNConfig
from robopref.frame_features import AugmentationConfig, FeatureCache, augment
from robopref.visual_encoders import FrameEncoderConfig


@pytest.fixture
def encoder():
    config = FrameEncoderConfig(SmallCNNConfig(width=4), size=32, precision="float32")
    return config.build()


@pytest.fixture
def counted(encoder, monkeypatch):
    """Return the encoder and the list of how many frames each call gave it."""
    calls, encode = [], encoder.encode

    def counting(frames):
        calls.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(encoder, "encode", counting)
    return encoder, calls


@pytest.fixture
def frames(rng):
    return rng.integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)


def test_a_clip_is_encoded_once_and_read_back_equal(counted, frames, tmp_path):
    encoder, calls = counted
    cache = FeatureCache(encoder, tmp_path, AugmentationConfig(num_views=2))
    first, second = cache.features(frames), cache.features(frames)
    again = FeatureCache(encoder, tmp_path, AugmentationConfig(num_views=2)).features(frames)
    assert calls == [5, 5, 5]
    for other in (second, again):
        assert np.array_equal(first.features, other.features)
        assert np.array_equal(first.views, other.views)
    assert first.features.shape == (5, encoder.feature_dim)
    assert first.views.shape == (5, 2, encoder.feature_dim)
    assert first.features == pytest.approx(encoder.encode(frames), rel=1e-3, abs=1e-4)


def test_with_a_key_frames_are_not_even_decoded(counted, frames, tmp_path):
    encoder, calls = counted
    cache = FeatureCache(encoder, tmp_path)
    decoded = []

    def decode():
        decoded.append(1)
        return frames

    assert np.array_equal(
        cache.features(decode, key="a").features, cache.features(decode, key="a").features
    )
    cache.features(decode, key="b")
    assert len(decoded) == 2
    assert calls == [5, 5]


def test_other_weights_or_views_never_meet_in_the_cache(encoder, frames, tmp_path):
    other = FrameEncoderConfig(SmallCNNConfig(width=4, seed=1), size=32, precision="float32")
    FeatureCache(encoder, tmp_path).features(frames)
    FeatureCache(other.build(), tmp_path).features(frames)
    FeatureCache(encoder, tmp_path, AugmentationConfig(1)).features(frames)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3


def test_a_damaged_file_is_said_and_encoded_again(encoder, frames, tmp_path, caplog):
    cache = FeatureCache(encoder, tmp_path)
    before = cache.features(frames)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    with caplog.at_level("WARNING"):
        assert np.array_equal(cache.features(frames).features, before.features)
    assert f"'{path}' is damaged" in caplog.text
    assert np.array_equal(cache.features(frames).features, before.features)


def test_nothing_half_written_is_left_when_encoding_fails(encoder, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "encode", lambda frames: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        FeatureCache(encoder, tmp_path).features(frames)
    assert not list(tmp_path.rglob("*.*"))


def test_a_view_is_one_draw_for_all_frames_and_differs_from_the_clip(frames):
    still = np.repeat(frames[:1], 3, 0)
    view = augment(still, AugmentationConfig(1), torch.Generator().manual_seed(0))
    assert view.shape == still.shape
    assert view.dtype == np.uint8
    assert np.array_equal(view[0], view[2])
    assert np.abs(view.astype(int) - still).mean() > 1
    unchanged = AugmentationConfig(1, shift=0, zoom=0, colour=0, grey=0, blur=0)
    same = augment(still, unchanged, torch.Generator().manual_seed(0))
    assert np.abs(same.astype(int) - still).max() <= 1
