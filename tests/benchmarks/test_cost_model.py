"""Tests for the cost model: laws that are known are found again, and what is beyond is marked."""

import json
import shutil

import numpy as np
import pytest

from benchmarks import scale_costs, scale_data, scale_docs
from benchmarks.cost_model import TERMS, Measured, fit_law, terms_of

SIZES = (2_000, 10_000, 40_000, 100_000)
WORKERS = (1, 2, 3, 4, 6, 8)


def measure(law, sizes, *, times=3, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [Measured(n, law(n) * (1 + noise * rng.normal())) for n in sizes for _ in range(times)]


def affine(n):
    return 0.6 + 3e-5 * n


def shared(n):
    return 40 / n + 3 + 0.5 * (n - 1)


@pytest.mark.parametrize(
    ("law", "terms", "sizes", "coefficients"),
    [
        (affine, ("1", "n"), SIZES, [0.6, 3e-5]),
        (shared, ("1/n", "1", "n - 1"), WORKERS, [40, 3, 0.5]),
        (lambda n: 40 / n + 3, ("1/n", "1"), (1, 2), [40, 3]),
        (lambda n: 2e-9 * n, ("1", "n"), SIZES, [0, 2e-9]),
    ],
)
def test_a_law_without_noise_is_found_exactly(law, terms, sizes, coefficients):
    found = fit_law(measure(law, sizes), terms)
    np.testing.assert_allclose(found.coefficients, coefficients, rtol=1e-6, atol=1e-12)
    assert found.error < 1e-6
    assert (found.smallest, found.largest) == (min(sizes), max(sizes))
    assert found.predict(7 * max(sizes)).value == pytest.approx(law(7 * max(sizes)), rel=1e-6)


def test_small_costs_weigh_as_much_as_large_ones():
    """Least squares of absolute errors would find nothing of what the work takes in any case."""
    found = fit_law(measure(lambda n: 0.5 + 1e-3 * n, (10, 100, 1e6), noise=0.03), ("1", "n"))
    assert found.coefficients[0] == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(("law", "terms", "sizes", "far"), [
    (affine, ("1", "n"), SIZES, 1_000_000), (shared, ("1/n", "1", "n - 1"), WORKERS, 64),
])  # fmt: skip
def test_the_interval_of_what_is_beyond_holds_the_truth_as_often_as_it_says(law, terms, sizes, far):
    held = 0
    for seed in range(60):
        found = fit_law(measure(law, sizes, noise=0.05, seed=seed), terms).predict(far)
        held += found.low <= law(far) <= found.high
    assert held >= 51  # Of 95 %, 60 tries hold fewer than 51 once in 1,300.


def test_what_nobody_measured_is_marked():
    found = fit_law(measure(affine, SIZES, noise=0.05), ("1", "n"))
    assert [found.predict(n).is_beyond for n in (1_999, 2_000, 100_000, 100_001)] == [
        True, False, False, True,
    ]  # fmt: skip
    near, far = found.predict(100_000), found.predict(1_000_000)
    assert near.low < near.value < near.high
    assert far.low < far.value < far.high


def test_no_coefficient_is_negative():
    """Costs that seem to fall by more work, as noise has it, do not become negative far away."""
    found = fit_law([Measured(1, 1.1), Measured(2, 1.0), Measured(3, 0.9)], ("1", "n"))
    assert found.coefficients[1] == 0
    assert found.predict(1e9).value == pytest.approx(found.predict(1).value)
    assert (found.refits >= 0).all()


def test_the_gain_of_workers():
    found = fit_law(measure(shared, WORKERS), ("1/n", "1", "n - 1"))
    assert found.gain(1)[:3] == (1, 1, 1)
    assert found.gain(8).value == pytest.approx(shared(1) / shared(8))
    assert not found.gain(8).is_beyond
    # What each worker adds outweighs at last what it takes off the others.
    assert found.gain(64).value < found.gain(9).value
    assert found.gain(64).is_beyond


def test_terms_that_cannot_be_told_apart_are_not_fitted():
    assert terms_of("workers", "seconds", 2) == ("1/n", "1")
    assert terms_of("workers", "seconds", 3) == ("1/n", "1", "n - 1")
    assert terms_of("workers", "gb", 3) == terms_of("episodes", "seconds", 4) == ("1", "n")
    assert {term for num in (2, 3) for term in terms_of("workers", "seconds", num)} <= set(TERMS)


def refused(call) -> str:
    with pytest.raises(ValueError) as error:
        call()
    return str(error.value)


def test_messages():
    assert refused(lambda: fit_law([Measured(1, 1.0)] * 5, ("1", "n"))) == (
        "2 terms need measurements of as many sizes and one more of any, got 5 of 1 sizes."
    )
    assert refused(lambda: fit_law([Measured(1, 1.0), Measured(2, 2.0)], ("1", "n"))) == (
        "2 terms need measurements of as many sizes and one more of any, got 2 of 2 sizes."
    )
    for size, cost in ((0, 1.0), (1, 0.0), (1, float("nan"))):
        bad = [*measure(affine, SIZES), Measured(size, cost)]
        assert refused(lambda bad=bad: fit_law(bad, ("1", "n"))) == (
            "Sizes and costs must be finite and more than 0."
        )
    law = fit_law(measure(affine, SIZES), ("1", "n"))
    assert refused(lambda: law.predict(0)) == "`size` must be more than 0, got 0."


def rows(task, of, what, measured):
    return [
        {"task": task, "of": of, "what": what, "size": size, "cost": cost}
        for size, cost in measured
    ]


def test_the_page_says_what_was_measured_and_what_is_predicted(tmp_path, monkeypatch):
    measured = rows("data info", "episodes", "seconds", measure(affine, SIZES))
    measured += rows("record 120 episodes", "workers", "seconds", measure(shared, (1, 2)))
    page, results = tmp_path / "scale.md", tmp_path / "costs.json"
    shutil.copy(scale_docs.PAGE, page)
    results.write_text(json.dumps({"costs": measured}))
    monkeypatch.setattr(scale_docs, "PAGE", page)
    monkeypatch.setattr(scale_docs, "RESULTS", results)
    scale_docs.main()
    lines = page.read_text().splitlines()
    assert (
        "| data info | 2,000 to 100,000 episodes, 12 times | 0.6 s + 3e-05 s · episodes | 0% | "
        "3.6 s (3.6 to 3.6) | 30.6 s (30.6 to 30.6) for 1,000,000 |"
    ) in lines
    gains = [
        line for line in lines if line.endswith(("| predicted from 1 to 2 |", "| measured range |"))
    ]
    assert [line.split(" | ")[0] for line in gains] == [f"| {num}" for num in scale_docs.WORKERS]
    assert [line.endswith("| measured range |") for line in gains] == [True] * 2 + [False] * 5


@pytest.mark.slow
def test_costs_are_measured_of_what_they_say(monkeypatch):
    monkeypatch.setattr(scale_data, "CALLS", 5)
    found = [
        *scale_costs.by_episodes([10, 40], 1),
        *scale_costs.by_labels([50, 400]),
        *scale_costs.by_candidates([2, 4], 1),
    ]
    assert {(row["of"], row["size"]) for row in found} == {
        ("episodes", 10), ("episodes", 40), ("labels", 50), ("labels", 400), ("candidates", 2),
        ("candidates", 4),
    }  # fmt: skip
    assert all(0 < row["cost"] < 60 for row in found)
    size = {row["size"]: row["cost"] for row in found if row["task"] == "store labels"}
    assert 0 < size[50] < size[400] < 0.01


@pytest.mark.slow
def test_workers_are_measured():
    found = scale_costs.by_workers([1, 2], 1, 2)
    assert [(row["size"], row["what"]) for row in found] == [
        (1, "seconds"), (1, "gb"), (2, "seconds"), (2, "gb"),
    ]  # fmt: skip
    held = [row["cost"] for row in found if row["what"] == "gb"]
    assert 0.1 < held[0] < held[1] < 8


def test_what_was_measured_too_seldom_has_no_law_and_costs_the_others_nothing():
    rows = [
        {"task": task, "of": "workers", "size": size, "what": "gb", "cost": 0.1 + size}
        for task, times in (("once", 1), ("twice", 2))
        for size in (1, 2)
        for _ in range(times)
    ]
    assert list(scale_costs.laws(rows)) == ["twice, gb by workers"]
