"""Tests for align/report_text.py: what a run's report and the terminal say became of the policy."""

from types import SimpleNamespace
from typing import Any

import pytest

from robopref.align.evaluate import Evaluation
from robopref.align.loop import AlignmentLoop
from robopref.align.report import _Report
from robopref.align.report_text import of_policies, verdict
from robopref.commands.present import run_loop
from robopref.policies.finetune.at_run_time import GuideConfig, SelectConfig
from robopref.statistics import wilson
from robopref.workers import Workers
from tests.align.conftest import make_tiny

GUARDED = (
    "on validation starts the fine-tuned policy was worse, by success or by the learned reward."
)
KEPT = f"The base was kept: {GUARDED} Ask more answers, or look at what it likes."
LOWER = "Worse: the joint rate fell. Keep the policy from before, and ask more answers."


def a_run(method=None, *, worse=False, kept_base=False) -> Any:
    """Return what is asked of a loop: its config and what its guard found."""
    found = {"aligned": {"worse": worse, "kept_base": kept_base}}
    config = make_tiny() if method is None else make_tiny(method=method)
    loop: Any = AlignmentLoop.__new__(AlignmentLoop)  # Nothing of it is run.
    loop.config, loop.run = config, SimpleNamespace(figures=found.__getitem__)
    return loop


def of_joint(successes):
    return Evaluation(wilson(50, 50), wilson(successes, 50), wilson(successes, 50), 0.0, 1.0)


@pytest.mark.parametrize(
    ("found", "after", "text", "worse"),
    [
        ({}, 48, "Better: the joint rate after is above the one before, intervals apart.", False),
        ({}, 27, "Not clearly better: the intervals overlap. More answers or test episodes decide.",
         False),
        ({}, 23, "Not clearly worse, but lower. Keep the policy from before until more is known.",
         True),
        ({}, 2, LOWER, True),
        ({"worse": True, "kept_base": True}, 25, KEPT, True),
        ({"worse": True}, 2,
         f"Kept all the same, as --guard.keep-worse says: {GUARDED} {LOWER}", True),
        # What the guard doubts is told, whatever the test episodes say.
        ({"worse": True}, 48, f"Kept all the same, as --guard.keep-worse says: {GUARDED} Better: "
         "the joint rate after is above the one before, intervals apart.", True),
    ],
)  # fmt: skip
def test_the_verdict_says_what_the_guard_found(found, after, text, worse):
    evaluations = {"base": of_joint(25), "aligned": of_joint(after)}
    assert verdict(a_run(**found), evaluations) == (text, worse)


@pytest.mark.parametrize(
    ("method", "what"),
    [
        (None, "fine-tuned, acting alone"),
        (SelectConfig(), "the same policy, steered at each decision by best-of-n"),
        (GuideConfig(), "the same policy, steered at each decision by guidance"),
    ],
)
def test_what_acts_in_the_end_is_named_for_what_it_is(method, what):
    assert of_policies(a_run(method))["aligned"] == what
    assert of_policies(a_run(method, kept_base=True))["aligned"] == "the base, which was kept"
    steered = "steered" if method else "fine-tuned"
    text, _ = verdict(a_run(method, worse=True, kept_base=True), {})
    assert f"the {steered} policy was worse" in text


def test_the_terminal_says_what_became_of_the_policy(finished, monkeypatch, capsys):
    monkeypatch.setattr("robopref.align.report.write_report", lambda loop: "report.html")
    run_loop(make_tiny(), finished.directory, Workers(0))
    text = verdict(finished, finished.evaluations()).text
    assert f"\n{text}\n" in capsys.readouterr().out


def test_the_report_says_whether_demonstrations_were_asked_about(finished, monkeypatch):
    report = _Report(finished)
    assert "compared a few of these and of its episodes" in report._lead()
    assert "demonstrations, asked about as well;" in report._accounting()
    assert "which of two demonstrations, or of two episodes of the cloned" in report._asked_lead()
    monkeypatch.setattr(report, "asks_demonstrations", False)
    assert "compared a few of its episodes" in report._lead()
    assert "asked about as well" not in report._accounting()
    assert "which of two episodes of the cloned policy is" in report._asked_lead()
