import numpy as np
import pytest

from robopref.envs.features import TASK_FEATURES
from robopref.rewards.pearl import CPAConfig
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments, Transferred
from robopref.transfer.correspondence import (
    Correspondence,
    compare_meaning,
    liked_features,
    source_scores,
    vote_correlations,
)

NUM_FEATURES = len(TASK_FEATURES)


def make_task(seed, num=20, sign=1):
    """A task in which the first feature, and nothing else, is liked; the last does not vary."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, NUM_FEATURES))
    features[:, -1] = 0
    a, b = np.triu_indices(num, 1)
    better = sign * (features[b, 0] - features[a, 0]) > 0
    steps = features[:, None] + np.zeros((num, 3, NUM_FEATURES))
    return TaskSegments("task", steps, features, a, b, better.astype(float))


def true_order(task):
    preferred, _ = task.preference_matrix()
    return Transferred(preferred, np.ones_like(preferred), preferred[None])


def test_a_task_means_the_same_as_itself_and_the_opposite_of_its_mirror_image():
    task = make_task(0)
    assert compare_meaning(task, task, true_order(task)) == pytest.approx(1)
    assert compare_meaning(task, task, true_order(make_task(0, sign=-1))) == pytest.approx(-1)
    nothing = np.full((20, 20), 0.5)
    says_nothing = Transferred(nothing, np.zeros_like(nothing), nothing[None])
    assert np.isnan(compare_meaning(task, task, says_nothing))


def test_what_is_liked_comes_first_and_what_does_not_vary_is_left_out():
    task = make_task(0)
    found = Correspondence.of(task, task, true_order(task))
    liked = liked_features(task, found, task)
    first, *rest = TASK_FEATURES
    assert next(iter(liked)) == first.replace("_", " ")
    of_source, of_target = liked[first.replace("_", " ")]
    assert of_source == pytest.approx(of_target)
    assert of_source > 0.8
    assert rest[-1].replace("_", " ") not in liked


def test_scores_order_segments_as_the_answers_do():
    task = make_task(0)
    assert (np.argsort(source_scores(task)) == np.argsort(task.features[:, 0])).all()


def test_a_copy_corresponds_to_itself():
    source, target = make_task(0), make_task(0)
    for config in (CPAConfig(represented="features"), SharedFeaturesConfig()):
        found = config.build().transfer([source], target, np.random.default_rng(0))
        correspondence = Correspondence.of(source, target, found)
        assert correspondence.by_plan == isinstance(config, CPAConfig)
        assert correspondence.weight.sum(axis=0) == pytest.approx(np.ones(20))
    # Features are equal, so the nearest is the segment itself.
    assert (correspondence.weight.argmax(axis=0) == np.arange(20)).all()
    best, *_, worst = correspondence.matches(4)
    assert best == (int(found.preferred.mean(axis=1).argmax()),) * 2
    assert worst == (int(found.preferred.mean(axis=1).argmin()),) * 2


@pytest.mark.parametrize(("num", "cells"), [(3, 40), (20, 6), (41, 40)])
def test_blocks_hold_all_the_weight(num, cells, rng):
    weight = rng.random((num, num + 2))
    found = Correspondence(weight / weight.sum(axis=0), rng.random(num), rng.random(num + 2), True)
    blocks = found.sorted_weight(cells)
    assert blocks.shape == (min(num, cells), min(num + 2, cells))
    assert blocks.sum(axis=0) == pytest.approx(np.ones(blocks.shape[1]))


def test_a_vote_goes_with_itself_and_against_its_opposite():
    preferred, _ = make_task(0).preference_matrix()
    votes = np.stack([preferred, 1 - preferred])
    found = vote_correlations(Transferred(preferred, np.ones_like(preferred), votes))
    assert found == pytest.approx([1, -1])
