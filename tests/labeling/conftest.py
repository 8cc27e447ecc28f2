"""Fixtures for the tests of the labelling tool: stores on both databases, and clips."""

import pytest

from robopref.labeling.clip_service import ClipService
from tests.labeling.clip_data import SMALL, record_real
from tests.labeling.page_project import Watched, open_browser, serve_project
from tests.labeling.running import Running
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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a data set of a real arm that no other module changes."""
    folder = tmp_path_factory.mktemp("data") / "set"
    record_real(folder)
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory, data):
    """Serve it to a module's tests."""
    with Running(tmp_path_factory.mktemp("run"), data) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a project with a query of each kind."""
    with serve_project(tmp_path_factory.mktemp("project"), overlap=2) as project:
        yield project


@pytest.fixture
def project(served):
    """Return it without the answers of the test before."""
    served.forget()
    return served
