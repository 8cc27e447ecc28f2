import pytest

from benchmarks import deform
from benchmarks.deform_cases import FAITHFUL, FEW, ORACLE, OURS, QUICK, SUPERVISED, Case, plan
from robopref.rewards.deformpam import DeformPAMRewardConfig


def line(row, final, *, seed=0, physics="standard"):
    return {
        "key": f"{row} {seed} {physics}", "material": "rope", "share": 0.25, "seed": seed,
        "physics": physics, "row": row, "final": final, "steps": [7] * len(final),
        "success": [True] * len(final),
    }  # fmt: skip


LINES = [
    line(SUPERVISED.name, [0.2, 0.4]), line(ORACLE.name, [0.6, 0.8]),
    line(OURS.name, [0.5, 0.8]), line(FAITHFUL.name, [0.3, 0.4]),
]  # fmt: skip


def test_a_score_is_the_share_of_the_way_to_the_oracle():
    figures = deform.summarise(LINES)["figures"]
    assert figures["rope 0.25 supervised only"]["value"] == pytest.approx(0)
    assert figures["rope 0.25 oracle of 8"]["value"] == pytest.approx(1)
    ours = figures["rope 0.25 ours"]
    assert ours["value"] == pytest.approx(0.875)
    assert ours["low"] <= ours["value"] <= ours["high"]
    assert (ours["floor"], ours["ok"]) == (0.65, True)
    gain = figures["rope 0.25 ours less faithful RAS"]
    assert gain["value"] == pytest.approx(0.875 - 0.125)


def test_rows_are_held_to_the_same_seeds_and_starts():
    """A seed that one of them lacks does not count, nor does another physics."""
    more = [
        line(SUPERVISED.name, [0.9, 0.9], seed=1),
        line(OURS.name, [0.0, 0.0], physics="held-out"),
    ]
    assert deform.summarise(LINES + more)["figures"] == deform.summarise(LINES)["figures"]


def test_nothing_is_said_without_what_scores_are_measured_from():
    assert deform.summarise(LINES[2:]) == {"figures": {}, "rows": []}


def test_the_plan_has_every_row_once_and_cases_that_share_what_is_learned():
    keys = [deform._key(case, row) for case, row in plan()]
    assert len(set(keys)) == len(keys)
    assert [row.name for _, row in QUICK] == [row.name for row in FEW]
    held_out, standard = Case("rope", physics="held-out"), Case("rope")
    assert held_out.name == standard.name
    assert held_out.config() == standard.config()


def test_a_quarter_of_the_labels_is_one():
    assert Case("rope", 0.25).config().num_states == 25
    assert Case("granular").config().num_states == 200
    assert Case("tshirt").config().max_episode_steps == 6


def test_the_faithful_row_is_as_published():
    assert FAITHFUL.method == "deformpam"
    assert FAITHFUL.proposers == ("base",)
    assert FAITHFUL.num_candidates == 8
    assert FAITHFUL.reward == DeformPAMRewardConfig.published()
