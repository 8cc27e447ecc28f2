"""Tests for tuning.py of the deformable loop: what is learned from rankings, and from where."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from robopref.data.episode import Episode
from robopref.deform.actors import SHOWN
from robopref.deform.tuning import judged_outcomes, start_from, with_all_shown
from robopref.point_attention import PointAttentionConfig
from robopref.types import POINTS
from tests.deform.conftest import make_tiny


def episode(name, reward, **metadata):
    num = len(reward)
    return Episode(
        name, {POINTS: np.zeros((num + 1, 8, 3), np.float32)}, np.ones((num, 6), np.float32),
        np.array(reward, np.float32), np.zeros(num, bool), False, True, "", "", 0, 0.5,
        metadata=metadata,
    )  # fmt: skip


def test_every_primitive_that_was_shown_is_imitated():
    shown = [[[1.0] * 6, [2.0] * 6, [3.0] * 6], [[4.0] * 6]]
    copies = with_all_shown([episode("a", [1, 1], **{SHOWN: shown})])
    actions = np.stack([copy.action[:, 0] for copy in copies])
    assert actions.tolist() == [[1, 4], [2, 4], [3, 4]]


def test_a_demonstration_without_others_is_imitated_as_it_is():
    plain = episode("a", [1, 1])
    assert with_all_shown([plain]) == [plain]


SHAPES = {POINTS: (64, 3)}


def build(config):
    return config.build(SHAPES, 6, torch.Generator().manual_seed(0)).eval()


def test_an_ensemble_starts_from_what_the_policy_knows(rng):
    tiny = make_tiny()
    reward, policy = build(tiny.explicit), build(tiny.policy)
    start_from(reward, policy)
    member: Any
    for member in reward.members:
        for part, known in (
            (member.encoder, policy.encoder), (member.attention, policy.denoiser.attention)
        ):  # fmt: skip
            for one, other in zip(part.parameters(), known.parameters(), strict=True):
                assert torch.equal(one, other)
                assert one is not other
    obs = {POINTS: torch.from_numpy(rng.normal(0, 0.1, (2, 1, 64, 3))).float()}
    first, second = reward.candidate_scores(obs, torch.zeros(2, 3, 1, 6))
    assert not torch.equal(first, second)


def test_an_ensemble_of_other_sizes_is_refused():
    tiny = make_tiny()
    other = replace(tiny.explicit, attention=PointAttentionConfig(width=48, num_heads=2))
    with pytest.raises(ValueError) as error:
        start_from(build(other), build(tiny.policy))
    assert str(error.value).startswith(
        "`explicit` must have the attention of `policy`, from which it starts. Error(s) in loading"
    )


def test_performed_primitives_are_good_or_bad_by_themselves(rng):
    judgements = judged_outcomes([episode("a", [0.1, -0.1, 0.2]), episode("b", [0.3])], rng)
    bad, good = zip(*(judgement.segments for judgement in judgements), strict=True)
    assert {(s.episode_id, s.start) for s in bad} == {("a", 1)}
    assert sorted((s.episode_id, s.start) for s in good) == [("a", 0), ("a", 2), ("b", 0)]
    assert all(j.utilities[1] > j.utilities[0] for j in judgements)


def test_outcomes_that_are_all_alike_teach_nothing(rng):
    assert judged_outcomes([episode("a", [0.1, 0.2])], rng) == []
    assert judged_outcomes([episode("a", [0.0, -0.2])], rng) == []
