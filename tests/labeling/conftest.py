"""Fixtures for the tests of the labelling tool: stores on both databases, and clips."""

import pytest

from robopref.labeling.clip_service import ClipService
from tests.labeling.clip_data import SMALL, record_real
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
