"""Fixtures for the tests of deployment: a browser."""

from tests.labeling.conftest import browser, pages

__all__ = ["browser", "pages"]
