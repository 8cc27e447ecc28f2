"""Tests for benchmarks/transfer.py, transfer_data.py, transfer_harder.py and transfer_docs.py."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import transfer_docs
from benchmarks.transfer import score
from benchmarks.transfer_data import LENGTH, NUM_SEGMENTS, answer_all, draw_segments
from benchmarks.transfer_docs import fill
from benchmarks.transfer_harder import carry, summarise_harder
from robopref.envs.features import TASK_FEATURES
from robopref.rewards.transfer import TaskSegments


def make_task(rng, sign=1.0, num=30):
    features = rng.standard_normal((num, len(TASK_FEATURES)))
    task = TaskSegments("task", rng.standard_normal((num, 5, 2)), features)
    return answer_all(task, list(sign * features[:, 0]))


def test_every_pair_counts_once_and_close_ones_are_told_apart():
    returns = np.array([0.0, 0.01, 1.0, 1.0])
    sure = np.where(returns[:, None] > returns, 1.0, 0.0)
    sure[returns[:, None] == returns] = 0.5
    assert score(sure, returns)["accuracy"] == score(sure, returns)["clear"] == 1.0
    sure[[0, 1], [1, 0]] = 1.0, 0.0  # The close pair the wrong way round.
    scored = score(sure, returns)
    assert scored["accuracy"] == pytest.approx(4 / 5)
    assert scored["clear"] == 1.0
    assert scored["brier"] == pytest.approx(1 / 5)
    assert score(np.full((4, 4), 0.5), returns)["accuracy"] == 0.5


def test_short_episodes_have_as_many_segments_as_long_ones(rng):
    lengths = {f"long-{i}": 150 for i in range(8)} | {f"short-{i}": 60 for i in range(8)}
    segments = draw_segments(lengths | {"too-short": LENGTH - 1}, rng)
    assert len(segments) == NUM_SEGMENTS
    assert all(s.start + s.length <= lengths[s.episode_id] for s in segments)
    assert sum(s.episode_id.startswith("short") for s in segments) == NUM_SEGMENTS / 2


def test_verdicts_with_answers_part_good_transfers_from_those_the_wrong_way_round(rng):
    sources = [make_task(rng).task for _ in range(2)]
    rows = [
        carry("same", sources, make_task(rng).task, 0),
        carry("turned", sources, make_task(rng, -1).task, 0),
    ]
    assert rows[0]["accuracy"] > 0.8
    assert rows[1]["accuracy"] < 0.2
    assert rows[1]["accuracy_after_answers"] > rows[1]["accuracy"]
    assert rows[1]["verdict_after_answers"] == "distrust"
    assert rows[0]["verdict_after_answers"] != "distrust"
    assert {row["verdict"] for row in rows}.isdisjoint({"trust"})
    found = summarise_harder(rows)
    useless = float(rows[1]["accuracy_after_answers"] < 0.6)
    assert found["verdicts"]["distrust, 10 answers"] == {"value": useless, "n": 1}
    assert found["harder"]["turned"]["worst"] == rows[1]["accuracy"]
    page = fill(
        {"pairs": 2, "seeds": 1, "table": {"ours": {"accuracy": 0.91}}, **found,
         "figures": {"one": {"value": 0.9, "low": 0.8, "high": 1.0, "floor": 0.88, "ok": True}}}
    )  # fmt: skip
    assert "| one | 0.9 (0.8 to 1) | 0.88 | holds |" in page
    assert "| ours | 0.910 |" in page
    assert f"| distrust, 10 answers | 1 | {useless:.0%} |" in page


def test_the_page_has_what_the_results_say(tmp_path, monkeypatch):
    page = tmp_path / "transfer.md"
    page.write_text(transfer_docs.PAGE.read_text())
    monkeypatch.setattr(transfer_docs, "PAGE", page)
    transfer_docs.main()
    assert page.read_text() == Path("docs/transfer.md").read_text()
    page.write_text(page.read_text().replace("<!-- end people -->", ""))
    left = page.read_text()
    with pytest.raises(ValueError) as error:
        transfer_docs.main()
    assert str(error.value) == f"{page} has no place for 'people'."
    assert page.read_text() == left
