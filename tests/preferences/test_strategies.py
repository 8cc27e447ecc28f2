"""Tests for the query strategies: their formulas, and what each must prefer."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import STRATEGIES
from robopref.preferences.clustering import greedy_k_centre, k_medoids, squared_distances
from robopref.preferences.diverse import pair_features
from robopref.preferences.pair_strategy import compute_prefers_b
from robopref.preferences.pool import CandidatePool
from robopref.preferences.strategies import QueryStrategy, compute_information_gain
from robopref.types import STATE, SegmentBatch


def make_pool(num=40, *, seed=0, features=None, starts=None, **options):
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(num, 5, 3)).astype(np.float32)
    action = rng.normal(size=(num, 5, 2)).astype(np.float32)
    batch = SegmentBatch({STATE: state}, action, np.ones((num, 5), bool))
    segments = [Segment(f"e{i}", 0, 5) for i in range(num)]
    return CandidatePool.build(
        segments, batch, rng=rng, features=features, start_features=starts, **options
    )


def asked_pairs(pool, queries):
    place = {segment: i for i, segment in enumerate(pool.segments)}
    return [tuple(place[item] for item in query.items) for query in queries]


def build(name, **options):
    return STRATEGIES.config_class(name)(**options).build()


@pytest.fixture(params=STRATEGIES.names())
def strategy(request):
    return build(request.param)


@pytest.mark.parametrize("num_members", [None, 1, 5])
def test_contract_every_strategy_asks_new_pairs_and_says_why(strategy, num_members):
    assert isinstance(strategy, QueryStrategy)
    pool = make_pool()
    rng = np.random.default_rng(1)
    returns = None if num_members is None else rng.normal(size=(num_members, 40))
    queries = strategy.propose(pool, returns, 20, np.random.default_rng(2))
    again = strategy.propose(pool, returns, 20, np.random.default_rng(2))
    assert [(q.id, q.items, q.reason) for q in queries] == [
        (q.id, q.items, q.reason) for q in again
    ]
    assert len({frozenset(query.items) for query in queries}) == 20
    assert len({query.id for query in queries}) == 20
    for query in queries:
        assert query.strategy == strategy.name
        assert query.strategy in STRATEGIES
        assert query.reason.endswith(".")
    later = make_pool(asked=queries)
    more = strategy.propose(later, returns, 20, np.random.default_rng(3))
    assert {frozenset(q.items) for q in queries}.isdisjoint(frozenset(q.items) for q in more)


@pytest.mark.parametrize(
    "name", ["disagreement", "information-gain", "entropy", "batch-diverse", "triplets"]
)
def test_contract_without_a_reward_the_reason_says_so(name):
    strategy = build(name)
    for query in strategy.propose(make_pool(), None, 5, np.random.default_rng(0)):
        assert query.reason.startswith("There is no reward yet that could ")


def test_contract_a_pool_that_is_used_up_says_so(strategy):
    size = strategy.num_items
    parts = np.arange(3 * size).reshape(3, size)
    pairs = np.array([pair for part in parts for pair in itertools.combinations(part, 2)])
    pool = make_pool(pairs=pairs)
    returns = np.random.default_rng(0).normal(size=(3, 40))
    assert len(strategy.propose(pool, returns, 3, np.random.default_rng(0))) == 3
    with pytest.raises(DataError) as error:
        strategy.propose(pool, returns, 4, np.random.default_rng(0))
    what = "triplets" if size == 3 else "pairs"
    assert str(error.value) == (
        f"4 queries were asked for and 3 {what} are left that were not asked before. "
        "Ask for fewer, or record more episodes."
    )
    with pytest.raises(ValueError) as range_error:
        strategy.propose(pool, returns, 0, np.random.default_rng(0))
    assert str(range_error.value) == "`k` must be at least 1, got 0."


def test_contract_what_is_asked_is_of_one_group_and_shows_no_step_twice(strategy):
    rng = np.random.default_rng(0)
    segments = [Segment(f"e{i // 2}", 3 * (i % 2), 5) for i in range(200)]
    state = rng.normal(size=(200, 5, 3)).astype(np.float32)
    action = rng.normal(size=(200, 5, 2)).astype(np.float32)
    batch = SegmentBatch({STATE: state}, action, np.ones((200, 5), bool))
    groups = [f"group {i // 2 % 3}" for i in range(200)]
    pool = CandidatePool.build(segments, batch, rng=rng, groups=groups, num_pairs=1000)
    place = {segment: i for i, segment in enumerate(segments)}
    for returns in (None, rng.normal(size=(3, 200))):
        for query in strategy.propose(pool, returns, 20, np.random.default_rng(2)):
            assert len(query.items) == strategy.num_items
            assert len({groups[place[item]] for item in query.items}) == 1
            assert len({item.episode_id for item in query.items}) == strategy.num_items


def test_strategies_that_need_no_reward_do_not_ask_it():
    class Untouchable:
        def member_returns(self, segments):
            raise AssertionError("scored for nothing")

    for name in ("uniform", "coverage", "contrast"):
        strategy = build(name)
        assert strategy.propose(make_pool(), Untouchable(), 3, np.random.default_rng(0))


def test_disagreement_asks_where_the_members_contradict_each_other():
    # Members agree on (0, 1), are all unsure of (2, 3), and contradict each other on (4, 5).
    returns = np.array([[0, 5, 0, 0, 0, 5], [0, 5, 0, 0, 5, 0], [0, 4, 0, 0, 0, 5.0]])
    pool = make_pool(6, pairs=np.array([[0, 1], [2, 3], [4, 5]]))
    query = build("disagreement").propose(pool, returns, 1, np.random.default_rng(0))[0]
    assert asked_pairs(pool, [query]) == [(4, 5)]
    assert query.reason == ("The reward's 3 members disagree: their probabilities lie 0.99 apart.")


def test_entropy_asks_where_the_mean_is_unsure_and_information_gain_does_not():
    returns = np.array([[0, 5, 0, 0, 0, 3], [0, 5, 0, 0, 3, 0.0]])
    pool = make_pool(6, pairs=np.array([[0, 1], [2, 3]]))
    entropy = build("entropy").propose(pool, returns, 1, np.random.default_rng(0))
    assert asked_pairs(pool, entropy) == [(2, 3)]
    assert entropy[0].reason == ("The reward is unsure: its probability lies 0.00 from even.")
    pool = make_pool(6, pairs=np.array([[0, 1], [2, 3], [4, 5]]))
    gain = build("information-gain").propose(pool, returns, 1, np.random.default_rng(0))
    assert asked_pairs(pool, gain) == [(4, 5)]


@given(st.lists(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5), min_size=1, max_size=4))
def test_information_gain_is_the_mutual_information_of_answer_and_member(rows):
    """Against the definition, summed over the joint distribution of answer and member."""
    prefers_b = np.array([row + [0.5] * (5 - len(row)) for row in rows])
    num_members = len(prefers_b)
    gains = compute_information_gain(prefers_b)
    for pair in range(5):
        expected = 0.0
        for member, answer in itertools.product(range(num_members), (0, 1)):
            given_member = prefers_b[member, pair] if answer else 1 - prefers_b[member, pair]
            marginal = np.mean([p if answer else 1 - p for p in prefers_b[:, pair]])
            expected += given_member / num_members * np.log(given_member / marginal)
        assert gains[pair] == pytest.approx(expected, abs=1e-9)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.1, 10))
def test_prefers_b_is_bradley_terry(first, second, temperature):
    prefers_b = compute_prefers_b(np.array([[first, second]]), np.array([[0, 1]]), temperature)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp((first - second) / temperature))
    assert prefers_b[0, 0] == pytest.approx(expected, abs=1e-9)


def test_a_lower_temperature_makes_members_surer():
    returns = np.array([[0.0, 1.0, 0.0, 9.0], [1.0, 0.0, 9.0, 0.0]])
    pairs = np.array([[0, 1], [2, 3]])
    cold = compute_prefers_b(returns, pairs, 0.1).var(axis=0)
    warm = compute_prefers_b(returns, pairs, 10.0).var(axis=0)
    assert cold[0] / cold[1] > 0.99
    assert warm[0] / warm[1] < 0.05


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        *(
            (name, {"temperature": 0.0}, "`temperature` must be above 0 and finite, got 0.0.")
            for name in STRATEGIES.names()
            if name not in {"uniform", "coverage", "contrast"}
        ),
        ("batch-diverse", {"oversampling": 0}, "`oversampling` must be at least 1, got 0."),
        ("contrast", {"oversampling": 0}, "`oversampling` must be at least 1, got 0."),
        ("contrast", {"alike_share": 2}, "`alike_share` must be between 0 and 1, got 2."),
        ("matched-start", {"tolerance": -0.1}, "`tolerance` must be at least 0, got -0.1."),
        ("matched-start", {"num_neighbours": 0}, "`num_neighbours` must be at least 1, got 0."),
    ],
)
def test_settings_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError) as error:
        build(name, **options)
    assert str(error.value) == message


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(0, 4))
def test_k_centre_takes_the_farthest_point_each_time(seed, k, num_centres):
    rng = np.random.default_rng(seed)
    points, centres = rng.normal(size=(30, 3)), rng.normal(size=(num_centres, 3))
    chosen, distances = greedy_k_centre(points, centres, k, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == k
    taken = list(centres)
    for place, distance in zip(chosen, distances, strict=True):
        if taken:
            nearest = np.linalg.norm(points[:, None] - np.array(taken)[None], axis=2).min(axis=1)
            assert nearest[place] == pytest.approx(nearest.max())
            assert distance == pytest.approx(nearest.max(), abs=1e-6)
        taken.append(points[place])


def test_k_centre_can_choose_points_that_are_all_the_same():
    chosen, _ = greedy_k_centre(np.ones((5, 2)), np.zeros((0, 2)), 5, np.random.default_rng(0))
    assert sorted(chosen) == [0, 1, 2, 3, 4]


def test_coverage_keeps_away_from_what_was_asked_and_covers_every_cluster():
    # Three clusters of segments give six kinds of pairs.
    centre = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], 10, axis=0)
    features = centre + np.random.default_rng(0).normal(0, 0.1, (30, 2))
    pool = make_pool(30, features=features)
    queries = build("coverage").propose(pool, None, 6, np.random.default_rng(0))
    kinds = {frozenset((a // 10, b // 10)) for a, b in asked_pairs(pool, queries)}
    assert len(kinds) == 6
    assert queries[0].reason == "The first pair; drawn at random."
    first_five = make_pool(30, features=features, asked=queries[:5])
    sixth = build("coverage").propose(first_five, None, 1, np.random.default_rng(1))
    missing = kinds - {frozenset((a // 10, b // 10)) for a, b in asked_pairs(pool, queries[:5])}
    assert {frozenset((a // 10, b // 10)) for a, b in asked_pairs(pool, sixth)} == missing
    assert sixth[0].reason.startswith("The least like what was asked so far (feature distance ")


def test_contrast_asks_about_what_differs_and_not_the_same_twice():
    # Three clusters: two thirds of the pairs, more than are kept, are of different ones.
    centre = np.repeat([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], 10, axis=0)
    features = centre + np.random.default_rng(0).normal(0, 0.1, (30, 2))
    pool = make_pool(30, features=features)
    first = build("contrast").propose(pool, None, 3, np.random.default_rng(0))
    assert first[0].reason.startswith("Differs more than most, and stands for ")
    later = make_pool(30, features=features, asked=first)
    more = build("contrast").propose(later, None, 3, np.random.default_rng(1))
    assert "the least like what was asked so far (feature distance " in more[0].reason
    for queries in (first, more):
        assert all(a // 10 != b // 10 for a, b in asked_pairs(pool, queries))
    covered = {frozenset((a // 10, b // 10)) for a, b in asked_pairs(pool, [*first, *more])}
    assert len(covered) >= 2


def test_a_pairs_features_do_not_depend_on_its_order():
    features = np.random.default_rng(0).normal(size=(6, 4))
    pairs = np.array([[0, 1], [2, 5]])
    np.testing.assert_array_equal(
        pair_features(features, pairs), pair_features(features, pairs[:, ::-1])
    )


def test_k_medoids_finds_the_middle_of_each_cluster():
    rng = np.random.default_rng(0)
    clusters = [rng.normal(at, 0.5, size=(n, 2)) for at, n in ((0, 20), (20, 30), (40, 10))]
    points = np.concatenate([*clusters])
    medoids, sizes = k_medoids(points, 3, rng)
    assert sorted(sizes) == [10, 20, 30]
    bounds = np.cumsum([0, 20, 30, 10])
    expected = [
        low + np.sqrt(squared_distances(points[low:high], points[low:high])).sum(axis=1).argmin()
        for low, high in itertools.pairwise(bounds)
    ]
    assert sorted(medoids) == sorted(expected)


def test_batch_diverse_asks_about_what_is_disputed_and_no_two_alike():
    # Pairs of segments of one cluster; those of cluster 2 are not disputed.
    features = np.repeat([[0.0], [10.0], [20.0]], 6, axis=0) + np.linspace(0, 0.5, 18)[:, None]
    returns = np.random.default_rng(0).normal(size=(4, 18)) * 4
    returns[:, 12:] = 0
    within = [np.array(list(itertools.combinations(range(at, at + 6), 2))) for at in (0, 6, 12)]
    pool = make_pool(18, features=features, pairs=np.concatenate(within))
    queries = build("batch-diverse", oversampling=10).propose(
        pool, returns, 2, np.random.default_rng(0)
    )
    assert {a // 6 for a, _ in asked_pairs(pool, queries)} == {0, 1}
    assert "alike of the 20 pairs on which they disagree most." in queries[0].reason
    # By disagreement alone both would be among the most disputed, wherever they lie.
    variance = compute_prefers_b(returns, pool.pairs, 1.0).var(axis=0)
    assert variance[pool.pairs[:, 0] >= 12].max() == 0


def test_matched_start_pairs_start_alike_and_come_from_different_episodes():
    # Ten starts, each seen in four episodes; episodes give two segments that start alike.
    starts = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 8, axis=0)
    rng = np.random.default_rng(0)
    segments = [Segment(f"e{i // 2}", i % 2, 5) for i in range(80)]
    batch = SegmentBatch(
        {STATE: rng.normal(size=(80, 5, 3))}, np.zeros((80, 5, 2)), np.ones((80, 5), bool)
    )
    pool = CandidatePool.build(segments, batch, rng=rng, start_features=starts, num_pairs=50)
    returns = np.random.default_rng(1).normal(size=(5, 80)) * 3
    queries = build("matched-start").propose(pool, returns, 20, np.random.default_rng(0))
    for query, (a, b) in zip(queries, asked_pairs(pool, queries), strict=True):
        np.testing.assert_array_equal(starts[a], starts[b])
        assert pool.segments[a].episode_id != pool.segments[b].episode_id
        assert query.reason == "Both start alike, so only what follows is judged."
    chosen = np.array(asked_pairs(pool, queries))
    variance = compute_prefers_b(returns, chosen, 1.0).var(axis=0)
    assert (np.diff(variance) <= 1e-12).all(), "the most disputed of the matching pairs come first"


def test_matched_start_says_when_no_start_matches():
    starts = np.arange(10.0)[:, None] ** 2
    strategy = build("matched-start", tolerance=0.01)
    pool = make_pool(10, starts=starts)
    query = strategy.propose(pool, None, 1, np.random.default_rng(0))[0]
    assert {abs(a - b) for a, b in asked_pairs(pool, [query])} == {1}
    assert query.reason == (
        f"The most alike starts that are left ({1 / starts.std():.2f} standard deviations apart, "
        "above the tolerance of 0.01)."
    )


def test_matched_start_with_all_segments_of_one_episode_has_nothing_to_ask():
    pool = make_pool(4)
    segments = [Segment("e", 5 * i, 5) for i in range(4)]
    pool = CandidatePool.build(segments, pool.batch, rng=np.random.default_rng(0))
    with pytest.raises(DataError) as error:
        build("matched-start").propose(pool, None, 1, np.random.default_rng(0))
    assert str(error.value).startswith("1 queries were asked for and 0 pairs are left")


@pytest.fixture(scope="module")
def large_pool():
    """10,000 candidate pairs of 200 segments of 50 steps, and an ensemble of five MLPs."""
    import torch

    rng = np.random.default_rng(0)
    state = rng.normal(size=(200, 50, 39)).astype(np.float32)
    action = rng.normal(size=(200, 50, 4)).astype(np.float32)
    batch = SegmentBatch({STATE: state}, action, np.ones((200, 50), bool))
    segments = [Segment(f"e{i % 100}", 50 * (i // 100), 50) for i in range(200)]
    sizes = itertools.pairwise((43, 256, 256, 256, 1))
    weights = [torch.randn(5, a, b) / a**0.5 for a, b in sizes]

    class Ensemble:
        @torch.inference_mode()
        def member_returns(self, segments):
            x = torch.from_numpy(np.concatenate([segments.obs[STATE], segments.action], -1))
            x = x.reshape(-1, 43).expand(5, -1, -1)
            for weight in weights[:-1]:
                x = torch.nn.functional.leaky_relu(x @ weight)
            return (x @ weights[-1]).reshape(5, len(segments), -1).sum(-1).numpy()

    return CandidatePool.build(segments, batch, rng=rng), Ensemble()


def test_fifty_queries_from_ten_thousand_pairs_take_under_a_second(strategy, large_pool):
    """With scoring, on one core; processor time, so that a busy machine changes little."""
    pool, reward = large_pool
    assert len(pool.pairs) == 10_000
    seconds = []
    for _ in range(3):
        started = time.process_time()
        queries = strategy.propose(pool, reward, 50, np.random.default_rng(0))
        seconds.append(time.process_time() - started)
        assert len(queries) == 50
    assert min(seconds) < 1.0
