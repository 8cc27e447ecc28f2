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
