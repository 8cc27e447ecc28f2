"""Fixtures for the tests of the labelling tool: stores on both databases, and clips."""

import pytest

from robopref.labeling.clip_service import ClipService
from tests.labeling.clip_data import SMALL, record_real
from tests.labeling.page_project import Watched, open_browser
from tests.preferences.conftest import location, postgresql, postgresql_url

__all__ = ["filmed", "location", "postgresql", "postgresql_url", "services"]


@pytest.fixture
def services():
    """Make services that are closed at the end."""
    made = []

    def make(data, directory, config=SMALL):
        made.append(ClipService(config, data, directory))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    """Episodes of a real arm, for which no simulator has to be built."""
    return record_real(tmp_path_factory.mktemp("data") / "arm")


@pytest.fixture(scope="module")
def browser():
    """Return Debian's Chromium; one for a module's tests."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def pages(browser):
    """Return what opens pages; they must not have complained about anything."""
    watched = Watched(browser)
    yield watched
    watched.close()
    assert watched.errors == []
