import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.config import from_dict, to_dict
from robopref.errors import DataError
from robopref.rewards import TRANSFERS
from robopref.rewards.pearl import CPAConfig, carry_labels
from robopref.rewards.shared_features import SharedFeaturesConfig, preferred_by
from robopref.rewards.transfer import TaskSegments, TransferMethod, Transferred, standardise


def make_task(seed, num=24, *, answered=True, weights=(2.0, -1.0, 0.5), name="task"):
    """Return a task whose returns are linear in the features, and the returns."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, len(weights)))
    # Steps that show the features, so that distances inside a task carry them.
    steps = features[:, None] + 0.1 * rng.normal(size=(num, 6, len(weights)))
    returns = features @ np.array(weights)
    a, b = np.triu_indices(num, 1) if answered else (np.zeros(0, np.int64),) * 2
    prefers_b = (returns[b] > returns[a]).astype(float)
    return TaskSegments(name, steps, features, a, b, prefers_b), returns


def accuracy(preferred, returns):
    a, b = np.triu_indices(len(returns), 1)
    return np.mean((preferred[b, a] > 0.5) == (returns[b] > returns[a]))


@pytest.fixture(params=TRANSFERS.names())
def method_name(request):
    return request.param


def test_every_method_returns_probabilities_that_add_up(method_name):
    config_class = TRANSFERS.config_class(method_name)
    config = config_class()
    assert to_dict(from_dict(config_class, to_dict(config))) == to_dict(config)
    method = config.build()
    assert isinstance(method, TransferMethod)
    source, _ = make_task(0)
    target, _ = make_task(1, 20, answered=False)
    found = method.transfer([source], target, np.random.default_rng(0))
    again = method.transfer([source], target, np.random.default_rng(0))
    np.testing.assert_array_equal(found.preferred, again.preferred)
    np.testing.assert_allclose(found.preferred + found.preferred.T, 1, atol=1e-9)
    assert ((found.preferred >= -1e-12) & (found.preferred <= 1 + 1e-12)).all()
    assert found.votes.shape[1:] == (20, 20)
    assert 0.5 <= found.diagnose()["expected_accuracy"] <= 1


def test_every_method_carries_labels_to_a_shuffled_copy(method_name):
    source, returns = make_task(0)
    order = np.random.default_rng(1).permutation(len(source))
    target = TaskSegments("copy", source.steps[order], source.features[order])
    method = TRANSFERS.config_class(method_name)().build()
    found = method.transfer([source], target, np.random.default_rng(0))
    assert accuracy(found.preferred, returns[order]) > 0.97


def test_the_published_form_is_too_small_by_the_product_of_the_masses():
    preferred = np.triu(np.ones((3, 3)), 1) + np.eye(3) / 2
    known = np.ones((3, 3))
    plan = np.eye(3) / 3
    assert carry_labels(plan, preferred, known)[0][0, 1] == 1.0
    raw = carry_labels(plan, preferred, known, normalised=False)[0][0, 1]
    assert raw == pytest.approx(1 / 9)


@given(st.integers(0, 10_000), st.floats(0.1, 1.0))
def test_carried_labels_add_up_and_abstain_without_answers(seed, share):
    rng = np.random.default_rng(seed)
    plan = rng.random((7, 5))
    preferred = rng.random((7, 7))
    preferred = (preferred + 1 - preferred.T) / 2
    known = np.triu(rng.random((7, 7)) < share, 1)
    known = (known | known.T | np.eye(7, dtype=bool)).astype(float)
    carried, weight = carry_labels(plan, preferred, known)
    np.testing.assert_allclose(carried + carried.T, 1, atol=1e-9)
    assert ((weight >= 0) & (weight <= 1 + 1e-9)).all()
    # Two target segments that match two about which nothing is known.
    apart = np.zeros((7, 2))
    apart[0, 0] = apart[1, 1] = 1.0
    known[0, 1] = known[1, 0] = 0.0
    carried, weight = carry_labels(apart, preferred, known)
    assert (carried[0, 1], weight[0, 1]) == (0.5, 0.0)


def test_a_mirrored_set_is_diagnosed_and_answers_turn_it_round():
    rng = np.random.default_rng(0)
    line = np.sort(rng.normal(size=(16, 1)), axis=0)
    a, b = np.triu_indices(16, 1)
    source = TaskSegments("line", line[:, None], line, a, b, np.ones(len(a)))
    # Distances inside a line are those of the line turned round.
    target = TaskSegments("mirror", -line[:, None], -line)
    method = CPAConfig(num_starts=12).build()
    found = method.transfer([source], target, np.random.default_rng(1))
    scores = [accuracy(vote, line[:, 0]) for vote in found.votes]
    assert min(scores) < 0.1
    assert max(scores) > 0.9
    assert 0 < found.diagnose()["wrong_way"] < 1
    for truth in (line[:, 0], -line[:, 0]):
        answered = dataclasses.replace(
            target,
            a=np.array([0]),
            b=np.array([15]),
            prefers_b=np.array([truth[15] > truth[0]], float),
        )
        turned = method.transfer([source], answered, np.random.default_rng(1))
        assert accuracy(turned.preferred, truth) > 0.9
        # What the answer rules out has no vote any more.
        assert 1 < len(turned.votes) < len(found.votes)
        assert set(turned.votes[:, 15, 0].round(6)) == {float(answered.prefers_b[0])}


def test_shared_features_are_corrected_by_the_target_and_know_what_to_ask():
    sources = [make_task(seed, weights=(2.0, -1.0, 1.0))[0] for seed in range(2)]
    # The target wants the opposite of the sources in one respect.
    target, returns = make_task(5, answered=False, weights=(2.0, -1.0, -1.0))
    method = SharedFeaturesConfig().build()
    x = standardise(target.features)
    before = preferred_by(method.belief(sources, target), x)
    for _ in range(4):
        a, b = method.choose_queries(sources, target, 5).T
        known = {tuple(sorted(pair)) for pair in zip(target.a, target.b, strict=True)}
        assert not known & {tuple(sorted(pair)) for pair in zip(a, b, strict=True)}
        target = dataclasses.replace(
            target,
            a=np.concatenate([target.a, a]),
            b=np.concatenate([target.b, b]),
            prefers_b=np.concatenate([target.prefers_b, returns[b] > returns[a]]),
        )
    after = preferred_by(method.belief(sources, target), x)
    assert accuracy(before, returns) < 0.85
    assert accuracy(after, returns) > accuracy(before, returns) + 0.05


def test_sources_that_contradict_each_other_are_diagnosed():
    target, _ = make_task(5, answered=False)
    rng = np.random.default_rng(0)
    alike = [make_task(seed)[0] for seed in range(3)]
    mixed = [make_task(0)[0], make_task(1, weights=(-2.0, 1.0, 0.5))[0]]
    method = SharedFeaturesConfig(num_votes=2).build()
    across = [method.transfer(s, target, rng).diagnose()["across"] for s in (alike, mixed)]
    assert across[0] > 0.9
    assert across[1] < 0.5
    assert np.isnan(method.transfer(alike[:1], target, rng).diagnose()["across"])


def test_pairs_are_drawn_among_confident_ones_only():
    preferred = np.array([[0.5, 0.9, 0.6], [0.1, 0.5, 0.5], [0.4, 0.5, 0.5]])
    found = Transferred(preferred, np.ones((3, 3)), preferred[None])
    a, b, prefers_b = found.pairs(10, np.random.default_rng(0), least_confidence=0.8)
    assert (a.tolist(), b.tolist(), prefers_b.tolist()) == ([0], [1], [0.1])
    with pytest.raises(DataError) as error:
        found.pairs(10, np.random.default_rng(0), least_confidence=0.95)
    assert "No pair was transferred with a confidence of 0.95" in str(error.value)


def test_bad_input_is_refused_with_the_task_named():
    source, _ = make_task(0, name="press")
    target, _ = make_task(1, answered=False, name="open")

    def refused(make):
        with pytest.raises(DataError) as error:
            make()
        return str(error.value)

    steps = source.steps
    assert "'few' has 3 segments" in refused(
        lambda: TaskSegments("few", steps[:3], np.ones((3, 1)))
    )
    broken = np.where(np.arange(24)[:, None, None] == 3, np.nan, steps)
    assert "'broken' has numbers in `steps`" in refused(
        lambda: TaskSegments("broken", broken, source.features)
    )
    same = np.ones_like(steps)
    assert "All segments of 'same' are the same" in refused(
        lambda: TaskSegments("same", same, source.features)
    )
    tied = dataclasses.replace(source, prefers_b=np.full(len(source.a), 0.5))
    rng = np.random.default_rng(0)
    method = SharedFeaturesConfig().build()
    assert "No answer about 'press' prefers" in refused(
        lambda: method.transfer([tied], target, rng)
    )
    longer = TaskSegments("open", np.repeat(target.steps, 2, axis=1), target.features)
    nearest = TRANSFERS.config_class("nearest")().build()
    assert "'press' and 'open' have steps of shapes (6, 3) and (12, 3)" in refused(
        lambda: nearest.transfer([source], longer, rng)
    )
    assert "'press' has 24 segments, too few for `num_groups` (=25)" in refused(
        lambda: CPAConfig(num_groups=25).build().transfer([source], target, rng)
    )
    middle = np.array([1.0, -1.0, 1.0, -1.0, 0.0])[:, None, None]  # Standardised, the last is 0.
    still = TaskSegments("still", middle, np.ones((5, target.features.shape[1])))
    assert "Segments of 'still' cannot be compared. `x` has a vector of length 0" in refused(
        lambda: CPAConfig(metric="cosine").build().transfer([source], still, rng)
    )
    with pytest.raises(ValueError, match="`num_groups` takes the means of segments"):
        CPAConfig(metric="dtw", num_groups=3)


def test_groups_are_matched_as_wholes_and_share_their_labels():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 9.0]])
    kind = np.repeat(np.arange(3), 8)
    features = centres[kind] + 0.1 * rng.normal(size=(24, 2))
    a, b = np.triu_indices(24, 1)
    prefers_b = 0.5 + 0.5 * np.sign(kind[b] - kind[a])
    source = TaskSegments("source", features[:, None], features, a, b, prefers_b)
    order = rng.permutation(24)
    target = TaskSegments("target", features[order, None], features[order])
    found = CPAConfig(num_groups=3).build().transfer([source], target, rng)
    expected = 0.5 + 0.5 * np.sign(kind[order][:, None] - kind[order][None])
    np.testing.assert_allclose(found.preferred, expected, atol=0.02)
