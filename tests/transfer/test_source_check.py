from dataclasses import replace

import numpy as np

from robopref.rewards.transfer import TaskSegments
from robopref.transfer.source_check import foretold_share


def make_source(seed, num_pairs=80, num=60):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num, 5))
    a, b = (rng.permutation(num)[:num_pairs] for _ in range(2)) if num_pairs < num else (
        rng.integers(num // 2, size=num_pairs), num // 2 + rng.integers(num // 2, size=num_pairs)
    )  # fmt: skip
    better = features[b, 0] > features[a, 0]
    return TaskSegments("s", features[:, None] * np.ones((1, 2, 1)), features, a, b, better * 1.0)


def test_what_features_explain_is_foretold():
    assert foretold_share([make_source(0)], np.random.default_rng(0)) > 0.85


def test_answers_at_random_are_not_foretold():
    shares = []
    for seed in range(10):
        source = make_source(seed)
        coins = np.random.default_rng(seed).integers(2, size=len(source.a)) * 1.0
        shares.append(
            foretold_share([replace(source, prefers_b=coins)], np.random.default_rng(seed))
        )
    assert 0.4 < np.mean(shares) < 0.6, "and what is asked was not seen"


def test_ties_and_few_answers_say_nothing():
    source = make_source(0)
    ties = replace(source, prefers_b=np.where(np.arange(80) < 75, 0.5, source.prefers_b))
    assert np.isnan(foretold_share([source, ties], np.random.default_rng(0)))


def test_several_sources_count_by_their_answers():
    good, bad = make_source(0), make_source(1, num_pairs=40)
    turned = replace(bad, prefers_b=1 - bad.prefers_b)
    both = foretold_share([good, turned], np.random.default_rng(0))
    assert both > 0.85, "each source is foretold by itself"
