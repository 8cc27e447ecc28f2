"""Tests for errors.py."""

import math

import pytest

from robopref.errors import (
    ConfigError,
    HardwareError,
    MissingExtraError,
    RoboprefError,
    SafetyStop,
    UnknownNameError,
    check_at_least,
    check_between,
    check_choice,
    check_name,
    did_you_mean,
)


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (ConfigError, ValueError),
        (UnknownNameError, LookupError),
        (MissingExtraError, ImportError),
        (SafetyStop, HardwareError),
    ],
)
def test_errors_are_caught_as_robopref_s_and_as_python_s(error, parent):
    assert issubclass(error, parent)
    assert issubclass(error, RoboprefError)


def test_a_look_up_error_keeps_its_message_unquoted():
    # str(KeyError("x")) is "'x'"; messages for users must not look like that.
    assert str(UnknownNameError("No reward named 'x'.")) == "No reward named 'x'."


def test_of_many_names_the_nearest_are_listed():
    names = [f"push-{letter}-v3" for letter in "abcdefghijklmnopqrstuv"]
    with pytest.raises(UnknownNameError) as error:
        check_name("task", "psh-a-v3", names, heading="Tasks")
    assert str(error.value) == (
        "No task named 'psh-a-v3'. Did you mean 'push-a-v3'? Tasks, the nearest of 22: "
        "['push-a-v3', 'push-v-v3', 'push-u-v3', 'push-t-v3', 'push-s-v3']."
    )


def test_choice():
    check_choice("link", "hinge", ["sigmoid", "hinge"])
    with pytest.raises(ValueError) as error:
        check_choice("link", "sigmod", ["sigmoid", "hinge"])
    assert str(error.value) == (
        "`link` must be one of ['hinge', 'sigmoid'], got 'sigmod'. Did you mean 'sigmoid'?"
    )


@pytest.mark.parametrize("value", [0, -1, 0.999, math.nan, -math.inf])
def test_at_least_refuses_what_is_smaller_or_no_number(value):
    with pytest.raises(ValueError) as error:
        check_at_least("depth", value, 1)
    assert str(error.value) == f"`depth` must be at least 1, got {value}."


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan, math.inf])
def test_between_refuses_what_is_outside_or_no_number(value):
    with pytest.raises(ValueError) as error:
        check_between("dropout", value, 0, 1)
    assert str(error.value) == f"`dropout` must be between 0 and 1, got {value}."


def test_bounds_themselves_are_allowed():
    check_at_least("depth", 1, 1)
    check_between("dropout", 0, 0, 1)
    check_between("dropout", 1, 0, 1)


def test_only_near_names_are_suggested():
    assert did_you_mean("button-pres", ["button-press", "door-open"]) == (
        " Did you mean 'button-press'?"
    )
    assert did_you_mean("xyz", ["button-press", "door-open"]) == ""
    assert did_you_mean("xyz", []) == ""
