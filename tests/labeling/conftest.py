"""Fixtures for the tests of the labelling tool: stores on both databases."""

from tests.preferences.conftest import location, postgresql, postgresql_url

__all__ = ["location", "postgresql", "postgresql_url"]
