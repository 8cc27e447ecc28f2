"""Tests for commands/present.py."""

from robopref.align.evaluate import Evaluation
from robopref.commands.present import print_evaluations
from robopref.statistics import wilson

NONE = wilson(0, 0)


def rows(capsys, monkeypatch, evaluation):
    monkeypatch.setenv("COLUMNS", "120")
    print_evaluations({"careful": evaluation})
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[1:]]


def test_a_rate_that_is_not_known_says_why(capsys, monkeypatch):
    few = Evaluation(wilson(3, 20), NONE, wilson(2, 20), 0.0, 1.0)
    assert rows(capsys, monkeypatch, few) == [
        f"careful {wilson(3, 20)} too few successes {wilson(2, 20)}",
        "The preferred rate is that of the successes, of which it takes 10.",
    ]
    unknown = Evaluation(NONE, wilson(15, 20), wilson(15, 20), 0.0, 1.0)
    assert rows(capsys, monkeypatch, unknown) == [
        f"careful not known {wilson(15, 20)} {wilson(15, 20)}"
    ]


def test_where_no_behaviour_is_preferred_none_is_named(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    nan = float("nan")
    print_evaluations({"careful": Evaluation(wilson(3, 20), NONE, NONE, nan, 1.0, 12.3456)})
    head, row = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert head == "policy success mean return"
    assert row == f"careful {wilson(3, 20)} 12.35"
