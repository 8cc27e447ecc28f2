import numpy as np
import pytest

from robopref.rewards.preference_transformer import PreferenceTransformerConfig
from robopref.types import STATE, SegmentBatch


@pytest.fixture
def reward():
    return PreferenceTransformerConfig(num_members=2, embedding_size=16, num_heads=2).build(5, 2)


def full(make_segments, num=3):
    segments = make_segments(num)
    return SegmentBatch(segments.obs, segments.action, np.ones_like(segments.mask))


def test_no_later_step_changes_a_value(reward, make_segments):
    segments = full(make_segments)
    before = reward.step_values(segments)
    segments.obs[STATE][:, 7:] += 1
    segments.action[:, 7:] -= 1
    after = reward.step_values(segments)
    assert after[:, :7] == pytest.approx(before[:, :7], abs=1e-6)
    assert np.abs(after[:, 7:] - before[:, 7:]).max() > 1e-3


def test_a_value_depends_on_what_came_before_and_on_the_action_itself(reward, make_segments):
    for change in (lambda s: s.obs[STATE], lambda s: s.action):
        segments = full(make_segments)
        before = reward.step_values(segments)
        change(segments)[:, 3] += 1
        after = reward.step_values(segments)
        assert np.abs(after[:, 3:] - before[:, 3:]).min(axis=0).max() > 1e-6
        assert after[:, :3] == pytest.approx(before[:, :3], abs=1e-6)


def test_rewards_depend_on_the_whole_segment_through_the_weights(reward, make_segments):
    segments = full(make_segments)
    before = reward.rewards(segments)
    segments.action[:, -1] += 3
    assert np.abs(reward.rewards(segments)[:, 0] - before[:, 0]).max() > 1e-7


def test_weights_are_one_on_average_over_real_steps(reward, make_segments):
    import torch

    segments = make_segments(6)
    inputs = reward._prepare(segments)
    with torch.no_grad():
        weights = reward._weights(reward._read(inputs), inputs["mask"])
    assert (weights[:, ~inputs["mask"]] == 0).all()
    assert weights.sum(-1).numpy() == pytest.approx(
        np.tile(segments.lengths.astype(float), (2, 1)), rel=1e-5
    )
    assert (weights >= 0).all()


def test_a_segment_without_steps_has_return_zero(reward, make_segments):
    segments = make_segments(2)
    segments.mask[0] = False
    assert reward.segment_return(segments)[0] == 0
    assert np.isfinite(reward.segment_return(segments)).all()


def test_order_of_steps_matters(reward, make_segments):
    segments = full(make_segments)
    turned = SegmentBatch(
        {STATE: segments.obs[STATE][:, ::-1].copy()}, segments.action[:, ::-1].copy(), segments.mask
    )
    assert np.abs(reward.segment_return(segments) - reward.segment_return(turned)).max() > 1e-4


def test_config_checks_its_ranges():
    with pytest.raises(ValueError) as error:
        PreferenceTransformerConfig(embedding_size=20, num_heads=4)
    assert str(error.value) == (
        "`embedding_size` (=20) must be a multiple of twice `num_heads` (=4)."
    )
    with pytest.raises(ValueError) as error:
        PreferenceTransformerConfig(num_layers=0)
    assert str(error.value) == "`num_layers` must be at least 1, got 0."
