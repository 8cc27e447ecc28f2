"""Tests for what tests do without a package of an extra."""

import json

import pytest

from tests.extras import import_extra


@pytest.mark.parametrize("installed", ["", "dev,robomimic"])
def test_without_its_extra_a_test_is_skipped(monkeypatch, installed):
    monkeypatch.setenv("ROBOPREF_EXTRAS", installed)
    with pytest.raises(pytest.skip.Exception, match="needs the extra 'rl'"):
        import_extra("no_such_package", "rl")


def test_where_its_extra_was_installed_a_test_fails(monkeypatch):
    monkeypatch.setenv("ROBOPREF_EXTRAS", "dev,rl")
    with pytest.raises(pytest.fail.Exception, match="The extra 'rl' was installed, and no_such_"):
        import_extra("no_such_package", "rl")
    assert import_extra("json", "rl") is json
