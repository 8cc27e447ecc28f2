"""The loop as an annotator sees it: answers change what is asked, and the page says so."""

import time

import pytest

from robopref.preferences import tables
from tests.labeling.page_project import answer, serve_project, until

ASKED = "Drawn at random."


@pytest.mark.slow
def test_answers_refit_the_reward_which_orders_what_comes_next(tmp_path, pages):
    with serve_project(tmp_path, refit_every=4) as project:
        project.ask_clips(*[2] * 24, length=10, why=ASKED)
        page = pages.open(project)
        assert page.locator(".why").inner_text() == ASKED
        for number in range(10):
            answer(page, "12"[number % 2])
        end = time.monotonic() + 120
        while (fitted := num_fits(project)) == 0 and time.monotonic() < end:
            time.sleep(0.5)
        assert fitted > 0
        answer(page, "1")
        assert page.locator(".why").inner_text() != ASKED
        progress = pages.open(project, path="/progress", ready=False)
        until(
            progress,
            """[...document.querySelectorAll('.stat')].some((stat) =>
            stat.textContent.startsWith('Labels11'))""",
        )
        answer(page, "2")
        # By itself, without being loaded again.
        until(
            progress,
            """[...document.querySelectorAll('.stat')].some((stat) =>
            stat.textContent.startsWith('Labels12'))""",
        )


def num_fits(project):
    with project.service.store.database.reading() as connection:
        return len(connection.execute(tables.label_history.select()).all())
